"""The file `generation` beside an index records its last commit, which reveals a write-ahead log that lost commits.

It is written after each commit, so it is never ahead of the index.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import NamedTuple

from search_app.errors import IndexCorrupt
from search_app.stores.embedded.files import Files

GENERATION_FILE = "generation"


class GenerationRecord(NamedTuple):
    """The last commit of a lineage; `successor` is the lineage that was about to replace it."""

    lineage: str
    generation: int
    successor: str = ""


def record(files: Files, folder: Path, lineage: str, generation: int) -> None:
    """Write the generation file."""
    files.write(folder / GENERATION_FILE, [_line(GenerationRecord(lineage, generation))])


def announce(files: Files, folder: Path, successor: str) -> None:
    """Call before the commit that begins the lineage `successor`: only that one may then replace the recorded one."""
    try:
        recorded = read(folder)
    except IndexCorrupt:
        return
    if recorded is not None:
        files.write(folder / GENERATION_FILE, [_line(recorded._replace(successor=successor))])


def read(folder: Path) -> GenerationRecord | None:
    """None without a file. Raises IndexCorrupt.

    Read it before the index, so that a commit in between is no contradiction.
    """
    try:
        line = (folder / GENERATION_FILE).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise IndexCorrupt(f"{folder / GENERATION_FILE} cannot be read: {error.strerror}") from error
    try:
        lineage, number, *successor, _ = line.decode("ascii").split(" ")
        recorded = GenerationRecord(lineage, int(number), *successor)
        if _line(recorded) == line:
            return recorded
    except (ValueError, TypeError):
        pass
    raise IndexCorrupt(f"{folder / GENERATION_FILE} is damaged")


def require(recorded: GenerationRecord | None, folder: Path, lineage: str, generation: int) -> None:
    """Raises IndexCorrupt when the index is behind the record, or is another index."""
    if recorded is not None and not _follows(recorded, lineage, generation):
        recorded = read(folder)  # another index may have been published since
    if recorded is None or _follows(recorded, lineage, generation):
        return
    if generation <= recorded.generation:
        what = f"has lost commits: it is at generation {generation} and was at {recorded.generation}"
    else:
        what = "is not the one that was written there"
    raise IndexCorrupt(f"the index in {folder} {what}")


def _follows(recorded: GenerationRecord, lineage: str, generation: int) -> bool:
    if lineage == recorded.lineage:
        return generation >= recorded.generation
    return lineage == recorded.successor and generation > recorded.generation


def _line(recorded: GenerationRecord) -> bytes:
    text = f"{recorded.lineage} {recorded.generation} {recorded.successor}".rstrip().encode("ascii")
    return b"%s %08x\n" % (text, zlib.crc32(text))
