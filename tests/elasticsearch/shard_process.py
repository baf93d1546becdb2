"""One shard of a job as a process: python shard_process.py URL PREFIX I/N FIRST LAST [PAUSE]

Writes those of the numbered files that are its own and not there yet; prints a line for each file, then "missing: […]".
"""

from __future__ import annotations

import sys
import time

from collections_on import MANIFEST, catalog_on, change
from servers import Address

from indexing.diff import Shard
from search_app.protocols import FileChange


def file(number: int) -> FileChange:
    texts = (f"text {number} of a river", f"another {number} of an engine")
    return change(f"{number:03}", *texts, meta={"number": number, f"field {number % 7}": True})


def main(url: str, prefix: str, which: str, first: str, last: str, pause: str = "0") -> None:
    shard = Shard.parse(which)
    with (
        catalog_on(Address((url,)), prefix) as catalog,
        catalog.shard_writer("c", MANIFEST, (shard.index, shard.count)) as writer,
    ):
        known = {record.path: record.digest for record in writer.files()}
        for number in range(int(first), int(last)):
            one = file(number)
            if shard.contains(one.record.path) and known.get(one.record.path) != one.record.digest:
                assert writer.write([one]) == []
                print(number, flush=True)
                time.sleep(float(pause))
        gone = [path for path in known if shard.contains(path) and not int(first) <= int(path[-3:]) < int(last)]
        writer.remove_files(gone)
        print("missing:", list(writer.finish()), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
