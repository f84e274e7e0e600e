"""Log-likelihoods as 16-bit integers, and their sums over the n-grams of a text.

A detector adds up hundreds of table rows for every text, and waits for memory most of that time. In multiples of
1 / 512 a weight takes half the room of a float32, four rows can be added in 16 bits, and a sum of integers is the same
in whatever order.
"""

import numba
import numpy as np
import numpy.typing as npt

GRID = 512
"""Units of 1."""

_LANES = 32
"""A row is filled up to a multiple of this: whole vectors, whole cache lines."""

_MOST = (1 << 13) - 1
"""Four weights up to this fit into 16 bits together."""


def to_fixed(weights: npt.NDArray[np.floating]) -> npt.NDArray[np.int16]:
    """Weights between -16 and 16, `(rows, labels)`, in units of 1 / 512; columns beyond the labels are 0.

    Raises ValueError for larger weights.
    """
    rows, labels = weights.shape
    units = np.rint(weights * np.float32(GRID))
    if np.abs(units).max(initial=0) > _MOST:
        raise ValueError(f"weights must be between -16 and 16, and one is {np.abs(weights).max():.1f} from 0")
    fixed = np.zeros((rows, -(-labels // _LANES) * _LANES), np.int16)
    fixed[:, :labels] = units
    return fixed


@numba.njit(nogil=True, cache=True)
def add_rows(rows: npt.NDArray[np.int32], weight: npt.NDArray[np.int16], total: npt.NDArray[np.int32]) -> None:
    """Add these rows of `weight` to `total`, `(columns,)`, four at a time."""
    fours = len(rows) & ~3
    for i in range(0, fours, 4):
        one, two, three, four = weight[rows[i]], weight[rows[i + 1]], weight[rows[i + 2]], weight[rows[i + 3]]
        for column in range(len(total)):
            total[column] += np.int32(np.int16(one[column] + two[column] + three[column] + four[column]))
    for i in range(fours, len(rows)):
        row = weight[rows[i]]
        for column in range(len(total)):
            total[column] += np.int32(row[column])
