"""The uploader's IP address as evidence of a country: a MaxMind database read once, looked up in bulk.

The value is geoip2's `country.iso_code`. Its registered country, the seat of the address's owner, is no
substitute: where MaxMind gives that alone it means it cannot place the address. A represented country, an
army abroad, makes the address say nothing.
"""

import functools
import ipaddress
import logging
import os
import threading
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geoip2.database
import geoip2.errors
import maxminddb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from geoip2.models import Country
from maxminddb.reader import Metadata

from classifiers.addresses import EMPTY, MALFORMED, Intervals, is_public, parse_addresses
from schemas.countries import COUNTRIES, NONE, country_index
from schemas.errors import InputError
from schemas.evidence import SIGNALS, NullReason, Signal
from schemas.files import canonical_json, digest_bytes, digest_file, replacing

_log = logging.getLogger(__name__)

_LEVELS = next(kind.levels for kind in SIGNALS if kind.name == "ip")
UNKNOWN, RESIDENTIAL, MOBILE, HOSTING, ANONYMOUS = (
    _LEVELS.index(name) for name in ("unknown", "residential", "mobile", "hosting", "anonymous")
)

_USER_TYPES = {
    **dict.fromkeys(("residential", "dialup", "cafe", "college", "library", "school"), RESIDENTIAL),
    "cellular": MOBILE,
    **dict.fromkeys(("hosting", "content_delivery_network", "search_engine_spider"), HOSTING),
    "consumer_privacy_network": ANONYMOUS,
}
"""MaxMind's `traits.user_type`. A business, a government, a router and a traveler stay `unknown`: people use
them far from home, through the network of an employer or a hotel."""

_HIDING = (
    "is_anonymous_vpn",
    "is_public_proxy",
    "is_tor_exit_node",
    "is_residential_proxy",
    "is_anonymous_proxy",
)

_CACHED_SIZE = 1 << 20
"""A smaller database, in bytes, is read faster than its cache would be found."""

_CACHE_LAYOUT = 1

_ASKED = 256
"""How many addresses are put to geoip2 whenever a database is opened."""

Record = dict[str, Any]
Answer = tuple[int, int]
"""A country (or `NONE`) and a level."""

_SILENT: Answer = (NONE, UNKNOWN)


@dataclass(frozen=True)
class Answers:
    """What one database says: `country` and `level` of every interval of addresses, shape `(m,)`."""

    intervals: Intervals
    country: npt.NDArray[np.int16]
    level: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class NetworkDatabase:
    """A country database and, if the operator has one, an Anonymous-IP database, ready for lookups in bulk.

    `database_type` and `build_epoch` (seconds since 1970) are the country database's, for the manifest.
    """

    database_type: str
    build_epoch: int
    places: Answers
    anonymous: Answers | None = None

    @classmethod
    def open(cls, path: Path, anonymous: Path | None = None) -> "NetworkDatabase":
        """Read the database at `path`: City, Country, Enterprise or Insights, of MaxMind or in its layout.

        Raises:
            InputError: a file is missing, is no MaxMind DB, or does not hold what it is opened for.

        """
        metadata, places = _read(path, _place)
        if not (places.country != NONE).any():
            raise InputError(
                f"{path} is a {metadata.database_type} database and names no country; [signals] geoip needs "
                "one with country.iso_code, such as GeoLite2-Country or GeoLite2-City"
            )
        _agree_with_geoip2(path, metadata, places)
        hidden = None
        if anonymous is not None:
            found, hidden = _read(anonymous, _anonymity)
            if not hidden.level.any():
                raise InputError(
                    f"{anonymous} is a {found.database_type} database and marks no network as anonymous or "
                    "hosting; [signals] anonymous_ip needs a GeoIP2-Anonymous-IP database"
                )
        return cls(metadata.database_type, metadata.build_epoch, places, hidden)


def _agree_with_geoip2(path: Path, metadata: Metadata, places: Answers) -> None:
    """Put addresses all over the database to geoip2 itself: bulk lookups are right only as far as they agree with it.

    Raises:
        InputError: geoip2 places one of them elsewhere, so the database has a layout lethe does not read rightly.

    """
    draw = np.random.default_rng(metadata.build_epoch)
    asked = [str(ipaddress.ip_address(int(number))) for number in draw.integers(1 << 24, 223 << 24, _ASKED)]
    addresses = parse_addresses(pa.array(asked, pa.large_string()))
    ours = places.country[places.intervals.find(addresses)]
    with geoip2.database.Reader(path) as reader:
        layout = next((name for name in ("Country", "Enterprise") if name in metadata.database_type), "City")
        ask: Callable[[str], Country] = getattr(reader, layout.lower())
        for address, index in zip(asked, ours.tolist(), strict=True):
            try:
                answer = ask(address)
            except geoip2.errors.AddressNotFoundError:
                theirs = NONE
            except TypeError as error:  # geoip2 goes by the type's name
                raise InputError(
                    f"{path} is a {metadata.database_type} database, which geoip2 does not read as one of countries"
                ) from error
            else:
                abroad = answer.represented_country.iso_code
                theirs = NONE if abroad else country_index(answer.country.iso_code)
            if theirs != index:
                raise InputError(
                    f"{path} is a {metadata.database_type} database that lethe and geoip2 read differently; [signals] "
                    "geoip needs one in MaxMind's City, Country or Enterprise layout"
                )


_open_once = functools.lru_cache(maxsize=4)(NetworkDatabase.open)
_opening = threading.Lock()


def load_network_database(path: Path, anonymous: Path | None = None) -> NetworkDatabase:
    """`NetworkDatabase.open`, once per process however many threads ask."""
    with _opening:
        return _open_once(path, anonymous)


def locate_address(address: pa.Array, database: NetworkDatabase | None) -> Signal:
    """The signal `ip` of a string array of n addresses; without a database it is switched off."""
    if database is None:
        return Signal.silent(len(address), NullReason.SWITCHED_OFF)
    addresses = parse_addresses(address)
    at = database.places.intervals.find(addresses)
    value, level = database.places.country[at], database.places.level[at]
    if database.anonymous is not None:
        level = np.maximum(level, database.anonymous.level[database.anonymous.intervals.find(addresses)])
    reason = np.select(
        [addresses.status == EMPTY, addresses.status == MALFORMED, ~is_public(addresses), value == NONE],
        [NullReason.ABSENT, NullReason.MALFORMED, NullReason.NOT_PUBLIC, NullReason.NOT_FOUND],
        NullReason.PRESENT,
    ).astype(np.uint8)
    silent = reason != NullReason.PRESENT
    value[silent] = NONE
    level[silent] = 0
    return Signal(value, level, reason)


def _place(record: Record) -> Answer:
    """What a record of a country database says."""
    if record.get("represented_country"):
        return _SILENT
    country = record.get("country")
    index = country_index(country.get("iso_code")) if isinstance(country, dict) else NONE
    if index == NONE:
        return _SILENT
    traits = record.get("traits", {})
    _, level = _anonymity(traits)
    return index, max(level, _USER_TYPES.get(traits.get("user_type", ""), UNKNOWN))


def _anonymity(flags: Record) -> Answer:
    """What a record of an Anonymous-IP database says; `is_anonymous` there is true of plain hosting too."""
    if any(flags.get(name) for name in _HIDING):
        return NONE, ANONYMOUS
    if flags.get("is_hosting_provider"):
        return NONE, HOSTING
    return NONE, ANONYMOUS if flags.get("is_anonymous") else UNKNOWN


def _read(path: Path, meaning: Callable[[Record], Answer]) -> tuple[Metadata, Answers]:
    """The metadata and the answers of a MaxMind DB, those of a big one from the cache."""
    if not path.is_file():
        raise InputError(
            f"there is no IP database at {path}; [signals] wants the path of a MaxMind DB (.mmdb), or no "
            "such line at all to switch the network signal off"
        )
    try:
        with maxminddb.open_database(path) as reader:
            collect = functools.partial(_collect, reader, meaning)
            cached = path.stat().st_size >= _CACHED_SIZE
            return reader.metadata(), _through_cache(_cache_file(path, meaning), collect) if cached else collect()
    except (OSError, UnicodeDecodeError, maxminddb.InvalidDatabaseError) as error:
        raise InputError(
            f"{path} cannot be read as a MaxMind DB ({error}); fetch it again, or name another .mmdb file in [signals]"
        ) from error


def _collect(reader: Iterable[tuple[Any, Any]], meaning: Callable[[Record], Answer]) -> Answers:
    """Walk all networks, which come in ascending order, and keep the edges where the answer changes."""
    edges, answers = [0], [_SILENT]

    def answer_from(edge: int, answer: Answer) -> None:
        if answer == answers[-1]:
            return
        if edge == 0:
            answers[0] = answer
        else:
            edges.append(edge)
            answers.append(answer)

    reached = 0
    for network, record in reader:
        start = int(network.network_address)
        if start > reached:
            answer_from(reached, _SILENT)
        answer_from(start, meaning(record) if isinstance(record, dict) else _SILENT)
        reached = start + (1 << network.max_prefixlen - network.prefixlen)
    if reached < 1 << 128:
        answer_from(reached, _SILENT)
    country, level = zip(*answers, strict=True)
    return Answers(Intervals.from_edges(edges), np.array(country, np.int16), np.array(level, np.uint8))


def _cache_file(path: Path, meaning: Callable[[Record], Answer]) -> Path:
    """Where the answers of the database at `path` are kept, named by everything that they follow from."""
    folder = Path(os.environ.get("LETHE_CACHE") or Path.home() / ".cache" / "lethe")
    key = digest_bytes(canonical_json([_CACHE_LAYOUT, COUNTRIES, meaning.__name__, digest_file(path)]))
    return folder / f"networks-{key.removeprefix('sha256:')[:32]}.npz"


def _through_cache(file: Path, collect: Callable[[], Answers]) -> Answers:
    """The answers in `file`; if they are missing or damaged, those of `collect`, which are then put there."""
    try:
        with np.load(file, allow_pickle=False) as kept:
            return Answers(Intervals(kept["high"], kept["low"]), kept["country"], kept["level"])
    except FileNotFoundError:
        _log.info("reading an IP database for the first time; its networks are kept in %s", file.parent)
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        _log.warning("%s is damaged (%s) and is made anew", file, error)
    answers = collect()
    edges, country, level = answers.intervals, answers.country, answers.level
    try:
        with replacing(file) as aside, aside.open("wb") as out:
            np.savez(out, high=edges.high, low=edges.low, country=country, level=level)
    except OSError as error:
        _log.warning("the networks cannot be kept in %s (%s) and will be read again next time", file.parent, error)
    return answers
