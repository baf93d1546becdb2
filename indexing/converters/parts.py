"""Text of a part of a file, such as a mail's body or a book's chapter."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from indexing.converters.decoding import read_text

_WESTERN = {"iso-8859-1": "cp1252", "latin-1": "cp1252", "us-ascii": "cp1252", "ascii": "cp1252"}


def decoded(data: bytes, charset: str) -> str:
    """The text of bytes in the encoding `charset`, which may be "" or wrong.

    UTF-8 wins over a declared encoding of eight bits, as text in another encoding is hardly ever valid UTF-8.
    """
    encodings = (charset, "utf-8") if data.isascii() else ("utf-8", charset)
    for encoding in encodings:
        with contextlib.suppress(ValueError, LookupError):
            return data.decode(_WESTERN.get(encoding.lower(), encoding) if encoding else "utf-8").replace("\r\n", "\n")
    with tempfile.NamedTemporaryFile(suffix=".txt") as file:
        file.write(data)
        file.flush()
        return read_text(Path(file.name)).replace("\r\n", "\n")
