"""SHA-256 of a model folder's files, in the format of sha256sum, so that damage is an error and never an answer."""

from __future__ import annotations

import hashlib
from pathlib import Path

from search_app.errors import ModelUnavailable

FILE = "SHA256SUMS"
_HINT = "restore the file, or install the program again"


def write(folder: Path) -> None:
    """Sums of all files in the folder that decide an answer: weights, tokenizer, configuration, calibration."""
    names = sorted(path.name for kind in ("*.json", "*.safetensors", "*.txt") for path in folder.glob(kind))
    (folder / FILE).write_text("".join(f"{_sum(folder / name)}  {name}\n" for name in names), encoding="ascii")


def verify(folder: Path, name: str) -> None:
    """Raises ModelUnavailable that names the first file that differs; a folder without sums passes."""
    sums = folder / FILE
    if not sums.is_file():
        return
    for line in sums.read_text(encoding="ascii").splitlines():
        expected, _, file = line.partition("  ")
        try:
            actual = _sum(folder / file)
        except OSError as error:
            raise ModelUnavailable(f"{name}: {folder / file} cannot be read: {error.strerror}", hint=_HINT) from error
        if actual != expected:
            raise ModelUnavailable(f"{name}: {folder / file} is damaged: it differs from {FILE}", hint=_HINT)


def _sum(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
