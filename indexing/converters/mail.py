"""Mails as documents: people and date at the head, the mail's own text, then what it quotes; attachments follow.

An attachment is converted as a file of its own format. Its documents are named after the mail and the file.
"""

from __future__ import annotations

import datetime as dt
import mimetypes
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from indexing.converters import html, quotes
from indexing.converters.content import Content, ConversionError, TextBuilder, iso_time, plain_meta, warned
from indexing.formats import format_of, why_unknown
from search_app.types import MetaValue

_SEPARATOR = " › "
_MAX_DEPTH = 10
_MAX_NAME = 150
_FEW_WORDS = 0.3
"""A plain text with less of the words of the HTML only tells that there is HTML."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file with its name, type and the encoding that the mail states for it, or a mail."""

    name: str
    content: bytes | Mail
    type: str = ""
    charset: str = ""


@dataclass(slots=True)
class Mail:
    """A mail as read from its file: `plain` and `html` are its body in either form."""

    subject: str = ""
    sender: str = ""
    to: list[str] = field(default_factory=list)
    cc: list[str] = field(default_factory=list)
    date: dt.datetime | None = None
    plain: str = ""
    html: str = ""
    attachments: list[Attachment] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def contents(mail: Mail, *, title: str = "") -> Iterator[Content]:
    """Yield the mail, then its attachments. `title` is for a mail without a subject; warnings come with the last."""
    warnings = list(mail.warnings)
    return warned(_contents(mail, title, warnings, 0), warnings)


def _contents(mail: Mail, title: str, warnings: list[str], depth: int) -> Iterator[Content]:
    title = mail.subject or title
    meta = _meta(mail)
    builder = _text(mail)
    yield Content(builder.text(), title, meta, tuple(builder.headings), tables=tuple(builder.tables))
    for attachment in mail.attachments:
        named = {**meta, "mail": title or "mail", "attachment": attachment.name}
        try:
            for content in _attached(attachment, warnings, depth):
                part = content.title if isinstance(attachment.content, Mail) else attachment.name
                parts = _SEPARATOR.join(filter(None, (part, content.part)))
                yield replace(content, title=title, part=parts, meta={**content.meta, **named})
        except (ConversionError, OSError) as error:
            warnings.append(f'the attachment "{attachment.name}" is not read: {error}')


def _attached(attachment: Attachment, warnings: list[str], depth: int) -> Iterator[Content]:
    if isinstance(attachment.content, Mail):
        if depth == _MAX_DEPTH:
            raise ConversionError("mails are nested too deeply")
        yield from _contents(attachment.content, attachment.name, warnings, depth + 1)
        return
    name = attachment.name
    kind = format_of(name) or format_of("a" + (mimetypes.guess_extension(attachment.type) or ""))
    if kind is None:
        raise ConversionError(why_unknown(name))
    yield from _converted(attachment.content, name, kind, attachment.charset)


def _converted(data: bytes, name: str, kind: str, charset: str) -> Iterator[Content]:
    from indexing.converters import convert

    with tempfile.TemporaryDirectory(prefix="attachment-") as folder:
        path = Path(folder, f"attachment{Path(name).suffix.lower()[:20]}")
        path.write_bytes(data)
        if not data:
            raise ConversionError("empty file")
        yield from convert(path, kind, charset=charset)


def _meta(mail: Mail) -> dict[str, MetaValue]:
    values: dict[str, Any] = {"author": mail.sender, "from": mail.sender, "to": mail.to, "cc": mail.cc}
    return plain_meta({**values, "date": iso_time(mail.date) if mail.date else ""})


def _text(mail: Mail) -> TextBuilder:
    """Whichever body keeps more: HTML with tables, else plain text."""
    rich = TextBuilder()
    _head(mail, rich)
    if mail.html:
        html.add_fragment(mail.html, rich)
        rich.headings = sorted([*rich.headings, *quotes.headings(rich.text())], key=lambda heading: heading.start)
    only_a_hint = len(mail.plain) < _FEW_WORDS * len(rich.text())
    if mail.html and (not mail.plain.strip() or rich.tables or only_a_hint):
        return rich
    builder = TextBuilder()
    _head(mail, builder)
    for depth, part in enumerate(quotes.parts(mail.plain)):
        if part.title.startswith(quotes.FORWARDED):
            builder.heading(1, part.title)
            builder.block(part.text)
        else:
            builder.block(f"{part.title}\n{_quoted(part.text, depth)}" if part.title else part.text)
    return builder


def _quoted(text: str, depth: int) -> str:
    """An answer needs what it answers beside it, so a quote is no section of its own; its lines are marked."""
    return "\n".join(f"{'>' * depth} {line}".rstrip() for line in text.split("\n"))


def _head(mail: Mail, builder: TextBuilder) -> None:
    date = f"{mail.date:%Y-%m-%d %H:%M %z}".strip() if mail.date else ""
    lines: Mapping[str, str | Sequence[str]] = {"From": mail.sender, "To": mail.to, "Cc": mail.cc, "Date": date}
    for name, value in lines.items():
        text = value if isinstance(value, str) else ", ".join(value)
        if text:
            builder.block(f"{name}: {text}", group="head")
