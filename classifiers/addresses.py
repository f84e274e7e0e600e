"""IP addresses as 128-bit integers, parsed in bulk from Arrow strings, and lookups among intervals of them.

IPv4 and IPv6 share one line of numbers, the one that MaxMind databases use: IPv4 is its first 2**32 numbers.
An IPv6 address that carries an IPv4 address (mapped, 6to4, Teredo, NAT64) becomes that IPv4 address, so that
it is looked up as what it is.
"""

import ipaddress
from dataclasses import dataclass, field
from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.text import string_buffers

Words = npt.NDArray[np.uint64]

PARSED, EMPTY, MALFORMED = 0, 1, 2
"""What became of the text of an address; `EMPTY` is null or ''."""

_LOW_WORD = (1 << 64) - 1
_V4_BLOCKS = 1 << 16


class Addresses(NamedTuple):
    """n addresses, `high << 64 | low`: arrays of shape `(n,)`; both words are 0 where not `PARSED`."""

    high: Words
    low: Words
    status: npt.NDArray[np.uint8]


def parse_addresses(text: pa.Array) -> Addresses:
    """Parse a string or binary array of n addresses, as strictly as Python's `ipaddress`.

    `1.2`, `0x1`, `010.0.0.1`, anything around the address and zone ids (`fe80::1%eth0`) are malformed.
    """
    wide = text.cast(pa.large_binary())
    offsets, data = string_buffers(wide)
    valid = wide.is_valid().to_numpy(zero_copy_only=False)
    return Addresses(*_parse_rows(data, offsets, valid))


@dataclass(frozen=True)
class Intervals:
    """The line of addresses cut into intervals: number i runs from edge i up to edge i + 1; edge 0 is at 0.

    `high`, `low`: the edges, ascending, shape `(m,)`.
    """

    high: Words
    low: Words
    _v4: npt.NDArray[np.int64] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Note where every /16 of IPv4 begins, so that a lookup searches a few intervals and not all."""
        ipv4 = self.low[: np.searchsorted(self.high, 1)]
        blocks = np.arange(_V4_BLOCKS + 1, dtype=np.uint64) << np.uint64(16)
        object.__setattr__(self, "_v4", np.searchsorted(ipv4, blocks, side="right"))

    @classmethod
    def from_edges(cls, edges: list[int]) -> "Intervals":
        """Intervals that begin at these ascending numbers, the first of which is 0."""
        return cls(
            np.array([edge >> 64 for edge in edges], np.uint64),
            np.array([edge & _LOW_WORD for edge in edges], np.uint64),
        )

    def find(self, addresses: Addresses) -> npt.NDArray[np.int64]:
        """The number of the interval that holds each of n addresses, shape `(n,)`."""
        numbers: npt.NDArray[np.int64] = _find(*addresses[:2], self.high, self.low, self._v4)
        return numbers


def _line(*networks: str) -> tuple[Intervals, npt.NDArray[np.bool_]]:
    """Intervals of the line, and whether each is inside one of these ascending, disjoint networks."""
    edges, inside = [0], [False]
    for network in map(ipaddress.ip_network, networks):
        start = int(network.network_address)
        if edges[-1] == start:
            inside[-1] = True
        else:
            edges.append(start)
            inside.append(True)
        edges.append(start + network.num_addresses)
        inside.append(False)
    return Intervals.from_edges(edges), np.array(inside)


_RESERVED, _IS_RESERVED = _line(
    *(
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
    ),
    *(
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
    ),
    *("224.0.0.0/4", "240.0.0.0/4"),
    *("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),
)
"""What nobody can post a picture from, of IANA's special-purpose registries (RFC 6890 and its updates):
private, shared by carriers (100.64.0.0/10), documentation, benchmarks, multicast, future use."""


def is_public(addresses: Addresses) -> npt.NDArray[np.bool_]:
    """Whether each of n addresses is one that a single host on the internet can have, shape `(n,)`.

    Of IPv6 only 2000::/3 is handed out at all.
    """
    ipv6 = addresses.high >> np.uint64(61) == 1
    ipv4 = (addresses.high == 0) & (addresses.low < np.uint64(1 << 32))
    public: npt.NDArray[np.bool_] = (ipv4 | ipv6) & ~_IS_RESERVED[_RESERVED.find(addresses)]
    return public


@numba.njit(nogil=True, cache=True)
def _find(
    high: Words, low: Words, edge_high: Words, edge_low: Words, v4: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    out = np.empty(len(high), np.int64)
    for row in range(len(out)):
        upper, lower = high[row], low[row]
        if upper == 0 and lower < np.uint64(1 << 32):
            block = np.int64(lower >> np.uint64(16))
            first, stop = v4[block], v4[block + 1]
        else:
            first, stop = v4[-1], len(edge_high)
        # Invariant: edge[first - 1] <= address, and address < edge[stop].
        while first < stop:
            middle = (first + stop) >> 1
            if edge_high[middle] < upper or (edge_high[middle] == upper and edge_low[middle] <= lower):
                first = middle + 1
            else:
                stop = middle
        out[row] = first - 1
    return out


@numba.njit(nogil=True, cache=True)
def _parse_rows(
    data: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64], valid: npt.NDArray[np.bool_]
) -> tuple[Words, Words, npt.NDArray[np.uint8]]:
    n = len(valid)
    high, low, status = np.zeros(n, np.uint64), np.zeros(n, np.uint64), np.full(n, MALFORMED, np.uint8)
    for row in range(n):
        start, stop = offsets[row], offsets[row + 1]
        if not valid[row] or start == stop:
            status[row] = EMPTY
            continue
        v4 = _parse_v4(data, start, stop)
        if v4 >= 0:
            low[row] = np.uint64(v4)
            status[row] = PARSED
            continue
        well_formed, upper, lower = _parse_v6(data, start, stop)
        if well_formed:
            high[row], low[row] = _unwrap(upper, lower)
            status[row] = PARSED
    return high, low, status


@numba.njit(nogil=True, cache=True)
def _parse_v4(data: npt.NDArray[np.uint8], start: int, stop: int) -> int:
    """The number of `a.b.c.d`, or -1."""
    if stop - start < 7 or stop - start > 15:
        return -1
    number, octet, digits, dots = 0, 0, 0, 0
    for at in range(start, stop):
        byte = int(data[at])
        if 48 <= byte <= 57:
            if digits > 0 and octet == 0:
                return -1
            octet = octet * 10 + byte - 48
            digits += 1
            if octet > 255:
                return -1
        elif byte == 46 and digits > 0:
            number = number << 8 | octet
            octet, digits = 0, 0
            dots += 1
        else:
            return -1
    return number << 8 | octet if dots == 3 and digits > 0 else -1


@numba.njit(nogil=True, cache=True)
def _hex_digit(byte: int) -> int:
    if 48 <= byte <= 57:
        return byte - 48
    letter = byte | 32
    return letter - 87 if 97 <= letter <= 102 else -1


@numba.njit(nogil=True, cache=True)
def _parse_v6(data: npt.NDArray[np.uint8], start: int, stop: int) -> tuple[bool, np.uint64, np.uint64]:
    """Whether the text is an IPv6 address (RFC 4291, section 2.2), and its two words."""
    failed = (False, np.uint64(0), np.uint64(0))
    if stop - start < 2 or stop - start > 45:
        return failed
    groups = np.zeros(8, np.uint64)
    count, gap, at = 0, -1, start
    if data[at] == 58:
        if data[at + 1] != 58:
            return failed
        gap, at = 0, at + 2
    while at < stop:
        value, first = 0, at
        while at < stop and at - first < 5 and _hex_digit(np.int64(data[at])) >= 0:
            value = value << 4 | _hex_digit(np.int64(data[at]))
            at += 1
        if at < stop and data[at] == 46:
            v4 = _parse_v4(data, first, stop)
            if v4 < 0 or count > 6:
                return failed
            groups[count], groups[count + 1] = np.uint64(v4 >> 16), np.uint64(v4 & 0xFFFF)
            count += 2
            break
        if at == first or at - first > 4 or count == 8:
            return failed
        groups[count] = np.uint64(value)
        count += 1
        if at == stop:
            break
        if data[at] != 58 or at + 1 == stop:
            return failed
        at += 1
        if data[at] == 58:
            if gap >= 0:
                return failed
            gap, at = count, at + 1
    if (gap < 0 and count != 8) or (gap >= 0 and count > 7):
        return failed
    high, low = np.uint64(0), np.uint64(0)
    for position in range(8):
        word = np.uint64(0)
        if gap < 0 or position < gap:
            word = groups[position]
        elif position >= 8 - count + gap:
            word = groups[position - 8 + count]
        if position < 4:
            high = high << np.uint64(16) | word
        else:
            low = low << np.uint64(16) | word
    return True, high, low


@numba.njit(nogil=True, cache=True)
def _unwrap(high: np.uint64, low: np.uint64) -> tuple[np.uint64, np.uint64]:
    """The IPv4 address in an IPv6 one: mapped (RFC 4291), NAT64 (6052), 6to4 (3056), Teredo client (4380)."""
    v4_mask = np.uint64(0xFFFFFFFF)
    mapped = high == 0 and low >> np.uint64(32) == 0xFFFF
    nat64 = high == np.uint64(0x0064FF9B00000000) and low >> np.uint64(32) == 0
    if mapped or nat64:
        return np.uint64(0), low & v4_mask
    if high >> np.uint64(48) == 0x2002:
        return np.uint64(0), high >> np.uint64(16) & v4_mask
    if high >> np.uint64(32) == 0x20010000:
        return np.uint64(0), ~low & v4_mask
    return high, low
