"""A process that purges stores and can be killed: `python -m tests.fault_driver`, one JSON order a line.

Everything is imported and compiled before the first order, each order runs in a fork of its own. No store is opened in
the parent: the runtimes of some kinds start threads, which a fork does not have.
"""

import importlib
import json
import os
import pkgutil
import resource
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import stores
from pipelines.baseline import BaselineWork
from pipelines.ledger import Ledger
from pipelines.purge import PurgeWork, purge_unit
from schemas.hashing import hash_strings
from schemas.job import StoreSection
from stores.audit.fingerprints import fingerprint
from stores.audit.rows import digest_rows
from stores.contract import Status
from stores.keys import KeySet


def purge(section: StoreSection, folder: Path) -> bool:
    """Purge and clean every unit, as workers do; whether all came to an end that needs nobody's attention."""
    baseline = BaselineWork(section, Ledger(folder / "baseline"), folder / "secret")
    keys = folder / "keys.arrow"
    work = PurgeWork("s", section, keys, folder / "receipts", Ledger(folder / "located"), baseline)
    store = work.open_store()
    store.janitor(work.receipts)
    receipts = [purge_unit(unit, KeySet.open(keys), work) for unit in store.units()]
    return all(
        receipt.status is Status.UNCHANGED or (receipt.status is Status.REMOVED and bool(receipt.compacted_at))
        for receipt in receipts
    )


def obey(order: dict[str, Any]) -> None:
    """Purge as ordered: with no room for files of more than `file_size` bytes, as another `user`."""
    if order.get("file_size"):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["file_size"], order["file_size"]))
    if order.get("user"):
        os.setgid(order["user"])
        os.setuid(order["user"])
    sys.exit(0 if purge(StoreSection(**order["section"]), Path(order["folder"])) else 1)


def warm_up() -> None:
    """Compile and load what every purge needs, whichever the kind."""
    pa.set_cpu_count(1)
    for module in pkgutil.walk_packages(stores.__path__, "stores."):
        importlib.import_module(module.name)
    batch = pa.record_batch({"face_id": ["a", "b"], "vector": [[1.0 * i for i in range(32)]] * 2})
    digest_rows(batch, bytes(16), np.array([True, False]))
    fingerprint([batch.column(1)], bytes(16))
    hash_strings(batch.column(0).cast(pa.large_binary()))


def main() -> None:
    """Obey line by line; answer with the exit code (negative if killed) and the seconds it took."""
    warm_up()
    for line in sys.stdin:
        order = json.loads(line)
        began = time.perf_counter()
        child = os.fork()
        if not child:
            try:
                obey(order)
            except SystemExit as end:
                os._exit(int(end.code or 0))
            except BaseException:
                traceback.print_exc()
                os._exit(2)
        if order.get("kill_after") is not None:
            time.sleep(order["kill_after"])
            os.kill(child, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(json.dumps([code, time.perf_counter() - began]), flush=True)  # noqa: T201 - the answer


if __name__ == "__main__":
    main()
