"""Mails saved by Outlook (msg), by olefile and compressed-rtf.

Properties as in MS-OXPROPS, their places in the file as in MS-OXMSG.
"""

from __future__ import annotations

import datetime as dt
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from indexing.converters import rtf
from indexing.converters.content import Content, ConversionError
from indexing.converters.mail import Attachment, Mail, contents
from indexing.converters.parts import decoded

_SUBJECT, _BODY, _HTML, _RTF = 0x0037, 0x1000, 0x1013, 0x1009
_SENDER, _SENDER_ADDRESS, _SENDER_SMTP, _SENT, _DELIVERED = 0x0C1A, 0x0C1F, 0x5D01, 0x0039, 0x0E06
_NAME, _ADDRESS, _SMTP, _RECIPIENT_KIND = 0x3001, 0x3003, 0x39FE, 0x0C15
_FILE, _LONG_FILE, _DATA, _TYPE, _HIDDEN = 0x3704, 0x3707, 0x3701, 0x370E, 0x7FFE
_CODE_PAGE, _INTERNET_CODE_PAGE, _CLASS = 0x3FFD, 0x3FDE, 0x001A
_UNICODE, _BYTES, _BINARY, _OBJECT, _LONG, _BOOLEAN, _TIME = 0x1F, 0x1E, 0x102, 0xD, 0x3, 0xB, 0x40
_ENTRY = struct.Struct("<HHI8s")
_EPOCH = dt.datetime(1601, 1, 1, tzinfo=dt.UTC)
_MAX_DEPTH = 10
_MAX_PARTS = 2048


def convert(path: Path) -> Iterator[Content]:
    """Yield the mail, then its attachments."""
    import olefile

    try:
        with olefile.OleFileIO(str(path)) as file:
            found = _mail(_Storage(file, ()), 0)
    except ConversionError:
        raise
    except (OSError, ValueError, IndexError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise ConversionError(f"it is not a mail of Outlook: {error}") from error
    return contents(found)


class _Storage:
    """A mail, a recipient or an attachment within the file: its properties."""

    def __init__(self, file: Any, path: tuple[str, ...]) -> None:
        self._file, self.path = file, path
        self._fixed: dict[int, tuple[int, bytes]] = {}
        data = self._stream("__properties_version1.0")
        header = 8 if path and path[-1].startswith(("__recip", "__attach")) else 24 if path else 32
        for start in range(header, len(data) - _ENTRY.size + 1, _ENTRY.size):
            kind, name, _, value = _ENTRY.unpack_from(data, start)
            self._fixed[name] = kind, value

    def text(self, *names: int) -> str:
        """The first of the properties that is there."""
        for name in names:
            if data := self._stream(f"__substg1.0_{name:04X}{_UNICODE:04X}"):
                return data.decode("utf-16-le", "replace").rstrip("\0")
            if data := self._stream(f"__substg1.0_{name:04X}{_BYTES:04X}"):
                return decoded(data.rstrip(b"\0"), self.charset(_CODE_PAGE))
        return ""

    def data(self, name: int) -> bytes:
        return self._stream(f"__substg1.0_{name:04X}{_BINARY:04X}")

    def number(self, name: int) -> int:
        kind, value = self._fixed.get(name, (0, b""))
        return int.from_bytes(value[: 2 if kind == _BOOLEAN else 4], "little") if kind in (_LONG, _BOOLEAN) else 0

    def time(self, name: int) -> dt.datetime | None:
        kind, value = self._fixed.get(name, (0, b""))
        ticks = int.from_bytes(value, "little") if kind == _TIME else 0
        return _EPOCH + dt.timedelta(microseconds=ticks // 10) if 0 < ticks < 1 << 58 else None

    def charset(self, name: int) -> str:
        page = self.number(name)
        return {0: "", 65001: "utf-8", 20127: "ascii", 28591: "iso-8859-1"}.get(page, f"cp{page}")

    def inner(self, prefix: str) -> Iterator[_Storage]:
        """The recipients, or the attachments."""
        names = {
            item[len(self.path)]
            for item in self._file.listdir(streams=False, storages=True)
            if len(item) == len(self.path) + 1 and tuple(item[:-1]) == self.path and item[-1].startswith(prefix)
        }
        for name in sorted(names)[:_MAX_PARTS]:
            yield _Storage(self._file, (*self.path, name))

    def mail(self) -> _Storage | None:
        """The mail that this attachment is."""
        path = (*self.path, f"__substg1.0_{_DATA:04X}{_OBJECT:04X}")
        return _Storage(self._file, path) if self._file.exists("/".join(path)) else None

    def _stream(self, name: str) -> bytes:
        path = [*self.path, name]
        if not self._file.exists(path) or self._file.get_type(path) != 2:
            return b""
        data: bytes = self._file.openstream(path).read()
        return data


def _mail(storage: _Storage, depth: int) -> Mail:
    if not storage.path and not storage.text(_CLASS):
        raise ConversionError("it is not a mail of Outlook")
    if "SMIME" in storage.text(_CLASS).upper() and "MULTIPARTSIGNED" not in storage.text(_CLASS).upper():
        raise ConversionError("it is encrypted; save it decrypted from the mail program")
    mail = Mail(
        subject=" ".join(storage.text(_SUBJECT).split()),
        sender=_person(storage.text(_SENDER), storage.text(_SENDER_SMTP, _SENDER_ADDRESS)),
        date=storage.time(_SENT) or storage.time(_DELIVERED),
        plain=storage.text(_BODY).replace("\r\n", "\n"),
        html=decoded(storage.data(_HTML), storage.charset(_INTERNET_CODE_PAGE)) or storage.text(_HTML),
    )
    if not mail.plain.strip() and not mail.html.strip() and (packed := storage.data(_RTF)):
        _read_rtf(packed, mail)
    for recipient in storage.inner("__recip"):
        person = _person(recipient.text(_NAME), recipient.text(_SMTP, _ADDRESS))
        kind = recipient.number(_RECIPIENT_KIND)
        if person and kind in (1, 2):
            (mail.to if kind == 1 else mail.cc).append(person)
    for attached in storage.inner("__attach"):
        _attach(attached, mail, depth)
    return mail


def _read_rtf(packed: bytes, mail: Mail) -> None:
    """The text of a mail that has neither a plain one nor HTML."""
    import compressed_rtf

    try:
        mail.plain = rtf.content(compressed_rtf.decompress(packed)).text
    except Exception as error:  # the library raises nothing of its own
        mail.warnings.append(f"its text is damaged RTF and was left out: {error}")


def _attach(attached: _Storage, mail: Mail, depth: int) -> None:
    name = attached.text(_LONG_FILE, _FILE, _NAME) or "attachment"
    inner = attached.mail()
    if inner is not None and depth < _MAX_DEPTH and inner.text(_CLASS):
        nested = _mail(inner, depth + 1)
        mail.attachments.append(Attachment(nested.subject or name, nested))
    elif not attached.number(_HIDDEN):  # hidden ones are pictures in the text
        mail.attachments.append(Attachment(name, attached.data(_DATA), attached.text(_TYPE)))


def _person(name: str, address: str) -> str:
    address = address if "@" in address else ""  # addresses within Exchange tell people nothing
    return f"{name} <{address}>" if name and address and name != address else name or address
