"""What verification says about each store, held against its own figures: a page must not repeat a claim they deny."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from runners.wording import counted, number

CLEAN, RESIDUE, UNVERIFIED = "CLEAN", "RESIDUE", "UNVERIFIED"
INTACT, MOVED, CHANGED, LOST = "INTACT", "MOVED", "CHANGED", "LOST"

TONES = {CLEAN: "good", INTACT: "good", MOVED: "good", RESIDUE: "bad", CHANGED: "bad", LOST: "bad"}
"""How each word is shown; whatever else is open."""


class Judged(NamedTuple):
    """One store: whether anything listed is left, and whether everything else is still there."""

    left: str
    """CLEAN, RESIDUE or UNVERIFIED."""
    rest: str
    """INTACT, MOVED (to other files of the store), CHANGED, LOST or UNVERIFIED."""
    doubts: tuple[str, ...]
    """Why a CLEAN is not believed."""

    @property
    def passed(self) -> bool:
        """Nothing left, and nothing else touched."""
        return self.left == CLEAN and self.rest in (INTACT, MOVED)

    @property
    def failed(self) -> bool:
        """Something left, lost or changed."""
        return self.left == RESIDUE or self.rest in (CHANGED, LOST)


def judge_check(check: Mapping[str, Any] | None) -> Judged:
    """Judge one store of `verification` in `run.json`; None is a store it does not speak of."""
    if check is None:
        return Judged(UNVERIFIED, UNVERIFIED, ("verification did not report on this store",))
    left, rest = str(check.get("verdict", UNVERIFIED)), str(check.get("rows", INTACT))
    if check.get("rows_lost", 0) and rest in (INTACT, MOVED):
        rest = LOST
    doubts = _doubts(check) if left == CLEAN else ()
    return Judged(UNVERIFIED if doubts else left, rest, doubts)


def _doubts(check: Mapping[str, Any]) -> tuple[str, ...]:
    """What in a store's figures a verdict of CLEAN cannot stand beside."""
    residue, control = check.get("residue", 0), check.get("control") or {}
    planted, found = control.get("planted", 0), control.get("found", 0)
    problems = (
        (residue != 0, f"reported as CLEAN, but {counted(residue, 'trace')} counted as left"),
        (planted == 0, "reported as CLEAN, but without a positive control"),
        (planted != found, f"reported as CLEAN, but the control found {number(found)} of {number(planted)}"),
    )
    return tuple(problem for holds, problem in problems if holds)
