"""What the tests of the residence model share: evidence from a few words, a small model, and Bayes' rule in full."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from classifiers.model import ResidenceModel, parse_model
from classifiers.observations import VALUES
from schemas.countries import COUNTRIES, LANGUAGES
from schemas.evidence import EVIDENCE, SIGNALS, NullReason

Record = Mapping[str, Any]
"""`{"subject": "a", "episode": 1, "month": 24000, "gps": "FR", "language": ("fr", "sure")}`; the rest is absent."""

TERRITORIES = {"uk": ("GB",), "fr": ("FR", "RE"), "it": ("IT",)}


def make_evidence(records: Sequence[Record]) -> pa.Table:
    """Evidence with the schema EVIDENCE; a signal given as a `NullReason` is silent for that reason."""
    columns: dict[str, list[Any]] = {name: [] for name in EVIDENCE.names}
    for row, record in enumerate(records):
        columns["unit"].append(0)
        columns["row"].append(row)
        columns["record_id"].append(f"record-{row}")
        columns["face_id"].append(f"face-{row}")
        columns["subject_id"].append(record.get("subject", "a"))
        columns["episode"].append(record.get("episode", 1))
        columns["month"].append(record.get("month", 24000))
        for kind in SIGNALS:
            said = record.get(kind.name, NullReason.ABSENT)
            silent = isinstance(said, NullReason)
            value, level = (None, kind.levels[0]) if silent else observation(kind.name, said)
            columns[f"{kind.name}_value"].append(-1 if silent else VALUES[kind.name].index(value))
            columns[f"{kind.name}_level"].append(kind.levels.index(level))
            columns[f"{kind.name}_reason"].append(said if silent else NullReason.PRESENT)
        columns["phone_hash"].append(0)
        columns["fault"].append(0)
    return pa.table({field.name: pa.array(columns[field.name], field.type) for field in EVIDENCE}, schema=EVIDENCE)


def observation(signal: str, said: str | tuple[str, str]) -> tuple[str, str]:
    """`"FR"` is FR at the signal's first level; `("FR", "hosting")` names the level."""
    levels = next(kind.levels for kind in SIGNALS if kind.name == signal)
    return said if isinstance(said, tuple) else (said, levels[0])


def concentrated(shares: Mapping[str, float], over: Sequence[str]) -> dict[str, float]:
    """A distribution over all codes with practically all its weight on a few."""
    rest = 1e-12
    return {code: shares.get(code, 0.0) * (1 - rest * len(over)) + rest for code in over}


def small_model(
    prior: Mapping[str, float],
    *,
    tau: float = 0.2,
    rho: float = 0.5,
    hit: float = 0.9,
    speakers: Mapping[str, Mapping[str, float]] | None = None,
) -> ResidenceModel:
    """A model in which only a few countries matter; away from home, and wrong signals, are spread evenly on them."""
    even = concentrated({code: 1 / len(prior) for code in prior}, COUNTRIES)
    speakers = speakers or {}
    spoken = sorted({language for shares in speakers.values() for language in shares} | {"en"})
    languages = concentrated({language: 1 / len(spoken) for language in spoken}, LANGUAGES)
    return parse_model(
        {
            "version": 1,
            "prior": {"source": "test", "weights": concentrated(prior, COUNTRIES)},
            "place": {"source": "test", "tau": tau, "rho": rho, "weights": even},
            "signals": {
                kind.name: {
                    "source": "test",
                    "hit": {level: hit - 0.05 * i for i, level in enumerate(kind.levels)},
                    "background": languages if kind.name == "language" else even,
                }
                for kind in SIGNALS
            },
            "speakers": {
                "source": "test",
                "shares": {code: speakers.get(code, {"en": 1.0}) for code in COUNTRIES},
            },
        }
    )


def posterior_bits(records: Sequence[Record], model: ResidenceModel, territory: Sequence[str]) -> float:
    """log2 of the posterior odds that one subject lives in the territory: the model's formula, word by word."""
    episodes: dict[tuple[int, int], dict[tuple[str, str], float]] = {}
    for record in records:
        seen = episodes.setdefault((record.get("month", 24000), record.get("episode", 1)), {})
        for kind in SIGNALS:
            if kind.name in record and not isinstance(record[kind.name], NullReason):
                value, level = observation(kind.name, record[kind.name])
                hit = model.hit[kind.name][kind.levels.index(level)]
                seen[kind.name, value] = max(seen.get((kind.name, value), 0.0), hit)
    telling = sorted((when, seen) for when, seen in episodes.items() if seen)
    second = second_places([seen for _, seen in telling], model)
    chances = np.array([model.second * model.away[place] for place in second])
    beliefs = np.log2(np.append(chances, 1 - chances.sum()))[:, None] + np.log2(model.prior)
    month: int | None = None
    texts: list[str] = []
    for (later, _), seen in telling:
        if model.move and month not in (None, later):
            moved = [np.log2(model.move) + np.log2(model.prior) + log2_sum(belief) for belief in beliefs]
            beliefs = np.logaddexp2(np.log2(1 - model.move) + beliefs, moved)
        month = later
        for way, place in enumerate([*second, None]):
            beliefs[way] += np.log2(episode_chances(seen, model, place, texts))
        texts += [value for signal, value in seen if signal == "language"]
    inside = np.isin(COUNTRIES, list(territory))
    return log2_sum(beliefs[:, inside]) - log2_sum(beliefs[:, ~inside])


def second_places(episodes: Sequence[Mapping[tuple[str, str], float]], model: ResidenceModel) -> list[int]:
    """The three countries that gps, ip or domain name in most episodes, and in two at least."""
    named = [{VALUES[s].index(value) for s, value in seen if s in ("gps", "ip", "domain")} for seen in episodes]
    counts = {place: sum(place in places for places in named) for place in set().union(*named)}
    often = sorted((place for place in counts if counts[place] > 1), key=lambda place: (-counts[place], place))
    return often[:3] if model.second else []


def episode_chances(
    seen: Mapping[tuple[str, str], float], model: ResidenceModel, second: int | None, texts: Sequence[str]
) -> np.ndarray:
    """P(e | c) of every country c, for subjects with this second place, and earlier texts in these languages."""
    place, text, local, own = np.ones((4, len(COUNTRIES)))
    for (signal, value), hit in seen.items():
        index = VALUES[signal].index(value)
        chance = (1 - hit) * model.background[signal][index]
        if signal == "language":
            earlier, repeats = len(texts) / model.strength, texts.count(value) / model.strength
            local = local * (hit * model.speakers[:, index] + chance)
            text = text * (hit * (model.speakers[:, index] + repeats) / (1 + earlier) + chance)
        else:
            factor = np.where(np.arange(len(COUNTRIES)) == index, hit + chance, chance)
            place, own = (place, own * factor) if signal == "phone" else (place * factor, own)
    trip = model.rho * text * (model.away @ place) + (1 - model.rho) * (model.away @ (place * local))
    settled = place * text
    if second is not None:
        settled = (1 - model.stay) * settled + model.stay * place[second] * text[second]
    return own * ((1 - model.tau) * settled + model.tau * trip)


def log2_sum(bits: np.ndarray) -> float:
    """log2 of a sum of powers of two."""
    return float(bits.max() + np.log2(np.exp2(bits - bits.max()).sum()))
