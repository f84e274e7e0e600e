"""Telephone numbers in the title and caption of an image, to the country that numbers them.

libphonenumber reads them (`phonenumbers`); it alone knows that +44 1534 is Jersey and +39 06 698 the Vatican.
It is given only the texts that can hold a number at all, about one in forty, which Arrow finds, and of those what can
be part of one: people and shops write the same number under many pictures, and it is read once.
"""

import re
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from phonenumbers import (
    Leniency,
    NumberParseException,
    PhoneNumberFormat,
    PhoneNumberMatch,
    PhoneNumberMatcher,
    format_number,
    is_valid_number,
    parse,
    region_code_for_number,
)

from schemas.countries import COUNTRIES, NONE, country_index
from schemas.evidence import NullReason, Signal
from schemas.hashing import hash_strings
from schemas.text import string_buffers

INTERNATIONAL, NATIONAL, NATIONAL_AMBIGUOUS = 0, 1, 2
"""`Signal.level`, as in `SIGNALS`: the smaller, the more the number says."""

NEIGHBOURS = ("IT", "DE", "FR", "GB", "IE", "CH", "BE", "ES")
"""Where a number in national format may come from just as well as from the country of the page; the likeliest first,
since one is enough."""

MAX_CHARACTERS = 20_000
_MAX_TRIES = 200
_MAX_NUMBERS = 50
"""Bounds on what one text may cost, whoever wrote it: characters read, candidates refused, numbers read."""

_SEPARATOR = r"[\s.\-()/\x{a0}\x{2009}\x{2010}-\x{2013}\x{202f}]"
_DIGITS = 7
_DIGITS_TOGETHER = f"[0-9](?:{_SEPARATOR}{{0,3}}[0-9]){{{_DIGITS - 1}}}"

_UNREAD_SPACE = str.maketrans("\u2009\u202f", "  ")
"""The thin spaces of French typography, which libphonenumber does not take for spaces."""
_DOUBLE_ZERO = re.compile(r"(?<![0-9+])(?<![0-9][^0-9A-Za-z])00[ .\-]{0,2}(?=[1-9])")
"""The prefix of an international call in all of Europe; not the zeros of 12:00, 100.00 or 01 42 00 53 00."""

_FIRST_TO_LAST_DIGIT = re.compile(r"\d(?:.*\d)?", re.DOTALL)
_LEADS = "(\\[\uff08\uff3b"
_PLUSES = "+\uff0b"
_LEAD = re.compile(f"[{_LEADS}{_PLUSES}]")
_MOST_BEFORE_DIGITS = 10
"""What a number may begin with: two brackets or pluses, each with four characters of punctuation after it."""

_CACHED_NUMBERS = 1 << 15
_LONGEST_CACHED = 120
"""The cache takes some 30 MB at most, whatever strangers write."""

_NO_REGION = "ZZ"


class PhoneSignal(NamedTuple):
    """Phone numbers of n records.

    `country` is the signal; `number_hash`, shape `(n,)`, is the hash of the number in E.164 format, equal for
    equal numbers and 0 where the signal is silent.
    """

    country: Signal
    number_hash: npt.NDArray[np.uint64]


class _Reading(NamedTuple):
    country: int
    level: int
    reason: NullReason
    number: str


def read_phone(title: pa.Array, caption: pa.Array, page_country: npt.NDArray[np.int16]) -> PhoneSignal:
    """The country of the numbers in n titles and captions (strings, null where absent).

    A number that starts with `+` or `00` is read wherever it stands. One in national format is read only
    where `page_country`, shape `(n,)`, names the country of the page, and as a number of that country; its
    level is `national_ambiguous` if it would be a valid number of a neighbour too. Silent with `ABSENT` (no
    digits that could be a number), `INVALID_NUMBER`, `NOT_FOUND` (a number of no country, such as +800) or
    `CONFLICT`.
    Only the first `MAX_CHARACTERS` of a record are read.
    """
    value, level, reason = signal = Signal.silent(len(title), NullReason.ABSENT)
    number_hash = np.zeros(len(title), np.uint64)
    rows = np.flatnonzero(_may_hold_number(title) | _may_hold_number(caption))
    if len(rows) == 0:
        return PhoneSignal(signal, number_hash)

    texts = _region_and_text(title.take(rows), caption.take(rows), page_country[rows])
    readings = [_read(text.decode("utf-8", "replace")) for text in texts.dictionary.to_pylist()]
    of_row = texts.indices.to_numpy()
    countries, levels, reasons, numbers = zip(*readings, strict=True)
    value[rows] = np.array(countries, np.int16)[of_row]
    level[rows] = np.array(levels, np.uint8)[of_row]
    reason[rows] = np.array(reasons, np.uint8)[of_row]
    hashes = np.where(np.array(countries) != NONE, hash_strings(pa.array(numbers, pa.large_string())), 0)
    number_hash[rows] = hashes[of_row]
    return PhoneSignal(signal, number_hash)


def _may_hold_number(text: pa.Array) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = _has_digits(*string_buffers(text))
    rows = np.flatnonzero(found)
    together = pc.match_substring_regex(text.take(pa.array(rows)), _DIGITS_TOGETHER)
    found[rows] = np.asarray(pc.fill_null(together, False), np.bool_)
    return found


@numba.njit(nogil=True, cache=True)
def _has_digits(offsets: npt.NDArray[np.int64], data: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Whether each row has `_DIGITS` digits at all, which takes a tenth of the time of the regular expression."""
    out = np.empty(len(offsets) - 1, np.bool_)
    for row in range(len(out)):
        digits = 0
        for at in range(offsets[row], offsets[row + 1]):
            digits += 48 <= data[at] <= 57
        out[row] = digits >= _DIGITS
    return out


def _region_and_text(title: pa.Array, caption: pa.Array, page_country: npt.NDArray[np.int16]) -> pa.DictionaryArray:
    """Each distinct region, title and caption once, as bytes in lines, with the rows that have it."""
    regions = pa.array([*COUNTRIES, _NO_REGION], pa.large_binary())
    region = regions.take(pa.array(np.where(page_country == NONE, len(COUNTRIES), page_country)))
    parts = [region, *(pc.fill_null(part.cast(pa.large_binary()), b"") for part in (title, caption))]
    return pc.dictionary_encode(pc.binary_join_element_wise(*parts, pa.scalar(b"\n", pa.large_binary())))


def _read(region_and_text: str) -> _Reading:
    region, _, text = region_and_text.partition("\n")
    part = _part_of_numbers(_DOUBLE_ZERO.sub("+", text[:MAX_CHARACTERS].translate(_UNREAD_SPACE)))
    if region == _NO_REGION and not any(plus in part for plus in _PLUSES):
        return _silent(NullReason.INVALID_NUMBER)
    return (_read_cached if len(part) <= _LONGEST_CACHED else _read_numbers)(region, part)


def _part_of_numbers(text: str) -> str:
    """All that libphonenumber looks at: from what may stand before the first digit to the last, and its neighbours.

    It asks whether a letter stands right before or after a number; a `#` may belong to its end.
    """
    digits = _FIRST_TO_LAST_DIGIT.search(text)
    if digits is None:
        return ""
    lead = _LEAD.search(text, max(0, digits.start() - _MOST_BEFORE_DIGITS), digits.start())
    return text[max(0, (lead or digits).start() - 1) : digits.end() + 2]


def _read_numbers(region: str, text: str) -> _Reading:
    matcher = PhoneNumberMatcher(text, region, Leniency.VALID, _MAX_TRIES)
    matches = list(islice(matcher, _MAX_NUMBERS))
    located = [(match, country) for match in matches if (country := _country(match)) != NONE]
    if not matches:
        return _silent(NullReason.INVALID_NUMBER)
    if not located:
        return _silent(NullReason.NOT_FOUND)
    if len({country for _, country in located}) > 1:
        return _silent(NullReason.CONFLICT)
    level, match = min(((_level(match, region), match) for match, _ in located), key=lambda pair: pair[0])
    number = format_number(match.number, PhoneNumberFormat.E164)
    return _Reading(located[0][1], level, NullReason.PRESENT, number)


_read_cached = lru_cache(_CACHED_NUMBERS)(_read_numbers)


def _silent(reason: NullReason) -> _Reading:
    return _Reading(NONE, 0, reason, "")


def _country(match: PhoneNumberMatch) -> int:
    return country_index(region_code_for_number(match.number))


def _level(match: PhoneNumberMatch, region: str) -> int:
    if match.raw_string.lstrip("([ ").startswith(("+", "\uff0b")):
        return INTERNATIONAL
    elsewhere = any(_is_number_of(other, match.raw_string) for other in NEIGHBOURS if other != region)
    return NATIONAL_AMBIGUOUS if elsewhere else NATIONAL


def _is_number_of(region: str, number: str) -> bool:
    try:
        return is_valid_number(parse(number, region))
    except NumberParseException:
        return False
