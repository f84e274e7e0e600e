"""Folders of object storage that belong to a table, whose log and statistics a rewrite of its files would leave."""

import re
from collections.abc import Iterable

from schemas.errors import InputError
from schemas.s3 import Place

_SIGNS = {
    r"_delta_log/": "Delta",
    r"metadata/[^/]*\.metadata\.json$": "Iceberg",
    r"\.hoodie/": "Hudi",
    r"_versions/": "Lance",
    r"[^/]*\.lance/": "Lance",
}


def refuse_tables(place: Place, keys: Iterable[str]) -> None:
    """Raise InputError if one of `keys`, or what lies beside a folder above them, makes it a table."""
    above = place.root.split("/")[:-1]
    folders = ["".join(part + "/" for part in above[:depth]) for depth in range(len(above) + 1)]
    beside = [
        key
        for folder in folders
        for sign in ("_delta_log/", "metadata/", ".hoodie/", "_versions/")
        for key in _first_keys(place, folder + sign)
    ]
    for key in (*keys, *beside, place.root):
        for sign, kind in _SIGNS.items():
            if found := re.search(r"(?:^|/)" + sign, key):
                raise InputError(
                    f"{place.url(key[: found.start()])} is or holds a {kind} table: raw rewrite refused, since its "
                    f"log, statistics and older versions would keep what is erased; delete through {kind} itself"
                )


def _first_keys(place: Place, prefix: str) -> list[str]:
    with place.speaking():
        page = place.client().list_objects_v2(Bucket=place.bucket, Prefix=prefix)
    return [item["Key"] for item in page.get("Contents", ())]
