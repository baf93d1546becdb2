"""How documents become passages, in plain values for another process or machine."""

from __future__ import annotations

from dataclasses import dataclass

from indexing.splitter import Splitter
from search_app.text.tokens import TokenSpans


@dataclass(frozen=True, slots=True)
class SplitConfig:
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
