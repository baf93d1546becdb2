"""A job that is killed at nine tenths of its documents, and the work left for the next one."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks import process
from benchmarks.jobs import files
from benchmarks.kept import Kept
from search_app.errors import IndexUnavailable
from search_app.settings import load_settings
from search_app.stores.catalog import open_catalog

SHARE = 0.9
KINDS = ("files", "lines")
_LOOK_EVERY_S = 0.5
_ABOUT = f"""One-sentence documents; the job gets SIGKILL when the index holds {SHARE:.0%} of them, and is run again.
Seconds are of the whole process, its start and the loading of the model included. The last column is one more run,
which finds nothing to do.
"""


def measure(folder: Path, kept: Kept, *, documents: int) -> None:
    for kind in KINDS:
        if kept.has(kind=kind):
            continue
        make = files.make_sentences if kind == "files" else files.make_sentence_lines
        corpus, home = make(folder / "corpus", documents=documents), folder / "home"
        shutil.rmtree(home, ignore_errors=True)
        first = process.apply(corpus, home, kill_when=_holds(home, round(SHARE * documents)))
        there = _documents(home)
        second = process.apply(corpus, home)
        third = process.apply(corpus, home)
        summary = second.json()
        kept.add(
            kind=kind, documents=documents, killed=first.killed, killed_after=first.seconds, there=there,
            seconds=second.seconds, job_seconds=summary["seconds"], unchanged=summary["unchanged"],
            converted=summary["added"] + summary["changed"], encoded=summary["passages_encoded"],
            passages=summary["passages"], nothing_to_do_seconds=third.seconds, found=_documents(home),
        )  # fmt: skip
        shutil.rmtree(home)


def _holds(home: Path, documents: int) -> Callable[[], bool]:
    """Checks only twice a second, to leave the machine to the job."""
    looked = 0.0

    def holds() -> bool:
        nonlocal looked
        if time.monotonic() - looked < _LOOK_EVERY_S:
            return False
        looked = time.monotonic()
        return _documents(home) >= documents

    return holds


def _documents(home: Path) -> int:
    """Documents in the index now; 0 without an index."""
    settings = load_settings(home=home)
    if not settings.collections():
        return 0
    try:
        with closing(open_catalog(settings)) as catalog, closing(catalog.open("default")) as store:
            return store.counts()["documents"]
    except IndexUnavailable:
        return 0


def section(kept: Kept) -> str:
    lines = [
        _ABOUT,
        "| documents | killed after, s | in the index then | next run, s | converted | encoded | a run after that, s |",
        "|---|---:|---:|---:|---:|---:|---:|",
        *map(_line, kept.rows),
    ]
    return "\n".join(lines)


def _line(row: dict[str, Any]) -> str:
    assert row["killed"], "the job ended before it was killed"
    assert row["found"] == row["documents"], f"{row['found']} of {row['documents']} are there at the end"
    files = row["converted"] + row["unchanged"]
    return (
        f"| {row['documents']:,} as {row['kind']} | {row['killed_after']:.1f} | {row['there']:,} "
        f"| {row['seconds']:.1f} | {row['converted']:,} of {files:,} files | {row['encoded']:,} passages "
        f"| {row['nothing_to_do_seconds']:.1f} |"
    )
