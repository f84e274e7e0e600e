"""What a run has come to, in one word and one sentence, and whether its numbers add up."""

import enum
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

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
    RESIDUE = "Verification failed"
    VERIFIED = "Erased and verified"

    @property
    def tone(self) -> str:
        """`good`, `bad`, `open` for what is undecided, `calm` for what has not begun."""
        return _TONES.get(self, "calm")


_TONES = {
    State.VERIFIED: "good",
    State.RESIDUE: "bad",
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
            f"{name}: {counts['records']} records were read and {found} are accounted for; the numbers of this run do not "
            "add up, so nothing of it can be relied on: run `lethe plan` again"
        )


def check_scored(score: Mapping[str, Any], jurisdictions: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise a LetheError unless `read = scored + quarantined`, and the manifests count the very same records."""
    if score["read"] != score["scored"] + score["quarantined"]:
        raise LetheError(
            f"{score['read']} records were read, {score['scored']} scored and {score['quarantined']} quarantined: the sum "
            "does not fit, so nothing of this run can be relied on"
        )
    for name, counts in jurisdictions.items():
        if (counts["records"], counts["quarantined"]) != (score["read"], score["quarantined"]):
            raise LetheError(
                f"{name}: the manifest counts {counts['records']} records and {counts['quarantined']} quarantined, the run "
                f"{score['read']} and {score['quarantined']}; it belongs to another run: run `lethe plan` again"
            )


def verdict_of(check: Mapping[str, Any] | None) -> str:
    """A store's verdict; a CLEAN that its own figures contradict, or none at all, is UNVERIFIED."""
    if check is None:
        return "UNVERIFIED"
    verdict = str(check.get("verdict", "UNVERIFIED"))
    return "UNVERIFIED" if verdict == "CLEAN" and contradictions(check) else verdict


def contradictions(check: Mapping[str, Any]) -> list[str]:
    """What in a store's figures a verdict of CLEAN cannot stand beside."""
    control = check.get("control") or {}
    planted, found = control.get("planted", 0), control.get("found", 0)
    residue, lost = check.get("residue", 0), check.get("rows_lost", 0)
    problems = (
        (residue != 0, f"{counted(residue, 'piece')} of residue counted"),
        (lost != 0, f"{counted(lost, 'row')} lost"),
        (planted != found, f"{found} of {planted} planted controls found"),
    )
    return [problem for holds, problem in problems if holds]


def untouched_files(run: Run) -> int:
    """How many files the purge had to leave alone: changed under its hands, or unreadable."""
    stores = (run.get("purge") or {}).get("stores", {}).values()
    return sum(len(store.get("conflicts", ())) + len(store.get("unreadable", ())) for store in stores)


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
    checks = (run.get("verification") or {}).get("stores")
    verdicts = {verdict_of((checks or {}).get(name)) for name in {*stores, *(checks or {})}}
    if checks and "RESIDUE" in verdicts:
        return State.RESIDUE
    short = any(store.get("rows_removed", 0) < store.get("rows_matched", 0) for store in stores.values())
    if short or untouched_files(run):
        return State.INCOMPLETE
    if not checks:
        return State.ERASED
    return State.VERIFIED if verdicts <= {"CLEAN"} else State.UNVERIFIED


def headline(run: Run, listing: Listed) -> str:
    """The answer in one sentence: what was, or would be, erased, and what verification says about it."""
    state, score = judge(run, listing), run.get("score") or {}
    if state is State.SCORED:
        done = (
            f"{counted(score.get('scored', 0), 'record')} of {counted(score.get('subjects', 0), 'subject')} were scored"
        )
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
    return "fewer rows were removed than were found"


def _finding(state: State, run: Run) -> str:
    if state is State.ERASED:
        return "nobody has verified it yet"
    if state is State.VERIFIED:
        return "verification found nothing left and nothing else touched"
    checks = run["verification"]["stores"]
    if state is State.UNVERIFIED:
        names = {*run["purge"].get("stores", {}), *checks}
        open_ = sum(verdict_of(checks.get(name)) != "CLEAN" for name in names)
        return f"verification could not vouch for {counted(open_, 'store')}"
    left = sum(check.get("residue", 0) > 0 for check in checks.values())
    lost = sum(check.get("rows_lost", 0) for check in checks.values())
    found = [f"something is left in {counted(left, 'store')}"] if left or not lost else []
    found += [f"{counted(lost, 'row')} that nobody ordered erased {_be(lost)} lost"] if lost else []
    return f"verification failed: {' and '.join(found)}"


def _begin(value: int, noun: str) -> str:
    words = counted(value, noun)
    return words[0].upper() + words[1:]


def _be(value: int, past: bool = False) -> str:
    return ("was" if value == 1 else "were") if past else ("is" if value == 1 else "are")


def total_listed(names: Iterable[str], jurisdictions: Iterable[Mapping[str, Any]], distinct: bool) -> Listed:
    """Add up what the manifests list for erasure; `distinct` says whether nobody can be on two of them."""
    counts = list(jurisdictions)
    records = sum(one["entries"].get("erase", 0) for one in counts)
    subjects = sum(one["subjects"].get("erase", 0) for one in counts)
    return Listed(tuple(names), records, subjects if distinct else None)


def is_distinct(erase_at: float, insufficient_evidence: str) -> bool:
    """Whether a policy can list a subject for one country only: probabilities of disjoint territories add up to 1."""
    return erase_at > 0.5 and insufficient_evidence != "erase"
