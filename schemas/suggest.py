"""Naming the nearest thing that exists, for error messages."""

import difflib
from collections.abc import Iterable


def nearest(wrong: str, allowed: Iterable[str]) -> str:
    """`"; did you mean 'right'?"` for the allowed word nearest to `wrong`, or nothing if none is near."""
    close = difflib.get_close_matches(wrong.lower(), list(allowed), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""
