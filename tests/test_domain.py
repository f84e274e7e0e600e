"""Page addresses to countries: domains, places, locales, and the many addresses that say nothing."""

import os
import tomllib
from importlib.resources import files
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.domain import DomainSignal, read_domain
from classifiers.hostnames import CITY_DOMAIN, COUNTRY_DOMAIN, LOCALE
from classifiers.urls import find_plain_hosts, may_name_locale
from schemas.countries import COUNTRIES, LANGUAGES, NONE
from schemas.evidence import SIGNALS, NullReason

SHARED = Path(os.environ.get("LETHE_SHARED_DATA", Path(__file__).parents[1] / "../shared/data"))

COUNTRY = [
    ("https://www.bbc.co.uk/news", "GB"),
    ("http://foo.sch.uk/", "GB"),
    ("https://nhs.uk", "GB"),
    ("https://example.gb", "GB"),
    ("https://shop.uk.com/", "GB"),
    ("https://example.fr", "FR"),
    ("https://www.education.gouv.fr/x?y#z", "FR"),
    ("https://example.asso.fr", "FR"),
    ("https://example.it/foto/1.jpg", "IT"),
    ("https://example.edu.it", "IT"),
    ("https://example.re/", "RE"),
    ("https://example.gp/", "GP"),
    ("https://example.mq/", "MQ"),
    ("https://example.gf/", "GF"),
    ("https://example.yt/", "YT"),
    ("https://example.pm/", "PM"),
    ("https://example.wf/", "WF"),
    ("https://example.tf/", "TF"),
    ("https://example.nc/", "NC"),
    ("https://example.pf/", "PF"),
    ("https://example.je/", "JE"),
    ("https://www.gov.gg/", "GG"),
    ("https://example.im/", "IM"),
    ("https://example.gi/", "GI"),
    ("https://example.mc/", "MC"),
    ("https://example.sm/", "SM"),
    ("https://example.va/", "VA"),
    ("https://example.ie/", "IE"),
    ("https://example.com.co/", "CO"),
    ("https://пример.рф/", "RU"),
    ("https://xn--e1afmkfd.xn--p1ai/", "RU"),
    ("https://example.xn--fiqs8s/", "CN"),
    ("https://café.fr/menu", "FR"),
    ("https://xn--caf-dma.fr/menu", "FR"),
    ("http://caf%C3%A9.fr/menu", "FR"),
    ("HTTP://USER:secret@WWW.EXAMPLE.IT:8080/x", "IT"),
    ("https://me@evil.com@example.fr/", "FR"),
    ("https://example.fr./x", "FR"),
    ("  https://example.fr  ", "FR"),
    ("https://example.fr?x=1", "FR"),
    ("https://example.fr#top", "FR"),
    ("//example.fr/x.jpg", "FR"),
    ("www.example.fr/x.jpg", "FR"),
    ("ftp://example.fr/x.jpg", "FR"),
    ("https://a_b.example.fr/x.jpg", "FR"),
    ("https://example.co.uk/fr-fr/page", "GB"),
    ("https://uk.linkedin.com/in/somebody", "GB"),
    ("https://fr.linkedin.com/in/somebody", "FR"),
    ("https://it.linkedin.com/in/somebody?trk=x", "IT"),
    ("https://fr.news.yahoo.com/x", "FR"),
    ("https://uk.yahoo.com/", "GB"),
]

PLACES = [
    ("https://example.london/", "GB"),
    ("https://example.scot/", "GB"),
    ("https://www.gov.scot/", "GB"),
    ("https://example.wales/", "GB"),
    ("https://example.cymru/", "GB"),
    ("https://example.paris/", "FR"),
    ("https://example.bzh/", "FR"),
    ("https://example.corsica/", "FR"),
    ("https://example.alsace/", "FR"),
    ("https://example.sicilia.it/", "IT"),
    ("https://comune.palermo.sicilia.it/", "IT"),
    ("https://www.comune.roma.it/", "IT"),
    ("https://example.berlin/", "DE"),
    ("https://пример.москва/", "RU"),
]

LOCALES = [
    ("https://example.com/en-gb/about", None, "GB"),
    ("https://example.com/en_GB", None, "GB"),
    ("https://example.com/en-uk/", None, "GB"),
    ("https://example.com/FR-FR/x", None, "FR"),
    ("https://example.com/it-it/", None, "IT"),
    ("https://example.com/fr-be/", None, "BE"),
    ("https://example.com/gb/en/shop", None, "GB"),
    ("https://example.com/it/it/shop", None, "IT"),
    ("https://example.com/be/fr/shop", None, "BE"),
    ("https://en-gb.facebook.com/somebody", None, "GB"),
    ("https://example.com/?hl=fr-FR&x=1", None, "FR"),
    ("https://example.com/search?q=x&hl=en&gl=uk", None, "GB"),
    ("https://example.com/search?gl=IT", None, "IT"),
    ("https://example.io/it-it/", None, "IT"),
    ("https://example.com/", "en-GB", "GB"),
    ("https://example.com/", "fr_FR.UTF-8", "FR"),
    ("https://example.com/", "it-IT,it;q=0.9,en;q=0.8", "IT"),
    ("https://example.com/", "zh-Hant-TW", "TW"),
    ("https://example.com/", "en-GB-oxendict", "GB"),
    ("https://example.com/en-gb/", "fr-FR", "GB"),
    ("https://pbs.twimg.com/media/x.jpg", "en-GB", "GB"),
    ("https://1.2.3.4/fr-fr/", None, "FR"),
    (None, "fr-FR", "FR"),
    ("no address", "it-IT", "IT"),
]

SILENT = [
    (None, NullReason.ABSENT),
    ("", NullReason.ABSENT),
    ("no address", NullReason.MALFORMED),
    ("localhost", NullReason.MALFORMED),
    ("http://", NullReason.MALFORMED),
    ("http:///path.fr/", NullReason.MALFORMED),
    ("http://.fr/", NullReason.MALFORMED),
    ("http://ex ample.fr/", NullReason.MALFORMED),
    ("http://-example.fr/", NullReason.MALFORMED),
    ("http://example.fr:port/", NullReason.MALFORMED),
    ("http://exa\x00mple.fr/", NullReason.MALFORMED),
    ("http://" + "a" * 64 + ".fr/", NullReason.MALFORMED),
    ("http://" + "a." * 200 + "fr/", NullReason.MALFORMED),
    ("http://[::1/", NullReason.MALFORMED),
    ("http://256.1.1.1/", NullReason.MALFORMED),
    ("data:image/png;base64,iVBORw0KGgo=", NullReason.MALFORMED),
    ("mailto:somebody@example.fr", NullReason.MALFORMED),
    ("somebody@example.fr", NullReason.MALFORMED),
    ("javascript:open('https://example.fr')", NullReason.MALFORMED),
    ("file:///home/example.fr/", NullReason.MALFORMED),
    ("http://192.0.2.7:8080/x", NullReason.NOT_FOUND),
    ("http://[2001:DB8:0::1]:80/x", NullReason.NOT_FOUND),
    ("https://example.notadomain/", NullReason.NOT_FOUND),
    ("https://example.com/", NullReason.GENERIC_DOMAIN),
    ("https://example.org/uk/", NullReason.GENERIC_DOMAIN),
    ("https://example.eu/", NullReason.GENERIC_DOMAIN),
    ("https://example.io/", NullReason.GENERIC_DOMAIN),
    ("https://example.co/", NullReason.GENERIC_DOMAIN),
    ("https://example.me/", NullReason.GENERIC_DOMAIN),
    ("https://example.tv/", NullReason.GENERIC_DOMAIN),
    ("https://example.com/it-is/great", NullReason.GENERIC_DOMAIN),
    ("https://example.com/en/my/account", NullReason.GENERIC_DOMAIN),
    ("https://fr.example.com/", NullReason.GENERIC_DOMAIN),
    ("https://uk.example.com/", NullReason.GENERIC_DOMAIN),
    ("https://fr.wikipedia.org/wiki/X", NullReason.GENERIC_DOMAIN),
    ("https://www.linkedin.com/in/somebody", NullReason.GENERIC_DOMAIN),
    ("https://redd.it/abc", NullReason.GENERIC_DOMAIN),
    ("https://youtu.be/abc", NullReason.GENERIC_DOMAIN),
    ("https://discord.gg/abc", NullReason.GENERIC_DOMAIN),
    ("https://example.blogspot.fr/", NullReason.GENERIC_DOMAIN),
    ("https://www.google.co.uk/search?q=x", NullReason.GENERIC_DOMAIN),
    ("https://www.pinterest.fr/somebody/", NullReason.GENERIC_DOMAIN),
    ("https://pbs.twimg.com/media/fr-fr/x.jpg", NullReason.CONTENT_NETWORK),
    ("https://scontent-lhr8-1.cdninstagram.com/v/x.jpg", NullReason.CONTENT_NETWORK),
    ("https://i.pinimg.com/564x/fr/x.jpg", NullReason.CONTENT_NETWORK),
    ("https://lh3.googleusercontent.com/a/x", NullReason.CONTENT_NETWORK),
    ("https://i.redd.it/x.jpg", NullReason.CONTENT_NETWORK),
    ("https://bucket.s3.eu-west-2.amazonaws.com/x.jpg", NullReason.CONTENT_NETWORK),
]

WRAPPED = [
    ("https://www.google.co.uk/imgres?imgurl=http%3A%2F%2Fcdn.x.com%2Fa.jpg&imgrefurl=https://a.it/p", "a.it"),
    ("https://www.google.co.uk/imgres?imgurl=http%3A%2F%2Fwww.example.fr%2Fa.jpg&h=1", "www.example.fr"),
    ("https://www.google.com/url?sa=t&url=https%253A%252F%252Fexample.it%252Fp", "example.it"),
    ("http://webcache.googleusercontent.com/search?q=cache:Ab_c-d:www.example.it/p+x&cd=1", "www.example.it"),
    ("https://web.archive.org/web/20200101000000*/http://example.fr/", "example.fr"),
    ("https://web.archive.org/web/20200101im_/example.co.uk/a.jpg", "example.co.uk"),
    ("https://translate.google.com/translate?hl=en&sl=fr&u=https://example.fr/", "example.fr"),
    ("https://www-my--name-fr.translate.goog/x?_x_tr_sl=fr", "www.my-name.fr"),
    ("https://www-example-it.cdn.ampproject.org/c/s/www.example.it/p", "www.example.it"),
    ("https://i0.wp.com/example.fr/wp-content/a.jpg?w=300", "example.fr"),
    ("https://l.facebook.com/l.php?u=https%3A%2F%2Fexample.it%2Fp&h=AT", "example.it"),
    ("https://external-content.duckduckgo.com/iu/?u=https%3A%2F%2Fexample.it%2Fa.jpg", "example.it"),
]

LANGUAGE = [
    ("https://fr.wikipedia.org/wiki/X", "fr"),
    ("https://it.m.wikipedia.org/wiki/X", "it"),
    ("https://en.example.de/", "en"),
    ("https://example.com/it/", "it"),
    ("https://example.be/fr/page", "fr"),
    ("https://example.com/en-gb/", "en"),
    ("https://example.com/gb/en/", "en"),
    ("https://example.com/?lang=de", "de"),
    ("https://fr.linkedin.com/in/x", None),
    ("https://uk.example.com/", None),
    ("https://example.com/uk/", None),
    ("https://example.com/?hl=uk", None),
    ("https://example.com/it-is/", None),
    ("https://my.example.com/no/to/", None),
    ("https://it.co.uk/", None),
    ("https://fr.com/", None),
    ("https://www.example.fr/", None),
    ("https://i.pinimg.com/fr/x.jpg", None),
]


def read(rows: list[tuple[str | None, str | None]]) -> DomainSignal:
    urls, declared = zip(*rows, strict=True) if rows else ((), ())
    return read_domain(pa.array(urls, pa.large_string()), pa.array(declared, pa.large_string()))


def code(value: int) -> str | None:
    return None if value == NONE else COUNTRIES[value]


@pytest.mark.parametrize(("url", "country"), COUNTRY)
def test_a_country_domain(url: str, country: str) -> None:
    signal = read([(url, None)]).country
    assert (code(signal.value[0]), signal.level[0]) == (country, COUNTRY_DOMAIN)


@pytest.mark.parametrize(("url", "country"), PLACES)
def test_the_domain_of_a_place(url: str, country: str) -> None:
    signal = read([(url, None)]).country
    assert (code(signal.value[0]), signal.level[0]) == (country, CITY_DOMAIN)


@pytest.mark.parametrize(("url", "declared", "country"), LOCALES)
def test_a_locale_counts_where_the_domain_is_silent(url: str | None, declared: str | None, country: str) -> None:
    signal = read([(url, declared)]).country
    assert (code(signal.value[0]), signal.level[0], signal.reason[0]) == (country, LOCALE, NullReason.PRESENT)


@pytest.mark.parametrize(
    "declared", ["en", "fr", "", "x-klingon", "en-001", "en-u-ca-gregory", "english (GB)", "-", "\x00"]
)
def test_a_declared_language_without_region_is_no_country(declared: str) -> None:
    assert read([("https://example.com/", declared)]).country.reason[0] == NullReason.GENERIC_DOMAIN


@pytest.mark.parametrize(("url", "reason"), SILENT)
def test_what_says_nothing_says_why(url: str | None, reason: NullReason) -> None:
    signal, _, host = read([(url, None)])
    assert (signal.value[0], signal.level[0], signal.reason[0]) == (NONE, 0, reason)
    assert host[0].is_valid == (reason not in (NullReason.ABSENT, NullReason.MALFORMED))


@pytest.mark.parametrize(("url", "host"), WRAPPED)
def test_a_page_that_shows_another_stands_for_it(url: str, host: str) -> None:
    """Between two rows that are not wrapped, so that each keeps its own."""
    hosts = read([("https://a.fr/x", None), (url, None), (None, None)]).host
    assert hosts.to_pylist() == ["a.fr", host, None]


@pytest.mark.parametrize(("url", "language"), LANGUAGE)
def test_a_language_in_the_address(url: str, language: str | None) -> None:
    hint = read([(url, None)]).language_hint[0]
    assert (None if hint == NONE else LANGUAGES[hint]) == language


def test_one_host_has_one_spelling() -> None:
    urls = ["https://CAFÉ.fr:443/a", "http://xn--caf-dma.fr./b", "//caf%c3%a9.fr", "café.fr/c"]
    assert set(read([(url, None) for url in urls]).host.to_pylist()) == {"xn--caf-dma.fr"}
    assert read([("http://[2001:DB8:0::1]/", None)]).host.to_pylist() == ["2001:db8::1"]


def test_the_levels_are_those_of_the_model() -> None:
    levels = next(kind.levels for kind in SIGNALS if kind.name == "domain")
    assert [levels[i] for i in (COUNTRY_DOMAIN, CITY_DOMAIN, LOCALE)] == list(levels)


def test_the_lists_name_only_countries_and_languages_there_are() -> None:
    """A misspelt code would silently be no country."""
    data = tomllib.loads((files("classifiers") / "data" / "domains.toml").read_text(encoding="utf-8"))
    countries = {*data["country_domains"].values(), *data["places"].values()}
    assert (countries | set(" ".join(data["locales"].values()).split())) <= set(COUNTRIES)
    assert {*data["locales"], *data["languages"].split()} - {"nb"} <= set(LANGUAGES)
    listed = [*data["country_domains"], *data["places"], *data["generic_sites"].split(), *data["wrappers"].split()]
    known = read([(f"https://www.{name}/" if "." in name else f"https://example.{name}/", None) for name in listed])
    unknown = known.country.reason == NullReason.NOT_FOUND
    assert [name for name, missing in zip(listed, unknown, strict=True) if missing] == []


PIECES = [
    *("https://", "http:", "//", "/", ".", "?hl=", "&", "%", "%3A%2F%2F", "@", ":", "[", "]", "-", " ", "\0", "\u3002"),
    *("fr", "co.uk", "it", "com", "en-gb", "xn--", "é", "\ufe0f", "::1", "1.2.3"),
    *("google", "web.archive.org", "cache:", "translate.goog"),
]
urls = st.none() | st.text(max_size=30) | st.lists(st.sampled_from(PIECES), max_size=9).map("".join)


@given(st.lists(st.tuples(urls, urls | st.sampled_from(["en-GB", "fr"])), max_size=8), st.integers(0, 8))
def test_any_address_gets_an_answer_whatever_the_batch(rows: list[tuple[str | None, str | None]], cut: int) -> None:
    whole, first, second = read(rows), read(rows[:cut]), read(rows[cut:])
    for column, *parts in zip(
        (*whole.country, whole.language_hint),
        (*first.country, first.language_hint),
        (*second.country, second.language_hint),
        strict=True,
    ):
        assert column.tolist() == np.concatenate(parts).tolist()
    assert whole.host.to_pylist() == first.host.to_pylist() + second.host.to_pylist()
    assert ((whole.country.value != NONE) == (whole.country.reason == NullReason.PRESENT)).all()
    assert (whole.country.level[whole.country.value == NONE] == 0).all()
    assert all(host is None or (host.isascii() and 0 < len(host) <= 253) for host in whole.host.to_pylist())


@given(st.lists(st.none() | st.binary(max_size=30), max_size=6))
def test_bytes_that_are_no_text(rows: list[bytes | None]) -> None:
    raw = pa.array(
        [None if row is None else b"https://" + row + b"\xed\xa0\x80.fr/" for row in rows], pa.large_binary()
    )
    text = pa.Array.from_buffers(pa.large_string(), len(raw), raw.buffers())
    signal, _, host = read_domain(text, text)
    host.validate(full=True)
    assert [bool(reason == NullReason.ABSENT) for reason in signal.reason] == [row is None for row in rows]


def test_a_very_long_address() -> None:
    long = [
        "https://example.fr/" + "fr/" * 70_000,
        "https://" + "a" * 200_000,
        "data:image/png;base64," + "A" * 200_000,
    ]
    assert read([(url, url) for url in long]).country.reason.tolist() == [
        NullReason.PRESENT,
        NullReason.MALFORMED,
        NullReason.MALFORMED,
    ]


PARTS = [
    *"/?#&=._-:@aZé\n",
    "http://",
    "https://",
    "HTTP://",
    "www.example.fr",
    "gl=it",
    "hl=",
    "en-gb",
    "/fr",
    "/be/fr",
]
URLS = st.lists(st.none() | st.lists(st.sampled_from(PARTS), max_size=12).map("".join), max_size=10)


@given(URLS, st.integers(0, 3))
def test_the_bytes_of_urls_are_read_as_regular_expressions_read_them(urls: list[str | None], skipped: int) -> None:
    array = pa.array(urls, pa.large_binary()).slice(skipped)
    plain = r"^https?://(?P<host>[0-9A-Za-z._-]+)(?:[/?#]|$)"
    hosts = pc.struct_field(pc.extract_regex(array, plain), "host")
    assert find_plain_hosts(array).to_pylist() == [host or b"" for host in hosts.to_pylist()]
    for pattern in (
        r"(?i)(?:/|[?&](?:hl|lang|locale|mkt)=)[a-z]{2}(?:[-_/][a-z]{2})?(?:[/?&#]|$)",
        r"(?i)[?&]gl=[a-z]{2}(?:[&#]|$)",
    ):
        names = pc.fill_null(pc.match_substring_regex(array, pattern), False).to_numpy(zero_copy_only=False)
        assert (may_name_locale(array) | ~names).all()


LABELS = st.sampled_from(["www", "fr", "en-gb", "m", "photos-of-somebody", "blogspot", "linkedin"])
ENDS = ["com", "co.uk", "fr", "gouv.fr", "roma.it", "london", "blogspot.fr", "linkedin.com", "s3.amazonaws.com", "x.ck"]


@given(st.lists(LABELS, max_size=3), st.sampled_from(ENDS), st.integers(1, 3))
def test_a_label_that_is_on_no_list_says_nothing(before: list[str], end: str, count: int) -> None:
    names = [".".join([*before, *[label] * count, end]) for label in ("nobody-knows", "unlisted7")]
    country, language, host = read([(f"https://{name}/", None) for name in names])
    first, second = zip(*country, language, strict=True)
    assert first == second
    assert host.to_pylist() == names


@pytest.mark.parametrize(
    ("country", "precision", "recall"), [("GB", 0.99, 0.55), ("FR", 0.97, 0.38), ("IT", 0.99, 0.60)]
)
def test_websites_of_restaurants(country: str, precision: float, recall: float) -> None:
    """The rest are .com; what is called French and is not is Monaco."""
    path = SHARED / "places.parquet"
    if not path.exists():
        pytest.skip("no shared data: places.parquet is absent")
    places = pq.read_table(path, columns=["country", "website"])
    stated = np.array(places["country"].to_pylist())
    website = places["website"].cast(pa.large_string()).combine_chunks()
    signal = read_domain(website, pa.nulls(len(website), pa.large_string())).country
    found = np.array([code(value) or "" for value in signal.value])
    known = signal.level != LOCALE
    chosen, ours = (found == country) & known, stated == country
    assert (ours & chosen).sum() / chosen.sum() >= precision
    assert (ours & chosen).sum() / (ours & (signal.reason != NullReason.ABSENT)).sum() >= recall


def test_news_sites() -> None:
    path = SHARED / "feeds.parquet"
    if not path.exists():
        pytest.skip("no shared data: feeds.parquet is absent")
    feeds = pq.read_table(path, columns=["country", "url"])
    stated = feeds["country"].to_pylist()
    url = feeds["url"].cast(pa.large_string()).combine_chunks()
    signal = read_domain(url, pa.nulls(len(url), pa.large_string())).country
    pairs = [
        (code(v), s)
        for v, lvl, s in zip(signal.value, signal.level, stated, strict=True)
        if v != NONE and lvl != LOCALE
    ]
    assert len(pairs) >= 40
    assert np.mean([found == country for found, country in pairs]) >= 0.95
