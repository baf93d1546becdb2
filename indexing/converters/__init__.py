"""Files to text, with one module per format. A converter's library is imported only when it is needed."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path

from indexing.converters.content import Content

FORMATS = {
    ".txt": "txt", ".text": "txt", ".log": "txt", ".rst": "rst", ".md": "markdown", ".markdown": "markdown",
    ".html": "html", ".htm": "html", ".xhtml": "html", ".pdf": "pdf", ".docx": "docx", ".pptx": "pptx",
    ".csv": "csv", ".tsv": "csv", ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl",
}  # fmt: skip
"""Formats by file name ending, in lower case. The format is part of a document's metadata."""

_CONVERTERS = {
    "txt": "text:convert",
    "rst": "text:convert",
    "markdown": "markdown:convert",
    "html": "html:convert",
    "pdf": "pdf:convert",
    "docx": "office:convert_docx",
    "pptx": "office:convert_pptx",
    "csv": "records:convert_csv",
    "json": "records:convert_json",
    "jsonl": "records:convert_jsonl",
}


def convert(path: Path, kind: str) -> Iterator[Content]:
    """Yield the file's documents in order. Raises ConversionError or OSError, also in the middle of the iteration."""
    module, _, name = _CONVERTERS[kind].partition(":")
    converter: Callable[[Path], Iterator[Content]] = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    return converter(path)
