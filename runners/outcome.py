"""What a run has come to, in one word and one sentence, and whether its numbers add up."""

import enum
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from runners.verdicts import CHANGED, LOST, RESIDUE, Judged, judge_check
from runners.wording import counted, listed
from schemas.errors import LetheError

Run = Mapping[str, Any]
"""The content of `out/run.json`; any key may be absent."""


class State(enum.StrEnum):
    """How far a run has come; only `VERIFIED` may be called done."""

    SCORED = "Scored, nothing planned"
    PLANNED = "Planned, nothing erased"
    PREVIEWED = "Previewed, nothing erased"
    INCOMPLETE = "Erased in part"
    ERASED = "Erased, not verified"
    UNVERIFIED = "Erased, verification incomplete"
    FAILED = "Verification failed"
    VERIFIED = "Erased and verified"

    @property
    def tone(self) -> str:
        """`good`, `bad`, `open` for what is undecided, `calm` for what has not begun."""
        return _TONES.get(self, "calm")


_TONES = {
    State.VERIFIED: "good",
    State.FAILED: "bad",
    State.INCOMPLETE: "open",
    State.ERASED: "open",
    State.UNVERIFIED: "open",
}


class Listed(NamedTuple):
    """What the manifests list for erasure, together."""

    names: tuple[str, ...]
    """Of the countries; empty while there is no manifest."""
    records: int
    subjects: int | None
    """None where the policy lets one subject be listed for several countries, so that a sum would count it twice."""

    @property
    def who(self) -> str:
        """`412 likely residents of France and Italy`."""
        if self.subjects is None:
            return f"people listed for {listed(self.names)}"
        return f"{counted(self.subjects, 'likely resident')} of {listed(self.names)}"


def check_sum(name: str, counts: Mapping[str, Any]) -> None:
    """Raise a LetheError unless `records = entries + kept + quarantined` holds in one jurisdiction's counts."""
    found = sum(counts["entries"].values()) + counts["kept"] + counts["quarantined"]
    if found != counts["records"]:
        raise LetheError(
            f"{name}: {counts['records']} records were read and {found} are accounted for; the sum does not "
            "fit, so nothing of this run can be relied on: run `lethe plan` again"
        )


def check_scored(score: Mapping[str, Any], jurisdictions: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise a LetheError unless `read = scored + quarantined`, and the manifests count the very same records."""
    if score["read"] != score["scored"] + score["quarantined"]:
        raise LetheError(
            f"{score['read']} records were read, {score['scored']} scored and {score['quarantined']} quarantined: "
            "the sum does not fit, so nothing of this run can be relied on"
        )
    for name, counts in jurisdictions.items():
        if (counts["records"], counts["quarantined"]) != (score["read"], score["quarantined"]):
            raise LetheError(
                f"{name}: the manifest counts {counts['records']} records and {counts['quarantined']} quarantined, "
                f"the run {score['read']} and {score['quarantined']}; it belongs to another run: run `lethe plan` again"
            )


def untouched_files(run: Run) -> int:
    """How many files the purge had to leave alone: changed under its hands, or unreadable."""
    stores = (run.get("purge") or {}).get("stores", {}).values()
    return sum(len(store.get("conflicts", ())) + len(store.get("unreadable", ())) for store in stores)


def uncleaned_units(run: Run) -> int:
    """How many files or tables may still hold rows that no reader returns any more."""
    stores = (run.get("purge") or {}).get("stores", {}).values()
    return sum(len(store.get("uncompacted", ())) for store in stores)


def judge(run: Run, listing: Listed) -> State:
    """How far the run has come; the worst store decides."""
    if not listing.names:
        return State.SCORED
    purge = run.get("purge")
    if not purge:
        return State.PLANNED
    if not purge.get("executed"):
        return State.PREVIEWED
    return _judge_executed(run, purge.get("stores", {}))


def _judge_executed(run: Run, stores: Mapping[str, Mapping[str, Any]]) -> State:
    judged = judge_stores(run)
    if any(store.failed for store in judged.values()):
        return State.FAILED
    short = any(store.get("rows_removed", 0) < store.get("rows_matched", 0) for store in stores.values())
    if short or untouched_files(run) or uncleaned_units(run):
        return State.INCOMPLETE
    if not run.get("verification"):
        return State.ERASED
    return State.VERIFIED if all(store.passed for store in judged.values()) else State.UNVERIFIED


def judge_stores(run: Run) -> dict[str, Judged]:
    """What verification says about every store that was purged or verified."""
    checks = (run.get("verification") or {}).get("stores", {})
    names = dict.fromkeys([*(run.get("purge") or {}).get("stores", {}), *checks])
    return {name: judge_check(checks.get(name)) for name in names}


def headline(run: Run, listing: Listed) -> str:
    """The answer in one sentence: what was, or would be, erased, and what verification says about it."""
    state, score = judge(run, listing), run.get("score") or {}
    if state is State.SCORED:
        records, subjects = score.get("scored", 0), score.get("subjects", 0)
        done = f"{_begin(records, 'record')} of {counted(subjects, 'subject')} {_be(records, past=True)} scored"
        return f"{done}; no deletion manifest is written yet and nothing has been erased."
    if state is State.PLANNED:
        what = f"{_begin(listing.records, 'record')} of {listing.who}"
        return f"{what} {_be(listing.records)} to be erased; nothing has been erased yet."
    purge = run["purge"]
    faces, stores = purge.get("faces", 0), counted(len(purge.get("stores", {})), "store")
    what = f"{_begin(faces, 'face')} of {listing.who}"
    if state is State.PREVIEWED:
        return f"{what} would be erased from {stores}; nothing has been erased yet."
    if state is State.INCOMPLETE:
        return f"{what} were to be erased from {stores}, and not all of them are: {_left_over(run)}."
    return f"{what} {_be(faces, past=True)} erased from {stores}; {_finding(state, run)}."


def _left_over(run: Run) -> str:
    files = untouched_files(run)
    if files:
        return f"{counted(files, 'file')} had changed or could not be read, and {_be(files, past=True)} left untouched"
    if units := uncleaned_units(run):
        return f"in {counted(units, 'file')} removed rows {_be(2, past=True)} not yet cleaned away"
    return "fewer rows were removed than were found"


def _finding(state: State, run: Run) -> str:
    if state is State.ERASED:
        return "nobody has verified it yet"
    if state is State.VERIFIED:
        return "verification found nothing left and nothing else touched"
    judged = judge_stores(run)
    if state is State.UNVERIFIED:
        return f"verification could not vouch for {counted(sum(not one.passed for one in judged.values()), 'store')}"
    found = [
        f"{what} in {counted(stores, 'store')}"
        for what, stores in (
            ("something is left", sum(one.left == RESIDUE for one in judged.values())),
            ("rows that nobody ordered erased are lost", sum(one.rest == LOST for one in judged.values())),
            ("something else has changed", sum(one.rest == CHANGED for one in judged.values())),
        )
        if stores
    ]
    return f"verification failed: {' and '.join(found)}"


def _begin(value: int, noun: str) -> str:
    words = counted(value, noun)
    return words[0].upper() + words[1:]


def _be(value: int, past: bool = False) -> str:
    return ("was" if value == 1 else "were") if past else ("is" if value == 1 else "are")


def total_listed(names: Iterable[str], jurisdictions: Iterable[Mapping[str, Any]]) -> Listed:
    """Add up what the manifests list for erasure."""
    counts = list(jurisdictions)
    records = sum(one["entries"].get("erase", 0) for one in counts)
    subjects = sum(one["subjects"].get("erase", 0) for one in counts)
    return Listed(tuple(names), records, subjects if all(map(lists_once, counts)) else None)


def lists_once(counts: Mapping[str, Any]) -> bool:
    """Whether the policy can list a subject for one country only: chances of disjoint territories add up to 1."""
    policy = counts.get("policy") or {}
    return float(policy.get("erase_at", 0)) > 0.5 and policy.get("insufficient_evidence") != "erase"
