"""How a file's content becomes a document and its passages, in plain values for another process or machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from indexing.converters.content import Content
from indexing.splitter import Splitter
from search_app.stores.text_analysis import detect_language, normalise_language
from search_app.tokens import TokenSpans
from search_app.types import Document, MetaValue


@dataclass(frozen=True, slots=True)
class Recipe:
    """`tokenizer` is an encoder's `tokenizer_json`; an empty one makes documents without passages.

    `max_tokens` is what the encoder takes without its special tokens and prefix; `language` "auto" is each document's.
    """

    tokenizer: str
    passage_tokens: int
    overlap_tokens: int
    max_tokens: int
    language: str

    def splitter(self) -> Splitter:
        return Splitter(
            TokenSpans(self.tokenizer),
            passage_tokens=self.passage_tokens,
            overlap_tokens=self.overlap_tokens,
            max_tokens=self.max_tokens,
        )

    def document(self, content: Content, *, stem: str, over: Mapping[str, MetaValue]) -> Document:
        """Without id and source; metadata of `over` go first, `stem` is the title where there is none."""
        meta = {**content.meta, **over}
        language = normalise_language(str(meta.get("language", "")))
        if not language:
            language = detect_language(content.text) if self.language == "auto" else self.language
        return Document(
            id="",
            title=str(over.get("title") or content.title or stem),
            text=content.text,
            source="",
            meta=meta,
            language=language,
            headings=content.headings,
            pages=content.pages,
        )
