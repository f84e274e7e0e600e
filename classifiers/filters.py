"""The filters that critics of such an erasure quote: one signal decides. What weighing buys is measured against them.

    ip       some address of an uploader is in the territory
    domain   some page is of the territory
    any      some signal of any family is: coordinates, an address, a page, its language, a phone number

They are read off the bars of a score, so that they judge by the very evidence that was weighed. A bar names at most
`classifiers.bars.SHOWN` findings, the commonest; whether a filter would have found its country among the others
cannot be told, and such rows are marked.
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from classifiers.measures import Mask
from schemas.jurisdictions import Jurisdiction

FILTERS = ("ip", "domain", "any")

_FAMILY = {"ip": "network", "domain": "publication"}


class Filtered(NamedTuple):
    """What one filter does to n rows, shape `(n,)` each."""

    flagged: Mask
    cut_short: Mask
    """Not flagged, but not all of the evidence is known."""


def apply_filters(bars: pa.ListArray, jurisdiction: Jurisdiction) -> dict[str, Filtered]:
    """What each of FILTERS says about n rows, from their `bars`, of which `family` and `evidence` are read."""
    flat, row = pc.list_flatten(bars), pc.list_parent_indices(bars).to_numpy()
    family, evidence = flat.field("family"), flat.field("evidence")
    # Country codes are in capitals and languages are not: "IT" is a place and "it" a language.
    place = _names(evidence, jurisdiction.territory)
    cut = pc.ends_with(evidence, "…").to_numpy(zero_copy_only=False)

    def rows_with(bar: Mask) -> Mask:
        return np.bincount(row[bar], minlength=len(bars)) > 0

    found = {}
    for name in FILTERS:
        seen = np.ones(len(flat), np.bool_)
        if name in _FAMILY:
            seen = pc.equal(family, _FAMILY[name]).to_numpy(zero_copy_only=False)
        says = place if name in _FAMILY else place | _names(evidence, jurisdiction.languages)
        flagged = rows_with(seen & says)
        found[name] = Filtered(flagged, rows_with(seen & cut) & ~flagged)
    return found


def _names(evidence: pa.StringArray, codes: tuple[str, ...]) -> Mask:
    """Whether a text such as `"en x3, GB x1, …"` names one of the codes."""
    named: Mask = pc.match_substring_regex(evidence, f"(^|, )({'|'.join(codes)}) x").to_numpy(zero_copy_only=False)
    return named
