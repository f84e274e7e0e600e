"""What the commands that judge lethe itself have to say, for a terminal."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from runners.tables import country_name, new_table, plain
from runners.wording import number, percent
from schemas.audits import GROUPS

_VERDICTS = {"pass": "bold green", "fail": "bold red", "inconclusive": "bold yellow"}


def print_estimate(console: Console, estimate: Mapping[str, Any]) -> None:
    """Which signals there are, where they contradict each other more than the model expects, and the new model."""
    table = new_table("signals", ("both speak", "conflict", "as fitted"), "Signals that speak together")
    for pair in estimate["pairs"]:
        where = "in one episode" if pair["within_episode"] else "in two episodes"
        conflicts = (percent(pair[key]) if pair[key] is not None else "–" for key in ("conflict", "fitted_conflict"))
        name = f"{' and '.join(pair['signals'])}, {where}"
        table.add_row(plain(name, "bold yellow" if pair["alarm"] else ""), number(pair["pairs"]), *conflicts)
    console.print(table, "")
    alarms = sum(pair["alarm"] for pair in estimate["pairs"])
    if alarms:
        warning = f"{alarms} of these pairs (in yellow) contradict each other otherwise than fitted"
        console.print(plain(f"{warning}: look at them before you use the model"))
    coverage = ", ".join(f"{signal} {percent(share)}" for signal, share in estimate["coverage"].items())
    console.print(plain(f"episodes with each signal: {coverage}"))
    console.print(
        plain(
            f"estimated from {number(estimate['subjects_with_evidence'])} subjects in {estimate['steps']} steps"
            f"{' and ' + number(estimate['labels']) + ' labels' if estimate['labels'] else ', without labels'}"
        )
    )
    console.print(plain(f"wrote {estimate['out']}; use it with [model] path in the job file", "bold"))


def print_threshold(console: Console, threshold: Mapping[str, Any]) -> None:
    """The threshold that each jurisdiction's labels guarantee, or how many more labels that takes."""
    title = f"Recall of {percent(threshold['recall'])} with a confidence of {percent(threshold['confidence'])}"
    table = new_table("jurisdiction", ("labelled residents", "review_at", "flagged", "more labels"), title)
    for name, found in threshold["jurisdictions"].items():
        at = "–" if found["review_at"] is None else f"{found['review_at']:.6f}"
        flagged = "–" if found["flagged_share"] is None else percent(found["flagged_share"])
        more = "–" if found["more_labels"] is None else number(found["more_labels"])
        table.add_row(plain(country_name(name)), number(found["residents"]), at, flagged, more)
    console.print(table, "")
    for name, found in threshold["jurisdictions"].items():
        console.print(plain(f"{country_name(name)}: {found['reason']}"))
    policy = threshold["policy"]
    console.print(plain(f"[policy] {policy}" if policy else "no threshold can be guaranteed from these labels", "bold"))


def print_audit(console: Console, audit: Mapping[str, Any]) -> None:
    """The plan and its seal, or the verdict."""
    if "plan" in audit and "registered" in audit:
        _print_sample(console, audit)
    else:
        _print_result(console, audit)


def _print_sample(console: Console, audit: Mapping[str, Any]) -> None:
    plan = audit["plan"]
    table = new_table("jurisdiction", GROUPS, "Subjects drawn, by what they are drawn from")
    for name, of in plan["jurisdictions"].items():
        table.add_row(plain(country_name(name)), *(number(of["drawn"].get(group, 0)) for group in GROUPS))
    console.print(table, "")
    if not audit["registered"]:
        console.print(plain("this is what the plan would be; nothing was written", "bold"))
        return
    console.print(plain(f"{number(audit['to_label'])} subjects to label, blindly: {audit['sample']}"))
    console.print(plain(f"write this seal down before anybody labels: {audit['seal']}", "bold"))


def _print_result(console: Console, audit: Mapping[str, Any]) -> None:
    columns = ("recall", "at least", "at most", "precision of erase", "at least", "missed at most")
    table = new_table("jurisdiction", columns, f"Shown with a confidence of {percent(audit['confidence'])}")
    for name, found in audit["jurisdictions"].items():
        shares = ("recall", "recall_least", "recall_most", "precision", "precision_least")
        figures = ("–" if found[key] is None else percent(found[key]) for key in shares)
        table.add_row(plain(country_name(name)), *figures, number(found["missed_most"]))
    console.print(table, "")
    for name, found in audit["jurisdictions"].items():
        console.print(
            plain(f"{country_name(name)}: {found['verdict']}; {found['reason']}", _VERDICTS[found["verdict"]])
        )
    console.print(plain(f"verdict: {audit['verdict']}", _VERDICTS[audit["verdict"]]))
