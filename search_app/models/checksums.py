"""SHA-256 of the files in a model folder, in the format of sha256sum, so that damage is an error and not an answer."""

from __future__ import annotations

import hashlib
from pathlib import Path

from search_app.errors import ModelUnavailable

FILE = "SHA256SUMS"
_HINT = "restore the file, or install the program again"


def write(folder: Path) -> None:
    """Write the checksums of weights, tokenizer, configuration and calibration, and of the modules of an encoder."""
    kinds = [f"{place}{kind}" for place in ("", "[0-9]_*/") for kind in ("*.json", "*.safetensors", "*.txt")]
    names = sorted(str(path.relative_to(folder)) for kind in kinds for path in folder.glob(kind))
    (folder / FILE).write_text("".join(f"{_sum(folder / name)}  {name}\n" for name in names), encoding="ascii")


def verify(folder: Path, name: str) -> None:
    """Raise ModelUnavailable for the first file that differs. A folder without checksums passes."""
    sums = folder / FILE
    if not sums.is_file():
        return
    for line in sums.read_text(encoding="ascii").splitlines():
        expected, _, file = line.partition("  ")
        try:
            actual = _sum(folder / file)
        except OSError as error:
            raise ModelUnavailable(f"{name}: cannot read {folder / file}: {error.strerror}", hint=_HINT) from error
        if actual != expected:
            raise ModelUnavailable(f"{name}: {folder / file} is damaged: it does not match {FILE}", hint=_HINT)


def _sum(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
