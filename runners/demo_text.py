"""Turning the demo's integers into ids, captions, page addresses and phone numbers, a column at a time."""

import functools

import numpy as np
import numpy.typing as npt
import phonenumbers
import pyarrow as pa
import pyarrow.compute as pc
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from runners.demo_draw import NOTHING, Flags, Integers
from runners.demo_phrases import PHONE_LEADS, PHRASES, SHORT, TAILS
from runners.demo_world import World

Words = npt.NDArray[np.uint64]

_HEX = np.frombuffer("".join(f"{byte:02x}" for byte in range(256)).encode(), np.uint16)

GENERIC_SUFFIXES = ("com", "com", "com", "org", "net")
VANITY_SUFFIXES = ("io", "co", "me", "tv")
PLATFORM_HOSTS = ("pbs.twimg.com", "i.pinimg.com", "scontent.cdninstagram.com", "lh3.googleusercontent.com")
_HOSTS_PER_COUNTRY = 60
_FIRST_WORDS = (
    "pixel",
    "lumen",
    "album",
    "retro",
    "gala",
    "nova",
    "porto",
    "campo",
    "marathon",
    "choral",
    "verde",
    "tango",
)
_SECOND_WORDS = ("foto", "club", "gallery", "press", "journal", "sport", "studio", "team", "atelier", "fest")
_FOLDERS = pa.array(["photos", "album", "p", "gallery", "2019/07", "media/img", "news"])


def mix(numbers: Integers | Words, key: int) -> Words:
    """A 64-bit number for each number, all different, that looks random: splitmix64 (Steele et al. 2014)."""
    z = numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(key * 0xD1342543DE82EF95 & 2**64 - 1)
    z = (z ^ z >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ z >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return z ^ z >> np.uint64(31)


def opaque_ids(seed: int, kind: str, numbers: Integers) -> pa.Array:
    """32 hexadecimal digits for each number: unique per seed and kind, and in no order."""
    key = int.from_bytes(kind.encode(), "little") ^ seed << 1
    words = np.stack([mix(numbers, key), mix(mix(numbers, key + 1), key)], axis=1)
    digits = _HEX[words.astype(">u8").view(np.uint8)]
    offsets = np.arange(len(numbers) + 1, dtype=np.int32) * 32
    return pa.StringArray.from_buffers(len(numbers), pa.py_buffer(offsets), pa.py_buffer(digits.tobytes()))


def pick(table: pa.Array, index: Integers) -> pa.Array:
    """The entries of a table at n positions, null at `NOTHING`."""
    return table.take(pa.array(index, mask=index == NOTHING))


@functools.lru_cache(maxsize=4)
def _sentences(languages: tuple[str, ...]) -> tuple[pa.Array, pa.Array, Integers, Integers]:
    """All sentences and closings of all languages, and where those of each language begin (and end)."""
    sentences: list[str] = []
    closings: list[str] = []
    first_sentence, first_closing = [0], [0]
    for language in languages:
        phrases = PHRASES[language]
        sentences += [a + phrases.joint + b for a in phrases.openings for b in phrases.clauses]
        closings += phrases.closings
        first_sentence.append(len(sentences))
        first_closing.append(len(closings))
    return pa.array(sentences), pa.array(closings), np.array(first_sentence), np.array(first_closing)


def captions(world: World, language: Integers, short: Flags, number: Words) -> pa.Array:
    """A caption in each language, or one too short to have a language, chosen by a random number; else null."""
    sentences, closings, first_sentence, first_closing = _sentences(world.languages)
    sentence = _within(first_sentence, language, number)
    closing = _within(first_closing, language, number >> np.uint64(16))
    tail = (number >> np.uint64(32)) % np.uint64(len(TAILS))
    full = pc.binary_join_element_wise(
        pick(sentences, sentence), pick(closings, closing), pa.array(TAILS).take(pa.array(tail)), ""
    )
    brief = pa.array(SHORT).take(pa.array(number % np.uint64(len(SHORT))))
    return pc.if_else(pa.array(language == NOTHING), None, pc.if_else(pa.array(short), brief, full))


def titles(world: World, language: Integers, number: Words) -> pa.Array:
    """A sentence without its closing; null without a language."""
    sentences, _, first, _ = _sentences(world.languages)
    return pick(sentences, _within(first, language, number))


def _within(first: Integers, group: Integers, number: Words) -> Integers:
    """A position in the group's part of a table; `NOTHING` without a group."""
    size = np.diff(first)[group].astype(np.uint64)
    return np.where(group == NOTHING, NOTHING, first[group] + (number % size).astype(np.int64))


def declared_languages(world: World, language: Integers, place: Integers, number: Words) -> pa.Array:
    """`fr`, or with the country, `fr-BE`; null without a language."""
    codes = ["", *(f"-{country.code}" for country in world.countries)]
    tags = pa.array([name + code for name in world.languages for code in codes])
    region = np.where(number % np.uint64(2) == 0, 0, place + 1)
    return pick(tags, np.where(language == NOTHING, NOTHING, language * len(codes) + region))


@functools.lru_cache(maxsize=4)
def _hosts(world: World) -> tuple[pa.Array, Integers]:
    """All hosts, and where those of each country, then the generic, platform and vanity ones, begin."""
    groups = [country.suffixes for country in world.countries] + [GENERIC_SUFFIXES, (), VANITY_SUFFIXES]
    hosts: list[str] = []
    first = [0]
    for number, suffixes in enumerate(groups):
        hosts += [_host(number, rank, suffixes) for rank in range(_HOSTS_PER_COUNTRY)] if suffixes else PLATFORM_HOSTS
        first.append(len(hosts))
    return pa.array(hosts), np.array(first)


def _host(group: int, rank: int, suffixes: tuple[str, ...]) -> str:
    word = _FIRST_WORDS[(group + rank) % len(_FIRST_WORDS)] + _SECOND_WORDS[rank % len(_SECOND_WORDS)]
    return f"www.{word}{group}{rank}.{suffixes[rank % len(suffixes)]}"


def hosts(world: World, site: Integers, site_kind: Integers, number: Words) -> pa.Array:
    """The host of each page."""
    table, first = _hosts(world)
    others = {"generic": 0, "platform": 1, "vanity": 2}
    group = np.array([len(world.countries) + others[name] if name in others else NOTHING for name, _ in world.sites])
    kind = group[site_kind]
    return pick(table, _within(first, np.where(kind == NOTHING, site, kind), number))


def urls(host: pa.Array, page: pa.Array, number: Words) -> pa.Array:
    """`https://host/folder/page.jpg`."""
    folder = _FOLDERS.take(pa.array(number % np.uint64(len(_FOLDERS))))
    return pc.binary_join_element_wise("https:/", host, folder, pc.binary_join_element_wise(page, ".jpg", ""), "/")


def phones(world: World, random: np.random.Generator, country: Integers) -> pa.Array:
    """A valid mobile number of each country, most of them in international format, as it stands behind a caption.

    They are libphonenumber's example numbers with other last digits. The bare example is a whole country's
    switchboard. Empty without a country.
    """
    texts = np.full(len(country), "", object)
    for row in np.flatnonzero(country != NOTHING):
        code = world.countries[country[row]].code
        number = phonenumbers.example_number_for_type(code, PhoneNumberType.MOBILE)
        if number is None or number.national_number is None:
            continue
        if random.random() >= world.switchboard:
            number.national_number += int(random.integers(10_000)) - number.national_number % 10_000
        form = PhoneNumberFormat.INTERNATIONAL if random.random() < 0.7 else PhoneNumberFormat.NATIONAL
        lead = PHONE_LEADS[random.integers(len(PHONE_LEADS))]
        texts[row] = lead + phonenumbers.format_number(number, form)
    return pa.array(texts, pa.string())
