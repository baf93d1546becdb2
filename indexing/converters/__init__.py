"""Files to text, with one module per family of formats. A converter's library is imported only when it is needed."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from indexing import formats
from indexing.converters.content import Content, ConversionError
from indexing.converters.drawing import Marks, Size, png
from indexing.formats import FORMATS
from search_app.errors import install_command

__all__ = ["FORMATS", "convert", "draw"]


def convert(path: Path, kind: str, *, fields: Sequence[tuple[str, str]] = (), charset: str = "") -> Iterator[Content]:
    """Yield the file's documents in order. Raises ConversionError or OSError, also in the middle of the iteration.

    `kind` is the name of a format. `fields` are pairs of a role, such as "text", and the name of the field of records
    that has it. `charset` is the encoding that a server states for a text, which may be wrong. A library that is not
    installed is a ConversionError with the command for its extra.
    """
    found = formats.BY_NAME[kind]
    module, _, name = found.converter.partition(":")
    try:
        converter: Callable[..., Iterator[Content]] = getattr(importlib.import_module(f"{__name__}.{module}"), name)
        hints = ({"fields": fields} if found.fields else {}) | ({"charset": charset} if found.text else {})
        yield from converter(path, **hints)
    except ModuleNotFoundError as error:
        if not found.extra:
            raise
        raise ConversionError(f"{found.title} needs {error.name}; run: {install_command(found.extra)}") from error


def draw(path: Path, kind: str, number: int, size: Size, marks: Marks) -> bytes:
    """Page `number` (from 1) of a file of a format whose pages can be drawn, as PNG. Raises as `convert` does."""
    return png(path, formats.BY_NAME[kind].drawer, number, size, marks)
