"""One host name or locale, to the country and language it stands for: the part of `domain` that knows the Internet.

The lists are in data/domains.toml; the Public Suffix List is that inside `tldextract`, read offline by `suffixes`.
"""

import ipaddress
import re
import tomllib
from functools import cache, lru_cache
from importlib.resources import files
from typing import NamedTuple
from urllib.parse import unquote

import idna

from classifiers.suffixes import find_suffix, list_suffixes
from schemas.countries import COUNTRIES, NONE, country_index, language_index
from schemas.evidence import NullReason

COUNTRY_DOMAIN, CITY_DOMAIN, LOCALE = 0, 1, 2
"""`Signal.level` of the domain signal, as in `SIGNALS`."""

_CACHED_HOSTS = 1 << 17
"""About 50 MB; hosts repeat far beyond one batch."""
_CACHED_SHAPES = 1 << 14
"""Of 35,000 hosts of the benchmark there are 100."""
_UNLISTED = "-"
"""Stands in the shape of a name for each label that no list has; no label is written so."""
_LONGEST_LOCALE_LABEL = len("en-gb")
_LONGEST_HOST = 253
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"(?:{_LABEL}\.)+{_LABEL}")
_LOCALE = re.compile(r"([a-z]{2})(?:([-_/])([a-z]{2}))?")
_LANGUAGE_TAG = re.compile(r"[a-z]{2,3}(?:-[a-z]{3}){0,3}(?:-[a-z]{4})?-([a-z]{2})(?:[^a-z0-9].*)?", re.DOTALL)


class Verdict(NamedTuple):
    """A country index and its level; or `NONE`, 0 and the reason."""

    country: int
    level: int
    reason: NullReason


class Locale(NamedTuple):
    """Indices of a country and a language, each `NONE` if not named."""

    country: int
    language: int


class Host(NamedTuple):
    """What a host name says.

    `name` is its one spelling in ASCII, None if it is no host name. `wraps` is true of sites whose pages show
    another page, with the address of that page inside their own.
    """

    name: str | None
    country: int
    level: int
    reason: NullReason
    language: int
    wraps: bool


class _Names(NamedTuple):
    """data/domains.toml: a verdict per domain, and sets of domains, all in ASCII."""

    verdicts: dict[str, Verdict]
    reader_sites: frozenset[str]
    wrappers: frozenset[str]
    wrappers_by_label: tuple[str, ...]
    country_subdomains: frozenset[str]
    languages: frozenset[str]
    locales: dict[str, frozenset[str]]
    institutions: dict[str, frozenset[str]]
    labels: frozenset[str]
    """Every label of every name in these lists and in the Public Suffix List."""


_NO_LOCALE = Locale(NONE, NONE)
_GENERIC = Verdict(NONE, 0, NullReason.GENERIC_DOMAIN)
_UNKNOWN = Verdict(NONE, 0, NullReason.NOT_FOUND)


@lru_cache(maxsize=_CACHED_HOSTS)
def read_host(written: bytes | None) -> Host:
    """What the host of a URL says, given as written there, without scheme, user and port; None if it has none."""
    name = _canonical(written)
    if name is None:
        return Host(None, NONE, 0, NullReason.MALFORMED, NONE, False)
    if ":" in name or name.rpartition(".")[2].isdigit():
        return Host(name, *_UNKNOWN, NONE, False)
    names = _names()
    if name.endswith(names.wrappers_by_label):
        return read_host(_unescape_label(name.partition(".")[0]).encode())
    # Few names are listed. The others differ in labels that say nothing, and are judged together.
    shape = [
        label if len(label) <= _LONGEST_LOCALE_LABEL or label in names.labels else _UNLISTED
        for label in name.split(".")
    ]
    return Host(name, *_judge_shape(".".join(shape))[1:])


@lru_cache(maxsize=_CACHED_SHAPES)
def _judge_shape(name: str) -> Host:
    """What a host name says, or any other that has the same labels where they are listed, or may be a locale."""
    names = _names()
    labels = name.split(".")
    tails = [".".join(labels[start:]) for start in range(len(labels))]
    own, is_private = find_suffix(tails)
    domain = labels[own - 1] if own > 0 else ""
    first = labels[0] if own > 1 else ""
    verdict = _judge(tails, own, domain, is_private)
    locale = read_locale(first)
    if not names.country_subdomains.isdisjoint(tails):
        locale = _NO_LOCALE
        if _region(first) != NONE:
            verdict = Verdict(_region(first), COUNTRY_DOMAIN, NullReason.PRESENT)
    elif verdict is _GENERIC and locale.country != NONE:
        verdict = Verdict(locale.country, LOCALE, NullReason.PRESENT)
    wraps = domain in names.wrappers or not names.wrappers.isdisjoint(tails)
    return Host(name, *verdict, locale.language, wraps)


def read_locale(written: str) -> Locale:
    """A label or path of an address: `fr`, `fr-be`, `fr_be`, `fr/be` or `be/fr`; anything else names nothing."""
    match = _LOCALE.fullmatch(written.lower())
    if match is None:
        return _NO_LOCALE
    names = _names()
    first, separator, second = match.groups()
    orders = [(first, second), (second, first)] if separator == "/" else [(first, second)]
    for language, region in orders:
        if second and region in names.locales.get(language, ()):
            return Locale(_region(region), language_index(language))
    alone = separator in (None, "/") and first in names.languages
    return Locale(NONE, language_index(first) if alone else NONE)


def read_region(code: str) -> Locale:
    """The country of a two-letter region alone, as in a query (`gl=fr`)."""
    return Locale(_region(code.lower()), NONE)


def read_language_tag(tag: str) -> Locale:
    """The region of a BCP 47 tag: `en-GB`, `zh-Hant-TW`; also `fr_FR.UTF-8` and `it-IT,it;q=0.9`."""
    match = _LANGUAGE_TAG.fullmatch(tag.strip().lower().replace("_", "-"))
    return _NO_LOCALE if match is None else Locale(_region(match[1]), NONE)


def _canonical(written: bytes | None) -> str | None:
    """Lower case, A-labels, no final dot; an IP address in its shortest form; None for what is no host."""
    if written is None or len(written) > 3 * _LONGEST_HOST:
        return None
    try:
        name = written.decode().lower()
        if name.startswith("["):
            return ipaddress.IPv6Address(name[1:-1]).compressed
        name = unquote(name, errors="strict") if "%" in name else name
        name = (name if name.isascii() else idna.encode(name, uts46=True).decode()).removesuffix(".")
        if name.rpartition(".")[2].isdigit():
            return ipaddress.IPv4Address(name).compressed
    except ValueError:
        return None
    return name if len(name) <= _LONGEST_HOST and _HOST.fullmatch(name) else None


def _unescape_label(label: str) -> str:
    """`www-example-fr` to `www.example.fr`; `--` is a hyphen."""
    return label.replace("--", "\0").replace("-", ".").replace("\0", "-")


def _judge(tails: list[str], own: int, domain: str, is_private: bool) -> Verdict:
    """`own` is how many labels stand before the public suffix; `domain` is the last of them."""
    names = _names()
    if domain in names.reader_sites:
        return _GENERIC
    listed = next((tail for tail in tails if tail in names.verdicts), None)
    suffix = tails[own] if own < len(tails) else ""
    if listed is None:
        return _GENERIC if suffix else _UNKNOWN
    verdict, top = names.verdicts[listed], tails[-1]
    if listed != top or suffix == top or is_private:
        return verdict
    if verdict is _GENERIC and _region(top) != NONE:
        return Verdict(_region(top), COUNTRY_DOMAIN, NullReason.PRESENT)
    if suffix not in names.institutions.get(top, (suffix,)):
        return verdict._replace(level=CITY_DOMAIN)
    return verdict


def _region(code: str) -> int:
    return country_index("GB" if code == "uk" else code.upper())


@cache
def _names() -> _Names:
    data = tomllib.loads((files("classifiers") / "data" / "domains.toml").read_text(encoding="utf-8"))
    verdicts = {code.lower(): _present(code, COUNTRY_DOMAIN) for code in COUNTRIES}
    verdicts |= {_ascii(name): _present(code, COUNTRY_DOMAIN) for name, code in data["country_domains"].items()}
    verdicts |= {_ascii(name): _present(code, CITY_DOMAIN) for name, code in data["places"].items()}
    verdicts |= dict.fromkeys(_list(data["generic_country_domains"] + data["generic_sites"]), _GENERIC)
    network = Verdict(NONE, 0, NullReason.CONTENT_NETWORK)
    verdicts |= dict.fromkeys(_list(data["content_networks"]), network)
    reader_sites, wrappers, country_subdomains = (
        frozenset(_list(data[key])) for key in ("reader_sites", "wrappers", "country_subdomains")
    )
    institutions = {top: frozenset(names) for top, names in data["regional_second_levels"].items()}
    listed = (verdicts, reader_sites, wrappers, country_subdomains, *institutions.values(), list_suffixes())
    return _Names(
        verdicts=verdicts,
        reader_sites=reader_sites,
        wrappers=wrappers,
        wrappers_by_label=tuple(f".{name}" for name in _list(data["wrappers_by_label"])),
        country_subdomains=country_subdomains,
        languages=frozenset(_list(data["languages"])),
        locales={
            language: frozenset(_list(regions.lower().replace("gb", "gb uk")))
            for language, regions in data["locales"].items()
        },
        institutions=institutions,
        labels=frozenset(label for names in listed for name in names for label in name.split(".")),
    )


def _present(code: str, level: int) -> Verdict:
    return Verdict(country_index(code), level, NullReason.PRESENT)


def _list(names: str) -> list[str]:
    return [_ascii(name) for name in names.split()]


def _ascii(name: str) -> str:
    return name if name.isascii() else idna.encode(name).decode()
