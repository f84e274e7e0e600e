"""A place for the positive control of a store that is more than one file."""

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stores.audit.check import view_file
from stores.audit.inventory import Kind, take_inventory
from stores.audit.siphash import Bytes


@contextmanager
def scratch_folder(scratch: Path) -> Iterator[Path]:
    """A new folder below `scratch`, removed with all that is in it."""
    folder = scratch / f"control-{uuid.uuid4().hex}"
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def view_all(root: Path) -> Iterator[Bytes]:
    """The bytes of every file below `root`."""
    for entry in take_inventory(root):
        if entry.kind is Kind.FILE:
            yield view_file(root / entry.path)
