"""Uploaded files that wait for their job, in one folder per job."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
import unicodedata
from pathlib import Path

from search_app.queue.queue import JobQueue

_PART_BYTES, _NAME_BYTES = 255, 1024
_UNSAFE = {"Cc", "Cs", "Zl", "Zp"}
"""Unicode categories: control characters, lone surrogates, line and paragraph separators."""


class UploadError(Exception):
    """Why a file of an upload is refused."""


def safe_name(name: str) -> str:
    """An uploaded file's name as a relative path: NFC, with "/" between parts.

    Raises UploadError if no file below a folder can have that name.
    """
    name = unicodedata.normalize("NFC", name).replace("\\", "/")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if any(unicodedata.category(character) in _UNSAFE for character in name):
        raise UploadError("the name has control characters")
    if name.startswith("/") or (parts and re.match("[A-Za-z]:", parts[0])):
        raise UploadError("the name is absolute; use a relative name")
    if ".." in parts:
        raise UploadError('the name leaves its folder through ".."')
    if not parts:
        raise UploadError("the name is empty")
    if any(len(part.encode()) > _PART_BYTES for part in parts) or len(name.encode()) > _NAME_BYTES:
        raise UploadError(f"the name is too long: at most {_PART_BYTES} bytes per part and {_NAME_BYTES} in all")
    return "/".join(parts)


def printable(name: str) -> str:
    """The name with unprintable characters escaped."""
    return name if name.isprintable() else ascii(name)[1:-1]


def sync_folder(folder: Path) -> None:
    """Return when the folder's entries are on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_stale_staging(queue: JobQueue, *, older_than: float = 3600.0) -> int:
    """Remove uploads of ended jobs, and uploads without a job unchanged for `older_than` seconds. Returns how many."""
    removed = 0
    for folder in queue.staging.iterdir() if queue.staging.is_dir() else []:
        job = queue.get(folder.name)
        with contextlib.suppress(OSError):
            if job.state.ended if job is not None else _age(folder) > older_than:
                shutil.rmtree(folder)
                removed += 1
    return removed


def _age(folder: Path) -> float:
    """Seconds since its last change."""
    return time.time() - max(path.stat().st_mtime for path in (folder, *folder.iterdir()))
