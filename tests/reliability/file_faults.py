"""`Files` whose n-th operation fails or ends the process, or that record what is on the disk before it."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from search_app.stores.embedded.files import Data, Files

Watch = Callable[[str, Path], None]
ERRORS = {"ENOSPC": errno.ENOSPC, "EIO": errno.EIO, "EACCES": errno.EACCES}


class WatchedFiles(Files):
    """Calls `watch` with the name and path of each operation before it happens; `watch` may raise."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def create(self, path: Path) -> int:
        self._watch("create", path)
        return super().create(path)

    def open(self, path: Path) -> int:
        self._watch("open", path)
        return super().open(path)

    def append(self, descriptor: int, data: Data, path: Path) -> int:
        """Write only one half, so that `watch` sees a torn file before the second half."""
        self._watch("append", path)
        half = memoryview(data).cast("B")[: max(1, memoryview(data).nbytes // 2)]
        return super().append(descriptor, half, path)

    def load(self, descriptor: int, size: int, path: Path) -> bytes:
        self._watch("load", path)
        return super().load(descriptor, size, path)

    def sync_file(self, descriptor: int, path: Path) -> None:
        self._watch("sync_file", path)
        super().sync_file(descriptor, path)

    def rename(self, source: Path, target: Path) -> None:
        self._watch("rename", target)
        super().rename(source, target)

    def unlink(self, path: Path) -> None:
        self._watch("unlink", path)
        super().unlink(path)

    def make(self, path: Path) -> None:
        self._watch("make", path)
        super().make(path)

    def sync_folder(self, path: Path) -> None:
        self._watch("sync_folder", path)
        super().sync_folder(path)


@dataclass
class AtOperation:
    """Counts operations and acts on the n-th."""

    number: int
    action: Callable[[str, Path], None]
    seen: list[str] = field(default_factory=list)

    def __call__(self, name: str, path: Path) -> None:
        self.seen.append(name)
        if len(self.seen) == self.number:
            self.action(name, path)


def failing(number: int, error: int) -> WatchedFiles:
    def fail(name: str, path: Path) -> None:
        raise OSError(error, os.strerror(error), str(path))

    return WatchedFiles(AtOperation(number, fail))


def killing(number: int) -> WatchedFiles:
    return WatchedFiles(AtOperation(number, lambda name, path: os.kill(os.getpid(), signal.SIGKILL)))


class PowerLoss:
    """Keeps, before every n-th operation, what a power failure would leave: all that was synced, and a random part of
    the rest. Renames, new and removed files count as synced with their folder, bytes with their file.

    SQLite's own files are as they lie there: with `synchronous=FULL` its commits are synced when it reports them.
    """

    def __init__(self, folder: Path, crashes: Path, chance: random.Random, *, variants: int, every: int = 1) -> None:
        self._folder, self._crashes, self._chance, self._variants = folder, crashes, chance, variants
        self._every, self._operations = every, 0
        self._unsynced: set[Path] = set()
        self._undo: list[tuple[Path, Callable[[Path], None]]] = []
        self.states: list[Path] = []

    def __call__(self, name: str, path: Path) -> None:
        self._operations += 1
        if self._operations % self._every == 0:
            self._freeze()
        if name in ("create", "append"):
            if name == "create" and not path.exists():
                self._undo.append((path.parent, self._removing(path)))
            self._unsynced.add(path)
        elif name == "sync_file":
            self._unsynced.discard(path)
        elif name in ("rename", "unlink"):
            before = path.read_bytes() if path.is_file() else None
            self._undo.append((path.parent, self._restoring(path, before)))
        elif name == "make":
            self._undo.append((path.parent, self._removing(path)))
        elif name == "sync_folder":
            self._undo = [(parent, undo) for parent, undo in self._undo if parent != path]

    def _freeze(self) -> None:
        """Runs in its own process, because closing SQLite's files in this one would drop its locks."""
        for _ in range(self._variants):
            state = self._crashes / f"{len(self.states):04}"
            lost = [path for path in self._unsynced if self._chance.random() < 0.7]
            undone = [undo for _, undo in self._undo if self._chance.random() < 0.5]
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    shutil.copytree(self._folder, state)
                    for path in lost:
                        self._tear(state, path)
                    for undo in reversed(undone):
                        undo(state)
                    code = 0
                finally:
                    os._exit(code)
            _, status = os.waitpid(pid, 0)
            assert status == 0, "the state was not copied"
            self.states.append(state)

    def _tear(self, state: Path, path: Path) -> None:
        copy = self._in(state, path)
        if copy.exists():
            size = copy.stat().st_size
            keep = random.Random(size).randint(0, size)
            data = copy.read_bytes()[:keep]
            copy.write_bytes(data + bytes(size - keep if keep % 2 else 0))

    def _removing(self, path: Path) -> Callable[[Path], None]:
        def undo(state: Path) -> None:
            copy = self._in(state, path)
            shutil.rmtree(copy) if copy.is_dir() else copy.unlink(missing_ok=True)

        return undo

    def _restoring(self, path: Path, before: bytes | None) -> Callable[[Path], None]:
        def undo(state: Path) -> None:
            copy = self._in(state, path)
            if before is None:
                shutil.rmtree(copy) if copy.is_dir() else copy.unlink(missing_ok=True)
            elif copy.parent.is_dir():
                copy.write_bytes(before)

        return undo

    def _in(self, state: Path, path: Path) -> Path:
        return state / path.relative_to(self._folder)
