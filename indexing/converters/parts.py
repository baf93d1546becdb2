"""Text of a part of a file, such as a mail's body or a book's chapter."""

from __future__ import annotations

from indexing.converters.content import ConversionError
from indexing.converters.decoding import read_text


def decoded(data: bytes, charset: str) -> str:
    """The text of bytes in the encoding `charset`, which may be "" or wrong."""
    try:
        text, _ = read_text(data, declared=[charset])
    except ConversionError:  # controls in a subject
        text = data.decode("ascii", "replace")
    return text.replace("\r\n", "\n")
