"""What a text says of its author's country, given which languages were seen of the subject before.

Texts are counted in an array `(L + 1,)`: how many earlier episodes show each language, and last how many there are in
all. The formula stands at the top of `weights.py`; the urn is that of Blackwell and MacQueen 1973.
"""

import numba
import numpy as np

from classifiers.model import Floats, Tables
from classifiers.observations import Codebook, Role
from classifiers.sequences import Integers
from schemas.countries import LANGUAGES

NO_TEXTS: Integers = np.zeros(len(LANGUAGES) + 1, np.int64)

_TEXT = int(Role.TEXT)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def count_texts(codes: Integers, codebook: Codebook, texts: Integers) -> None:
    """Add the languages of one episode to those seen before."""
    for code in codes:
        if codebook.role[code] == _TEXT:
            texts[codebook.value[code]] += 1
            texts[-1] += 1


@numba.njit(nogil=True, cache=True, error_model="numpy")
def repeated(code: int, language: int, texts: Integers, tables: Tables) -> float:
    """What is the same for every country in the likelihood of a text `(text + repeated) / (1 + keeping n)`."""
    row = code - tables.first_text
    again: float = tables.keeping * (texts[-1] * tables.misread[row] + texts[language] * tables.read[row])
    return again


@numba.njit(nogil=True, cache=True, error_model="numpy")
def write(code: int, language: int, texts: Integers, tables: Tables, text: Floats, local: Floats) -> float:
    """Multiply `text` and `local`, `(C,)`, by the likelihood of one more text of the subject, or of somebody else.

    A common factor changes no odds: both are divided by the sum of all, which is returned, so that any number of
    languages fits.
    """
    ratios = tables.text[code - tables.first_text]
    again, share = repeated(code, language, texts, tables), 1 / (1 + tables.keeping * texts[-1])
    total = 0.0
    for c in range(len(text)):
        text[c] *= (ratios[c] + again) * share
        local[c] *= ratios[c]
        total += text[c] + local[c]
    for c in range(len(text)):
        text[c] *= 1 / total
        local[c] *= 1 / total
    return total
