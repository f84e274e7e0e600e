"""Where an image was published: the country of its page's domain, or of the locale in the page's address.

The host is found in each URL by `urls`, or by Arrow's regular expressions if it is not plain; each distinct host, and
each distinct path or query that may be a locale, is then judged once, by `hostnames`.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from classifiers.hostnames import LOCALE, Locale, read_host, read_language_tag, read_locale, read_region
from classifiers.urls import find_plain_hosts, may_name_locale
from schemas.countries import NONE
from schemas.evidence import NullReason, Signal

_ANY_HOST = (
    r"^\s*(?:(?:(?i:https?|ftp):)?//(?:[^/?#\\\s]*@)?)?"
    r"(?P<found>\[[0-9A-Fa-f:.]+\]|[^/?#:@\\\s\[\]]+)(?::[0-9]*)?(?:[/?#\\]|\s*$)"
)

_URL_LOCALES: tuple[tuple[str, Callable[[str], Locale]], ...] = (
    (r"(?i)(?:/|[?&](?:hl|lang|locale|mkt)=)(?P<found>[a-z]{2}(?:[-_/][a-z]{2})?)(?:[/?&#]|$)", read_locale),
    (r"(?i)[?&]gl=(?P<found>[a-z]{2})(?:[&#]|$)", read_region),
)
"""Where an address may name a locale, the more telling first, and who reads it."""

_INNER_URLS = (
    r"(?i)[?&]imgrefurl=(?P<found>[^&]+)",
    r"(?i)[^\s](?P<found>https?:/[^&\s]+)",
    r"(?i)[=:]cache:(?:[\w-]*:)?(?P<found>[^&+\s]+)",
    r"(?i)^(?:https?:)?//[^/?#]*/(?:web/[0-9a-z_*]+/)?(?P<found>(?:[\w-]+\.)+[a-z]{2,}/.*)",
)
"""Where a wrapper holds the address of what it shows, first come first served: of an image, rather its page."""
_ESCAPES = (("%25", "%"), ("(?i)%3a", ":"), ("(?i)%2f", "/"), ("(?i)%3f", "?"), ("(?i)%3d", "="))

_MAY_NAME_LOCALE = (NullReason.PRESENT, NullReason.NOT_FOUND, NullReason.GENERIC_DOMAIN)
"""The paths of a content network are made of chance letters."""
_LONGEST_LOCALE = 64


class DomainSignal(NamedTuple):
    """What the addresses of n pages say.

    `country` is the signal. `language_hint`, shape `(n,)`, is the language of a subdomain or path (`fr.`, `/it/`)
    as an index into `LANGUAGES`, `NONE` without. `host` is a large_string array of n host names in their one
    ASCII spelling, null where the address has none.
    """

    country: Signal
    language_hint: npt.NDArray[np.int16]
    host: pa.Array


class _Locales(NamedTuple):
    """n `Locale`s as columns."""

    country: npt.NDArray[np.int16]
    language: npt.NDArray[np.int16]


class _Hosts(NamedTuple):
    """n `Host`s as columns."""

    name: pa.Array
    country: npt.NDArray[np.int16]
    level: npt.NDArray[np.uint8]
    reason: npt.NDArray[np.uint8]
    language: npt.NDArray[np.int16]
    wraps: npt.NDArray[np.bool_]


def read_domain(source_url: pa.Array, declared_language: pa.Array) -> DomainSignal:
    """The country of n pages, from their addresses and declared languages (strings, null where absent).

    A country's own domain, or that of a place in it, wins over a locale; a locale of the address over the region of
    the declared language. The address of a page that only shows another (a cache, a translation, an image search)
    stands for that other. Silent with `ABSENT`, `MALFORMED` (no host in it), `NOT_FOUND` (an IP address, a domain
    that does not exist), `GENERIC_DOMAIN` or `CONTENT_NETWORK`.
    """
    urls = source_url.cast(pa.large_binary())
    hosts = _judge_hosts(_find_hosts(urls))
    if hosts.wraps.any():
        urls = _unwrap(urls, hosts.wraps)
        hosts = _judge_hosts(_find_hosts(urls))
    value, level, reason = country = Signal(hosts.country, hosts.level, hosts.reason)
    reason[_is_absent(urls)] = NullReason.ABSENT
    language = hosts.language

    readable = np.isin(reason, _MAY_NAME_LOCALE) & may_name_locale(urls)
    address = pc.if_else(pa.array(readable), urls, pa.scalar(None, urls.type))
    sources = [(_find(address, pattern), read) for pattern, read in _URL_LOCALES]
    for found, read in (*sources, (declared_language.cast(pa.large_binary()), read_language_tag)):
        locale = _judge_each(found, read)
        named = (value == NONE) & (locale.country != NONE)
        value[named], level[named], reason[named] = locale.country[named], LOCALE, NullReason.PRESENT
        language = np.where(language != NONE, language, locale.language)
    return DomainSignal(country, language, hosts.name)


def _find(urls: pa.Array, pattern: str) -> pa.Array:
    """What the group `found` of a pattern matches in each of n URLs, null where it does not."""
    return pc.struct_field(pc.extract_regex(urls, pattern), "found")


def _find_hosts(urls: pa.Array) -> pa.Array:
    """The host of each of n URLs as written there, null or '' where it has none."""
    hosts = find_plain_hosts(urls)
    rest = pc.and_(pc.equal(pc.binary_length(hosts), 0), pc.is_valid(urls))
    return pc.replace_with_mask(hosts, rest, _find(urls.filter(rest), _ANY_HOST))


def _judge_hosts(written: pa.Array) -> _Hosts:
    """Judge n hosts, each distinct one once."""
    distinct, row = _distinct(written)
    name, country, level, reason, language, wraps = zip(*map(read_host, distinct), strict=True)
    return _Hosts(
        pa.array(name, pa.large_string()).take(pa.array(row)),
        np.array(country, np.int16)[row],
        np.array(level, np.uint8)[row],
        np.array(reason, np.uint8)[row],
        np.array(language, np.int16)[row],
        np.array(wraps, np.bool_)[row],
    )


def _judge_each(written: pa.Array, read: Callable[[str], Locale]) -> _Locales:
    """Judge n strings, each distinct one once; a null names nothing."""
    distinct, row = _distinct(written)
    texts = ("" if text is None else text[:_LONGEST_LOCALE].decode("utf-8", "replace") for text in distinct)
    country, language = zip(*map(read, texts), strict=True)
    return _Locales(np.array(country, np.int16)[row], np.array(language, np.int16)[row])


def _distinct(values: pa.Array) -> tuple[list[bytes | None], npt.NDArray[np.int64]]:
    """The distinct values of n, and last None; and the place of each row's value in that list, shape `(n,)`."""
    encoded = pc.dictionary_encode(values)
    distinct = [*encoded.dictionary.to_pylist(), None]
    return distinct, np.asarray(pc.fill_null(encoded.indices, len(distinct) - 1), np.int64)


def _unwrap(urls: pa.Array, wrapped: npt.NDArray[np.bool_]) -> pa.Array:
    """The URLs, with each wrapped one that holds the address of another page replaced by that address."""
    outer = urls.filter(pa.array(wrapped))
    for escape, plain in _ESCAPES:
        outer = pc.replace_substring_regex(outer, escape, plain)
    inner = pc.coalesce(*(_find(outer, pattern) for pattern in _INNER_URLS), outer)
    return pc.replace_with_mask(urls, pa.array(wrapped), inner)


def _is_absent(urls: pa.Array) -> npt.NDArray[np.bool_]:
    return np.asarray(pc.fill_null(pc.equal(pc.binary_length(urls), 0), True), np.bool_)
