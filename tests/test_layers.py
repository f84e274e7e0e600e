"""Dependencies point one way, and what may never be a signal is not even imported."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ALLOWED = {
    "schemas": {"schemas"},
    "classifiers": {"schemas", "classifiers"},
    "stores": {"schemas", "stores"},
    "pipelines": {"schemas", "classifiers", "stores", "pipelines"},
    "runners": {"schemas", "classifiers", "stores", "pipelines", "runners"},
}


def imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("folder", ALLOWED)
def test_nothing_imports_upwards(folder: str) -> None:
    files = list((ROOT / folder).rglob("*.py"))
    assert files
    for file in files:
        upwards = {name for name in imports(file) if name in ALLOWED} - ALLOWED[folder]
        assert not upwards, f"{file.relative_to(ROOT)} imports {upwards}"


@pytest.mark.parametrize("folder", ["schemas", "classifiers", "stores"])
def test_signals_and_stores_know_no_engine(folder: str) -> None:
    for file in (ROOT / folder).rglob("*.py"):
        assert "apache_beam" not in set(imports(file)), file


@pytest.mark.parametrize("folder", ALLOWED)
def test_no_face_is_analysed(folder: str) -> None:
    for file in (ROOT / folder).rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        assert ".analyze(" not in text and "dominant_" not in text, file
