import copy
import json
import pickle
import runpy
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from classifiers.model import load_model, parse_model
from schemas.countries import COUNTRIES, LANGUAGES
from schemas.errors import InputError
from schemas.evidence import SIGNALS
from schemas.files import canonical_json, digest_bytes

Document = dict[str, Any]

DATA = Path(str(resources.files("classifiers"))) / "data"
DOCUMENT = json.loads((DATA / "model.json").read_text(encoding="utf-8"))


def test_the_shipped_model_is_what_its_script_builds() -> None:
    assert runpy.run_path(str(DATA / "build_model.py"))["build"]() == DOCUMENT


def test_every_distribution_adds_up_and_nothing_is_impossible() -> None:
    model = load_model()
    for distribution in (model.prior, model.away, *model.background.values()):
        assert distribution.sum() == pytest.approx(1)
        assert distribution.min() > 0
    assert model.speakers.shape == (len(COUNTRIES), len(LANGUAGES))
    assert model.speakers.sum(axis=1) == pytest.approx(1)


def test_weaker_observations_are_trusted_less() -> None:
    hit = {kind.name: dict(zip(kind.levels, load_model().hit[kind.name], strict=True)) for kind in SIGNALS}
    assert hit["ip"]["residential"] > hit["ip"]["mobile"] > hit["ip"]["hosting"] >= hit["ip"]["anonymous"]
    assert hit["gps"]["coordinates"] > hit["gps"]["coarse_coordinates"]
    language = hit["language"]
    assert max(language["hint"], language["declared"], language["possible"]) < language["sure"]
    assert language["hint"] < language["declared"]
    assert hit["phone"]["international"] > hit["phone"]["national"] > hit["phone"]["national_ambiguous"]


def test_people_write_mostly_in_the_language_of_their_country() -> None:
    speakers = load_model().speakers
    for country, language in (("GB", "en"), ("FR", "fr"), ("IT", "it"), ("BR", "pt"), ("CN", "zh")):
        row = speakers[COUNTRIES.index(country)]
        assert row.argmax() == LANGUAGES.index(language)
        assert row[LANGUAGES.index("en")] > 0.1


def test_the_digest_is_that_of_the_content_not_of_its_layout(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(DOCUMENT, indent=7, sort_keys=True), encoding="utf-8")
    assert load_model(path).digest == load_model().digest == digest_bytes(canonical_json(DOCUMENT))
    changed = copy.deepcopy(DOCUMENT)
    changed["place"]["tau"] = 0.3
    assert parse_model(changed).digest != load_model().digest


def test_a_model_travels_to_workers() -> None:
    model = pickle.loads(pickle.dumps(load_model()))
    assert model.digest == load_model().digest
    assert np.array_equal(model.tables.text, load_model().tables.text)


def drop(document: Document) -> None:
    del document["prior"]["weights"]["FR"]


def unknown_country(document: Document) -> None:
    document["prior"]["weights"]["UK"] = document["prior"]["weights"].pop("GB")


def unknown_level(document: Document) -> None:
    document["signals"]["ip"]["hit"]["residental"] = 0.5


def unknown_signal(document: Document) -> None:
    document["signals"]["face"] = document["signals"]["gps"]


def missing_signal(document: Document) -> None:
    del document["signals"]["phone"]


def missing_speakers(document: Document) -> None:
    del document["speakers"]["shares"]["FR"]


def not_one(document: Document) -> None:
    document["place"]["weights"]["FR"] += 0.1


def certain(document: Document) -> None:
    document["signals"]["gps"]["hit"]["coordinates"] = 1.0


def impossible(document: Document) -> None:
    document["prior"]["weights"]["AQ"] = 0.0


def not_a_number(document: Document) -> None:
    document["place"]["tau"] = float("nan")


def text(document: Document) -> None:
    document["place"]["tau"] = "0.2"


def sourceless(document: Document) -> None:
    del document["prior"]["source"]


def newer(document: Document) -> None:
    document["version"] = 2


def surrogate(document: Document) -> None:
    document["prior"]["source"] = "\ud800"


def misspelt(document: Document) -> None:
    document["place"]["Tau"] = 0.2


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (drop, r"mine.json: prior.weights: FR missing \(1 of 250\)"),
        (unknown_country, r"prior.weights: unknown key 'UK'"),
        (unknown_level, r"signals.ip.hit: unknown key 'residental'; did you mean 'residential'"),
        (unknown_signal, r"signals: unknown key 'face'"),
        (missing_signal, r"signals: phone missing"),
        (missing_speakers, r"speakers.shares: FR missing"),
        (not_one, r"place.weights: the shares add up to 1\.1\d*, they must add up to 1"),
        (certain, r"signals.gps.hit.coordinates: .*less than or equal to 0.999999, found 1.0"),
        (impossible, r"prior.weights.AQ: .*greater than or equal to 0.000000000001, found 0.0"),
        (not_a_number, r"place.tau: "),
        (text, r"place.tau: .*number"),
        (sourceless, r"prior.source: .*required"),
        (newer, r"version: .*1, found 2"),
        (surrogate, r"prior.source|not Unicode"),
        (misspelt, r"place.Tau: .*not permitted"),
    ],
)
def test_a_model_that_cannot_be_used_names_key_and_bound(
    tmp_path: Path, spoil: Callable[[Document], None], message: str
) -> None:
    document = copy.deepcopy(DOCUMENT)
    spoil(document)
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        load_model(path)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[1, 2]", b"null"])
def test_a_file_that_is_no_model(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mine.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match="mine.json"):
        load_model(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.json cannot be read"):
        load_model(tmp_path / "gone.json")
