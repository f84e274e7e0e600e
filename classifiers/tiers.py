"""Tiers: what a policy does with a probability.

The three dispositions of Fellegi and Sunter (1969), and a fourth for subjects without evidence, which the
controller decides in writing.
"""

from typing import Any, Literal, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.scores import TIERS


class Policy(Protocol):
    """The controller's written decisions."""

    @property
    def erase_at(self) -> float:
        """The least probability that is erased."""

    @property
    def review_at(self) -> float:
        """The least probability that a person looks at."""

    @property
    def insufficient_evidence(self) -> Literal["review", "erase", "keep"]:
        """What becomes of subjects without any evidence."""


def assign_tiers(
    probability: "pa.Array[Any] | pa.ChunkedArray[Any]",
    evidence_class: "pa.Array[Any] | pa.ChunkedArray[Any]",
    policy: Policy,
) -> pa.StringArray:
    """The tier of n probabilities: `erase`, `review`, `keep`, or `insufficient`, which waits for a person.

    A subject without evidence (class `none`) has no more than its prior, so `policy.insufficient_evidence`
    decides: `review` makes it `insufficient`, `erase` and `keep` are carried out.
    """
    chance = probability.to_numpy()
    unknown = pc.equal(evidence_class, "none").to_numpy(zero_copy_only=False)
    decided = {"review": "insufficient"}.get(policy.insufficient_evidence, policy.insufficient_evidence)
    tier = np.select(
        [unknown, chance >= policy.erase_at, chance >= policy.review_at],
        [TIERS.index(decided), TIERS.index("erase"), TIERS.index("review")],
        TIERS.index("keep"),
    )
    return pa.array(TIERS, pa.string()).take(pa.array(tier))
