"""Bytes to text: by byte order mark, else as UTF-8 if valid, else as charset-normalizer detects."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

import charset_normalizer

from indexing.converters.content import ConversionError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAMPLE = 1 << 18
_BLOCK = 1 << 20
_CONTROL = re.compile(rb"[\0-\x08\x0e-\x1a\x1c-\x1f]")


def read_text(path: Path, *, declared: str = "") -> str:
    """Read the whole file. `declared` is the encoding that the file names; it counts only if the file is not UTF-8."""
    encoding = file_encoding(path, declared=declared)
    return path.read_bytes().decode(encoding, "replace")


def file_encoding(path: Path, *, declared: str = "") -> str:
    """Detect the encoding to read the file with, replacing bad bytes. Raises ConversionError for binary data.

    UTF-8 with a few bad bytes is still UTF-8, unless valid multi-byte sequences are the exception.
    """
    with path.open("rb") as file:
        head = file.read(_SAMPLE)
        for mark, encoding in _MARKS:
            if head.startswith(mark):
                return encoding
        if (wide := _wide(head)) is not None:
            return wide
        if len(_CONTROL.findall(head)) > len(head) // 10:
            raise ConversionError("it contains binary data, not text")
        file.seek(0)
        bad = _first_bad_byte(file.read)
        if bad is None:
            return "utf-8"
        file.seek(max(0, bad - _SAMPLE // 2))
        sample = file.read(_SAMPLE)
    text = sample.decode("utf-8", "replace")
    replaced = text.count("\ufffd")
    if sum(character > "\x7f" for character in text) - replaced >= replaced:
        return "utf-8"
    if declared and _known(declared):
        return declared
    best = charset_normalizer.from_bytes(sample).best()
    return best.encoding if best is not None else "utf-8"


def _wide(head: bytes) -> str | None:
    """Detect UTF-16 without a mark: nearly every second byte of a western text is zero."""
    even, odd = head[0::2], head[1::2]
    if len(odd) < 4:
        return None
    zeros_even, zeros_odd = even.count(0) / len(even), odd.count(0) / len(odd)
    if zeros_odd > 0.4 and zeros_even < 0.05:
        return "utf-16-le"
    if zeros_even > 0.4 and zeros_odd < 0.05:
        return "utf-16-be"
    return None


def _first_bad_byte(read: object) -> int | None:
    assert callable(read)
    decoder = codecs.getincrementaldecoder("utf-8")()
    position = 0
    while True:
        block: bytes = read(_BLOCK)
        try:
            decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            return max(0, position + error.start - 4)
        if not block:
            return None
        position += len(block)


def _known(encoding: str) -> bool:
    try:
        codecs.lookup(encoding)
    except LookupError:
        return False
    return True
