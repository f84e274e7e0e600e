"""Fitting the residence model to histories, with or without known homes: expectation maximisation.

Every subject's home, every episode's place and author, and whether each observation is right, are what is not seen
(see the formula in `weights.py`). One step computes how often each is to be expected under the present parameters,
and takes the parameters at which those counts are likeliest. A known home is simply certain.

    expectation      what is to be expected under the present parameters
      └─ contexts        which episodes look alike, earlier texts and all: each is weighed once
    maximisation     the parameters at which that is likeliest
      └─ anchors         how far they stay with the model that the fit starts from

The likelihood times the anchors never falls.
Source: Dempster, Laird, Rubin 1977; the anchors as in Gauvain and Lee 1994 (MAP).

All sums run in the order of the histories, in double precision, by one thread: equal input gives equal parameters.
"""

import dataclasses
import math
from typing import NamedTuple

import numpy as np

from classifiers.anchors import Anchors, log_anchors
from classifiers.contexts import find_contexts
from classifiers.expectation import expect
from classifiers.histories import Histories
from classifiers.maximisation import maximise
from classifiers.model import ResidenceModel

MOST_STEPS = 500
TOLERANCE = 1e-6
"""A step that gains less than this, in nats a subject, is the last."""

STRENGTHS = (1e3, 100.0, 30.0, 10.0, 5.0, 3.0, 2.0, 1.0)
"""Of the urn of languages, from hardly anybody who keeps a language to nearly everybody."""

OPENING = 0.02
"""Share of a country's texts that may be in any language at all when a fit starts: what has no share stays without."""


class Fit(NamedTuple):
    """A fitted model, and how it was reached."""

    model: ResidenceModel
    objective: tuple[float, ...]
    """Logarithm of the likelihood times the anchors, before every step, in nats: never falls."""
    log_likelihood: float
    """Of the data under the fitted model, in nats."""

    @property
    def steps(self) -> int:
        """How many steps it took."""
        return len(self.objective) - 1


def fit(data: Histories, start: ResidenceModel, anchors: Anchors | None = None, most_steps: int = MOST_STEPS) -> Fit:
    """The parameters at which the histories are likeliest, from those of `start`.

    Some things stay as they are. How often the surest level of a language is right, and what it shows where it is
    wrong, cannot be told from records: a country in which a language is named by mistake and one in which it is
    written now and then look the same; scoring uses the mixture of both, and that is fitted. How strong the urn of
    languages is stays as it is, too: see `likeliest_strength`. Second places and moves are left out here, as if there
    were none: see `second_places.py`.
    """
    anchors = anchors or Anchors()
    start = dataclasses.replace(start, digest="", slope=1.0, intercept=0.0)  # another model, not calibrated yet
    enough = TOLERANCE * max(int(data.subjects.sum()), 1)
    model, objective = _opened(start), list[float]()
    contexts = find_contexts(data, model)
    while True:
        expected, log_likelihood = expect(data, model, contexts)
        objective.append(log_likelihood + log_anchors(model, start, anchors))
        if len(objective) > most_steps or (len(objective) > 1 and objective[-1] - objective[-2] < enough):
            return Fit(model, tuple(objective), log_likelihood)
        model = maximise(expected, start, anchors)


def likeliest_strength(data: Histories, model: ResidenceModel) -> float:
    """The likeliest of STRENGTHS, given all else; a model in which every text is drawn anew stays so."""
    if math.isinf(model.strength):
        return model.strength
    contexts = find_contexts(data, model)
    likelihoods = [expect(data, dataclasses.replace(model, strength=s), contexts)[1] for s in STRENGTHS]
    return STRENGTHS[int(np.argmax(likelihoods))]


def _opened(model: ResidenceModel) -> ResidenceModel:
    speakers = (1 - OPENING) * model.speakers + OPENING * model.background["language"]
    return dataclasses.replace(model, speakers=speakers)
