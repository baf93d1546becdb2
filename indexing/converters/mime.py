"""Mails of RFC 5322 and MIME: single ones (eml), mailboxes (mbox) and saved web pages (mhtml)."""

from __future__ import annotations

import contextlib
import email.parser
import email.utils
import mailbox
import re
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from email.header import decode_header
from email.message import Message
from pathlib import Path

from indexing.converters import html, quotes
from indexing.converters.content import Content, ConversionError
from indexing.converters.mail import Attachment, Mail, contents
from indexing.converters.parts import decoded

_MAX_DEPTH = 50
_UNTITLED = "(no subject)"
_SIGNATURES = ("application/pgp-signature", "application/pkcs7-signature", "application/x-pkcs7-signature")
_ENVELOPES = ("application/pkcs7-mime", "application/x-pkcs7-mime")
_FIELD = re.compile(rb"^[!-9;-~]{1,80}:", re.MULTILINE)
_HEAD = 1 << 16


def convert_eml(path: Path) -> Iterator[Content]:
    """Yield the mail, then its attachments."""
    data = path.read_bytes()
    if not _FIELD.search(data[:_HEAD]):
        raise ConversionError("it is not a mail: it has no header")
    return contents(read(data))


def convert_mbox(path: Path) -> Iterator[Content]:
    """Yield each mail with its attachments. One mail at a time is in memory."""
    with path.open("rb") as file:
        if not file.read(5) == b"From ":
            raise ConversionError('it is not a mailbox: it does not begin with "From "')
    with contextlib.closing(mailbox.mbox(path, create=False)) as box:
        for number, key in enumerate(box.iterkeys(), start=1):
            try:
                found = read(box.get_bytes(key))
            except ConversionError as error:
                yield Content("", _UNTITLED, {"number": number}, warnings=(f"mail {number}: {error}",))
                continue
            for content in contents(found, title=_UNTITLED):
                warnings = tuple(f"mail {number}: {warning}" for warning in content.warnings)
                yield replace(content, meta={**content.meta, "number": number}, warnings=warnings)


def convert_mhtml(path: Path) -> Iterator[Content]:
    """Yield the page, without the files that it shows."""
    message = _parsed(path.read_bytes())
    page = next((part for part in message.walk() if part.get_content_type() == "text/html"), None)
    if page is None:
        raise ConversionError("it is not a saved web page: it has no HTML")
    with tempfile.TemporaryDirectory(prefix="page-") as folder:
        file = Path(folder, "page.html")
        file.write_text(decoded(_payload(page), page.get_content_charset("")), encoding="utf-8")
        for content in html.convert(file):
            yield replace(content, title=content.title or _header(message, "Subject"))


def read(data: bytes) -> Mail:
    """The mail in `data`. Raises ConversionError for an encrypted one."""
    return _mail(_parsed(data), 0)


def _parsed(data: bytes) -> Message:
    try:
        return email.parser.BytesParser().parsebytes(data)
    except (ValueError, LookupError) as error:
        raise ConversionError(f"it cannot be read as a mail: {error}") from error


def _mail(message: Message, depth: int) -> Mail:
    mail = Mail(
        subject=_header(message, "Subject"),
        sender=", ".join(_people(message, "From")),
        to=_people(message, "To"),
        cc=_people(message, "Cc"),
    )
    with contextlib.suppress(ValueError, TypeError, OverflowError, IndexError):
        mail.date = email.utils.parsedate_to_datetime(_header(message, "Date"))
    _add(message, mail, depth)
    return mail


def _add(part: Message, mail: Mail, depth: int) -> None:
    kind = part.get_content_type()
    if depth > _MAX_DEPTH:
        mail.warnings.append("parts that are nested too deeply were left out")
    elif kind == "multipart/encrypted" or (kind in _ENVELOPES and part.get_param("smime-type") != "signed-data"):
        raise ConversionError("it is encrypted; save it decrypted from the mail program")
    elif kind == "message/rfc822":
        inner = part.get_payload()
        if isinstance(inner, list) and inner and isinstance(inner[0], Message):
            nested = _mail(inner[0], depth + 1)
            mail.attachments.append(Attachment(nested.subject or _name(part) or "mail", nested))
    elif part.is_multipart():
        for inner in part.get_payload():
            if isinstance(inner, Message):
                _add(inner, mail, depth + 1)
    else:
        _add_leaf(part, kind, mail)


def _add_leaf(part: Message, kind: str, mail: Mail) -> None:
    name = _name(part)
    inline = part.get_content_disposition() != "attachment"
    if kind == "text/plain" and inline and not name:
        text = decoded(_payload(part), part.get_content_charset(""))
        flowed = str(part.get_param("format") or "").lower() == "flowed"
        mail.plain = "\n\n".join(filter(None, (mail.plain, quotes.unwrapped(text) if flowed else text)))
    elif kind == "text/html" and inline and not name:
        mail.html += decoded(_payload(part), part.get_content_charset(""))
    elif kind in _SIGNATURES or (inline and (kind.startswith("image/") or not name)):
        return  # a logo, a signature, another form of the text
    else:
        mail.attachments.append(Attachment(name or "attachment", _payload(part), kind, part.get_content_charset("")))


def _payload(part: Message) -> bytes:
    data = part.get_payload(decode=True)
    return data if isinstance(data, bytes) else b""


def _name(part: Message) -> str:
    with contextlib.suppress(ValueError, LookupError, TypeError):
        return " ".join(_unfolded(part.get_filename("")).split())
    return ""


def _people(message: Message, name: str) -> list[str]:
    found = []
    for raw in _raw(message, name):
        for person, address in email.utils.getaddresses([raw]):
            shown = _unfolded(person)
            found.append(f"{shown} <{address}>" if shown and address else shown or address)
    return [item for item in found if item]


def _header(message: Message, name: str) -> str:
    return " ".join(_unfolded(next(_raw(message, name), "")).split())


def _raw(message: Message, name: str) -> Iterator[str]:
    """Values as in the file; bytes beyond ASCII are surrogates."""
    return (str(value) for key, value in message.raw_items() if key.lower() == name.lower())


def _unfolded(raw: str) -> str:
    """Words such as `=?utf-8?q?Gr=C3=BC=C3=9Fe?=`, and bytes that should have been such, as text."""
    data = raw.encode("utf-8", "surrogateescape")
    text = decoded(data, "") if not data.isascii() else raw
    try:
        return "".join(
            decoded(piece, charset or "ascii") if isinstance(piece, bytes) else piece
            for piece, charset in decode_header(text)
        )
    except (ValueError, LookupError):
        return text
