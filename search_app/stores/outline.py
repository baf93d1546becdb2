"""Headings and pages of a document as lists for JSON, the same in every store."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from search_app.types import Document, Heading, Page, Run


def to_lists(document: Document) -> tuple[list[Any], list[Any]]:
    """Headings and pages."""
    headings = [[item.level, item.title, item.start, item.end] for item in document.headings]
    pages = [
        [page.number, page.start, page.end, [[run.start, run.raw_start, run.length] for run in page.runs]]
        for page in document.pages
    ]
    return headings, pages


def from_lists(headings: Iterable[Any], pages: Iterable[Any]) -> tuple[tuple[Heading, ...], tuple[Page, ...]]:
    """Headings and pages from plain lists."""
    return (
        tuple(Heading(*values) for values in headings),
        tuple(Page(number, start, end, tuple(Run(*run) for run in runs)) for number, start, end, runs in pages),
    )
