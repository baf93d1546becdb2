"""The file that a document was read from, as long as it has not changed since."""

from __future__ import annotations

import hashlib
import os
import stat
from typing import BinaryIO

from starlette.exceptions import HTTPException

from search_app.protocols import FileRecord


def open_indexed(record: FileRecord) -> BinaryIO:
    """The file, if its bytes are still those that were indexed. Raises HTTPException 410."""
    if "://" in record.path:
        raise HTTPException(410, f"{record.path} is in an object store; this server does not serve files from there")
    gone = has_changed(record)
    try:
        # Without O_NONBLOCK, opening a named pipe in the file's place would block.
        file = os.fdopen(os.open(record.path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb")
    except OSError:
        raise gone from None
    try:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size != record.size:
            raise gone
        if hashlib.file_digest(file, "sha256").hexdigest() != record.digest.partition("+")[0]:
            raise gone
        file.seek(0)
    except OSError:
        file.close()
        raise gone from None
    except HTTPException:
        file.close()
        raise
    return file


def has_changed(record: FileRecord) -> HTTPException:
    """The error for a file that has changed or is gone."""
    return HTTPException(410, f"{record.source} has changed since it was indexed; run: search-index apply")
