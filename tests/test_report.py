"""The report says what happened, adds up, is inert whatever strangers wrote, and loads nothing."""

import contextlib
import html.parser
import http.server
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from runners.report import write_report
from schemas.errors import LetheError
from schemas.job import Job
from schemas.manifests import Manifest
from schemas.scores import SCORES
from tests.report_sample import NAMES, draw_scores, evaluation_of, manifest_of, run_of, write_job, write_scores

PWN = "document.title='pwned'"
HOSTILE = f'<script>{PWN}</script>"><img src=x onerror="{PWN}">\' onload=\'x {{{{ 7*7 }}}} &lt;b&gt;'
VOID = {"meta", "link"}


class Page(html.parser.HTMLParser):
    """Every element with its attributes, and the text a reader sees."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.shown: list[str] = []
        self.feed(text)
        self.text = re.sub(r"\s+", " ", "".join(self.shown))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "title", "desc"):
            self.shown.append(data)

    def headline(self) -> str:
        return self.text.split("run 3fa94c0be1d27756")[1].split("Records read")[0].strip()


@pytest.fixture(scope="module")
def scores() -> pa.Table:
    return draw_scores(600, seed=7)


Finished = tuple[Job, dict[str, Any], dict[str, Manifest]]


def finish(
    folder: Path, scores: pa.Table, executed: bool = True, stores: tuple[str, ...] = ("faces", "hashes")
) -> Finished:
    job = write_job(folder, stores)
    write_scores(job, scores)
    manifests = {name: manifest_of(job, scores, name) for name in NAMES}
    return job, run_of(job, manifests, executed) | {"evaluation": evaluation_of(job, scores)}, manifests


def read(job: Job, run: dict[str, Any], manifests: dict[str, Manifest]) -> Page:
    page = Page(write_report(job, run, manifests).read_text(encoding="utf-8"))
    assert page.open == [], "every element is closed"
    return page


def total(manifests: dict[str, Manifest]) -> int:
    return sum(manifest.entries["erase"] for manifest in manifests.values())


def test_the_first_sentence_says_what_was_erased_and_verified(tmp_path: Path, scores: pa.Table) -> None:
    job, run, manifests = finish(tmp_path, scores)
    n = total(manifests)
    assert read(job, run, manifests).headline() == (
        f"{n} faces of {n} likely residents of France, Italy and the United Kingdom were erased from 2 stores; "
        "verification found nothing left and nothing else touched."
    )


def test_before_execution_it_says_that_nothing_was_erased(tmp_path: Path, scores: pa.Table) -> None:
    job, run, manifests = finish(tmp_path, scores, executed=False)
    assert "would be erased from 2 stores; nothing has been erased yet." in read(job, run, manifests).headline()
    del run["purge"]
    assert "to be erased; nothing has been erased yet." in read(job, run, manifests).headline()


def test_a_job_that_was_only_scored_has_a_page_too(tmp_path: Path, scores: pa.Table) -> None:
    job, run, _ = finish(tmp_path, scores)
    only = {key: run[key] for key in ("run_id", "score")}
    assert "no deletion manifest is written yet" in read(job, only, {}).text
    assert read(write_job(tmp_path / "empty"), {}, {}).text


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"verdict": "RESIDUE", "residue": 3}, "verification failed: something is left in 1 store."),
        ({"rows": "LOST", "rows_lost": 2}, "rows that nobody ordered erased are lost in 1 store."),
        ({"rows": "CHANGED"}, "something else has changed in 1 store."),
        ({"rows": "UNVERIFIED"}, "verification could not vouch for 1 store."),
        ({"verdict": "UNVERIFIED", "reasons": ["a file is encrypted"]}, "could not vouch for 1 store."),
        ({"residue": 1}, "could not vouch for 1 store."),
        ({"control": {"planted": 12, "found": 11}}, "could not vouch for 1 store."),
        ({"control": {"planted": 0, "found": 0}}, "could not vouch for 1 store."),
        ({"control": None}, "could not vouch for 1 store."),
    ],
)
def test_nothing_but_a_clean_and_consistent_verdict_is_called_verified(
    tmp_path: Path, scores: pa.Table, change: dict[str, Any], sentence: str
) -> None:
    job, run, manifests = finish(tmp_path, scores)
    run["verification"]["stores"]["hashes"] |= change
    page = read(job, run, manifests)
    assert sentence in page.headline()
    assert "Erased and verified" not in page.text
    assert "1 of 2" in page.text  # stores verified
    for reason in change.get("reasons", []):
        assert reason in page.text


def test_a_store_that_verification_forgot_is_not_verified(tmp_path: Path, scores: pa.Table) -> None:
    job, run, manifests = finish(tmp_path, scores)
    del run["verification"]["stores"]["hashes"]
    page = read(job, run, manifests)
    assert "could not vouch for 1 store" in page.headline()
    assert "verification did not report on this store" in page.text


def test_files_that_were_left_alone_are_named_and_never_called_erased(tmp_path: Path, scores: pa.Table) -> None:
    job, run, manifests = finish(tmp_path, scores)
    run["purge"]["stores"]["faces"] |= {"conflicts": ["part-3.parquet"], "unreadable": [f"f{i}" for i in range(25)]}
    page = read(job, run, manifests)
    assert "were to be erased" in page.headline()
    assert "26 files had changed or could not be read" in page.headline()
    assert "part-3.parquet" in page.text
    assert "and 5 more" in page.text


def test_removed_is_not_cleaned_and_cleaned_is_not_verified(tmp_path: Path, scores: pa.Table) -> None:
    job, run, manifests = finish(tmp_path, scores)
    page = read(job, run, manifests)
    for moment in ("08:00:00", "08:10:00", "08:20:00", "08:30:00"):
        assert f"2026-11-22 {moment}" in page.text
    run["purge"]["stores"]["faces"] |= {"rows_cleaned": 0, "compacted_at": None, "uncompacted": ["embeddings"]}
    page = read(job, run, manifests)
    assert "in 1 file removed rows were not yet cleaned away" in page.headline()
    assert "removed, but not yet cleaned away" in page.text
    assert "Erased and verified" not in page.text


def test_the_sums_are_shown_and_add_up(tmp_path: Path, scores: pa.Table) -> None:
    job, run, manifests = finish(tmp_path, scores)
    text = write_report(job, run, manifests).read_text(encoding="utf-8")
    for manifest in manifests.values():
        row = re.search(rf'<tr><th scope="row">{manifest.name}</th>(<td class="n">.*?equals.*?)</tr>', text)
        assert row
        cells = [int(cell.replace(",", "")) for cell in re.findall(r">([\d,]+)</td>", row[1])]
        assert sum(cells[:-1]) == cells[-1] == manifest.records


@pytest.mark.parametrize("field", ["kept", "quarantined", "records"])
def test_numbers_that_do_not_add_up_give_no_page(tmp_path: Path, scores: pa.Table, field: str) -> None:
    job, run, manifests = finish(tmp_path, scores)
    wrong = manifests["fr"].model_copy(update={field: getattr(manifests["fr"], field) + 1})
    with pytest.raises(LetheError, match="fr: "):
        write_report(job, run, manifests | {"fr": wrong})
    assert not (job.out / "report.html").exists()


def test_a_run_a_manifest_and_scores_that_contradict_each_other_give_no_page(tmp_path: Path, scores: pa.Table) -> None:
    job, run, manifests = finish(tmp_path, scores)
    with pytest.raises(LetheError, match="quarantined"):
        write_report(job, run | {"score": run["score"] | {"scored": 1}}, manifests)
    with pytest.raises(LetheError, match="another run"):
        score = run["score"] | {"read": run["score"]["read"] + 1, "scored": run["score"]["scored"] + 1}
        write_report(job, run | {"score": score}, manifests)
    (job.out / "scores" / "scores-00001.parquet").unlink()
    with pytest.raises(LetheError, match="another run"):
        write_report(job, run, manifests)


def test_scores_of_a_jurisdiction_nobody_knows_are_refused(tmp_path: Path, scores: pa.Table) -> None:
    job, run, manifests = finish(tmp_path, scores)
    pq.write_table(
        scores.slice(0, 1).set_column(1, SCORES.field("jurisdiction"), pa.array(["xx"])),
        job.out / "scores" / "z.parquet",
    )
    with pytest.raises(LetheError, match="something other than"):
        write_report(job, run, manifests)


def test_expected_errors_are_those_of_the_manifest(tmp_path: Path, scores: pa.Table) -> None:
    job, run, manifests = finish(tmp_path, scores)
    page = read(job, run, manifests)
    expectation = manifests["fr"].expected["poor"]
    cells = f"poor evidence{expectation.subjects}{expectation.erased}"
    assert cells in page.text.replace(" ", "").replace("poorevidence", "poor evidence")
    assert f"{sum(one.missed for one in manifests['fr'].expected.values()):.1f}" in page.text


def test_the_figure_counts_every_subject_once(tmp_path: Path, scores: pa.Table) -> None:
    job, run, manifests = finish(tmp_path, scores)
    text = write_report(job, run, manifests).read_text(encoding="utf-8")
    for figure in re.findall(r"<figure>.*?</figure>", text, re.DOTALL):
        bars = [int(n.replace(",", "")) for n in re.findall(r'<text class="count"[^>]*>([\d,]+)</text>', figure)]
        assert sum(bars) == 600
    assert len(re.findall("<figure>", text)) == 3


def test_what_weighing_buys_is_shown_next_to_the_filters(tmp_path: Path, scores: pa.Table) -> None:
    job, run, manifests = finish(tmp_path, scores)
    text = write_report(job, run, manifests).read_text(encoding="utf-8")
    for rule, found in run["evaluation"]["jurisdictions"]["fr"]["rules"].items():
        label = {"erase": "lethe, erase", "flag": "lethe, erase or review", "any": "any one signal"}.get(rule, "alone")
        assert re.search(rf'{label}</th><td class="n">{found["flagged"]:,}</td>', text)
    assert "4 were not" in Page(text).text
    assert len(re.findall('<figure class="square">', text)) == 9


def test_a_page_without_evaluation_has_no_such_section_and_a_strange_one_gives_none(
    tmp_path: Path, scores: pa.Table
) -> None:
    job, run, manifests = finish(tmp_path, scores)
    assert "Measured against" in read(job, run, manifests).text
    assert "Measured against" not in read(job, run | {"evaluation": None}, manifests).text
    file = job.out / "evaluation.json"
    file.write_text(file.read_text().replace("0.9", "0.8", 1))
    with pytest.raises(LetheError, match="run `lethe evaluate` again"):
        write_report(job, run, manifests)


def test_policy_limits_part_the_bins(tmp_path: Path, scores: pa.Table) -> None:
    job = write_job(tmp_path, policy="erase_at = 0.97\nreview_at = 0.02")
    write_scores(job, scores)
    text = write_report(job, {}, {}).read_text(encoding="utf-8")
    assert ">97 %</text>" in text
    assert ">2 %</text>" in text


def test_a_person_on_several_manifests_is_not_counted_as_several(tmp_path: Path, scores: pa.Table) -> None:
    job = write_job(tmp_path, policy='insufficient_evidence = "erase"')
    write_scores(job, scores)
    manifests = {name: manifest_of(job, scores, name) for name in NAMES}
    page = read(job, run_of(job, manifests), manifests)
    assert "faces of people listed for France, Italy and the United Kingdom were erased" in page.headline()
    assert "counts once in each" in page.text


def test_a_signal_that_is_switched_off_is_said_to_be(tmp_path: Path, scores: pa.Table) -> None:
    job, run, manifests = finish(tmp_path, scores)
    assert "switched off: the job names no address database" not in read(job, run, manifests).text
    off = job.model_copy(update={"signals": job.signals.model_copy(update={"geoip": None})})
    assert "switched off: the job names no address database" in read(off, run, manifests).text


def test_the_same_run_gives_the_same_bytes_however_the_scores_are_cut(tmp_path: Path, scores: pa.Table) -> None:
    job, run, manifests = finish(tmp_path, scores)
    first = write_report(job, run, manifests).read_bytes()
    assert write_report(job, run, manifests).read_bytes() == first
    shutil.rmtree(job.out / "scores")
    write_scores(job, scores, parts=7)
    assert write_report(job, run, manifests).read_bytes() == first
    assert [file.name for file in job.out.iterdir() if file.name.startswith(".")] == []


def hostile_run(folder: Path, text: str, subjects: int = 40) -> Finished:
    """A run with `text` in every place that strangers can write to."""
    scores = draw_scores(subjects, seed=3, hostile=text)
    job = write_job(folder, (text, "faces"))
    write_scores(job, scores)
    manifests = {name: manifest_of(job, scores, name, hostile=text) for name in NAMES}
    run = run_of(job, manifests, hostile=text) | {"evaluation": evaluation_of(job, scores)}
    run["purge"]["stores"][text] |= {"conflicts": [text], "unreadable": [text * 2]}
    run["verification"]["stores"][text] |= {"verdict": "UNVERIFIED", "reasons": [text]}
    run["software"][text] = text
    run["run_id"] = text
    return job, run, manifests


def test_markup_of_strangers_stays_text(tmp_path: Path) -> None:
    ours = read(*finish(tmp_path / "ours", draw_scores(40, seed=3)))
    theirs = read(*hostile_run(tmp_path / "theirs", HOSTILE))
    assert {tag for tag, _ in theirs.elements} - {tag for tag, _ in ours.elements} <= {"ul", "li", "code"}
    assert not {"script", "img", "b", "iframe"} & {tag for tag, _ in theirs.elements}
    assert not [name for _, attributes in theirs.elements for name in attributes if name.startswith("on")]
    assert "49" not in theirs.text.split("'x ")[1][:10], "a template in a text is not a template"
    assert HOSTILE in theirs.text


def test_nothing_hidden_is_left_hidden(tmp_path: Path) -> None:
    nasty = "a\x00b\x1b[2Jc\u202ed\udc80e\u2028f"
    job, run, manifests = finish(tmp_path, draw_scores(40, seed=3))
    run["purge"]["stores"]["faces"]["conflicts"] = [nasty, "x" * 200_000]
    page = read(job, run, manifests)
    assert r"a\x00b\x1b[2Jc\u202ed\udc80e\u2028f" in page.text
    assert "(200,000 characters)" in page.text
    assert len(page.text) < 40_000


def test_the_page_needs_nothing_but_itself(tmp_path: Path, scores: pa.Table) -> None:
    page = read(*finish(tmp_path, scores))
    assert not {"script", "img", "iframe", "object", "embed", "form", "a"} & {tag for tag, _ in page.elements}
    addresses = [a.get(key) for _, a in page.elements for key in ("src", "href", "xlink:href") if key in a]
    assert addresses == ["data:,"]
    policy = next(a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy and policy.startswith("default-src 'none'")


def test_tables_and_figures_speak_to_a_screen_reader(tmp_path: Path, scores: pa.Table) -> None:
    job, run, manifests = finish(tmp_path, scores)
    text = write_report(job, run, manifests).read_text(encoding="utf-8")
    tables = re.findall(r"<table.*?</table>", text, re.DOTALL)
    assert tables and all("<caption>" in table for table in tables)
    assert all("scope=" in head for head in re.findall(r"<th[ >][^>]*", text))
    drawings = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert all("aria-hidden" in one or ("<title id=" in one and "<desc id=" in one) for one in drawings)
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    named = [name for names in re.findall(r'aria-labelledby="([^"]+)"', text) for name in names.split()]
    assert set(named) <= set(ids)


def test_colours_can_be_told_from_the_paper() -> None:
    style = (Path(__file__).parents[1] / "runners/templates/report.html").read_text(encoding="utf-8")
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#\w{6});", block))
        for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL)[:2]
    )
    for colours in (light, dark):
        for name in ("ink", "soft", "good", "bad", "open"):
            paper = colours[f"{name}-paper"] if f"{name}-paper" in colours else colours["paper"]
            assert contrast(colours[name], paper) >= 4.5, name
        for name in ("erase", "review", "insufficient", "kept", "quarantined"):
            assert contrast(colours[name], colours["paper"]) >= 3, name


def contrast(one: str, other: str) -> float:
    """Contrast ratio of WCAG 2.2."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium here: the page is not opened in a real browser"
)


def browse(page: Path, profile: Path, *options: str) -> str:
    """Open `page` in a browser without a window; returns what the browser prints."""
    quiet = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    still = "--disable-component-update --disable-sync --disable-dev-shm-usage --no-proxy-server"
    nowhere = "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"
    command = [str(CHROMIUM), *quiet.split(), *still.split(), nowhere, f"--user-data-dir={profile}", *options]
    environment = {"PATH": os.environ["PATH"], "HOME": str(profile), "LANG": "C.UTF-8"}
    done = subprocess.run(
        [*command, page.as_uri()], env=environment, capture_output=True, timeout=60, check=True, encoding="utf-8"
    )
    return done.stdout


@contextlib.contextmanager
def listening() -> Iterator[tuple[str, list[str]]]:
    """A local web server: its address, and what was asked of it so far."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@needs_browser
def test_a_browser_runs_nothing_and_asks_for_nothing(tmp_path: Path) -> None:
    with listening() as (address, asked):
        style = f"<link rel=stylesheet href={address}/css>"
        attack = f"{HOSTILE}<img src={address}/img>{style}<script src={address}/js></script>"
        page = write_report(*hostile_run(tmp_path / "job", attack))
        shown = browse(page, tmp_path / "profile", "--dump-dom")
        assert re.findall(r"<title>(.*?)</title>", shown)[0].startswith("Erased in part")
        assert not re.search(r"<(script|img|iframe)\b", shown)
        assert "were to be erased" in shown
        assert asked == []
        control = tmp_path / "control.html"  # The same attack on a page without defence must be seen.
        control.write_text(f"<title>innocent</title>{attack}", encoding="utf-8")
        undefended = browse(control, tmp_path / "profile", "--dump-dom")
        assert "<title>pwned</title>" in undefended
        assert {"/img", "/css", "/js"} <= set(asked)


@needs_browser
def test_a_browser_shows_the_page_without_sideways_scrolling(tmp_path: Path, scores: pa.Table) -> None:
    picture = tmp_path / "page.png"
    page = write_report(*finish(tmp_path / "job", scores))
    browse(page, tmp_path / "profile", f"--screenshot={picture}", "--window-size=1200,2000")
    assert picture.read_bytes().startswith(b"\x89PNG")
    probe = "<script>document.title = document.documentElement.scrollWidth - window.innerWidth</script></body>"
    for width in (1200, 700):
        measured = tmp_path / f"measured-{width}.html"
        text = page.read_text(encoding="utf-8").replace("</body>", probe)
        measured.write_text(re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text), encoding="utf-8")
        shown = browse(measured, tmp_path / "profile", "--dump-dom", f"--window-size={width},2000")
        assert int(re.findall(r"<title>(.*?)</title>", shown)[0]) <= 0
