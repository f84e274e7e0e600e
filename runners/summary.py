"""What a command has done, for a terminal: the same numbers and the same sentence as the report, and what to do next.

    read 2,013 = 2,000 scored + 13 quarantined

    jurisdiction     erase   review   insufficient    kept   quarantined   records   wrongly erased   missed
    France              65 +     56 +          286 + 1,593 +          13 =   2,013              0.3      4.6
    ...
    65 faces of 65 likely residents of France would be erased from 1 store; nothing has been erased yet.
    next: nothing was destroyed: add --execute

Strings from strangers are printed as `rich.text.Text`, never as markup, and what is hidden in them is spelled out.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from classifiers.filters import FILTERS
from runners.canary import print_check, print_planting
from runners.outcome import (
    State,
    check_scored,
    check_sum,
    headline,
    judge,
    total_listed,
    untouched_files,
)
from runners.residue import print_residue
from runners.summary_measures import print_audit, print_estimate, print_threshold
from runners.tables import country_name, new_table, plain
from runners.verdicts import TONES, judge_check
from runners.wording import bits, counted, expected, moment, number, percent, size, visible

PLAIN_WIDTH = 140
"""Columns where there is no terminal to ask: a log file has room, and a folded table is hard to grep."""

_STYLES = {"good": "bold green", "bad": "bold red", "open": "bold yellow", "calm": "bold"}


def print_summary(summary: Mapping[str, Any]) -> None:
    """Print what a command returned to standard output; plain text where that is no terminal.

    Args:
        summary: the content of `run.json` with `jurisdictions`, `out` and `report`; or one of `demo`, `approvals`,
            `explanation`, `estimate`, `threshold`, `audit`. Any key may be absent.

    Raises:
        LetheError: the counts do not add up.

    """
    console = Console(highlight=False, emoji=False, markup=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)
    with console.capture() as captured:
        shown = (
            ("demo", _demo),
            ("approvals", _approvals),
            ("explanation", _explanation),
            ("estimate", print_estimate),
            ("threshold", print_threshold),
            ("audit", print_audit),
            ("residue", print_residue),
            ("canaries", print_planting),
            ("canary_check", print_check),
        )
        if "run_id" in summary or "score" in summary:
            _run(console, summary)
        else:
            for key, show in shown:
                if key in summary:
                    show(console, summary[key])
    lines = "".join(f"{line.rstrip(' ')}\n" for line in captured.get().splitlines())
    # A terminal that cannot show a letter gets its number, not an exception after hours of work.
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(lines.encode(encoding, "backslashreplace").decode(encoding))


def _run(console: Console, summary: Mapping[str, Any]) -> None:
    jurisdictions = summary.get("jurisdictions") or {}
    for name, counts in jurisdictions.items():
        check_sum(name, counts)
    if score := summary.get("score"):
        check_scored(score, jurisdictions)
        _score(console, score)
    if jurisdictions:
        console.print(_jurisdictions(jurisdictions), "")
    if evaluation := summary.get("evaluation"):
        _evaluation(console, evaluation)
    if stores := (summary.get("purge") or {}).get("stores"):
        console.print(_stores(stores), "")
        _untouched(console, stores)
    if checks := (summary.get("verification") or {}).get("stores"):
        console.print(_checks(checks))
        for name, check in checks.items():
            for reason in [*judge_check(check).doubts, *check.get("reasons", ())]:
                console.print(plain(f"  {visible(name)}: {reason}"))
        console.print()
    listing = total_listed((country_name(name) for name in jurisdictions), jurisdictions.values())
    state = judge(summary, listing)
    console.print(plain(headline(summary, listing), _STYLES[state.tone]))
    for line in _next_steps(summary, state):
        console.print(line)


def _score(console: Console, score: Mapping[str, Any]) -> None:
    sum_line = f"{number(score['scored'])} scored + {number(score['quarantined'])} quarantined"
    console.print(plain(f"read {number(score['read'])} = {sum_line}", "bold"))
    for reason, count in score.get("reasons", {}).items():
        console.print(plain(f"  {number(count)}  {reason}"))
    if unreadable := score.get("unreadable_files"):
        console.print(plain(f"  {counted(unreadable, 'further file')} could not be opened; see quarantine/", "yellow"))
    console.print()


def _jurisdictions(jurisdictions: Mapping[str, Mapping[str, Any]]) -> Table:
    columns = ("erase", "review", "insufficient", "kept", "quarantined", "records", "wrongly erased", "missed")
    table = new_table("jurisdiction", columns, "Records by jurisdiction; expected errors in subjects")
    for name, counts in jurisdictions.items():
        entries = counts["entries"]
        parts = [*(entries.get(tier, 0) for tier in ("erase", "review", "insufficient")), counts["kept"]]
        errors = [
            expected(sum(one[error] for one in counts["expected"].values())) if counts.get("expected") else "–"
            for error in ("wrongly_erased", "missed")
        ]
        quarantined, records = f"{number(counts['quarantined'])} =", number(counts["records"])
        table.add_row(
            plain(country_name(name)), *(f"{number(part)} +" for part in parts), quarantined, records, *errors
        )
    return table


def _evaluation(console: Console, evaluation: Mapping[str, Any]) -> None:
    """Two tables: how good probabilities and tiers are, and the filters of one signal next to them."""
    columns = ("subjects", "residents", "AUC", "ECE", "erased", "precision", "recall", "with review", "rich evidence")
    table = new_table("jurisdiction", columns, "Against known countries of residence; recall of erase, with review, …")
    filters = new_table("", ("IP alone", "domain alone", "any one signal"), "Filters of one signal: precision, recall")
    for name, found in evaluation["jurisdictions"].items():
        rules = found["rules"]
        measures = ("–" if found[key] is None else f"{found[key]:.3f}" for key in ("auc", "ece"))
        erase = (rules["erase"]["precision"], rules["erase"]["recall"], rules["flag"]["recall"], found["recall_rich"])
        counts = (number(found["subjects"]), number(found["residents"]))
        table.add_row(
            plain(country_name(name)), *counts, *measures, number(rules["erase"]["flagged"]), *map(_share, erase)
        )
        each = [rules[rule] for rule in FILTERS]
        filters.add_row(
            plain(country_name(name)), *(f"{_share(rule['precision'])}, {_share(rule['recall'])}" for rule in each)
        )
        filters.add_row("  lethe at that recall", *(_share(rule["equal"]) for rule in each))
    console.print(table, "", filters)
    told = f"{counted(evaluation['never_scored'], 'subject')} of the truth never scored"
    console.print(plain(f"{told}, {counted(evaluation['unknown'], 'scored subject')} not in the truth", "dim"))
    console.print()


def _share(value: float | None) -> str:
    return "–" if value is None else percent(value)


def _stores(stores: Mapping[str, Mapping[str, Any]]) -> Table:
    """Located, removed, cleaned away: three states, each with the last time of it; verification is the fourth."""
    columns = ("holds", "files", "found in", "rows", "found", "removed", "cleaned", "to rewrite", "last cleaned (UTC)")
    table = new_table("store", columns, "Purge")
    for name, store in stores.items():
        keys = ("files", "files_matched", "rows", "rows_matched", "rows_removed", "rows_cleaned")
        figures = [number(store.get(key, 0)) for key in keys]
        rewrite, cleaned = size(store.get("bytes_to_rewrite", 0)), moment(store.get("compacted_at"))
        table.add_row(plain(name), plain(store.get("holds", "")), *figures, rewrite, cleaned)
    return table


def _untouched(console: Console, stores: Mapping[str, Mapping[str, Any]]) -> None:
    for name, store in stores.items():
        for key, why in (
            ("conflicts", "not touched, changed since it was read"),
            ("unreadable", "not touched, could not be read"),
            ("uncompacted", "removed, not yet cleaned away"),
        ):
            for file in store.get(key, ()):
                console.print(plain(f"  {why}: {visible(name)}: {visible(file)}", "yellow"))


def _checks(checks: Mapping[str, Mapping[str, Any]]) -> Table:
    table = new_table(
        "store",
        ("anything left?", "all else there?", "files", "traces", "rows lost", "control found", "verified (UTC)"),
        "Verification",
    )
    for name, check in checks.items():
        judged, control = judge_check(check), check.get("control") or {}
        words = [plain(word, _STYLES[TONES.get(word, "open")]) for word in (judged.left, judged.rest)]
        figures = [number(check.get(key, 0)) for key in ("files", "residue", "rows_lost")]
        found = f"{number(control['found'])} of {number(control['planted'])}" if control else "none"
        table.add_row(plain(name), *words, *figures, found, moment(check.get("verified_at")))
    return table


def _next_steps(summary: Mapping[str, Any], state: State) -> Iterable[Text]:
    steps = {
        State.SCORED: "write the deletion manifests: lethe plan JOB",
        State.PLANNED: "see what would be destroyed: lethe purge JOB",
        State.PREVIEWED: "nothing was destroyed: add --execute",
        State.INCOMPLETE: "run lethe purge JOB --execute again" + ("; mend unreadable files first" * _unread(summary)),
        State.ERASED: "check independently that it is gone: lethe verify JOB",
        State.UNVERIFIED: "mend what could not be verified, then: lethe verify JOB",
        State.FAILED: "see verification.json, then: lethe purge JOB --execute, lethe verify JOB",
    }
    if state in steps:
        yield plain(f"next: {steps[state]}")
    if place := summary.get("report"):
        yield plain(f"report: {visible(str(place))}")
    elif place := summary.get("out"):
        yield plain(f"output: {visible(str(place))}")


def _unread(summary: Mapping[str, Any]) -> bool:
    stores = (summary.get("purge") or {}).get("stores", {}).values()
    return untouched_files(summary) > sum(len(store.get("conflicts", ())) for store in stores)


def _demo(console: Console, demo: Mapping[str, Any]) -> None:
    grid = Table.grid(padding=(0, 2))
    for key, value in demo.items():
        if key == "next":
            continue
        shown = ", ".join(f"{name} {count}" for name, count in value.items()) if isinstance(value, Mapping) else value
        grid.add_row(
            plain(key.replace("_", " "), "dim"), plain(number(shown) if isinstance(shown, int) else str(shown))
        )
    console.print(grid)
    console.print(plain(f"next: {demo.get('next') or 'lethe run ' + str(demo.get('folder', 'DIR'))}"))


def _approvals(console: Console, approvals: Mapping[str, Mapping[str, Any]]) -> None:
    for name, approval in approvals.items():
        console.print(plain(f"{country_name(name)}: signed", "bold"))
        for key in ("manifest", "public_key", "signature"):
            # On one line whatever the width, so that it can be copied.
            console.print(plain(f"  {key.replace('_', ' '):<12}{approval.get(key, '')}"), soft_wrap=True)
    console.print(plain("next: lethe purge JOB --execute"))


def _explanation(console: Console, explanation: Mapping[str, Any]) -> None:
    console.print(plain(f"subject {visible(str(explanation['subject']))}", "bold"), "")
    for row in explanation.get("jurisdictions", ()):
        head = f"{country_name(row['jurisdiction'])}: {row['tier']}, P = {percent(row['probability'])}"
        console.print(plain(f"{head}, evidence {row['evidence_class']}", "bold"))
        console.print(plain(f"  {row.get('reason', '')}"))
        console.print(Padding(_bars(row), (0, 0, 1, 2)))
    if episodes := explanation.get("episodes"):
        console.print(_episodes(episodes), "")
    elif "episodes" not in explanation:
        console.print(plain("episodes: not shown, the records are no longer there", "dim"))


def _bars(row: Mapping[str, Any]) -> Table:
    """A sum that can be checked by hand: the prior, what each family adds, the score."""
    table = new_table("", ("bits", "records", "episodes"), None)
    table.add_column("evidence", overflow="fold")
    table.add_row("prior", bits(row["prior_mb"]))
    for bar in row["bars"]:
        silent = bar.get("null_reason")
        why = f"silent: {silent.replace('_', ' ')}" if silent else str(bar.get("evidence", ""))
        rival = f", mainly against {bar['rival']}" if bar.get("rival") and not silent else ""
        cells = (bits(bar["weight_mb"]), number(bar["n_records"]), number(bar["n_episodes"]))
        table.add_row(plain(bar["family"]), *cells, plain(f"{why}{rival}", "dim" if silent else ""))
    table.add_row("score", bits(row["score_mb"]), style="bold")
    return table


def _episodes(episodes: Sequence[Mapping[str, Any]]) -> Table:
    columns = tuple(dict.fromkeys(key for episode in episodes for key in episode))
    table = Table(title="Episodes", title_justify="left", title_style="dim", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column.removesuffix("_mb"), justify="right" if column.endswith("_mb") else "left")
    for episode in episodes:
        table.add_row(*(_cell(column, episode.get(column)) for column in columns))
    return table


def _cell(column: str, value: object) -> Text:
    if column.endswith("_mb") and isinstance(value, int):
        return plain(bits(value))
    return plain("–" if value is None else str(value))
