"""Documentation found on any machine: Python's language reference and the README files of installed packages."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path
from pydoc_data.topics import topics

from search_app.errors import ConfigurationError, SearchAppError

_SHORTEST_README = 200
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


def write_documents(folder: Path) -> int:
    """Write the documents to `folder` and return their number. Unchanged files are not touched."""
    wanted = {**{f"python/{name}": text for name, text in _language_reference()}, **dict(_readmes())}
    try:
        for name, text in wanted.items():
            path, data = folder / name, text.encode("utf-8", "replace")
            if not path.is_file() or path.read_bytes() != data:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise SearchAppError(
                f"the disk that holds {folder} is full", hint="free some space and run it again"
            ) from error
        raise ConfigurationError(
            f"cannot write {error.filename or folder}: {error.strerror}", hint="choose another folder with --home"
        ) from error
    return len(wanted)


def _language_reference() -> Iterator[tuple[str, str]]:
    for name, text in topics.items():
        yield f"{_UNSAFE.sub('-', name)}.txt", text


def _readmes() -> Iterator[tuple[str, str]]:
    for distribution in distributions():
        metadata = distribution.metadata
        if metadata is None or "Name" not in metadata or "Description" not in metadata:
            continue
        text = metadata["Description"]
        if len(text) >= _SHORTEST_README:
            kind = next(iter(metadata.get_all("Description-Content-Type") or ()), "text/x-rst")
            ending = "md" if "markdown" in kind else "rst" if "rst" in kind else "txt"
            yield f"packages/{_UNSAFE.sub('-', metadata['Name'])}.{ending}", text
