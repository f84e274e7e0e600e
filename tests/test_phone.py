"""Phone numbers in captions: whose country they name, and when they name none."""

import os
import re
from pathlib import Path

import numpy as np
import phonenumbers
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.phone import INTERNATIONAL, NATIONAL, NATIONAL_AMBIGUOUS, PhoneSignal, read_phone
from schemas.countries import COUNTRIES, NONE, country_index
from schemas.evidence import SIGNALS, NullReason
from schemas.hashing import hash_strings

SHARED = Path(os.environ.get("LETHE_SHARED_DATA", Path(__file__).parents[1] / "../shared/data"))

ANYWHERE = [
    ("+44 20 7183 8750", "GB"),
    ("book: +44 (0)20 7183 8750, ask for us", "GB"),
    ("(+44) 20 7183 8750", "GB"),
    ("0044 20 7183 8750", "GB"),
    ("(0044) 20 7183 8750", "GB"),
    ("00-44-20-7183-8750", "GB"),
    ("+447911 123456", "GG"),
    ("+44 1534 500000", "JE"),
    ("+44 1481 720000", "GG"),
    ("+44 1624 686868", "IM"),
    ("+44 28 9032 0202", "GB"),
    ("+353 1 677 9999", "IE"),
    ("+33 1 42 68 53 00", "FR"),
    ("+33.1.42.68.53.00", "FR"),
    ("+33 6\u202f12\u202f34\u202f56\u202f78", "FR"),
    ("+33\u00a06\u00a012\u00a034\u00a056\u00a078", "FR"),
    ("+33 4 90 00 12 34", "FR"),
    ("+262 262 90 20 20", "RE"),
    ("+590 590 82 00 00", "GP"),
    ("+596 596 55 00 00", "MQ"),
    ("+687 25 00 00", "NC"),
    ("+377 98 98 83 03", "MC"),
    ("+39 06 6710 4000", "IT"),
    ("+39 06 69812345", "VA"),
    ("+378 0549 882914", "SM"),
    ("+39 347 123 4567", "IT"),
    ("+41 22 730 21 11", "CH"),
    ("+1 416 392 2489", "CA"),
    ("+1 212 639 9675", "US"),
    ("tel:+442071838750", "GB"),
    ("https://wa.me/447400123456 or +44 20 7183 8750", "GB"),
    ("+44 20 7183 8750 / +44 161 234 5000", "GB"),
]

ON_A_PAGE_OF = [
    ("01 42 68 53 00", "FR", "FR", NATIONAL_AMBIGUOUS),
    ("020 7183 8750", "GB", "GB", NATIONAL_AMBIGUOUS),
    ("0800 587 0800", "GB", "GB", NATIONAL_AMBIGUOUS),
    ("04 90 00 12 34", "FR", "FR", NATIONAL_AMBIGUOUS),
    ("(212) 639-9675", "US", "US", NATIONAL_AMBIGUOUS),
    ("01534 500000", "GB", "JE", NATIONAL_AMBIGUOUS),
    ("0262 90 20 20", "RE", "RE", NATIONAL_AMBIGUOUS),
    ("06 6710 4000", "IT", "IT", NATIONAL_AMBIGUOUS),
    ("+39 06 6710 4000", "GB", "IT", INTERNATIONAL),
    ("01 42 68 53 00 (+33 1 42 68 53 00)", "FR", "FR", INTERNATIONAL),
]

SILENT = [
    (None, None, NullReason.ABSENT),
    ("", "FR", NullReason.ABSENT),
    ("no number, 14 July 2019", "FR", NullReason.ABSENT),
    ("room 123456", "GB", NullReason.ABSENT),
    ("01 42 68 53 00", None, NullReason.INVALID_NUMBER),
    ("IMG_20190512123456", "FR", NullReason.INVALID_NUMBER),
    ("+44 7700 900123, as in films", "GB", NullReason.INVALID_NUMBER),
    ("open 12:00 44 20 7183 8750", None, NullReason.INVALID_NUMBER),
    ("+800 1234 5678", "GB", NullReason.NOT_FOUND),
    ("+44 20 7183 8750 or +33 1 42 68 53 00", None, NullReason.CONFLICT),
    ("020 7183 8750 or +353 1 677 9999", "GB", NullReason.CONFLICT),
]


def read(rows: list[tuple[str | None, str | None, str | None]]) -> PhoneSignal:
    titles, captions, pages = zip(*rows, strict=True) if rows else ((), (), ())
    texts = (pa.array(column, pa.large_string()) for column in (titles, captions))
    return read_phone(*texts, np.array([country_index(page) for page in pages], np.int16))


def code(value: int) -> str | None:
    return None if value == NONE else COUNTRIES[value]


@pytest.mark.parametrize(("text", "country"), ANYWHERE)
@pytest.mark.parametrize("page", [None, "GB", "US"])
def test_an_international_number_needs_no_page(text: str, country: str, page: str | None) -> None:
    for title, caption in ((text, None), (None, text)):
        signal, number_hash = read([(title, caption, page)])
        assert (code(signal.value[0]), signal.level[0]) == (country, INTERNATIONAL)
        assert signal.reason[0] == NullReason.PRESENT and number_hash[0] != 0


@pytest.mark.parametrize(("text", "page", "country", "level"), ON_A_PAGE_OF)
def test_a_national_number_is_read_as_of_the_page(text: str, page: str, country: str, level: int) -> None:
    signal = read([(None, text, page)]).country
    assert (code(signal.value[0]), signal.level[0]) == (country, level)


def test_a_national_number_of_one_country_alone() -> None:
    """Most are valid somewhere else too; Inverness is not."""
    signal = read([(None, "01463 234353", "GB")]).country
    assert (code(signal.value[0]), signal.level[0]) == ("GB", NATIONAL)


@pytest.mark.parametrize(("text", "page", "reason"), SILENT)
def test_what_says_nothing_says_why(text: str | None, page: str | None, reason: NullReason) -> None:
    signal, number_hash = read([(text, None, page)])
    assert (signal.value[0], signal.level[0], signal.reason[0]) == (NONE, 0, reason)
    assert number_hash[0] == 0


def test_one_number_has_one_hash_however_it_is_written() -> None:
    ways = ["+44 20 7183 8750", "0044 (0)20-7183-8750", "020 7183 8750", "call\n+442071838750!"]
    hashes = read([(None, text, "GB") for text in ways]).number_hash
    assert len(set(hashes.tolist())) == 1
    assert hashes[0] == hash_strings(pa.array(["+442071838750"], pa.large_string()))[0]
    assert read([(None, "+44 161 234 5000", None)]).number_hash[0] != hashes[0]


def test_title_and_caption_are_read_together_but_not_run_together() -> None:
    both = read([("+44 20 7183 8750", "+33 1 42 68 53 00", None)]).country
    assert both.reason[0] == NullReason.CONFLICT
    halves = read([("+44 20 71", "83 8750", None)]).country
    assert halves.reason[0] == NullReason.ABSENT


def test_the_levels_are_those_of_the_model() -> None:
    levels = next(kind.levels for kind in SIGNALS if kind.name == "phone")
    assert [levels[i] for i in (INTERNATIONAL, NATIONAL, NATIONAL_AMBIGUOUS)] == list(levels)


@pytest.mark.parametrize(
    "text",
    [
        "1" * 200_000,
        "(1" * 100_000,
        "123456789 " * 20_000,
        "+44 " * 50_000,
        "1/2/" * 50_000,
        "0612345678x1 " * 15_000,
    ],
    ids=["digits", "brackets", "runs", "plus", "dates", "extensions"],
)
def test_a_hostile_text_is_read_only_so_far(text: str) -> None:
    assert read([(text, text, "GB")]).country.reason[0] in (NullReason.INVALID_NUMBER, NullReason.ABSENT)
    late = read([("+44 20 7183 8750, call now! " + text, None, None)]).country
    assert code(late.value[0]) == "GB"


DIGITS = "0123456789+-() ./x\n\x00\u00a0\u202fé٣０"


@given(
    st.lists(
        st.tuples(
            st.none() | st.text(DIGITS, max_size=60) | st.sampled_from([text for text, _ in ANYWHERE]),
            st.none() | st.text(DIGITS, max_size=60) | st.text(max_size=20),
            st.sampled_from([None, "GB", "FR", "IT", "AQ", "XK", "TF"]),
        ),
        max_size=8,
    ),
    st.integers(0, 8),
)
def test_any_text_gets_an_answer_whatever_the_batch(
    rows: list[tuple[str | None, str | None, str | None]], cut: int
) -> None:
    whole = read(rows)
    first, second = read(rows[:cut]), read(rows[cut:])
    for column, *parts in zip(
        (*whole.country, whole.number_hash),
        (*first.country, first.number_hash),
        (*second.country, second.number_hash),
        strict=True,
    ):
        assert column.tolist() == np.concatenate(parts).tolist()
    present = whole.country.value != NONE
    assert (present == (whole.country.reason == NullReason.PRESENT)).all()
    assert (present == (whole.number_hash != 0)).all()


PIECES = [*(text for text, *_ in (*ANYWHERE, *ON_A_PAGE_OF)), "3/10/2011", "2012-01-02 08:00", "12", "4002", "٣٤٥"]
BETWEEN = [*" -./()[+#x\n€é文:~,＋（\u00ad\u202f", "00", "call ", " ext. 12", ";ext=", ":30", " / ", "\u200b\u2060"]


@given(
    st.lists(st.sampled_from(PIECES) | st.sampled_from(BETWEEN) | st.integers(0, 10**10).map(str), max_size=12),
    st.sampled_from([None, "GB", "FR", "IT", "US", "NU"]),
)
def test_no_number_is_lost_that_libphonenumber_finds_in_the_whole_text(pieces: list[str], page: str | None) -> None:
    text = "call +44 20 7183 8750 or " + "".join(pieces)
    (value, _, reason), number_hash = read([(None, text, page)])
    spaced = re.sub(
        r"(?<![0-9+])(?<![0-9][^0-9A-Za-z])00[ .\-]{0,2}(?=[1-9])", "+", re.sub("[\u2009\u202f]", " ", text)
    )
    numbers = [match.number for match in phonenumbers.PhoneNumberMatcher(spaced, page or "ZZ")]
    countries = {phonenumbers.region_code_for_number(number) for number in numbers} & set(COUNTRIES)
    if len(countries) == 1:
        assert code(value[0]) in countries
        e164 = [phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164) for number in numbers]
        assert number_hash[0] in hash_strings(pa.array(e164, pa.large_string()))
    else:
        assert reason[0] == (NullReason.CONFLICT if countries else NullReason.INVALID_NUMBER)


@given(st.lists(st.none() | st.binary(max_size=40), max_size=5))
def test_bytes_that_are_no_text(rows: list[bytes | None]) -> None:
    tail = b" +44 20 7183 8750"
    raw = pa.array([None if row is None else row + b"\xed\xa0\x80\xff\x00" + tail for row in rows], pa.large_binary())
    text = pa.Array.from_buffers(pa.large_string(), len(raw), raw.buffers())
    signal = read_phone(text, text, np.full(len(raw), NONE, np.int16)).country
    assert [bool(reason == NullReason.ABSENT) for reason in signal.reason] == [row is None for row in rows]


def test_numbers_of_restaurants_written_abroad_and_at_home() -> None:
    path = SHARED / "places.parquet"
    if not path.exists():
        pytest.skip("no shared data: places.parquet is absent")
    places = [row for row in pq.read_table(path, columns=["country", "phone"]).to_pylist() if row["phone"]]
    stated = np.array([row["country"] for row in places])

    abroad = read([(None, f"Tel. {row['phone']}", None) for row in places]).country
    found = np.array([code(value) or "" for value in abroad.value])
    assert (found == stated).mean() >= 0.995

    numbers = [phonenumbers.parse(row["phone"]) for row in places]
    written = [phonenumbers.format_number(n, phonenumbers.PhoneNumberFormat.NATIONAL) for n in numbers]
    ours = np.isin(found, ["GB", "FR", "IT"])
    rows = [(None, text, country) for text, country in zip(written, found, strict=True)]
    home = read([row for row, chosen in zip(rows, ours, strict=True) if chosen]).country
    assert ([code(value) for value in home.value] == found[ours]).mean() >= 0.995


def test_tweets_hold_next_to_no_numbers() -> None:
    path = SHARED / "tweets.parquet"
    if not path.exists():
        pytest.skip("no shared data: tweets.parquet is absent")
    texts = pq.read_table(path, columns=["text"])["text"].cast(pa.large_string()).combine_chunks()
    signal = read_phone(texts, pa.nulls(len(texts), pa.large_string()), np.full(len(texts), NONE, np.int16)).country
    assert (signal.reason == NullReason.PRESENT).sum() <= 3
