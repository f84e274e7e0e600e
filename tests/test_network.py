import ipaddress
import os
import threading
from pathlib import Path
from typing import Any

import geoip2.database
import geoip2.errors
import numpy as np
import pyarrow as pa
import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from classifiers.network import NetworkDatabase, load_network_database, locate_address
from schemas.countries import COUNTRIES, NONE
from schemas.errors import InputError
from schemas.evidence import SIGNALS, NullReason

SHARED = Path(os.environ.get("LETHE_SHARED_DATA", Path(__file__).parents[1] / ".." / "shared" / "data")) / "mmdb"
needs_shared_data = pytest.mark.skipif(not SHARED.is_dir(), reason=f"no public IP databases in {SHARED}")
LEVELS = next(kind.levels for kind in SIGNALS if kind.name == "ip")

NETWORKS: dict[str, dict[str, Any]] = {
    "1.0.0.0/8": {"country": {"iso_code": "GB"}},
    "1.2.0.0/16": {"country": {"iso_code": "FR"}, "traits": {"user_type": "residential"}},
    "1.2.3.0/24": {"country": {"iso_code": "IT"}, "traits": {"user_type": "cellular"}},
    "1.2.3.77/32": {"country": {"iso_code": "DE"}, "traits": {"user_type": "hosting"}},
    "2.0.0.0/16": {"country": {"iso_code": "FR"}, "registered_country": {"iso_code": "US"}},
    "2.1.0.0/16": {"registered_country": {"iso_code": "US"}},
    "2.2.0.0/16": {
        "country": {"iso_code": "DE"},
        "represented_country": {"iso_code": "US", "type": "military"},
    },
    "2.3.0.0/16": {
        "country": {"iso_code": "FR"},
        "traits": {"is_anonymous_vpn": True, "user_type": "residential"},
    },
    "2.4.0.0/16": {"continent": {"code": "EU"}},
    "2.5.0.0/16": {"country": {"iso_code": "FR"}, "traits": {"user_type": "business"}},
    "9.255.0.0/16": {"country": {"iso_code": "US"}},
    "10.0.0.0/8": {"country": {"iso_code": "AU"}},
    "11.0.0.0/16": {"country": {"iso_code": "US"}},
    "200.0.0.0/12": {"country": {"iso_code": "BR"}},
    "2a00::/16": {"country": {"iso_code": "FR"}},
    "2a00:1234::/32": {"country": {"iso_code": "GB"}},
    "2a00:1234:0:1:8000::/65": {"country": {"iso_code": "IT"}},
    "2a00:1234:0:1:8000::5/128": {"country": {"iso_code": "ES"}},
    "fe00::/8": {"country": {"iso_code": "AU"}},
}


def write_mmdb(path: Path, networks: dict[str, dict[str, Any]], database_type: str = "GeoIP2-City") -> Path:
    writer = MMDBWriter(6, database_type, ipv4_compatible=True)
    for network, record in networks.items():
        writer.insert_network(IPSet([network]), record)
    writer.to_db_file(str(path))
    return path


@pytest.fixture
def mmdb(tmp_path: Path) -> Path:
    return write_mmdb(tmp_path / "world.mmdb", NETWORKS)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LETHE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def located(addresses: list[str | None], database: NetworkDatabase | None) -> list[str]:
    """`GB residential`, or the reason for silence, of every address."""
    signal = locate_address(pa.array(addresses, pa.string()), database)
    assert (signal.value.dtype, signal.level.dtype, signal.reason.dtype) == (np.int16, np.uint8, np.uint8)
    return [
        f"{COUNTRIES[value]} {LEVELS[level]}" if value != NONE else NullReason(reason).name
        for value, level, reason in zip(*signal, strict=True)
    ]


def one(address: str | None, database: NetworkDatabase | None) -> str:
    return located([address], database)[0]


def edges_and_insides(networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> list[str]:
    """First, last, middle address and both neighbours of every network."""
    found = []
    for network in networks:
        first, last = int(network[0]), int(network[-1])
        kind = type(network[0])
        for number in (first - 1, first, (first + last) // 2, last, last + 1):
            if 0 <= number < 1 << network.max_prefixlen:
                found.append(str(kind(number)))
    return found


def assert_agrees_with_geoip2(path: Path, addresses: list[str]) -> None:
    """The country is geoip2's wherever the address is public and stands for no army abroad."""
    signal = locate_address(pa.array(addresses), NetworkDatabase.open(path))
    compared = 0
    with geoip2.database.Reader(path) as reader:
        ask = reader.city if "City" in reader.metadata().database_type else reader.country
        for address, value, reason in zip(addresses, signal.value, signal.reason, strict=True):
            if reason == NullReason.NOT_PUBLIC:
                continue
            try:
                answer = ask(address)
            except geoip2.errors.AddressNotFoundError:
                expected = None
            else:
                expected = None if answer.represented_country.iso_code else answer.country.iso_code
            assert (COUNTRIES[value] if value != NONE else None) == expected, address
            compared += 1
    assert compared > len(addresses) / 2


def test_agrees_with_geoip2_on_a_database_of_nested_networks(mmdb: Path) -> None:
    addresses = edges_and_insides([ipaddress.ip_network(network) for network in NETWORKS])
    random = np.random.default_rng(3)
    addresses += [str(ipaddress.IPv4Address(int(n))) for n in random.integers(1 << 24, 3 << 24, 2000)]
    assert_agrees_with_geoip2(mmdb, addresses)


@needs_shared_data
@pytest.mark.parametrize("name", ["GeoIP2-City-Test.mmdb", "GeoIP2-Country-Test.mmdb"])
def test_agrees_with_geoip2_on_maxminds_own_test_databases(name: str) -> None:
    import maxminddb

    with maxminddb.open_database(SHARED / name) as reader:
        networks = [network for network, _ in reader]
    assert_agrees_with_geoip2(SHARED / name, edges_and_insides(networks))


@needs_shared_data
def test_agrees_with_geoip2_on_the_whole_internet(cache: Path) -> None:
    random = np.random.default_rng(5)
    v4 = [str(ipaddress.IPv4Address(int(number))) for number in random.integers(1 << 24, 224 << 24, 5000)]
    high = random.integers(0x2400, 0x2C00, 3000) << 48 | random.integers(0, 1 << 48, 3000)
    v6 = [str(ipaddress.IPv6Address(int(number) << 64 | 1)) for number in high]
    assert_agrees_with_geoip2(SHARED / "geo-ip-blocks.mmdb", v4 + v6)
    assert len(list(cache.iterdir())) == 1


@needs_shared_data
def test_an_anonymous_ip_database_lowers_the_trust_and_not_the_country(tmp_path: Path) -> None:
    anonymous = SHARED / "GeoIP2-Anonymous-IP-Test.mmdb"
    world = write_mmdb(tmp_path / "w.mmdb", {"0.0.0.0/1": {"country": {"iso_code": "GB"}}})
    plain, informed = NetworkDatabase.open(world), NetworkDatabase.open(world, anonymous)
    addresses: list[str | None] = ["1.2.0.1", "71.160.223.1", "1.3.0.1"]
    assert located(addresses, plain) == ["GB unknown"] * 3
    assert located(addresses, informed) == ["GB anonymous", "GB hosting", "GB unknown"]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (None, "ABSENT"),
        ("", "ABSENT"),
        ("999.1.2.3", "MALFORMED"),
        ("1.2", "MALFORMED"),
        ("0x1", "MALFORMED"),
        ("01.2.3.4", "MALFORMED"),
        ("1.2.3.4 (proxy)", "MALFORMED"),
        ("fe80::1%eth0", "MALFORMED"),
        ("10.1.2.3", "NOT_PUBLIC"),
        ("100.64.0.1", "NOT_PUBLIC"),
        ("fe80::1", "NOT_PUBLIC"),
        ("::ffff:10.1.2.3", "NOT_PUBLIC"),
        ("3.3.3.3", "NOT_FOUND"),
        ("2.1.0.1", "NOT_FOUND"),
        ("2.2.0.1", "NOT_FOUND"),
        ("2.4.0.1", "NOT_FOUND"),
        ("1.1.1.1", "GB unknown"),
        ("1.2.1.1", "FR residential"),
        ("1.2.3.4", "IT mobile"),
        ("1.2.3.77", "DE hosting"),
        ("2.0.0.1", "FR unknown"),
        ("2.3.0.1", "FR anonymous"),
        ("2.5.0.1", "FR unknown"),
        ("2a00:1234::1", "GB unknown"),
        ("2a00:1234:0:1:7fff:ffff:ffff:ffff", "GB unknown"),
        ("2a00:1234:0:1:8000::4", "IT unknown"),
        ("2a00:1234:0:1:8000::5", "ES unknown"),
        ("::ffff:1.2.3.4", "IT mobile"),
        ("2002:102:304::", "IT mobile"),
        ("64:ff9b::1.2.3.4", "IT mobile"),
    ],
)
def test_what_one_address_says(mmdb: Path, address: str | None, expected: str) -> None:
    assert one(address, NetworkDatabase.open(mmdb)) == expected


def test_without_a_database_the_signal_is_off() -> None:
    assert located(["1.2.3.4", None], None) == ["SWITCHED_OFF", "SWITCHED_OFF"]


def test_hosting_and_hiding_networks_by_the_flags_of_an_anonymous_ip_database(tmp_path: Path) -> None:
    flags = {
        "1.0.0.0/16": {"is_anonymous": True, "is_hosting_provider": True},
        "1.1.0.0/16": {"is_anonymous": True, "is_hosting_provider": True, "is_public_proxy": True},
        "1.2.0.0/16": {"is_anonymous": True},
        "1.3.0.0/16": {},
    }
    hidden = write_mmdb(tmp_path / "anonymous.mmdb", flags, "GeoIP2-Anonymous-IP")
    database = NetworkDatabase.open(write_mmdb(tmp_path / "world.mmdb", NETWORKS), hidden)
    addresses: list[str | None] = ["1.0.1.1", "1.1.1.1", "1.2.1.1", "1.3.1.1", "3.3.3.3"]
    assert located(addresses, database) == [
        "GB hosting",
        "GB anonymous",
        "FR anonymous",
        "GB unknown",
        "NOT_FOUND",
    ]


def test_neither_order_nor_batching_changes_an_answer(mmdb: Path) -> None:
    database = NetworkDatabase.open(mmdb)
    addresses = [*edges_and_insides([ipaddress.ip_network(n) for n in NETWORKS]), None, "", "nonsense"]
    whole = located(addresses, database)
    assert [one(address, database) for address in addresses] == whole
    assert located(addresses[::-1], database) == whole[::-1]
    assert located([], database) == []


def test_the_manifest_can_name_the_database(mmdb: Path) -> None:
    database = NetworkDatabase.open(mmdb)
    with geoip2.database.Reader(mmdb) as reader:
        assert (database.database_type, database.build_epoch) == (
            "GeoIP2-City",
            reader.metadata().build_epoch,
        )


def test_a_database_of_ipv4_alone(tmp_path: Path) -> None:
    writer = MMDBWriter(4, "DBIP-Country-Lite")
    writer.insert_network(IPSet(["0.0.0.0/1"]), {"country": {"iso_code": "GB"}})
    writer.to_db_file(str(tmp_path / "v4.mmdb"))
    database = NetworkDatabase.open(tmp_path / "v4.mmdb")
    assert located(["8.8.8.8", "2a00::1", "::ffff:8.8.8.8"], database) == [
        "GB unknown",
        "NOT_FOUND",
        "GB unknown",
    ]


def test_unusable_databases_are_refused_with_a_remedy(tmp_path: Path, mmdb: Path) -> None:
    with pytest.raises(InputError, match="there is no IP database at .*absent.mmdb"):
        NetworkDatabase.open(tmp_path / "absent.mmdb")
    (tmp_path / "text.mmdb").write_text("start_ip,end_ip,country\n")
    with pytest.raises(InputError, match="cannot be read as a MaxMind DB"):
        NetworkDatabase.open(tmp_path / "text.mmdb")
    asn = write_mmdb(tmp_path / "asn.mmdb", {"1.0.0.0/8": {"autonomous_system_number": 7}}, "GeoLite2-ASN")
    with pytest.raises(InputError, match="GeoLite2-ASN database and names no country.*GeoLite2-Country"):
        NetworkDatabase.open(asn)
    flat = write_mmdb(tmp_path / "flat.mmdb", {"1.0.0.0/8": {"country": "France"}}, "ipinfo")
    with pytest.raises(InputError, match="names no country"):
        NetworkDatabase.open(flat)
    with pytest.raises(InputError, match="marks no network as anonymous.*anonymous_ip"):
        NetworkDatabase.open(mmdb, asn)
    with pytest.raises(InputError, match="no IP database"):
        NetworkDatabase.open(mmdb, tmp_path / "absent.mmdb")


@pytest.fixture(scope="module")
def big_mmdb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Over a megabyte, so that its networks are kept in the cache."""
    countries = ("GB", "FR", "IT", "DE")
    networks = {
        f"{20 + i // 65536}.{i // 256 % 256}.{i % 256}.{i * 7 % 256 & 240}/28": {
            "country": {"iso_code": countries[i % 4]}
        }
        for i in range(40_000)
    }
    return write_mmdb(tmp_path_factory.mktemp("big") / "big.mmdb", networks)


def test_the_networks_of_a_big_database_are_kept_and_a_damaged_copy_is_made_anew(big_mmdb: Path, cache: Path) -> None:
    assert big_mmdb.stat().st_size > 1 << 20
    addresses: list[str | None] = [f"20.{i % 90}.{i % 251}.{i % 256}" for i in range(2000)]
    first = located(addresses, NetworkDatabase.open(big_mmdb))
    assert {"GB unknown", "FR unknown", "NOT_FOUND"} <= set(first)
    [kept] = cache.iterdir()
    content = kept.read_bytes()
    kept.write_bytes(content[: len(content) // 2])
    assert located(addresses, NetworkDatabase.open(big_mmdb)) == first
    assert kept.read_bytes() == content
    middle = len(content) // 2
    kept.write_bytes(content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :])
    assert located(addresses, NetworkDatabase.open(big_mmdb)) == first
    kept.write_bytes(b"")
    assert located(addresses, NetworkDatabase.open(big_mmdb)) == first
    assert located(addresses, NetworkDatabase.open(big_mmdb)) == first
    assert [path.name for path in cache.iterdir()] == [kept.name]


def test_a_cache_that_cannot_be_written_is_done_without(
    big_mmdb: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LETHE_CACHE", str(tmp_path / "file" / "below"))
    assert one("20.0.0.0", NetworkDatabase.open(big_mmdb)) == "GB unknown"


def test_threads_share_one_database(mmdb: Path) -> None:
    opened: list[NetworkDatabase] = []
    threads = [threading.Thread(target=lambda: opened.append(load_network_database(mmdb))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(database) for database in opened}) == 1
