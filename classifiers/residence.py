"""The residence model: from the evidence of subjects to where each lives, with the weights that say why.

evidence (one row per record)
  └─ episodes    what one uploader shows in one month; copies, order and batches are gone
       └─ histories   subjects with the same sequence of patterns are one
            └─ weights     Bayes' rule, family by family, in bits
                 └─ scores      integer millibits: prior_mb + sum of bars = score_mb, P = 2^M / (1 + 2^M)
"""

from collections.abc import Mapping, Sequence

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from classifiers.bars import build_bars, count_records, describe_histories
from classifiers.episodes import find_episodes
from classifiers.model import Floats, ResidenceModel
from classifiers.sequences import Integers
from classifiers.weights import weigh_histories
from schemas.countries import COUNTRIES, country_index
from schemas.errors import InputError
from schemas.evidence import FAMILIES
from schemas.scores import EVIDENCE_CLASSES, SCORES

MILLIBITS = 1000

RICH_FAMILIES = ("device", "network", "contact")
"""A subject with a location, an address or a phone number is `rich`; with pages and text alone, `poor`."""

SCORED = pa.schema([field for field in SCORES if field.name != "tier"])
"""What `score_subjects` returns: SCORES before a policy gives tiers."""


def score_subjects(evidence: pa.Table, model: ResidenceModel, territories: Mapping[str, Sequence[str]]) -> pa.Table:
    """Score every subject of the evidence against every jurisdiction.

    `evidence` has the schema EVIDENCE, usable rows alone, all rows of a subject, in any order; `territories` maps
    the name of a jurisdiction to its ISO codes. Returns SCORED, by subject id and then as `territories` are given;
    a subject's rows are the same whoever else is scored with it.

    Raises InputError if territories overlap, or hold no country, an unknown one, or all.
    """
    group = group_countries(territories)
    episodes = find_episodes(evidence, model.trust)
    history_of_subject, histories = episodes.histories()
    weights = weigh_histories(histories, episodes.patterns, model, group)
    prior_mb, weight_mb = to_millibits(weights.prior), to_millibits(weights.gains)
    score_mb = (prior_mb + weight_mb.sum(axis=1))[history_of_subject]
    records = count_records(evidence, episodes)
    bars = build_bars(
        history_of_subject,
        describe_histories(histories, episodes.patterns),
        records,
        weight_mb,
        weights.rivals,
    )
    subjects, jurisdictions = len(episodes.subject_ids), len(territories)
    classes = pa.array(EVIDENCE_CLASSES).take(pa.array(_evidence_classes(records.spoken)))
    each_subject = pa.array(np.repeat(np.arange(subjects), jurisdictions))
    columns = {
        "subject_id": episodes.subject_ids.take(each_subject),
        "jurisdiction": pa.array(list(territories), pa.string()).take(
            pa.array(np.tile(np.arange(jurisdictions), subjects))
        ),
        "probability": pa.array(probabilities(score_mb.ravel())),
        "evidence_class": classes.take(each_subject),
        "prior_mb": pa.array(np.tile(prior_mb, subjects)),
        "score_mb": pa.array(score_mb.ravel()),
        "bars": bars,
    }
    return pa.table(columns, schema=SCORED)


def group_countries(territories: Mapping[str, Sequence[str]]) -> npt.NDArray[np.int16]:
    """`(C,)`: 0 for countries of no jurisdiction, else 1 for those of the first, 2 of the second, and so on.

    Raises InputError if territories overlap, or hold no country, an unknown one, or all.
    """
    group = np.zeros(len(COUNTRIES), np.int16)
    names = list(territories)
    if not names:
        raise InputError("no jurisdiction to score; name at least one")
    for position, name in enumerate(names):
        if not territories[name]:
            raise InputError(f"the territory of jurisdiction {name!r} is empty; name its ISO 3166 codes")
        for code in territories[name]:
            country = country_index(code)
            if country < 0:
                raise InputError(f"jurisdiction {name!r}: {code!r} is not an ISO 3166 alpha-2 code in capitals")
            if group[country]:
                other = names[group[country] - 1]
                raise InputError(
                    f"{code} is in the territories of {other!r} and {name!r}; a country counts once, leave one out"
                )
            group[country] = position + 1
    if len(set(group.tolist())) == 1:
        raise InputError(f"the territory of jurisdiction {names[0]!r} is the whole world; there is nothing to decide")
    return group


def to_millibits(bits: Floats) -> Integers:
    """Bits to whole millibits, halves to even."""
    return np.rint(bits * MILLIBITS).astype(np.int64)


@numba.njit(nogil=True, cache=True)
def probabilities(score_mb: Integers) -> Floats:
    """P = 2^M / (1 + 2^M) of scores in millibits, shape `(n,)`; one value at a time, so no batch can change it."""
    out = np.empty(len(score_mb))
    for i in range(len(out)):
        out[i] = 1.0 / (1.0 + np.exp2(-score_mb[i] / 1000.0))
    return out


def _evidence_classes(spoken: Integers) -> Integers:
    """`(S,)`, indices into EVIDENCE_CLASSES, from the number of records on which each family speaks `(S, F)`."""
    rich = (spoken[:, [FAMILIES.index(family) for family in RICH_FAMILIES]] > 0).any(axis=1)
    return np.where(rich, 0, np.where((spoken > 0).any(axis=1), 1, 2))
