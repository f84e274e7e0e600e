"""Captions from the web, made fit for a language detector: links, mentions, emoji and shouting removed, in one pass.

A language detector learned from running text. What is written beside a picture is half something else: addresses,
`@handles`, `#RunTogetherWords`, pictograms, "sooooo", CAPITALS. All of it is handled here, once, for both detectors,
which then read the same code points. After it no `://` and no `@` is left, so langdetect's own filters for URLs and
e-mail addresses have nothing more to remove.
"""

import functools
import sys
import unicodedata
from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

CodePoints = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]

MAX_CODE_POINTS = 1_000
"""A text is judged by its beginning: from 500 code points on no answer changes, and a 200 kB caption must not cost
200 kB of work."""

SPACE = 32
HASH, SLASH, COLON, AT_SIGN, UNDERSCORE = (ord(sign) for sign in "#/:@_")

# What a code point is, as bits of one byte. Plain letters, a to z without w, need no look at what follows them.
_BLANK, _UPPER, _LOWER, _WORD, _HANDLE, _MARK, _PLAIN = 1, 2, 4, 8, 16, 32, 64
_NOTHING = np.frombuffer(b"\0", np.uint8)
_TABLED = 0x20000  # above it are only Chinese characters (two planes) and what has no meaning in text


class CleanTexts(NamedTuple):
    """Texts as code points: text i is `code_points[offsets[i]:offsets[i + 1]]`, `offsets` of shape `(n + 1,)`."""

    code_points: CodePoints
    offsets: Offsets

    def to_strings(self) -> list[str]:
        """The texts as Python strings, for people and for tests."""
        return [
            self.code_points[start:stop].astype("<u4").tobytes().decode("utf-32-le")
            for start, stop in zip(self.offsets[:-1], self.offsets[1:], strict=True)
        ]


class _CodePointTables(NamedTuple):
    kind: npt.NDArray[np.uint8]  # every code point -> bits
    lower: CodePoints  # code points below _TABLED -> the lower-case letter
    pair: npt.NDArray[np.int64]  # sorted: base << 21 | combining mark
    composed: CodePoints  # the one letter that the pair is the same as


def clean_texts(texts: pa.Array) -> CleanTexts:
    """Clean n texts (string or binary; a null is an empty text) and cut each to `MAX_CODE_POINTS`.

    Removes addresses (`scheme://…`, `www.…`), e-mail addresses and `@handles`, emoji and other symbols, control
    characters; splits `#CamelCase` and `#snake_case`; leaves two of three or more equal characters in a row; writes
    words in capitals in lower case; composes letter and accent to one letter where Unicode has it; leaves one space for
    many. Bytes that are no UTF-8, and surrogates, count as a space.
    """
    wide = texts.cast(pa.large_binary()).fill_null(b"")
    if not len(wide):
        return CleanTexts(np.empty(0, np.int32), np.zeros(1, np.int64))
    starts = np.frombuffer(wide.buffers()[1], np.int64, len(wide) + 1, wide.offset * 8)
    content = wide.buffers()[2]
    data = np.frombuffer(content, np.uint8) if content is not None and content.size else _NOTHING
    return CleanTexts(*_clean_rows(data, starts, _tables()))


@functools.cache
def _tables() -> _CodePointTables:
    kind = np.full(sys.maxunicode + 1, _BLANK, np.uint8)
    kind[0x20000:0x40000] = _WORD
    lower = np.arange(_TABLED, dtype=np.int32)
    pairs: dict[int, int] = {}
    for code_point in range(_TABLED):
        letter = chr(code_point)
        kind[code_point] = _kind(letter)
        if len(letter.lower()) == 1:
            lower[code_point] = ord(letter.lower())
        parts = unicodedata.normalize("NFD", letter)
        if len(parts) > 1 and unicodedata.normalize("NFC", letter) == letter:
            for i in range(1, len(parts)):
                rest = unicodedata.normalize("NFC", parts[:i] + parts[i + 1 :])
                if len(rest) == 1 and unicodedata.combining(parts[i]):
                    pairs[ord(rest) << 21 | ord(parts[i])] = code_point
    for pair in pairs:
        kind[pair & 0x1FFFFF] |= _MARK
    keys = np.array(sorted(pairs), np.int64)
    return _CodePointTables(kind, lower, keys, np.array([pairs[key] for key in keys.tolist()], np.int32))


def _kind(letter: str) -> int:
    category = unicodedata.category(letter)
    if letter.isspace() or "\ufe00" <= letter <= "\ufe0f" or letter == "\u20e3":
        return _BLANK
    if category in ("So", "Sk", "Cc", "Cs", "Co", "Cn") or (category == "Cf" and letter not in "\u200c\u200d"):
        return _BLANK
    bits = _UPPER if category in ("Lu", "Lt") else _LOWER if category == "Ll" else 0
    if category[0] in "LMN":
        bits |= _WORD
    if letter.isascii() and (letter.isalnum() or letter in "-_."):
        bits |= _HANDLE
    if "a" <= letter <= "z" and letter != "w":
        bits |= _PLAIN
    return bits


@numba.njit(nogil=True, cache=True)
def _decode(data: npt.NDArray[np.uint8], at: int, stop: int) -> tuple[int, int]:
    """The code point at a byte and the position after it; a byte that starts no character is a space."""
    first = data[at]
    if first < 0x80:
        return int(first), at + 1
    if 0xC2 <= first < 0xE0:
        extra, code_point, least = 1, int(first & 0x1F), 0x80
    elif 0xE0 <= first < 0xF0:
        extra, code_point, least = 2, int(first & 0x0F), 0x800
    elif 0xF0 <= first < 0xF5:
        extra, code_point, least = 3, int(first & 0x07), 0x10000
    else:
        return SPACE, at + 1
    if at + extra >= stop:
        return SPACE, at + 1
    for i in range(1, extra + 1):
        if data[at + i] & 0xC0 != 0x80:
            return SPACE, at + 1
        code_point = code_point << 6 | int(data[at + i] & 0x3F)
    if code_point < least or code_point > 0x10FFFF:
        return SPACE, at + 1
    return code_point, at + 1 + extra


@numba.njit(nogil=True, cache=True)
def _compose(pair: npt.NDArray[np.int64], composed: CodePoints, base: int, mark: int) -> int:
    """The letter that a letter and a combining mark are together, -1 if Unicode has none."""
    key = base << 21 | mark
    found = np.searchsorted(pair, key)
    return int(composed[found]) if found < len(pair) and pair[found] == key else -1


@numba.njit(nogil=True, cache=True)
def _skip_link(data: npt.NDArray[np.uint8], at: int, stop: int) -> int:
    """The end of a run of printable ASCII."""
    while at < stop and 0x21 <= data[at] <= 0x7E:
        at += 1
    return at


@numba.njit(nogil=True, cache=True)
def _skip_handle(data: npt.NDArray[np.uint8], at: int, stop: int, kind: npt.NDArray[np.uint8]) -> int:
    """The end of a name or host after `@`."""
    while at < stop and data[at] < 0x80 and kind[data[at]] & _HANDLE:
        at += 1
    return at


@numba.njit(nogil=True, cache=True)
def _is_www(data: npt.NDArray[np.uint8], at: int, stop: int) -> bool:
    """Whether `www.` stands here, in capitals or not."""
    if at + 3 >= stop or data[at + 3] != 0x2E:
        return False
    return bool(data[at] | 32 == 0x77 and data[at + 1] | 32 == 0x77 and data[at + 2] | 32 == 0x77)


@numba.njit(nogil=True, cache=True)
def _put(out: CodePoints, filled: int, code_point: int) -> int:
    """Append a code point, unless it would be a leading or second space or a third equal letter; the new length."""
    if code_point == SPACE:
        if filled == 0 or out[filled - 1] == SPACE:
            return filled
    elif filled > 1 and out[filled - 1] == code_point and out[filled - 2] == code_point:
        return filled
    out[filled] = code_point
    return filled + 1


@numba.njit(nogil=True, cache=True)
def _drop_handle(out: CodePoints, filled: int, kind: npt.NDArray[np.uint8]) -> int:
    """Take back what stands before `://` or `@`: the scheme of a link, the name in an e-mail address."""
    while filled > 0 and kind[out[filled - 1]] & _HANDLE:
        filled -= 1
    return filled


@numba.njit(nogil=True, cache=True)
def _quieten(out: CodePoints, filled: int, kind: npt.NDArray[np.uint8], lower: CodePoints) -> None:
    """Write every word of two or more letters that are all capitals in lower case."""
    start = 0
    while start < filled:
        stop, capitals_only = start, True
        while stop < filled and kind[out[stop]] & _WORD:
            capitals_only &= kind[out[stop]] & _UPPER != 0
            stop += 1
        if capitals_only and stop - start > 1:
            for i in range(start, stop):
                out[i] = lower[out[i]]
        start = stop + 1


@numba.njit(nogil=True, cache=True)
def _clean_row(data: npt.NDArray[np.uint8], at: int, stop: int, out: CodePoints, tables: _CodePointTables) -> int:
    """Write one cleaned text to `out`, which has room for it, and return its length."""
    kind, blank = tables.kind, np.uint8(_BLANK)
    filled, hashtag, shouting, previous = 0, False, False, blank
    while at < stop and filled < MAX_CODE_POINTS:
        if kind[data[at]] & _PLAIN and not hashtag:
            filled = _put(out, filled, int(data[at]))
            previous = kind[data[at]]
            at += 1
            continue
        code_point, after = _decode(data, at, stop)
        bits = kind[code_point]
        if bits & _MARK and filled > 0:
            letter = _compose(tables.pair, tables.composed, out[filled - 1], code_point)
            if letter >= 0:
                out[filled - 1] = letter
                at = after
                continue
        link = code_point == COLON and after + 1 < stop and data[after] == SLASH and data[after + 1] == SLASH
        if link or code_point == AT_SIGN:
            filled = _drop_handle(out, filled, kind)
            after = _skip_link(data, after, stop) if link else _skip_handle(data, after, stop, kind)
            bits = blank
        elif previous & _BLANK and _is_www(data, at, stop):
            after = _skip_link(data, at, stop)
            bits = blank
        elif code_point == HASH or (hashtag and code_point == UNDERSCORE):
            hashtag = True
            bits = blank
        elif hashtag:
            hashtag = bits & _WORD != 0
            if bits & _UPPER and previous & _LOWER:
                filled = _put(out, filled, SPACE)
        filled = _put(out, filled, SPACE if bits & _BLANK else code_point)
        shouting |= bits & previous & _UPPER != 0
        at, previous = after, bits
    filled = min(filled, MAX_CODE_POINTS)
    if shouting:
        _quieten(out, filled, kind, tables.lower)
    return filled


@numba.njit(nogil=True, cache=True)
def _clean_rows(data: npt.NDArray[np.uint8], starts: Offsets, tables: _CodePointTables) -> tuple[CodePoints, Offsets]:
    offsets = np.zeros(len(starts), np.int64)
    room = 0
    for row in range(len(starts) - 1):
        room += min(2 * (starts[row + 1] - starts[row]), MAX_CODE_POINTS + 1)
    out = np.empty(room, np.int32)
    for row in range(len(starts) - 1):
        filled = offsets[row]
        offsets[row + 1] = filled + _clean_row(data, starts[row], starts[row + 1], out[filled:], tables)
    return out[: offsets[-1]], offsets
