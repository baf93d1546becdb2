"""Converted files wait on disk for the encoder: under the home folder, as a container's /tmp is small."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from indexing.converters.content import Content
from search_app.errors import SearchAppError

_LOCK = "lock"


@contextmanager
def spool_folder(home: Path) -> Iterator[Path]:
    """Create a folder for this job, and delete the folders of killed jobs. Deleted on exit."""
    root = home / "spool"
    is_new = not home.exists()
    try:
        with _locked(root):  # so that no other job deletes a folder before it is locked
            for left in root.iterdir():
                _clear(left)
            folder = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=root))
            lock = FileLock(folder / _LOCK, thread_local=False)
            lock.acquire()
    except OSError as error:
        raise SearchAppError(
            f"cannot write converted files to {root}: {error.strerror or error}",
            hint="nothing was changed; free some space there, or make the folder writable",
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()
        with _locked(root), suppress(OSError):
            if os.listdir(root) == [_LOCK]:  # no other job's folder
                shutil.rmtree(root)
                if is_new:
                    home.rmdir()


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    lock = FileLock(root / _LOCK, thread_local=False)
    while not lock.is_locked:
        root.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # another job has just removed the folder
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _clear(left: Path) -> None:
    if not left.is_dir():
        return
    lock = FileLock(left / _LOCK, thread_local=False)
    with suppress(Timeout, OSError):
        lock.acquire(timeout=0)
        shutil.rmtree(left, ignore_errors=True)
        lock.release()


@dataclass(frozen=True, slots=True)
class Spool:
    """A converted file on disk, read line by line: its documents, each followed by the ranges of its passages.

    `unread` are pages that OCR did not read.
    """

    path: Path
    documents: int
    characters: int
    warnings: tuple[str, ...] = ()
    unread: int = 0

    def __iter__(self) -> Iterator[Content]:
        return (Content.from_json(line) for line in self.lines() if isinstance(line, dict))

    def lines(self) -> Iterator[Any]:
        with self.path.open(encoding="utf-8") as file:
            for line in file:
                yield json.loads(line)

    @property
    def bytes(self) -> int:
        return self.path.stat().st_size

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
