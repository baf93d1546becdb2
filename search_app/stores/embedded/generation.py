"""The file `generation` beside an index: how far its commits had come, so that a log which lost some is noticed.

It is written after each commit, so it is never ahead of the truth.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import NamedTuple

from search_app.errors import IndexCorrupt
from search_app.stores.embedded.files import Files

GENERATION_FILE = "generation"
_REPAIR = "run: search-index verify --repair"


class GenerationRecord(NamedTuple):
    """How far the commits of a lineage had come; `successor` is the lineage that was about to take its place."""

    lineage: str
    generation: int
    successor: str = ""


def record(files: Files, folder: Path, lineage: str, generation: int) -> None:
    files.write(folder / GENERATION_FILE, [_line(GenerationRecord(lineage, generation))])


def announce(files: Files, folder: Path, successor: str) -> None:
    """Before the commit that begins another lineage, so that no index but that one can take the place of this one."""
    try:
        recorded = read(folder)
    except IndexCorrupt:
        return
    if recorded is not None:
        files.write(folder / GENERATION_FILE, [_line(recorded._replace(successor=successor))])


def read(folder: Path) -> GenerationRecord | None:
    """None where there is no such file. Raises IndexCorrupt.

    Read it before the truth: a commit in between is then no contradiction.
    """
    try:
        line = (folder / GENERATION_FILE).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise IndexCorrupt(f"{folder / GENERATION_FILE} cannot be read: {error.strerror}", hint=_REPAIR) from error
    try:
        lineage, number, *successor, _ = line.decode("ascii").split(" ")
        recorded = GenerationRecord(lineage, int(number), *successor)
        if _line(recorded) == line:
            return recorded
    except (ValueError, TypeError):
        pass
    raise IndexCorrupt(f"{folder / GENERATION_FILE} is damaged", hint=_REPAIR)


def require(recorded: GenerationRecord | None, folder: Path, lineage: str, generation: int) -> None:
    """Raises IndexCorrupt where the truth is behind what was recorded, or is another index."""
    if recorded is not None and not _follows(recorded, lineage, generation):
        recorded = read(folder)  # another index may have been published since
    if recorded is None or _follows(recorded, lineage, generation):
        return
    if generation <= recorded.generation:
        what = f"has lost commits: it is at generation {generation} and was at {recorded.generation}"
    else:
        what = "is not the one that was written here"
    raise IndexCorrupt(f"the index in {folder} {what}", hint=_REPAIR)


def _follows(recorded: GenerationRecord, lineage: str, generation: int) -> bool:
    if lineage == recorded.lineage:
        return generation >= recorded.generation
    return lineage == recorded.successor and generation > recorded.generation


def _line(recorded: GenerationRecord) -> bytes:
    text = f"{recorded.lineage} {recorded.generation} {recorded.successor}".rstrip().encode("ascii")
    return b"%s %08x\n" % (text, zlib.crc32(text))
