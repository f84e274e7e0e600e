import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langdetect.detector import Detector
from langdetect.detector_factory import PROFILES_DIRECTORY, DetectorFactory
from langdetect.lang_detect_exception import LangDetectException
from langdetect.utils.ngram import NGram
from py3langid.langid import MODEL_FILE, LanguageIdentifier

from classifiers.fixed_point import GRID
from classifiers.langdetect_batch import LangdetectModel, langdetect_scores, load_langdetect
from classifiers.langid_batch import langid_scores, load_langid
from classifiers.language import (
    DEFAULT_MODE,
    LEVELS,
    LanguageMode,
    LanguageModel,
    detect_language,
    load_language_model,
)
from classifiers.language_text import MAX_CODE_POINTS, clean_texts
from schemas.countries import LANGUAGES, NONE, language_index
from schemas.evidence import NullReason, Signal

SHARED = Path(os.environ.get("LETHE_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
needs_shared_data = pytest.mark.skipif(not SHARED.is_dir(), reason=f"the shared data is not at {SHARED}")

CAPTIONS = {
    "af": "Ons het gister saam met die kinders langs die see gaan stap en daarna koffie gedrink",
    "ar": "ذهبنا أمس مع الأطفال إلى الشاطئ ثم شربنا القهوة في المقهى القديم",
    "bg": "Вчера отидохме с децата на плажа и после пихме кафе в старата сладкарница",
    "bn": "গতকাল আমরা বাচ্চাদের নিয়ে সমুদ্রের ধারে গিয়েছিলাম এবং তারপর কফি খেয়েছি",
    "ca": "Ahir vam anar a la platja amb els nens i després vam prendre un cafè al poble",
    "cs": "Včera jsme šli s dětmi na pláž a potom jsme si dali kávu ve staré kavárně",
    "cy": "Ddoe aethom ni i'r traeth gyda'r plant ac wedyn cawsom goffi yn yr hen gaffi",
    "da": "I går gik vi en tur på stranden med børnene, og bagefter drak vi kaffe i byen",
    "de": "Gestern waren wir mit den Kindern am Strand und haben danach in der Stadt Kaffee getrunken",
    "el": "Χθες πήγαμε με τα παιδιά στην παραλία και μετά ήπιαμε καφέ στο παλιό καφενείο",
    "en": "Yesterday we went to the beach with the children and afterwards had coffee in the old town",
    "es": "Ayer fuimos a la playa con los niños y después tomamos un café en el casco antiguo",
    "et": "Eile käisime lastega rannas ja pärast jõime vanalinnas kohvi ning sõime kooki",
    "fa": "دیروز با بچه‌ها به ساحل رفتیم و بعد از آن در کافه‌ی قدیمی قهوه خوردیم",
    "fi": "Eilen kävimme lasten kanssa rannalla ja joimme sen jälkeen kahvia vanhassa kaupungissa",
    "fr": "Hier nous sommes allés à la plage avec les enfants, puis nous avons bu un café en ville",
    "gu": "ગઈકાલે અમે બાળકો સાથે દરિયાકિનારે ગયા હતા અને પછી કોફી પીધી હતી",
    "he": "אתמול הלכנו לים עם הילדים ואחר כך שתינו קפה בעיר העתיקה",
    "hi": "कल हम बच्चों के साथ समुद्र तट पर गए थे और उसके बाद हमने पुराने शहर में कॉफी पी",
    "hr": "Jučer smo s djecom išli na plažu, a poslije smo popili kavu u starom gradu",
    "hu": "Tegnap a gyerekekkel a strandra mentünk, utána pedig kávét ittunk az óvárosban",
    "id": "Kemarin kami pergi ke pantai bersama anak-anak dan setelah itu minum kopi di kota tua",
    "it": "Ieri siamo andati in spiaggia con i bambini e poi abbiamo preso un caffè nel centro storico",
    "ja": "昨日は子供たちと海へ行って、そのあと古い喫茶店でコーヒーを飲みました",
    "ko": "어제 우리는 아이들과 함께 바닷가에 갔다가 오래된 카페에서 커피를 마셨습니다",
    "lt": "Vakar su vaikais buvome paplūdimyje, o paskui senamiestyje gėrėme kavą",
    "lv": "Vakar mēs ar bērniem bijām pludmalē un pēc tam vecpilsētā dzērām kafiju",
    "nl": "Gisteren zijn we met de kinderen naar het strand geweest en daarna dronken we koffie in de stad",
    "no": "I går gikk vi tur på stranden med barna, og etterpå drakk vi kaffe i gamlebyen",
    "pl": "Wczoraj poszliśmy z dziećmi na plażę, a potem wypiliśmy kawę na starym mieście",
    "pt": "Ontem fomos à praia com as crianças e depois tomámos um café no centro da cidade",
    "ro": "Ieri am fost cu copiii la plajă și apoi am băut o cafea în orașul vechi",
    "ru": "Вчера мы ходили с детьми на пляж, а потом пили кофе в старом городе",
    "sl": "Včeraj smo šli z otroki na plažo in potem spili kavo v starem mestu",
    "sq": "Dje shkuam në plazh me fëmijët dhe më pas pimë kafe në qytetin e vjetër",
    "sv": "Igår gick vi till stranden med barnen och efteråt drack vi kaffe i gamla stan",
    "sw": "Jana tulikwenda pwani pamoja na watoto na baadaye tukanywa kahawa katika mji mkongwe",
    "ta": "நேற்று நாங்கள் குழந்தைகளுடன் கடற்கரைக்குச் சென்று பின்னர் காபி குடித்தோம்",
    "th": "เมื่อวานเราพาเด็ก ๆ ไปเที่ยวทะเลแล้วก็ไปดื่มกาแฟในเมืองเก่า",
    "tl": "Kahapon ay pumunta kami sa dalampasigan kasama ang mga bata at pagkatapos ay uminom kami ng kape",
    "tr": "Dün çocuklarla plaja gittik ve sonra eski şehirde kahve içtik",
    "uk": "Учора ми ходили з дітьми на пляж, а потім пили каву в старому місті",
    "ur": "کل ہم بچوں کے ساتھ ساحل سمندر پر گئے اور اس کے بعد پرانے شہر میں کافی پی",
    "vi": "Hôm qua chúng tôi đã đi biển với bọn trẻ và sau đó uống cà phê ở khu phố cổ",
    "zh": "昨天我们带孩子们去了海边，然后在老城区喝了咖啡",
}
"""One holiday in the languages of langdetect, written for this test."""

# Pieces that strangers put in captions, and that a detector must read past or survive.
PIECES = st.sampled_from(
    [
        *CAPTIONS.values(),
        "https://a.example/b?c",
        "HTTP://X",
        "://",
        "me@mail.example",
        "@me",
        "#SunnyDay_out",
        "www.a.bc",
    ]
    + [
        "😀👍🏽",
        "e\u0301",
        "a\u0323\u0302",
        "\u0301",
        "SALE NOW",
        "sooooo",
        "!!!!",
        "  ",
        "\u00a0",
        "\x00",
        "\u200d",
        "İI",
    ]
)
TEXTS = st.lists(PIECES | st.text(max_size=8), max_size=6).map("".join)
RAW_TEXTS = TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(max_size=40)


@pytest.fixture(scope="module", params=list(LanguageMode))
def model(request: pytest.FixtureRequest) -> LanguageModel:
    return load_language_model(request.param)


@pytest.fixture(scope="module")
def batched() -> LangdetectModel:
    return load_langdetect()


@pytest.fixture(scope="module")
def langdetect() -> DetectorFactory:
    factory = DetectorFactory()
    factory.load_profile(PROFILES_DIRECTORY)
    factory.set_seed(0)
    return factory


def detect(
    model: LanguageModel,
    title: str | bytes | None = None,
    caption: str | bytes | None = None,
    declared: str | None = None,
    hint: str | None = None,
) -> tuple[str | None, str, str]:
    signal = detect_language(
        pa.array([title], pa.string() if title is None else None),
        pa.array([caption], pa.string() if caption is None else None),
        pa.array([declared], pa.string()),
        np.array([language_index(hint)], np.int16),
        model,
    )
    value, level, reason = (int(column[0]) for column in signal)
    return None if value == NONE else LANGUAGES[value], LEVELS[level], NullReason(reason).name


# ---- cleaning


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("See https://a.example/b?c=d#e now", "See now"),
        ("pic:HTTP://X.example, www.site.example/me and http://é", "pic: and é"),
        ("thanks @some_one and write to first.last@mail.example !", "thanks and write to !"),
        ("#SummerHolidays #sea_side 2019", "Summer Holidays sea side 2019"),
        ("McDonald stays, iPhone too", "McDonald stays, iPhone too"),
        ("Sooooo good!!!!", "Soo good!!"),
        ("BUON NATALE a tutti. A B", "buon natale a tutti. A B"),
        ("love ❤️ it 😀👍🏽  \n much", "love it much"),
        ("cafe\u0301 ha\u0323\u0302t", "café hật"),
        ("", ""),
        (None, ""),
        ("\x00\x01", ""),
        (b"caf\xc3\xa9 \xff\xc3(\xed\xa0\x80) fin\xe2\x82", "café ( ) fin "),
    ],
)
def test_captions_are_cleaned(text: str | bytes | None, clean: str) -> None:
    assert clean_texts(pa.array([text])).to_strings() == [clean]


@given(st.lists(RAW_TEXTS, max_size=5))
def test_after_cleaning_langdetect_has_nothing_left_to_filter(raw: list[bytes]) -> None:
    for text in clean_texts(pa.array(raw, pa.binary())).to_strings():
        assert not Detector.URL_RE.search(text)
        assert not Detector.MAIL_RE.search(text)
        assert NGram.normalize_vi(text) == text
        assert "  " not in text and len(text) <= MAX_CODE_POINTS


def test_long_texts_are_cut() -> None:
    (text,) = clean_texts(pa.array(["#" + "aB" * 100_000])).to_strings()
    assert text == ("a " + "Ba " * MAX_CODE_POINTS)[:MAX_CODE_POINTS]


# ---- the two detectors are those of the packages


@settings(max_examples=60)
@given(st.lists(TEXTS, min_size=1, max_size=4))
def test_the_ngrams_and_their_likelihoods_are_langdetects(
    langdetect: DetectorFactory, batched: LangdetectModel, raw: list[str]
) -> None:
    clean = clean_texts(pa.array(raw, pa.string()))
    scores, n_grams = langdetect_scores(clean, batched)
    for text, row, n in zip(clean.to_strings(), scores, n_grams, strict=True):
        detector = langdetect.create()
        detector.append(text)
        detector.cleaning_text()
        grams = detector._extract_ngrams()
        frequency = np.array([langdetect.word_lang_prob_map[gram] for gram in grams]).reshape(-1, len(batched.labels))
        floor = Detector.ALPHA_DEFAULT / Detector.BASE_FREQ
        expected = dict(zip(langdetect.langlist, np.log((floor + frequency) / floor).sum(axis=0), strict=True))
        assert n == len(grams)
        rounding = n / (2 * GRID)
        assert row == pytest.approx([expected[label] for label in batched.labels], rel=1e-4, abs=1e-3 + rounding)


def test_the_second_opinion_is_py3langids() -> None:
    reference = LanguageIdentifier.from_model_file(MODEL_FILE)
    clean = clean_texts(pa.array(list(CAPTIONS.values())))
    model = load_langid()
    scores, _, n_bytes = langid_scores(clean, model)
    assert model.labels == tuple(reference.nb_classes)
    for text, row, size in zip(clean.to_strings(), scores, n_bytes, strict=True):
        assert size == len(text.encode())
        assert row == pytest.approx(reference._raw_score(text.encode()), rel=1e-5, abs=1e-2)


def parts_of(text: str) -> Iterator[str]:
    """The text, and pieces of two sizes of it."""
    yield text
    for size in (12, 30):
        yield from (text[at : at + size] for at in range(0, len(text) - size, size))


def agreement(langdetect: DetectorFactory, raw: list[str]) -> tuple[float, float, int]:
    """How often the fast model says what langdetect says, both given the cleaned text.

    Of all texts; of those where langdetect is surer than .99; and how many these are.
    """
    model = load_language_model(LanguageMode.FAST)
    texts = clean_texts(pa.array(raw)).to_strings()
    best = model.distribution(pa.array(texts))[0].argmax(axis=1)
    same, sure = [], []
    for text, mine in zip(texts, best, strict=True):
        detector = langdetect.create()
        detector.append(text)
        try:
            theirs = detector.get_probabilities()
        except LangDetectException:  # it found nothing it knows
            continue
        same.append(bool(theirs) and language_index(theirs[0].lang) == mine)
        sure.append(bool(theirs) and theirs[0].prob > 0.99)
    return float(np.mean(same)), float(np.mean(np.array(same)[sure])), int(np.sum(sure))


def test_fast_agrees_with_langdetect(langdetect: DetectorFactory) -> None:
    overall, where_sure, n_sure = agreement(langdetect, [part for text in CAPTIONS.values() for part in parts_of(text)])
    assert overall >= 0.95
    assert where_sure == 1.0 and n_sure > 200


@needs_shared_data
@pytest.mark.slow
def test_fast_agrees_with_langdetect_on_real_texts(langdetect: DetectorFactory) -> None:
    texts = [
        *pq.read_table(SHARED / "language.parquet")["text"].take(np.arange(0, 75_000, 10)).to_pylist(),
        *pq.read_table(SHARED / "tweets.parquet")["text"].take(np.arange(0, 10_000, 4)).to_pylist(),
    ]
    overall, where_sure, n_sure = agreement(langdetect, texts)
    assert overall >= 0.95
    assert where_sure >= 0.999 and n_sure > 5_000


# ---- the distribution


def test_every_language_is_recognised_in_a_plain_caption(model: LanguageModel) -> None:
    probabilities, _ = model.distribution(pa.array(list(CAPTIONS.values())))
    assert [LANGUAGES[best] for best in probabilities.argmax(axis=1)] == list(CAPTIONS)


@given(st.lists(RAW_TEXTS, max_size=6))
def test_a_distribution_is_one(model: LanguageModel, raw: list[bytes]) -> None:
    probabilities, n_grams = model.distribution(pa.array(raw, pa.binary()))
    assert probabilities.shape == (len(raw), len(LANGUAGES)) and probabilities.dtype == np.float32
    assert n_grams.shape == (len(raw),)
    assert (probabilities >= 0).all() and (probabilities.sum(axis=1) <= 1 + 1e-5).all()


@given(st.lists(st.tuples(RAW_TEXTS | st.none(), RAW_TEXTS), min_size=1, max_size=8), st.randoms())
def test_a_record_does_not_depend_on_its_batch(
    model: LanguageModel, rows: list[tuple[bytes | None, bytes]], random: Random
) -> None:
    def run(rows: list[tuple[bytes | None, bytes]]) -> npt.NDArray[np.int64]:
        title, caption = (pa.array(column, pa.binary()) for column in zip(*rows, strict=True))
        n = len(rows)
        return np.stack(detect_language(title, caption, pa.nulls(n), np.full(n, NONE, np.int16), model), axis=1)

    order = list(range(len(rows)))
    random.shuffle(order)
    together = run(rows)
    assert (run([rows[i] for i in order]) == together[order]).all()
    assert (np.concatenate([run([row]) for row in rows]) == together).all()
    texts = pa.array([caption for _, caption in rows], pa.binary())
    alone = np.concatenate([model.distribution(texts[i : i + 1])[0] for i in range(len(texts))])
    assert alone.tobytes() == model.distribution(texts)[0].tobytes()


# ---- the signal


def test_text_decides_where_it_is_sure(model: LanguageModel) -> None:
    for language in ("en", "fr", "it"):
        assert detect(model, caption=CAPTIONS[language], declared="de", hint="es") == (language, "sure", "PRESENT")


def test_title_and_caption_are_read_together(model: LanguageModel) -> None:
    first, second = CAPTIONS["it"][:20], CAPTIONS["it"][20:]
    assert detect(model, title=first, caption=second) == ("it", "sure", "PRESENT")
    assert detect(model, title=CAPTIONS["it"]) == ("it", "sure", "PRESENT")


@pytest.mark.parametrize(
    ("tag", "language"),
    [
        ("fr", "fr"),
        ("FR_ca", "fr"),
        (" it-IT ", "it"),
        ("zh-Hant-TW", "zh"),
        ("nb-NO", "no"),
        ("iw", "he"),
        ("fil", "tl"),
    ],
)
def test_without_text_the_declared_language_counts(model: LanguageModel, tag: str, language: str) -> None:
    assert detect(model, caption="😀", declared=tag, hint="es") == (language, "declared", "PRESENT")


@pytest.mark.parametrize("tag", [None, "", "und", "x-klingon", "français", "-"])
def test_the_hint_counts_last(model: LanguageModel, tag: str | None) -> None:
    assert detect(model, declared=tag, hint="it") == ("it", "hint", "PRESENT")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "ABSENT"),
        ("", "ABSENT"),
        ("ok", "TOO_SHORT"),
        ("😀😀", "TOO_SHORT"),
        ("https://a.example/une-belle-plage-avec-les-enfants", "TOO_SHORT"),
        ("2019-05-04 12:33", "TOO_SHORT"),
        ("Foto Paris", "UNCERTAIN"),
    ],
)
def test_silence_has_a_reason(model: LanguageModel, text: str | None, reason: str) -> None:
    assert detect(model, caption=text) == (None, LEVELS[0], reason)


def test_a_text_in_no_language_is_uncertain() -> None:
    assert detect(load_language_model(LanguageMode.ACCURATE), "asdf qwer zxcv")[2] == "UNCERTAIN"


@pytest.mark.parametrize(
    "text", [b"\xff\xfe" * 50, b"\xed\xa0\x80" * 9, b"\x00" * 99, b"://" * 9, b"@" * 999, b"#" * 99]
)
def test_bytes_from_strangers_do_no_harm(model: LanguageModel, text: bytes) -> None:
    as_string = pa.Array.from_buffers(pa.string(), 1, pa.array([text]).buffers())
    signal = detect_language(as_string, as_string, as_string, np.full(1, NONE, np.int16), model)
    assert signal.value[0] == NONE and signal.reason[0] == NullReason.TOO_SHORT
    assert detect(model, title=text, caption=CAPTIONS["fr"].encode())[0] == "fr"


def test_a_huge_caption_is_judged_by_its_beginning(model: LanguageModel) -> None:
    assert detect(model, caption=CAPTIONS["fr"] * 20 + "and then " * 25_000) == ("fr", "sure", "PRESENT")


def test_no_records_no_signal(model: LanguageModel) -> None:
    nothing = pa.array([], pa.string())
    signal = detect_language(nothing, nothing, nothing, np.empty(0, np.int16), model)
    assert [len(column) for column in signal] == [0, 0, 0]
    assert [column.dtype for column in signal] == [np.int16, np.uint8, np.uint8]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view(), pa.large_binary()])
def test_every_kind_of_arrow_string_is_read(model: LanguageModel, kind: pa.DataType) -> None:
    captions = pa.array([None, CAPTIONS["en"], CAPTIONS["it"]]).cast(kind)[1:]
    signal = detect_language(captions, captions, pa.nulls(2), np.full(2, NONE, np.int16), model)
    assert [LANGUAGES[value] for value in signal.value] == ["en", "it"]


def test_threads_share_one_model_and_get_the_same_answers() -> None:
    captions = pa.array(list(CAPTIONS.values()) * 20)
    found: list[tuple[LanguageModel, Signal]] = []

    def work() -> None:
        model = load_language_model(DEFAULT_MODE)
        hint = np.full(len(captions), NONE, np.int16)
        found.append((model, detect_language(captions, captions, captions, hint, model)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(model) for model, _ in found}) == 1
    assert len({tuple(column.tobytes() for column in signal) for _, signal in found}) == 1


# ---- the probabilities mean what they say


def held_out() -> tuple[pa.Array, npt.NDArray[np.str_], npt.NDArray[np.int16]]:
    """The texts that the temperatures were not fitted on: their kinds and languages."""
    table = pq.read_table(SHARED / "language.parquet")
    digests = (hashlib.md5(text.encode(), usedforsecurity=False).digest() for text in table["text"].to_pylist())
    table = table.filter(pa.array([digest[0] % 2 == 1 for digest in digests]))
    languages = np.array(["no" if code == "nb" else code for code in table["language"].to_pylist()])
    texts = table["text"].combine_chunks()
    return texts, np.array(table["kind"].to_pylist()), np.array([language_index(code) for code in languages], np.int16)


@needs_shared_data
@pytest.mark.parametrize(
    ("mode", "kind", "accuracy", "error"),
    [
        (LanguageMode.ACCURATE, "sentences", 0.98, 0.01),
        (LanguageMode.ACCURATE, "word-pairs", 0.79, 0.03),
        (LanguageMode.ACCURATE, "single-words", 0.49, 0.03),
        (LanguageMode.FAST, "sentences", 0.97, 0.01),
        (LanguageMode.FAST, "word-pairs", 0.69, 0.04),
        (LanguageMode.FAST, "single-words", 0.45, 0.04),
    ],
)
def test_probabilities_are_calibrated(mode: LanguageMode, kind: str, accuracy: float, error: float) -> None:
    texts, kinds, languages = held_out()
    probabilities, _ = load_language_model(mode).distribution(texts)
    known = probabilities.max(axis=0) > 0  # fast has no Irish, Basque, Latin, Esperanto
    chosen = (kinds == kind) & known[languages]
    sure, right = probabilities[chosen].max(axis=1), probabilities[chosen].argmax(axis=1) == languages[chosen]
    bins = np.minimum(sure * 15, 14).astype(int)
    gap = np.abs(np.bincount(bins, right - sure, 15)).sum() / len(bins)
    assert right.mean() >= accuracy
    assert gap <= error


@needs_shared_data
@pytest.mark.parametrize(("mode", "accuracy"), [(LanguageMode.ACCURATE, 0.945), (LanguageMode.FAST, 0.91)])
def test_english_tweets_are_told_from_others(mode: LanguageMode, accuracy: float) -> None:
    tweets = pq.read_table(SHARED / "tweets.parquet")
    english, other, automatic = (np.array(tweets[name].to_pylist(), bool) for name in ("en", "not_en", "auto"))
    labelled = (english | other) & ~automatic
    probabilities, _ = load_language_model(mode).distribution(tweets["text"].combine_chunks())
    called_english = probabilities.argmax(axis=1) == language_index("en")
    assert (called_english == english)[labelled].mean() >= accuracy
    sure = labelled & (probabilities.max(axis=1) >= 0.95)
    assert (called_english == english)[sure].mean() >= 0.975
