"""Files to text. Which format goes where; each converter loads its library only when it is needed."""

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
"""File name endings, lower case, and the format that a document's metadata names."""

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
    """The file's documents in order; raises ConversionError or OSError, at any point of the iteration."""
    module, _, name = _CONVERTERS[kind].partition(":")
    converter: Callable[[Path], Iterator[Content]] = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    return converter(path)
