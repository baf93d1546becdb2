"""The file `generation` beside an index: how far its commits had come, so that a log which lost some is noticed.

It is written after each commit, so it is never ahead of the truth.
"""

from __future__ import annotations

import zlib
from pathlib import Path

from search_app.errors import IndexCorrupt
from search_app.stores.embedded.files import Files

GENERATION_FILE = "generation"
_REPAIR = "run: search-index verify --repair"


def record(files: Files, folder: Path, lineage: str, generation: int) -> None:
    files.write(folder / GENERATION_FILE, [_line(lineage, generation)])


def read(folder: Path) -> tuple[str, int] | None:
    """Lineage and generation; None where there is no such file. Raises IndexCorrupt.

    Read it before the truth: a commit in between is then no contradiction.
    """
    try:
        line = (folder / GENERATION_FILE).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise IndexCorrupt(f"{folder / GENERATION_FILE} cannot be read: {error.strerror}", hint=_REPAIR) from error
    try:
        lineage, number, _ = line.decode("ascii").split(" ")
        if _line(lineage, int(number)) == line:
            return lineage, int(number)
    except ValueError:
        pass
    raise IndexCorrupt(f"{folder / GENERATION_FILE} is damaged", hint=_REPAIR)


def require(recorded: tuple[str, int] | None, folder: Path, lineage: str, generation: int) -> None:
    """Raises IndexCorrupt where the truth, at `generation`, is behind what was recorded.

    A lineage begins above the generations of the one before it, so numbers decide, whatever the lineage.
    """
    if recorded is None:
        return
    if recorded[1] > generation or (recorded[1] == generation and recorded[0] != lineage):
        raise IndexCorrupt(
            f"the index in {folder} has lost commits: it is at generation {generation} and was at {recorded[1]}",
            hint=_REPAIR,
        )


def _line(lineage: str, generation: int) -> bytes:
    text = f"{lineage} {generation}".encode("ascii")
    return b"%s %08x\n" % (text, zlib.crc32(text))
