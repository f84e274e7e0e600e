"""The public suffix of a host name, by the list inside `tldextract` (offline) and the rules of publicsuffix.org.

`tldextract` itself takes addresses apart in many ways; for a host name that is already clean that is most of its work.
"""

from functools import cache
from typing import NamedTuple

import idna
from tldextract import TLDExtract


class _Rules(NamedTuple):
    """The list in ASCII, by what a rule asks for; each says whether it is of the private section."""

    suffixes: dict[str, bool]
    wildcards: dict[str, bool]
    """`*.ck` as `ck`: whatever stands before it belongs to the suffix, ..."""
    exceptions: dict[str, bool]
    """... but for `!www.ck`, here as `www.ck`."""


def find_suffix(tails: list[str]) -> tuple[int, bool]:
    """Where in `a.b.fr`, `b.fr`, `fr` the public suffix stands, `len(tails)` if there is none; and if it is private.

    Names are ASCII in lower case, without a final dot.
    """
    rules = _load()
    for at, tail in enumerate(tails):
        if tail in rules.suffixes:
            return at, rules.suffixes[tail]
        if tail in rules.exceptions:
            return at + 1, rules.exceptions[tail]
        if at + 1 < len(tails) and tails[at + 1] in rules.wildcards:
            return at, rules.wildcards[tails[at + 1]]
    return len(tails), False


def list_suffixes() -> list[str]:
    """The names of all rules, without their signs: `co.uk`, `ck` for `*.ck`, `www.ck` for `!www.ck`."""
    return [name for names in _load() for name in names]


@cache
def _load() -> _Rules:
    public = set(TLDExtract(suffix_list_urls=(), cache_dir=None).tlds)
    rules = _Rules({}, {}, {})
    for rule in TLDExtract(suffix_list_urls=(), cache_dir=None, include_psl_private_domains=True).tlds:
        first, _, rest = rule.partition(".")
        kind, name = (rules.wildcards, rest) if first == "*" else (rules.suffixes, rule)
        if rule.startswith("!"):
            kind, name = rules.exceptions, rule[1:]
        kind[name if name.isascii() else idna.encode(name).decode()] = rule not in public
    return rules
