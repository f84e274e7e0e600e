"""The demo world's internet: address ranges for every country and kind of network, and a MaxMind DB that knows them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mmdb_writer import MMDBWriter, TreeWriter
from netaddr import IPSet

from runners.demo_draw import NOTHING, Integers
from runners.demo_world import World

TRAITS: dict[str, dict[str, str | bool]] = {
    "plain": {},
    "residential": {"user_type": "residential"},
    "mobile": {"user_type": "cellular"},
    "hosting": {"user_type": "hosting"},
    "vpn": {"is_anonymous": True, "is_anonymous_vpn": True},
}
"""What the database says about each kind of network of `World.networks`; `private` addresses are not in it."""

DATABASE_TYPE = "Lethe-Demo-City"
_BUILD_EPOCH = 1735689600
"""2025-01-01, so that the same demo has the same bytes whenever it is written."""

_DECIMAL = pa.array([str(number) for number in range(256)])
_HEXADECIMAL = pa.array([f"{number:x}" for number in range(1 << 16)])


def networks_of(country: int, kind: int) -> tuple[str, str]:
    """The IPv4 and IPv6 range of a kind of network (a position in `TRAITS`) in one of up to 960 countries."""
    v4 = 40 << 24 | country << 20 | kind << 17
    return f"{v4 >> 24}.{v4 >> 16 & 255}.0.0/15", f"2a10:{country:x}:{kind << 12:x}::/36"


def write_networks(world: World, path: Path) -> None:
    """Write the database, in the layout of GeoIP2-City with the user types of GeoIP2-Enterprise."""
    description = {"en": "Invented networks of a lethe demo; knows nothing about the real internet"}
    writer = MMDBWriter(6, DATABASE_TYPE, ["en"], description, ipv4_compatible=True)
    for index, country in enumerate(world.countries):
        for kind, traits in enumerate(TRAITS.values()):
            code = {"iso_code": country.code}
            record = {"country": code, "registered_country": code, **({"traits": traits} if traits else {})}
            writer.insert_network(IPSet(networks_of(index, kind)), record)
    metadata = {
        "ip_version": 6,
        "database_type": DATABASE_TYPE,
        "languages": ["en"],
        "binary_format_major_version": 2,
        "binary_format_minor_version": 0,
        "description": description,
        "build_epoch": _BUILD_EPOCH,
    }
    TreeWriter(writer.tree, metadata, "auto", "f64").write(str(path))


def draw_addresses(world: World, random: np.random.Generator, country: Integers, network: Integers) -> pa.Array:
    """A random address in each network of n, as text of shape `(n,)`; null where there is no country."""
    names = [name for name, _, _ in world.networks]
    kinds = list(TRAITS)
    kind = np.array([kinds.index(name) if name in TRAITS else NOTHING for name in names])[network]
    host = random.integers(0, 1 << 17, len(country))
    public = 40 << 24 | country << 20 | kind << 17 | host
    v4 = np.where(kind == NOTHING, 10 << 24 | host, public)
    v6 = random.integers(0, 1 << 16, (2, len(country)))
    is_v6 = (kind != NOTHING) & (random.random(len(country)) < world.ipv6)
    dotted = _join(".", _DECIMAL, [v4 >> 24 & 255, v4 >> 16 & 255, v4 >> 8 & 255, v4 & 255])
    coloned = pc.binary_join_element_wise(
        "2a10", _join(":", _HEXADECIMAL, [country & 0xFFFF, (kind & 7) << 12 | host & 0xFFF, v6[0]]), ":"
    )
    coloned = pc.binary_join_element_wise(coloned, _join("", _HEXADECIMAL, [v6[1]]), "::")
    return pc.if_else(pa.array(country == NOTHING), None, pc.if_else(pa.array(is_v6), coloned, dotted))


def _join(separator: str, table: pa.Array, parts: list[Integers]) -> pa.Array:
    return pc.binary_join_element_wise(*(table.take(pa.array(part)) for part in parts), separator)
