"""Formats that are zip archives. Bombs are rejected before anything reads them."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

from indexing.converters.content import ConversionError

_MAX_BYTES = 200 << 20
_MAX_RATIO = 100
_HARD_MAX_BYTES = 1 << 30
_BLOCK = 1 << 20
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")


def require_harmless_zip(path: Path, kind: str) -> None:
    """Raise ConversionError for a zip bomb. Measures the decompressed data, not the declared sizes."""
    _require_no_ole(path, kind)
    packed = path.stat().st_size
    total = 0
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                with archive.open(member) as file:
                    while block := file.read(_BLOCK):
                        total += len(block)
                        if total > _HARD_MAX_BYTES or (total > _MAX_BYTES and total > _MAX_RATIO * packed):
                            raise ConversionError(
                                f"it decompresses to more than {total >> 20} MB from {max(1, packed >> 20)} MB: "
                                "a zip bomb"
                            )
    except RuntimeError as error:
        raise ConversionError("it is encrypted; save a copy without a password") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, ValueError) as error:
        raise ConversionError(f"it is not a {kind} file: {error or 'damaged archive'}") from error


def _require_no_ole(path: Path, kind: str) -> None:
    """Office writes an encrypted file, as one of Office 97, in a container of another kind."""
    with path.open("rb") as file:
        if file.read(len(_OLE)) != _OLE:
            return
        encrypted = _ENCRYPTED in file.read(_MAX_BYTES)
    if encrypted:
        raise ConversionError("it is encrypted; save a copy without a password")
    raise ConversionError(f"it is not a {kind} file but one of an old Office version; save it as {kind}")
