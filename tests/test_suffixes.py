"""The public suffix of a host, held against `tldextract` for every rule of the list."""

import idna
import pytest
from tldextract import TLDExtract

from classifiers.suffixes import find_suffix


def split(name: str) -> tuple[str, str, str, bool]:
    """Subdomain, domain, suffix, and whether the suffix is private."""
    labels = name.split(".")
    at, is_private = find_suffix([".".join(labels[start:]) for start in range(len(labels))])
    return ".".join(labels[: max(at - 1, 0)]), labels[at - 1] if at else "", ".".join(labels[at:]), is_private


def test_every_rule_of_the_list_is_read_as_tldextract_reads_it() -> None:
    extract = TLDExtract(suffix_list_urls=(), cache_dir=None, include_psl_private_domains=True)
    for rule in extract.tlds:
        host = idna.encode(rule.lstrip("!").replace("*", "wild")).decode()
        for below in ("a.", "www.a.", "a.b.c."):
            theirs = extract.extract_str(below + host)
            assert split(below + host) == (theirs.subdomain, theirs.domain, theirs.suffix, theirs.is_private)


@pytest.mark.parametrize(
    ("host", "found"),
    [
        ("co.uk", ("", "", "co.uk", False)),
        ("bbc.co.uk", ("", "bbc", "co.uk", False)),
        ("a.b.example.ck", ("a", "b", "example.ck", False)),
        ("www.ck", ("", "www", "ck", False)),
        ("alice.github.io", ("", "alice", "github.io", True)),
        ("xn--caf-dma.fr", ("", "xn--caf-dma", "fr", False)),
        ("nowhere.invalid", ("nowhere", "invalid", "", False)),
    ],
)
def test_suffixes(host: str, found: tuple[str, str, str, bool]) -> None:
    assert split(host) == found
