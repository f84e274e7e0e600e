"""Where one subject may live, while its episodes are gone through: a probability for every way of life and country.

A way of life is one home and trips, or one home and a second place. Of each, every country has a share of its group
(a jurisdiction, or all the others), and every group a magnitude:

    P(way k, country c, evidence so far) = share[k, c] 2^top[k, group of c]

so that no number of episodes can underflow. All sums run over the countries in order. Loops over all countries have no
branches, and the few countries of jurisdictions, `members`, are gone through one by one.
"""

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from classifiers.model import Floats
from classifiers.sequences import Integers

LEAST = 1e-200
"""No share falls below it: a country that is all but excluded can come back into question."""

LOW, HIGH = 1e-60, 1e60
"""Groups whose shares add up to something outside are scaled anew."""


class Beliefs(NamedTuple):
    """Of K ways of life, C countries and J jurisdictions."""

    group: npt.NDArray[np.int16]
    """`(C,)`: 0 for countries of no jurisdiction, else 1 to J."""
    members: Integers
    """The countries of jurisdictions, ascending."""
    prior_share: Floats
    """`(C,)`."""
    prior_top: Floats
    """`(J + 1,)`."""
    prior_total: Floats
    """`(J + 1,)`."""
    share: Floats
    """`(K, C)`."""
    top: Floats
    """`(K, J + 1)`, log2."""
    total: Floats
    """`(K, J + 1)`: shares of each group added up."""
    level: Floats
    """`(J + 1,)`, like `kept`, `gained` and `leader`: room to reckon in."""
    kept: Floats
    gained: Floats
    leader: Integers
    chance: Floats
    """`(C,)`."""


def open_beliefs(ways: int, log_prior: Floats, group: npt.NDArray[np.int16]) -> Beliefs:
    """Beliefs for up to `ways` ways of life, from the prior as `log2`; nothing is believed yet."""
    groups = int(group.max()) + 1
    prior_top = np.array([log_prior[group == g].max() for g in range(groups)])
    prior_share = np.exp2(log_prior - prior_top[group])
    return Beliefs(
        group,
        np.flatnonzero(group),
        prior_share,
        prior_top,
        np.array([prior_share[group == g].sum() for g in range(groups)]),
        np.zeros((ways, len(group))),
        np.zeros((ways, groups)),
        np.zeros((ways, groups)),
        np.zeros(groups),
        np.zeros(groups),
        np.zeros(groups),
        np.zeros(groups, np.int64),
        np.zeros(len(group)),
    )


@numba.njit(nogil=True, cache=True, error_model="numpy")
def restart(beliefs: Beliefs, way: int, chance: float) -> None:
    """Before any evidence: this way of life has this chance, whatever the country."""
    share, top, total = beliefs.share, beliefs.top, beliefs.total
    for c in range(len(beliefs.prior_share)):
        share[way, c] = beliefs.prior_share[c]
    for g in range(len(beliefs.prior_top)):
        top[way, g] = beliefs.prior_top[g] + np.log2(chance)
        total[way, g] = beliefs.prior_total[g]


@numba.njit(nogil=True, cache=True, error_model="numpy")
def add_up(beliefs: Beliefs, ways: int, likelihood: Floats) -> None:
    """Let `total` be what it is once shares are multiplied by the likelihood `(K, C)`."""
    group, share, total = beliefs.group, beliefs.share, beliefs.total
    for k in range(ways):
        total[k] = 0.0
        rest = 0.0
        for c in range(len(group)):
            rest += share[k, c] * likelihood[k, c] if group[c] == 0 else 0.0
        for c in beliefs.members:
            total[k, group[c]] += share[k, c] * likelihood[k, c]
        total[k, 0] = rest


@numba.njit(nogil=True, cache=True, error_model="numpy")
def update(beliefs: Beliefs, ways: int, likelihood: Floats) -> None:
    """Multiply shares by the likelihood `(K, C)` that was last added up."""
    group, share, top, total = beliefs.group, beliefs.share, beliefs.top, beliefs.total
    for k in range(ways):
        for c in range(len(group)):
            product = share[k, c] * likelihood[k, c]
            share[k, c] = product if product > LEAST else LEAST
        fits = True
        for g in range(top.shape[1]):
            fits = fits and LOW <= total[k, g] <= HIGH
        if not fits:
            for c in range(len(group)):
                share[k, c] = max(share[k, c] / total[k, group[c]], LEAST)
            for g in range(top.shape[1]):
                top[k, g] += np.log2(total[k, g])
                total[k, g] = 1.0


@numba.njit(nogil=True, cache=True, error_model="numpy")
def move(beliefs: Beliefs, ways: int, chance: float) -> None:
    """Let every subject have moved with this chance, to anywhere as the prior says; ways of life stay."""
    group, share, top, total = beliefs.group, beliefs.share, beliefs.top, beliefs.total
    kept, gained = beliefs.kept, beliefs.gained
    for k in range(ways):
        highest, mass = -np.inf, 0.0
        for g in range(len(kept)):
            highest = max(highest, top[k, g])
        for g in range(len(kept)):
            mass += total[k, g] * np.exp2(top[k, g] - highest)
        everywhere = highest + np.log2(mass)
        for g in range(len(kept)):
            arrived = everywhere + beliefs.prior_top[g]
            level = max(top[k, g], arrived)
            kept[g] = (1 - chance) * np.exp2(top[k, g] - level)
            gained[g] = chance * np.exp2(arrived - level)
            top[k, g] = level
            total[k, g] = kept[g] * total[k, g] + gained[g] * beliefs.prior_total[g]
        for c in range(len(group)):
            moved = kept[0] * share[k, c] + gained[0] * beliefs.prior_share[c]
            share[k, c] = moved if group[c] == 0 else share[k, c]
        for c in beliefs.members:
            share[k, c] = kept[group[c]] * share[k, c] + gained[group[c]] * beliefs.prior_share[c]


@numba.njit(nogil=True, cache=True, error_model="numpy")
def highest_top(beliefs: Beliefs, ways: int, g: int) -> float:
    """The highest magnitude of a group in any way of life."""
    highest: float = beliefs.top[0, g]
    for k in range(1, ways):
        highest = max(highest, beliefs.top[k, g])
    return highest


@numba.njit(nogil=True, cache=True, error_model="numpy")
def log_odds(beliefs: Beliefs, ways: int, odds: Floats) -> None:
    """log2 of each jurisdiction's posterior against all other countries `(J,)`, without subtracting near equals."""
    top, total, level = beliefs.top, beliefs.total, beliefs.level
    for g in range(len(level)):
        highest = highest_top(beliefs, ways, g)
        mass = 0.0
        for k in range(ways):
            mass += total[k, g] * np.exp2(top[k, g] - highest)
        level[g] = highest + np.log2(mass)
    for j in range(len(odds)):
        highest = -np.inf
        for g in range(len(level)):
            if g != j + 1:
                highest = max(highest, level[g])
        rivals = 0.0
        for g in range(len(level)):
            if g != j + 1:
                rivals += np.exp2(level[g] - highest)
        odds[j] = level[j + 1] - highest - np.log2(rivals)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def find_rivals(beliefs: Beliefs, ways: int, rivals: npt.NDArray[np.int16]) -> None:
    """The likeliest country outside each jurisdiction `(J,)`."""
    group, share, top = beliefs.group, beliefs.share, beliefs.top
    chance, leader, lead = beliefs.chance, beliefs.leader, beliefs.level
    chance[:] = 0.0
    for k in range(ways):
        scale = np.exp2(top[k, 0] - highest_top(beliefs, ways, 0))
        for c in range(len(group)):
            chance[c] += share[k, c] * scale
    first, most = -1, 0.0
    for c in range(len(group)):
        if chance[c] > most and group[c] == 0:
            first, most = c, chance[c]
    lead[:] = 0.0
    leader[0], lead[0] = first, most
    for c in beliefs.members:
        g = group[c]
        highest = highest_top(beliefs, ways, g)
        chance[c] = 0.0
        for k in range(ways):
            chance[c] += share[k, c] * np.exp2(top[k, g] - highest)
        if chance[c] > lead[g]:
            leader[g], lead[g] = c, chance[c]
    for g in range(len(lead)):
        lead[g] = highest_top(beliefs, ways, g) + np.log2(lead[g])
    for j in range(len(rivals)):
        best = -1
        for g in range(len(lead)):
            if g != j + 1 and (best < 0 or lead[g] > lead[best]):
                best = g
        rivals[j] = leader[best]
