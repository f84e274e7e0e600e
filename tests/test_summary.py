"""The summary on the terminal says what the report says, adds up, and prints what strangers wrote as harmless text."""

import io
import re
import sys
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runners.outcome import headline, total_listed
from runners.summary import print_summary
from runners.wording import visible
from schemas.errors import LetheError
from tests.report_sample import NAMES, draw_scores, evaluation_of, manifest_of, run_of, write_job

HOSTILE = "[red]\x1b[2J[/]\u202e\udc80[link=http://x]:skull:"
SHOWN = r"[red]\x1b[2J[/]\u202e\udc80[link=http://x]:skull:"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    scores = draw_scores(300, seed=7)
    job = write_job(tmp_path_factory.mktemp("job"), ("faces", "hashes"))
    manifests = {name: manifest_of(job, scores, name) for name in NAMES}
    dumped = {name: manifest.model_dump(mode="json") for name, manifest in manifests.items()}
    run = {**run_of(job, manifests), "evaluation": evaluation_of(job, scores), "jurisdictions": dumped}
    return {**run, "out": "/there/out", "report": "/there/out/report.html"}


def printed(capsys: pytest.CaptureFixture[str], summary: dict[str, Any]) -> str:
    print_summary(summary)
    return capsys.readouterr().out


def test_a_finished_run_is_told_with_sums_that_add_up(
    finished: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    out = printed(capsys, finished)
    assert out.startswith("read 313 = 300 scored + 13 quarantined\n")
    for name in ("United Kingdom", "France", "Italy"):
        row = re.search(rf"^{name}\s+(.*=.*)$", out, re.MULTILINE)
        assert row
        left, right = row[1].split("=")
        assert sum(int(part) for part in left.split("+")) == int(right.split()[0]) == 313
    assert "verification found nothing left and nothing else touched" in " ".join(out.split())
    assert out.endswith("report: /there/out/report.html\n")
    assert "\x1b" not in out, "plain where there is no terminal"
    assert not re.search(r" +$", out, re.MULTILINE)


def test_an_evaluation_shows_the_filters_next_to_lethe(
    finished: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    out = printed(capsys, finished)
    found = finished["evaluation"]["jurisdictions"]["fr"]
    assert re.search(rf"^France +300 +{found['residents']} +{found['auc']:.3f} +{found['ece']:.3f} ", out, re.MULTILINE)
    assert "lethe at that recall" in out
    assert "4 subjects of the truth never scored, no scored subjects not in the truth\n" in out


def test_it_says_the_sentence_of_the_report(finished: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    names = ("United Kingdom", "France", "Italy")
    sentence = headline(finished, total_listed(names, finished["jurisdictions"].values()))
    assert sentence in " ".join(printed(capsys, finished).split())


@pytest.mark.parametrize(
    ("keys", "change", "line"),
    [
        (("score",), {}, "next: write the deletion manifests: lethe plan JOB"),
        (("score", "manifests", "jurisdictions"), {}, "next: see what would be destroyed: lethe purge JOB"),
        (("score", "jurisdictions", "purge"), {"executed": False}, "next: nothing was destroyed: add --execute"),
        (("score", "jurisdictions", "purge"), {}, "next: check independently that it is gone: lethe verify JOB"),
    ],
)
def test_it_says_what_to_do_next(
    finished: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    keys: tuple[str, ...],
    change: dict[str, Any],
    line: str,
) -> None:
    summary = {"run_id": "x", **{key: finished[key] for key in keys}}
    if change:
        summary["purge"] = finished["purge"] | change
    assert line in printed(capsys, summary).splitlines()


def test_a_failed_verification_is_told_with_its_reasons(
    finished: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    stores = finished["verification"]["stores"]
    failed = stores | {"faces": stores["faces"] | {"verdict": "RESIDUE", "residue": 2, "reasons": ["part-1: 2 ids"]}}
    out = printed(capsys, finished | {"verification": {"stores": failed}})
    assert "verification failed: something is left in 1 store" in " ".join(out.split())
    assert "faces: part-1: 2 ids" in out
    assert "next: see verification.json" in out


def test_a_file_that_was_not_touched_is_named(finished: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    store = finished["purge"]["stores"]["faces"] | {"conflicts": [HOSTILE], "unreadable": ["b.parquet"]}
    purge = finished["purge"] | {"stores": finished["purge"]["stores"] | {"faces": store}}
    out = printed(capsys, finished | {"purge": purge})
    assert f"not touched, changed since it was read: faces: {SHOWN}" in out
    assert "not touched, could not be read: faces: b.parquet" in out
    assert "mend unreadable files first" in out


def test_numbers_that_do_not_add_up_are_an_error(finished: dict[str, Any]) -> None:
    with pytest.raises(LetheError, match="300 scored"):
        print_summary(finished | {"score": finished["score"] | {"read": 999}})
    wrong = finished["jurisdictions"] | {"fr": finished["jurisdictions"]["fr"] | {"kept": 0}}
    with pytest.raises(LetheError, match="fr: 313 records"):
        print_summary(finished | {"jurisdictions": wrong})


def test_a_demo_says_what_it_wrote_and_what_comes_next(capsys: pytest.CaptureFixture[str]) -> None:
    demo = {"folder": "demo", "subjects": 2000, "seed": 7, "bad_rows": {"null face_id": 3, "latitude 512": 4}}
    out = printed(capsys, {"demo": demo})
    assert re.search(r"^subjects +2,000$", out, re.MULTILINE)
    assert "null face_id 3, latitude 512 4" in out
    assert out.endswith("next: lethe run demo\n")


def test_approvals_are_printed_whole_so_that_they_can_be_copied(capsys: pytest.CaptureFixture[str]) -> None:
    approval = {"manifest": "sha256:" + "5" * 64, "public_key": "ab" * 32, "signature": "cd" * 64}
    out = printed(capsys, {"approvals": {"fr": approval}})
    assert "France: signed" in out
    for value in approval.values():
        assert value in out


def explanation(subject: str, text: str) -> dict[str, Any]:
    bars = [
        {"family": "device", "evidence": text, "weight_mb": 8330, "n_records": 3, "n_episodes": 2, "null_reason": None,
         "rival": "BE"},
        {"family": "network", "evidence": "", "weight_mb": 0, "n_records": 0, "n_episodes": 0,
         "null_reason": "switched_off", "rival": None},
    ]  # fmt: skip
    row = {"jurisdiction": "fr", "probability": 0.93, "tier": "review", "evidence_class": "rich", "prior_mb": -4500}
    episode = {
        "episode": 1,
        "month": None,
        "family": "device",
        "evidence": text,
        "jurisdiction": "fr",
        "weight_mb": -15,
    }
    return {
        "subject": subject,
        "jurisdictions": [{**row, "score_mb": 3830, "bars": bars, "reason": f"Because {text}."}],
        "episodes": [episode],
    }


def test_an_explanation_is_a_sum_to_check_by_hand(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, {"explanation": explanation("person-1", "FR x3")})
    assert "France: review, P = 93.0 %, evidence rich" in out
    weights = [float(weight) for weight in re.findall(r"^  \w+ +([+-][\d.]+)", out, re.MULTILINE)]
    assert weights == [-4.5, 8.33, 0.0, 3.83]
    assert "FR x3, mainly against BE" in out
    assert "silent: switched off" in out
    assert "-0.015" in out


def test_an_explanation_without_records_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    gone = explanation("person-1", "FR")
    del gone["episodes"]
    assert "the records are no longer there" in printed(capsys, {"explanation": gone})


def test_what_strangers_wrote_is_printed_harmlessly(
    finished: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert SHOWN in printed(capsys, {"explanation": explanation(HOSTILE, HOSTILE)})
    purge = finished["purge"] | {"stores": {HOSTILE: finished["purge"]["stores"]["faces"]}}
    checks = {"stores": {HOSTILE: finished["verification"]["stores"]["faces"] | {"reasons": [HOSTILE]}}}
    score = finished["score"] | {"reasons": {HOSTILE: 13}}
    hostile = finished | {"purge": purge, "verification": checks, "score": score, "report": HOSTILE}
    out = printed(capsys, hostile)
    assert out.count(SHOWN) >= 5
    assert all(char.isprintable() or char == "\n" for char in out)


def test_a_terminal_that_knows_ascii_alone_loses_nothing(
    finished: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", narrow)
    print_summary(finished | {"report": "/é/report.html"})
    narrow.seek(0)
    assert "/\\xe9/report.html" in narrow.read()


def test_a_terminal_gets_style_and_still_nothing_from_strangers(
    finished: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    print_summary(finished | {"report": HOSTILE})
    out = terminal.getvalue()
    assert SHOWN in out
    assert set(re.findall(r"\x1b(\[[\d;]*[A-Za-z])", out)) and not re.search(r"\x1b(?!\[[\d;]*m)", out)


@given(st.text(st.characters(), max_size=60))
def test_visible_text_hides_nothing_and_leaves_letters_alone(text: str) -> None:
    shown = visible(text)
    assert not {unicodedata.category(char) for char in shown} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    kept = [char for char in text if unicodedata.category(char)[0] in "LMNPS"]
    assert [char for char in shown if not char.isascii()] == [
        char for char in text if not char.isascii() and (char in kept or unicodedata.category(char) == "Zs")
    ]
