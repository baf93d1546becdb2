"""Bytes to text: by byte order mark, as UTF-8 if valid, as declared if that fits, else by a guess."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

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
_JAPANESE_MAIL = re.compile(rb"\x1b\$[@B]")
_MEANT = {
    "ascii": "cp1252", "iso8859-1": "cp1252", "iso8859-9": "cp1254", "iso8859-11": "cp874", "tis-620": "cp874",
    "shift_jis": "cp932", "gb2312": "gb18030", "gbk": "gb18030", "euc_kr": "cp949", "big5": "cp950",
}  # fmt: skip
"""What browsers take for an encoding, as its name stands for its extension by Microsoft (WHATWG Encoding Standard)."""
_TEXT = re.compile(r"(?:iso8859|cp\d|koi8|mac|euc|shift|gb|big5|hz|iso2022|johab|tis|ptcp|kz)")
_DOUBT = 5
"""A declaration is not believed if another encoding fits so many times better."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """`name` is Python's; bytes that it cannot decode are to be replaced, and `warnings` count them."""

    name: str
    warnings: tuple[str, ...] = ()


def read_text(source: Path | bytes, *, declared: Sequence[str] = ()) -> tuple[str, tuple[str, ...]]:
    """The whole text of a file, or of its bytes, and warnings; `declared` as for `encoding_of`.

    Raises ConversionError for binary data.
    """
    encoding = encoding_of(source, declared=declared)
    data = source if isinstance(source, bytes) else source.read_bytes()
    return data.decode(encoding.name, "replace"), encoding.warnings


def encoding_of(source: Path | bytes, *, declared: Sequence[str] = ()) -> Encoding:
    """Detect the encoding of a file. Raises ConversionError for binary data.

    `declared` are those that its server and the file itself state; "" states none.
    """
    with _open(source) as file:
        head = file.read(_SAMPLE)
    name = next((name for mark, name in _MARKS if head.startswith(mark)), None) or _wide(head)
    if name is None:
        if len(_CONTROL.findall(head)) > len(head) // 10:
            raise ConversionError("it contains binary data, not text")
        if _JAPANESE_MAIL.search(head) and not _failures(source, "iso2022_jp"):
            return Encoding("iso2022_jp")
        bad = _first_failure(source, "utf-8")
        if bad is None:
            return Encoding("utf-8-sig")
        sample = _around(source, bad)
        if not _is_mostly_utf8(sample):
            return _legacy(source, sample, declared)
        name = "utf-8-sig"
    return Encoding(name, _counted(source, name))


def _legacy(source: Path | bytes, sample: bytes, declared: Sequence[str]) -> Encoding:
    """The encoding of a file without a mark that is not UTF-8."""
    from indexing.converters import guessing

    fits = guessing.scores(sample)
    best = max(fits, key=lambda name: fits[name], default=guessing.DEFAULT)
    labels = tuple(dict.fromkeys(filter(None, declared)))
    name = _believed(source, labels, {_python_name(other): fit for other, fit in fits.items()})
    if name is not None:
        return Encoding(name)
    verb = "does" if len(labels) == 1 else "do"
    stated = f"it states {' and '.join(labels)}, which {verb} not fit" if labels else "its encoding is not stated"
    return Encoding(best, (f"{stated}; read as {best}, which is a guess", *_counted(source, best)))


def _believed(source: Path | bytes, labels: Sequence[str], fits: Mapping[str | None, float]) -> str | None:
    """The declared encoding that decodes the file and fits it best; the first of those that fit alike."""
    least = max(fits.values(), default=0.0) / _DOUBT
    readable = [name for label in labels if (name := _readable_as(source, label)) is not None]
    fitting = [name for name in readable if fits.get(name, least) >= least]
    return max(fitting, key=lambda name: fits.get(name, least), default=None)


def _readable_as(source: Path | bytes, label: str) -> str | None:
    """The encoding that a label means, if it decodes the file."""
    return next((name for name in _meant(label) if _first_failure(source, name) is None), None)


def _meant(label: str) -> tuple[str, ...]:
    """What a label stands for, and then the encoding of that very name."""
    name = _python_name(label)
    return (_MEANT.get(name, name), name) if name is not None and _TEXT.match(name) else ()


def _python_name(label: str) -> str | None:
    try:
        return codecs.lookup(label).name
    except (LookupError, ValueError):
        return None


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


def _is_mostly_utf8(sample: bytes) -> bool:
    """Whether bad bytes are the exception among multi-byte sequences."""
    text = sample.decode("utf-8", "replace")
    replaced = text.count("\ufffd")
    return sum(character > "\x7f" for character in text) - replaced >= replaced


def _around(source: Path | bytes, place: int) -> bytes:
    with _open(source) as file:
        file.seek(max(0, place - _SAMPLE // 2))
        return file.read(_SAMPLE)


def _first_failure(source: Path | bytes, name: str) -> int | None:
    """About where the file is not of this encoding, None if it is."""
    decoder = codecs.getincrementaldecoder(name)()
    position = 0
    for block in _blocks(source):
        try:
            decoder.decode(block, final=not block)
        except UnicodeError as error:
            return max(0, position + getattr(error, "start", 0) - 4)
        position += len(block)
    return None


def _counted(source: Path | bytes, name: str) -> tuple[str, ...]:
    """A warning with the number of characters that cannot be decoded."""
    failures = _failures(source, name)
    shown = name.removesuffix("-sig").upper() if name.startswith("utf") else name
    places = "1 place is" if failures == 1 else f"{failures:,} places are"
    return (f"{places} not valid {shown} and became \ufffd",) if failures else ()


def _failures(source: Path | bytes, name: str) -> int:
    """Replacement characters that decoding adds to those that the file has."""
    replacing = codecs.getincrementaldecoder(name)("replace")
    ignoring = codecs.getincrementaldecoder(name)("ignore")
    return sum(
        replacing.decode(block, not block).count("\ufffd") - ignoring.decode(block, not block).count("\ufffd")
        for block in _blocks(source)
    )


def _open(source: Path | bytes) -> BinaryIO:
    return BytesIO(source) if isinstance(source, bytes) else source.open("rb")


def _blocks(source: Path | bytes) -> Iterator[bytes]:
    """The file in blocks, and an empty one at its end."""
    with _open(source) as file:
        while block := file.read(_BLOCK):
            yield block
    yield b""
