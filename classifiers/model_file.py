"""The document of a residence model: what a `model.json` says, from the parameters in memory."""

import math
from collections.abc import Mapping
from typing import Any

from classifiers.model import Floats, ResidenceModel
from classifiers.observations import VALUES
from schemas.countries import COUNTRIES, LANGUAGES
from schemas.evidence import SIGNALS

DIGITS = 7
"""Significant digits: more than any figure is worth, and enough for a thousand shares to add up to 1."""

RAREST = 1e-5
"""A language with a smaller share of a country's texts is left out: it says what its background says."""


def model_document(model: ResidenceModel, sources: Mapping[str, str]) -> dict[str, Any]:
    """The document that `parse_model` reads as this model, rounded.

    `sources` says where each block comes from: `prior`, `place`, `speakers`, the names of the signals, and of those
    that the model has `own_language`, `second_place`, `move` and `calibration`.
    """
    document: dict[str, Any] = {
        "version": 1,
        "prior": {"source": sources["prior"], "weights": _shares(model.prior, COUNTRIES)},
        "place": {
            "source": sources["place"],
            "tau": _rounded(model.tau),
            "rho": _rounded(model.rho),
            "weights": _shares(model.away, COUNTRIES),
        },
        "signals": {
            kind.name: {
                "source": sources[kind.name],
                "hit": dict(zip(kind.levels, map(_rounded, model.hit[kind.name].tolist()), strict=True)),
                "background": _shares(model.background[kind.name], VALUES[kind.name]),
            }
            for kind in SIGNALS
        },
        "speakers": {
            "source": sources["speakers"],
            "shares": {
                code: _shares(row, LANGUAGES, rarest=RAREST)
                for code, row in zip(COUNTRIES, model.speakers, strict=True)
            },
        },
    }
    if math.isfinite(model.strength):
        document["own_language"] = {"source": sources["own_language"], "strength": _rounded(model.strength)}
    if model.second:
        document["second_place"] = {
            "source": sources["second_place"],
            "share": _rounded(model.second),
            "stay": _rounded(model.stay),
        }
    if model.move:
        document["move"] = {"source": sources["move"], "chance": _rounded(model.move)}
    if (model.slope, model.intercept) != (1.0, 0.0):
        document["calibration"] = {
            "version": 1,
            "source": sources["calibration"],
            "slope": _rounded(model.slope),
            "intercept": _rounded(model.intercept),
        }
    return document


def _shares(shares: Floats, codes: tuple[str, ...], rarest: float = 0.0) -> dict[str, float]:
    """Shares by code, without those below `rarest`; they add up to 1 but for rounding."""
    kept = {code: share for code, share in zip(codes, shares.tolist(), strict=True) if share >= rarest}
    total = sum(kept.values())
    return {code: _rounded(share / total) for code, share in kept.items()}


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
