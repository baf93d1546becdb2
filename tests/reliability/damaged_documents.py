"""Files of every format, damaged: each is read, or refused with a reason in words, and nothing dies or hangs."""

from __future__ import annotations

import io
import random
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from documents.suite import build

from indexing.converters.content import Content, ConversionError
from indexing.formats import format_of
from indexing.sandbox import Limits, Sandbox

KINDS = ("bytes", "bits", "cut", "insert", "repeat", "member")
_LIMITS = Limits(seconds=20)
_NO_WORDS = re.compile(r"the converter died|^\w*(Error|Exception|Warning|Interrupt)\b")
"""A reason that names an exception, or a process that died, is no reason for a person."""


@dataclass(frozen=True)
class Read:
    """A round: what was damaged and how, what came of it ("read" or "refused"), and broken promises."""

    file: str
    format: str
    kind: str
    answers: str
    problems: list[str] = field(default_factory=list)


class Patients:
    """The suite's files, with `scans` those that need OCR; each round reads a damaged copy. A context manager."""

    def __init__(self, folder: Path, *, scans: bool = True) -> None:
        self._folder = folder
        self._files = [
            (item.path, kind)
            for item in build(folder)
            if (kind := format_of(item.path)) and (scans or "ocr" not in item.traits)
        ]
        self._sandbox = Sandbox(_LIMITS, folder=folder)

    def __enter__(self) -> Patients:
        return self

    def __exit__(self, *error: object) -> None:
        self._sandbox.close()

    def examine(self, rng: random.Random) -> Read:
        """Damage a file and read it."""
        name, kind = rng.choice(self._files)
        how = rng.choice(KINDS)
        copy = self._folder / "damaged"
        copy.write_bytes(damaged((self._folder / name).read_bytes(), how, rng))
        try:
            spool = self._sandbox.convert(copy, kind, copy.stat().st_size)
        except ConversionError as error:
            problems = [f"{name} ({how}): {error}"] if _NO_WORDS.search(str(error)) else []
            return Read(name, kind, how, "refused", problems)
        problems = [f"{name} ({how}): {problem}" for content in spool for problem in misplaced(content)]
        spool.discard()
        return Read(name, kind, how, "read", problems)


def damaged(data: bytes, how: str, rng: random.Random) -> bytes:
    """A copy with one kind of damage."""
    if how == "member" and zipfile.is_zipfile(io.BytesIO(data)):
        return _member_damaged(data, rng)
    found = bytearray(data)
    place = rng.randrange(len(found))
    size = min(len(found) - place, rng.choice((1, 4, 64, 1024)))
    if how == "cut":
        return bytes(found[:place])
    if how == "insert":
        found[place:place] = rng.randbytes(size)
    elif how == "repeat":
        found[place:place] = found[place : place + size] * rng.choice((1, 3, 200))
    elif how == "bits":
        for _ in range(rng.choice((1, 8, 64))):
            found[rng.randrange(len(found))] ^= 1 << rng.randrange(8)
    else:
        found[place : place + size] = rng.randbytes(size)
    return bytes(found)


def _member_damaged(data: bytes, rng: random.Random) -> bytes:
    """A whole archive in which one member is damaged: the parser behind the archive is what is tested."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(made, "w") as new:
        members = [item for item in old.infolist() if item.file_size]
        victim = rng.choice(members)
        for item in old.infolist():
            content = old.read(item)
            new.writestr(item.filename, damaged(content, rng.choice(KINDS[:-1]), rng) if item is victim else content)
    return made.getvalue()


def misplaced(content: Content) -> Iterator[str]:
    """Headings, pages, tables and cells outside of the text or out of order."""
    length = len(content.text)
    for heading in content.headings:
        if not 0 <= heading.start <= heading.end <= length:
            yield f"heading at {heading.start}:{heading.end} of {length}"
    for page, following in pairwise(content.pages):
        if page.end != following.start:
            yield f"page {page.number} ends at {page.end}, the next one begins at {following.start}"
    for table in content.tables:
        places = [cell for row in table.rows for cell in row]
        if not all(table.start <= cell.start <= cell.end <= table.end <= length for cell in places):
            yield f"table at {table.start}:{table.end} of {length} has a cell outside"
