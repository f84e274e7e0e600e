r"""The values in a JSON text, unescaped: table formats keep logs, statistics and schemas as JSON, even JSON in JSON.

As bytes an id may be written with escapes (`\u00e9`, `\"`), and one of under eight bytes is no finding at all.
"""

import json
import re
from collections.abc import Iterator

from stores.audit.siphash import Bytes

_WORDS = re.compile(r"'((?:[^']|'')*)'|\"([^\"]*)\"|([^\s,()='\"]+)")
_DEEPEST = 64


def json_values(data: Bytes, key_column: str | None) -> Iterator[str]:
    """Every text in a JSON document, or in one document a line, names too; nothing for what is no JSON.

    Numbers, also those written as texts, are given only where they stand for the key column: a number such as 1024 is
    everywhere. The predicate of a delete is given literal by literal as well.
    """
    if bytes(data[:1]) not in (b"{", b"["):
        return
    text = bytes(data).decode("utf-8", "replace")
    documents = [text] if _is_json(text) else text.splitlines()
    for document in documents:
        try:
            yield from _values(json.loads(document), None, key_column, 0)
        except (ValueError, RecursionError):
            continue


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _values(value: object, name: str | None, key_column: str | None, depth: int) -> Iterator[str]:
    if depth > _DEEPEST:
        return
    if isinstance(value, dict):
        for inner_name, inner in value.items():
            if not inner_name.isdecimal():
                yield inner_name
            yield from _values(inner, inner_name, key_column, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            yield from _values(inner, name, key_column, depth + 1)
    elif isinstance(value, str):
        if name == key_column or not value.isdecimal():
            yield value
        if name == "predicate":
            yield from literals(value)
        if value[:1] in ("{", "["):
            try:
                yield from _values(json.loads(value), name, key_column, depth + 1)
            except (ValueError, RecursionError):
                return
    elif isinstance(value, int) and name == key_column:
        yield str(value)


def literals(predicate: str) -> Iterator[str]:
    """The quoted texts and the words of an SQL predicate."""
    for quoted, named, word in _WORDS.findall(predicate):
        yield quoted.replace("''", "'") or named or word
