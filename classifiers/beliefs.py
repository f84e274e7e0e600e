"""Where one subject may live, while its episodes are gone through: a probability for every way of life and country.

A way of life is one home and trips, or one home and a second place. Of each, every country has a share of its group
(a jurisdiction, or all the others), and every group a magnitude:

    P(way k, country c, evidence so far) = share[k, c] 2^top[k, group of c]

so that no number of episodes can underflow. All sums run over the countries in order.
"""

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from classifiers.model import Floats

LEAST = 1e-200
"""No share falls below it: a country that is all but excluded can come back into question."""

LOW, HIGH = 1e-60, 1e60
"""Groups whose shares add up to something outside are scaled anew."""


class Beliefs(NamedTuple):
    """Of K ways of life, C countries and J jurisdictions."""

    group: npt.NDArray[np.int16]
    """`(C,)`: 0 for countries of no jurisdiction, else 1 to J."""
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
    """`(J + 1,)`, like `kept` and `gained`: room to reckon in."""
    kept: Floats
    gained: Floats


def open_beliefs(ways: int, log_prior: Floats, group: npt.NDArray[np.int16]) -> Beliefs:
    """Beliefs for up to `ways` ways of life, from the prior as `log2`; nothing is believed yet."""
    groups = int(group.max()) + 1
    prior_top = np.array([log_prior[group == g].max() for g in range(groups)])
    prior_share = np.exp2(log_prior - prior_top[group])
    return Beliefs(
        group,
        prior_share,
        prior_top,
        np.array([prior_share[group == g].sum() for g in range(groups)]),
        np.zeros((ways, len(group))),
        np.zeros((ways, groups)),
        np.zeros((ways, groups)),
        np.zeros(groups),
        np.zeros(groups),
        np.zeros(groups),
    )


@numba.njit(nogil=True, cache=True)
def restart(beliefs: Beliefs, way: int, chance: float) -> None:
    """Before any evidence: this way of life has this chance, whatever the country."""
    beliefs.share[way] = beliefs.prior_share
    beliefs.top[way] = beliefs.prior_top + np.log2(chance)
    beliefs.total[way] = beliefs.prior_total


@numba.njit(nogil=True, cache=True)
def add_up(beliefs: Beliefs, ways: int, likelihood: Floats) -> None:
    """Let `total` be what it is once shares are multiplied by the likelihood `(K, C)`."""
    group, share, total = beliefs.group, beliefs.share, beliefs.total
    for k in range(ways):
        total[k] = 0.0
        rest = 0.0
        for c in range(len(group)):
            if group[c] == 0:
                rest += share[k, c] * likelihood[k, c]
            else:
                total[k, group[c]] += share[k, c] * likelihood[k, c]
        total[k, 0] = rest


@numba.njit(nogil=True, cache=True)
def update(beliefs: Beliefs, ways: int, likelihood: Floats) -> None:
    """Multiply shares by the likelihood `(K, C)` that was last added up."""
    group, share, top, total = beliefs.group, beliefs.share, beliefs.top, beliefs.total
    for k in range(ways):
        for c in range(len(group)):
            product = share[k, c] * likelihood[k, c]
            share[k, c] = product if product > LEAST else LEAST
        if total[k].min() < LOW or total[k].max() > HIGH:
            for c in range(len(group)):
                share[k, c] = max(share[k, c] / total[k, group[c]], LEAST)
            top[k] += np.log2(total[k])
            total[k] = 1.0


@numba.njit(nogil=True, cache=True)
def move(beliefs: Beliefs, ways: int, chance: float) -> None:
    """Let every subject have moved with this chance, to anywhere as the prior says; ways of life stay."""
    group, share, top, total = beliefs.group, beliefs.share, beliefs.top, beliefs.total
    kept, gained = beliefs.kept, beliefs.gained
    for k in range(ways):
        highest = top[k].max()
        mass = 0.0
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
            share[k, c] = kept[group[c]] * share[k, c] + gained[group[c]] * beliefs.prior_share[c]


@numba.njit(nogil=True, cache=True)
def log_odds(beliefs: Beliefs, ways: int, odds: Floats) -> None:
    """log2 of each jurisdiction's posterior against all other countries `(J,)`, without subtracting near equals."""
    top, total, level = beliefs.top, beliefs.total, beliefs.level
    for g in range(len(level)):
        highest = top[:ways, g].max()
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


@numba.njit(nogil=True, cache=True)
def find_rivals(beliefs: Beliefs, ways: int, rivals: npt.NDArray[np.int16]) -> None:
    """The likeliest country outside each jurisdiction `(J,)`."""
    group, share, top = beliefs.group, beliefs.share, beliefs.top
    leader, lead = np.full(top.shape[1], -1), np.zeros(top.shape[1])
    scale = np.empty((ways, len(lead)))
    for g in range(len(lead)):
        scale[:, g] = np.exp2(top[:ways, g] - top[:ways, g].max())
    for c in range(len(group)):
        value = 0.0
        for k in range(ways):
            value += share[k, c] * scale[k, group[c]]
        if value > lead[group[c]]:
            leader[group[c]], lead[group[c]] = c, value
    for g in range(len(lead)):
        lead[g] = top[:ways, g].max() + np.log2(lead[g])
    for j in range(len(rivals)):
        best = -1
        for g in range(len(lead)):
            if g != j + 1 and (best < 0 or lead[g] > lead[best]):
                best = g
        rivals[j] = leader[best]
