"""Cache files beside the index hold derived arrays, so that a large index opens without rebuilding them.

A cache is used only if its SHA-256 matches the one in the index. The format is that of safetensors: the length of a
JSON header, the header, then the arrays. That library needs all arrays in memory to write and copies them to read; here
large ones are streamed from files, and reading returns views of a memory map.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import mmap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
import numpy as np
from numpy.typing import NDArray

from search_app.stores.embedded.connection import rows
from search_app.stores.embedded.files import Data, Files
from search_app.stores.vectors.index import Arrays

KINDS = ("vectors", "postings")
_ALIGNMENT = 64
_TYPES = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16, "I64": np.int64, "U64": np.uint64, "I32": np.int32,
    "U32": np.uint32, "I16": np.int16, "U16": np.uint16, "I8": np.int8, "U8": np.uint8, "BOOL": np.bool_,
}  # fmt: skip
_NAMES: dict[object, str] = {np.dtype(kind): name for name, kind in _TYPES.items()}
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FileArray:
    """A one-dimensional array stored in several files, until it is part of a cache."""

    files: Files
    paths: Sequence[Path]
    dtype: np.dtype[Any]
    length: int

    @property
    def shape(self) -> tuple[int]:
        return (self.length,)

    @property
    def nbytes(self) -> int:
        return self.length * self.dtype.itemsize

    def blocks(self) -> Iterator[Data]:
        for path in self.paths:
            yield from self.files.blocks(path)


CacheArrays = Mapping[str, NDArray[np.generic] | FileArray]


@dataclass(frozen=True, slots=True)
class Cache:
    """Arrays derived at `generation` from the passages up to row `newest`."""

    arrays: Arrays
    generation: int
    newest: int


def save(
    files: Files, db: apsw.Connection, folder: Path, kind: str, arrays: CacheArrays, *, generation: int, newest: int
) -> None:
    """Write the file, register it in one transaction, then delete the file that it replaces."""
    ordered = _ordered(arrays)
    header = _header(kind, ordered)
    digest = hashlib.sha256(header)
    for _, array in ordered:
        for part in _data(array):
            digest.update(part)
    sha256, size = digest.hexdigest(), len(header) + sum(array.nbytes for _, array in ordered)
    name = f"{kind}-{sha256[:16]}.cache"
    files.write_stream(folder / name, itertools.chain([header], *(_data(array) for _, array in ordered)), size)
    before = rows(db, "SELECT file FROM caches WHERE kind = ?", (kind,))
    with db:
        db.execute(
            "INSERT OR REPLACE INTO caches (kind, file, generation, newest, sha256, bytes) VALUES (?, ?, ?, ?, ?, ?)",
            (kind, name, generation, newest, sha256, size),
        )
    for old in before:
        if old != name:
            files.remove(folder / old)


def load(db: apsw.Connection, folder: Path, kind: str) -> Cache | None:
    """None without a cache; also, with a warning, if its file is missing or damaged."""
    sql = "SELECT file, generation, newest, sha256 FROM caches WHERE kind = ?"
    for name, generation, newest, sha256 in rows(db, sql, (kind,)):
        problem = damage(folder / name, sha256)
        if not problem:
            try:
                return Cache(_mapped(folder / name), generation, newest)
            except OSError as error:  # deleted in between
                problem = f"the cache {folder / name} cannot be read: {error.strerror}"
        log.warning("%s; rebuilding it in memory. Run: search-index verify --repair", problem)
    return None


def damage(path: Path, sha256: str) -> str:
    """Why the file cannot be used; empty if it can."""
    try:
        # An unreadable block is an error here; in the memory map it would kill the process.
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"the cache {path} cannot be read: {error.strerror}"
    return "" if found == sha256 else f"the cache {path} is damaged"


def drop(files: Files, db: apsw.Connection, folder: Path, kinds: Sequence[str] = KINDS) -> None:
    """Unregister caches, then delete their files."""
    names = [name for kind in kinds for name in rows(db, "SELECT file FROM caches WHERE kind = ?", (kind,))]
    with db:
        db.executemany("DELETE FROM caches WHERE kind = ?", [(kind,) for kind in kinds])
    for name in names:
        files.remove(folder / name)


def remove_orphans(files: Files, db: apsw.Connection, folder: Path) -> None:
    """Delete unregistered cache files, which killed jobs leave."""
    known = set(rows(db, "SELECT file FROM caches"))
    for path in folder.glob("*.cache"):
        if path.name not in known:
            files.remove(path)


def _ordered(arrays: CacheArrays) -> list[tuple[str, NDArray[np.generic] | FileArray]]:
    """Widest types first, which aligns every array without gaps."""
    return sorted(arrays.items(), key=lambda item: (-item[1].dtype.itemsize, item[0]))


def _header(kind: str, ordered: Sequence[tuple[str, NDArray[np.generic] | FileArray]]) -> bytes:
    header: dict[str, object] = {"__metadata__": {"kind": kind}}
    position = 0
    for name, array in ordered:
        end = position + array.nbytes
        header[name] = {
            "dtype": _NAMES[array.dtype.newbyteorder("=")],
            "shape": list(array.shape),
            "data_offsets": [position, end],
        }
        position = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + 8) % _ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def _data(array: NDArray[np.generic] | FileArray) -> Iterator[Data]:
    if isinstance(array, FileArray):
        yield from array.blocks()
    else:
        little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        yield little.reshape(-1).view(np.uint8).data


def _mapped(path: Path) -> Arrays:
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    begin = 8 + int.from_bytes(mapped[:8], "little")
    header = json.loads(mapped[8:begin])
    header.pop("__metadata__", None)
    arrays = {}
    for name, entry in header.items():
        start, end = entry["data_offsets"]
        kind = np.dtype(_TYPES[entry["dtype"]])
        array = np.frombuffer(mapped, kind, (end - start) // kind.itemsize, begin + start)
        arrays[name] = array.reshape(entry["shape"])
    return arrays
