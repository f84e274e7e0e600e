"""Why: a score taken apart episode by episode, and one English sentence for a manifest.

    Likely resident (P 0.98): photos placed in FR x3 (+7.2 bits), uploads from networks in FR x2, BE x1
    (+3.1 bits); against: phone numbers of BE x1 (-2.0 bits); weighed mainly against BE.

Both say countries, languages, months and counts; never an id, a coordinate, an address or a word of the page.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from classifiers.bars import describe_findings
from classifiers.episodes import find_episodes
from classifiers.model import ResidenceModel
from classifiers.residence import group_countries, to_millibits
from classifiers.sequences import Integers
from classifiers.weights import weigh_steps
from schemas.countries import NONE
from schemas.evidence import FAMILIES

EPISODES = pa.schema(
    [
        pa.field("episode", pa.int64(), nullable=False),
        pa.field("month", pa.string()),
        pa.field("family", pa.string(), nullable=False),
        pa.field("evidence", pa.string(), nullable=False),
        pa.field("jurisdiction", pa.string(), nullable=False),
        pa.field("weight_mb", pa.int64(), nullable=False),
    ]
)
"""What each family adds in each episode: `episode` counts from 1, `month` is like 2024-05, null if unknown."""

VERDICTS = {"erase": "Likely resident", "review": "Possible resident", "keep": "Unlikely resident"}

DECISIONS = {
    "erase": "the policy erases such subjects",
    "keep": "the policy keeps such subjects",
    "insufficient": "the policy leaves such subjects to a person",
    "review": "a record could not be used, so a person decides",
}

WORDS = (
    ("device", "photos placed in "),
    ("network", "uploads from networks in "),
    ("publication", "pages and text of "),
    ("contact", "phone numbers of "),
)

SHOWN_FROM_MB = 50
"""A bar below it would read 0.0 bits, and is left out of the sentence."""


def episode_details(evidence: pa.Table, model: ResidenceModel, territories: Mapping[str, Sequence[str]]) -> pa.Table:
    """The score of one subject episode by episode: EPISODES, a row for each family that speaks and jurisdiction.

    The weights of a family and jurisdiction add up to its bar exactly: running sums are rounded, not the parts.
    Raises ValueError if the evidence is not that of one subject, InputError as `score_subjects` does.
    """
    group = group_countries(territories)
    episodes = find_episodes(evidence, model.trust)
    if len(episodes.subject_ids) != 1:
        raise ValueError(f"evidence of {len(episodes.subject_ids)} subjects; an explanation is of one")
    telling = episodes.telling
    pattern, month = episodes.pattern[telling], episodes.month[telling]
    running = to_millibits(np.cumsum(weigh_steps(episodes.steps, episodes.patterns, model, group).gains, axis=0))
    weight_mb = np.diff(running, axis=0, prepend=0)

    owner, codes = episodes.patterns.take(pattern)
    description = describe_findings(owner, owner, codes, len(pattern))
    speaking = np.flatnonzero(description.n_episodes)
    episode, family = np.divmod(speaking, len(FAMILIES))
    n, each = len(speaking), len(territories)
    findings = pc.replace_substring(description.evidence.take(pa.array(speaking)), " x1", "")
    row = pa.array(np.repeat(np.arange(n), each))
    columns = {
        "episode": pa.array(episode + 1).take(row),
        "month": pa.array([_month(m) for m in month.tolist()], pa.string()).take(pa.array(episode)).take(row),
        "family": pa.array(FAMILIES, pa.string()).take(pa.array(family)).take(row),
        "evidence": findings.take(row),
        "jurisdiction": pa.array(list(territories), pa.string()).take(pa.array(np.tile(np.arange(each), n))),
        "weight_mb": pa.array(weight_mb[episode, family].ravel()),
    }
    return pa.table(columns, schema=EPISODES)


def explain_sentence(scores: pa.Table) -> pa.StringArray:
    """One English sentence for each of n rows of SCORES: what speaks for residence, what against, which rival."""
    bars, tier = scores["bars"].combine_chunks().flatten(), scores["tier"].combine_chunks()
    weight_mb = bars.field("weight_mb").to_numpy().reshape(-1, len(FAMILIES))
    clauses = _clauses(bars)
    reasons = _joined(
        "; ",
        _listed(clauses, weight_mb >= SHOWN_FROM_MB, -weight_mb),
        _prefixed("against: ", _listed(clauses, weight_mb <= -SHOWN_FROM_MB, weight_mb)),
    )
    reasons = pc.if_else(pc.equal(reasons, ""), "nothing weighs as much as 0.1 bits", reasons)
    reasons = _joined("; ", reasons, _prefixed("weighed mainly against ", _rivals(bars)))
    chance = _chances(scores["probability"].to_numpy())
    informed = _concat(_looked_up(VERDICTS, tier), " (P ", chance, "): ", reasons, ".")
    uninformed = _concat(
        "No usable evidence (P ",
        chance,
        ", the prior alone): ",
        _silences(bars),
        "; ",
        _looked_up(DECISIONS, tier),
        ".",
    )
    return pc.if_else(pc.equal(scores["evidence_class"].combine_chunks(), "none"), uninformed, informed)


def _clauses(bars: pa.StructArray) -> pa.StringArray:
    """`photos placed in FR x3 (+7.2 bits)`, one for each bar."""
    words = pa.array([words for _, words in WORDS])
    family = pc.index_in(bars.field("family"), pa.array([family for family, _ in WORDS]))
    tenths, which = np.unique(np.rint(bars.field("weight_mb").to_numpy() / 100), return_inverse=True)
    weights = pa.array([f" ({tenth / 10:+.1f} bits)" for tenth in tenths.tolist()], pa.string())
    return _concat(words.take(family), bars.field("evidence"), weights.take(pa.array(which)))


def _listed(clauses: pa.StringArray, wanted: npt.NDArray[np.bool_], key: Integers) -> pa.StringArray:
    """The wanted clauses of each row of F, by ascending key, with commas between."""
    rows = np.arange(len(wanted))[:, None] * len(FAMILIES)
    order = rows + np.argsort(key, axis=1, kind="stable")
    text = _constant("", len(wanted))
    for cells in order.T:
        text = _joined(", ", text, pc.if_else(pa.array(wanted.ravel()[cells]), clauses.take(pa.array(cells)), ""))
    return text


def _rivals(bars: pa.StructArray) -> pa.StringArray:
    """The rival of each row of F bars; all that speak name the same."""
    rival = bars.field("rival")
    each = [rival.take(pa.array(np.arange(f, len(bars), len(FAMILIES)))) for f in range(len(FAMILIES))]
    return pc.coalesce(*each, "")


def _silences(bars: pa.StructArray) -> pa.StringArray:
    """`device absent, network switched off, publication too short, contact absent`: why each family is silent."""
    silence = _concat(bars.field("family"), " ", pc.replace_substring(bars.field("null_reason"), "_", " "))
    silence = silence.fill_null("")
    shown = pc.not_equal(silence, "").to_numpy(zero_copy_only=False).reshape(-1, len(FAMILIES))
    return _listed(silence, shown, np.zeros(shown.shape, np.int64))


def _chances(probability: npt.NDArray[np.float64]) -> pa.StringArray:
    """Two decimals, cut and not rounded, so that no sentence claims a threshold that was missed."""
    hundredths = np.floor(probability * 100).astype(np.int64)
    texts = ["<0.01", *(f"{hundredth / 100:.2f}" for hundredth in range(1, 100)), ">0.99"]
    nearly_one = probability > 0.99
    return pa.array(texts).take(pa.array(np.where(nearly_one, 100, hundredths)))


def _looked_up(texts: Mapping[str, str], keys: pa.StringArray) -> pa.StringArray:
    """The text of each key, empty for a key without one."""
    return pa.array(texts.values(), pa.string()).take(pc.index_in(keys, pa.array(texts.keys()))).fill_null("")


def _concat(*parts: pa.StringArray | str) -> pa.StringArray:
    return pc.binary_join_element_wise(*parts, "")


def _joined(separator: str, left: pa.StringArray, right: pa.StringArray) -> pa.StringArray:
    """Left and right, with a separator where neither is empty."""
    both = pc.and_(pc.not_equal(left, ""), pc.not_equal(right, ""))
    return _concat(left, pc.if_else(both, separator, ""), right)


def _prefixed(prefix: str, text: pa.StringArray) -> pa.StringArray:
    """The text after the prefix, or nothing where it is empty."""
    return _concat(pc.if_else(pc.equal(text, ""), "", prefix), text)


def _constant(text: str, n: int) -> pa.StringArray:
    return pa.repeat(pa.scalar(text), n)


def _month(month: int) -> str | None:
    """`2024-05` for `2024 * 12 + 4`."""
    return None if month == NONE else f"{month // 12:04d}-{month % 12 + 1:02d}"
