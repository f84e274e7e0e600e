"""Words and numbers for people: the page and the terminal say the same thing in the same way."""

import unicodedata
from collections.abc import Iterable

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories that hide from a reader or move what is read: controls, bidirectional overrides, surrogates."""

_WITH_ARTICLE = frozenset({"United Kingdom", "Netherlands"})


def visible(text: str, limit: int = 1000) -> str:
    """Text from strangers, made harmless to show: what is hidden is spelled out, what is endless is cut, saying so."""
    shown = "".join(_spelled(char) if unicodedata.category(char) in _HIDDEN else char for char in text[:limit])
    return shown if len(text) <= limit else f"{shown}… ({len(text):,} characters)"


def _spelled(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def number(value: float) -> str:
    """`1204` as `1,204`."""
    return f"{value:,.0f}"


def counted(value: int, singular: str, plural: str | None = None) -> str:
    """`1 face`, `1,204 faces`, `no faces`."""
    word = singular if value == 1 else plural or f"{singular}s"
    return f"{number(value) if value else 'no'} {word}"


def percent(share: float) -> str:
    """A share as a percentage of one decimal that never rounds something to nothing, nor nearly all to all."""
    if 0 < share < 0.0005:
        return "<0.1 %"
    if 0.9995 < share < 1:
        return ">99.9 %"
    return f"{share * 100:.1f} %"


def expected(value: float) -> str:
    """An expected number of people, which is rarely whole: `0.0`, `<0.1`, `6.3`, `1,204.0`."""
    return "<0.1" if 0 < value < 0.05 else f"{value:,.1f}"


def moment(written: str | None) -> str:
    """A time as receipts write it, UTC, without what says so: `2026-11-22 08:44:40`; a dash for none."""
    return (written or "–")[:19].replace("T", " ")


def size(value: float) -> str:
    """Bytes in decimal units, as drives are sold: `838 MB`."""
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if value < 999.5:
            return f"{value:.3g} {unit}" if unit != "bytes" else counted(int(value), "byte")
        value /= 1000
    return f"{value:,.0f} PB"


def bits(millibits: int) -> str:
    """Integer millibits as signed bits, exactly: `+8.330`."""
    return f"{millibits / 1000:+.3f}"


def listed(names: Iterable[str]) -> str:
    """`France, Italy and the United Kingdom`: sorted, so that the sentence does not depend on the job's order."""
    words = [f"the {name}" if name in _WITH_ARTICLE else name for name in sorted(names)]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
