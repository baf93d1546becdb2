"""The archive of an OpenDocument file and its properties."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from indexing.converters import markup
from indexing.converters.archive import require_harmless_zip
from indexing.converters.content import ConversionError


@contextmanager
def opened(path: Path, kind: str) -> Iterator[zipfile.ZipFile]:
    """Open the archive. Raises ConversionError, also for what goes wrong while it is open."""
    require_harmless_zip(path, kind)
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = markup.part(archive, "META-INF/manifest.xml")
            if manifest is not None and next(manifest.iter("{*}encryption-data"), None) is not None:
                raise ConversionError("it is encrypted; save a copy without a password")
            yield archive
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError) as error:
        raise ConversionError(f"it cannot be read as an OpenDocument file: {error}") from error


def properties(archive: zipfile.ZipFile) -> dict[str, object]:
    """Title, author, date, subject and language, as far as they are stated."""
    root = markup.part(archive, "meta.xml")
    found = {
        markup.name_of(element): " ".join((element.text or "").split())
        for element in (root.iter("{*}*") if root is not None else ())
    }
    author = found.get("initial-creator") or found.get("creator")
    date = found.get("creation-date") or found.get("date")
    named = {name: found.get(name) for name in ("title", "subject", "language")}
    return {key: value for key, value in {**named, "author": author, "date": date}.items() if value}
