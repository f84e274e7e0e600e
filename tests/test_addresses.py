import bisect
import ipaddress

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.addresses import EMPTY, MALFORMED, PARSED, Addresses, Intervals, is_public, parse_addresses

V4_MASK = 0xFFFFFFFF


def numbers(addresses: Addresses) -> list[int]:
    return [int(high) << 64 | int(low) for high, low, _ in zip(*addresses, strict=True)]


def addresses_of(values: list[int]) -> Addresses:
    high = np.array([value >> 64 for value in values], np.uint64)
    low = np.array([value & (1 << 64) - 1 for value in values], np.uint64)
    return Addresses(high, low, np.zeros(len(values), np.uint8))


def expected(text: str | None) -> tuple[int, int]:
    """Status and number by Python's own `ipaddress`, carriers of IPv4 unwrapped."""
    if not text:
        return EMPTY, 0
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return MALFORMED, 0
    if isinstance(address, ipaddress.IPv4Address):
        return PARSED, int(address)
    if address.scope_id is not None:
        return MALFORMED, 0
    inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
    if inner is None and address in ipaddress.ip_network("64:ff9b::/96"):
        return PARSED, int(address) & V4_MASK
    return PARSED, int(inner if inner is not None else address)


def nearly_an_address() -> st.SearchStrategy[str]:
    pieces = [
        "::",
        ":",
        ".",
        "0",
        "1",
        "ffff",
        "2001",
        "db8",
        "1.2.3.4",
        "255",
        "256",
        "01",
        "g",
        "%e",
        " ",
        "é",
    ]
    return st.lists(st.sampled_from(pieces), max_size=14).map("".join)


def any_text() -> st.SearchStrategy[str | None]:
    ips = st.ip_addresses()
    written = st.one_of(ips.map(str), ips.map(lambda ip: ip.exploded), ips.map(lambda ip: str(ip).upper()))
    carriers = st.ip_addresses(v=6).flatmap(
        lambda ip: st.sampled_from([0x2002 << 112, 0x20010000 << 96, 0xFFFF << 32, 0x64FF9B << 96]).map(
            lambda prefix: str(ipaddress.IPv6Address(prefix | int(ip) & V4_MASK | (int(ip) & V4_MASK) << 80))
        )
    )
    return st.one_of(st.none(), written, carriers, nearly_an_address(), st.text(max_size=20))


@settings(deadline=None)
@given(st.lists(any_text(), max_size=30))
def test_parses_what_ipaddress_parses_and_nothing_else(texts: list[str | None]) -> None:
    parsed = parse_addresses(pa.array(texts, pa.string()))
    assert list(zip(parsed.status.tolist(), numbers(parsed), strict=True)) == [expected(text) for text in texts]


@pytest.mark.parametrize(
    "text",
    [
        "999.1.2.3",
        "1.2",
        "1.2.3",
        "1.2.3.4.5",
        "0x1",
        "0x7f.0.0.1",
        "01.2.3.4",
        "1.2.3.04",
        "1.2.3.4 ",
        " 1.2.3.4",
    ]
    + ["1.2.3.4\n", "1.2.3.4/24", "1.2.3.4:80", "1..2.3", "-1.2.3.4", "1.2.3.4\x00", "٣.2.3.4", "16909060"]
    + [
        "fe80::1%eth0",
        "2001:db8::1%",
        "[::1]",
        "1::2::3",
        ":1",
        "1:",
        ":::",
        "12345::",
        "::1.2.3",
        "::01.2.3.4",
    ]
    + [
        "1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7:8:9",
        "1::2:3:4:5:6:7:8",
        "1:2:3:4:5:6:7:1.2.3.4",
        "::g",
        "localhost",
        "x" * 200_000,
    ],
)
def test_refuses(text: str) -> None:
    assert parse_addresses(pa.array([text])).status.tolist() == [MALFORMED]


@pytest.mark.parametrize(
    ("carrier", "inside"),
    [
        ("::ffff:81.2.69.142", "81.2.69.142"),
        ("::ffff:5102:458e", "81.2.69.142"),
        ("2002:5102:458e::1", "81.2.69.142"),
        ("2001:0:4136:e378:8000:63bf:aefd:ba71", "81.2.69.142"),
        ("64:ff9b::81.2.69.142", "81.2.69.142"),
    ],
)
def test_unwraps_the_ipv4_address_inside(carrier: str, inside: str) -> None:
    outer, inner = (numbers(parse_addresses(pa.array([text]))) for text in (carrier, inside))
    assert outer == inner


def test_takes_every_text_type_slices_and_bytes_that_are_no_text() -> None:
    texts = ["1.1.1.1", None, "2a00::1", "", "8.8.8.8"]
    plain = numbers(parse_addresses(pa.array(texts)))
    for kind in (pa.large_string(), pa.string_view(), pa.binary()):
        assert numbers(parse_addresses(pa.array(texts, pa.string()).cast(kind))) == plain
    assert numbers(parse_addresses(pa.array(texts)[2:])) == plain[2:]
    assert parse_addresses(pa.array([], pa.string())).status.tolist() == []
    assert parse_addresses(pa.array([None, None], pa.string())).status.tolist() == [EMPTY, EMPTY]
    assert parse_addresses(pa.array([b"\xff\xfe1.1", b"\xed\xa0\x80"])).status.tolist() == [
        MALFORMED,
        MALFORMED,
    ]


@pytest.mark.parametrize(
    "network",
    [
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.2.0/24",
    ]
    + ["192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"]
    + ["::1/128", "::/128", "fc00::/7", "fe80::/10", "ff00::/8", "2001:db8::/32", "2001:10::/28", "100::/64"]
    + ["::ffff:10.0.0.0/104", "2002:a00::/24", "64:ff9b::192.168.0.0/112", "64:ff9b:1::/48"],
)
def test_addresses_that_are_nobody_in_particular_are_not_public(network: str) -> None:
    block = ipaddress.ip_network(network)
    ends = [str(block[0]), str(block[-1]), str(block[block.num_addresses // 2])]
    assert not is_public(parse_addresses(pa.array(ends))).any()


def test_the_neighbours_of_reserved_blocks_are_public() -> None:
    public = [
        "1.0.0.0",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "128.0.0.0",
        "172.15.255.255",
    ]
    public += [
        "172.32.0.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
    ]
    public += [
        "2001:200::",
        "2001:db7:ffff::",
        "2001:db9::",
        "2a00:1450:4009::200e",
        "3ffe:ffff::",
        "2003::1",
    ]
    assert is_public(parse_addresses(pa.array(public))).all()


@settings(deadline=None)
@given(
    st.sets(st.integers(1, 2**128 - 1) | st.integers(1, 2**33) | st.integers(0, 2**16).map(lambda i: i << 16 | 1)),
    st.lists(st.integers(0, 2**128 - 1) | st.integers(0, 2**33), max_size=20),
)
def test_finds_the_interval_that_bisection_finds(edges: set[int], queries: list[int]) -> None:
    line = [0, *sorted(edges - {0})]
    near = queries + [edge + step for edge in line for step in (-1, 0, 1) if 0 <= edge + step < 2**128]
    found = Intervals.from_edges(line).find(addresses_of(near))
    assert found.tolist() == [bisect.bisect_right(line, address) - 1 for address in near]
