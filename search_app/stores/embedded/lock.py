"""The lock that lets one process at a time write to a collection."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from search_app.errors import IndexBusy
from search_app.stores.embedded.files import Files

LOCK_FILE = "writer.lock"
OWNER_FILE = "writer.pid"


class WriterLock:
    """An flock on `writer.lock` in the collection's folder, which is created if needed.

    The system frees the lock when the process ends. Raises IndexBusy with the process id of the current writer.
    """

    def __init__(self, files: Files, folder: Path, collection: str) -> None:
        files.make_folder(folder)
        path, owner = folder / LOCK_FILE, folder / OWNER_FILE
        with files.translated(folder):
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # A drop or rename may have moved the folder between the two calls.
                if not os.path.samestat(os.fstat(self._descriptor), os.stat(path)):
                    raise BlockingIOError
                owner.write_text(str(os.getpid()))
            except (BlockingIOError, FileNotFoundError) as error:
                os.close(self._descriptor)
                pid = owner.read_text().strip() if owner.exists() else "unknown"
                raise IndexBusy(
                    f"another job (process {pid}) is writing to collection '{collection}'", hint="wait until it ends"
                ) from error
            except BaseException:
                os.close(self._descriptor)
                raise

    def release(self) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        os.close(self._descriptor)
