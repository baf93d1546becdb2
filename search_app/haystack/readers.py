"""The extractive reader as a Haystack component."""

from __future__ import annotations

import asyncio
from typing import Any

from haystack import Document, ExtractedAnswer, component, default_from_dict, default_to_dict

from search_app.hardware import detect
from search_app.haystack.documents import to_extracted, to_hit
from search_app.readers.extractive import ExtractiveReader
from search_app.settings import load_settings


@component
class SearchAppReader:
    """Marks answers in documents, best first, with a calibrated confidence as `score`.

    `model`: "bundled", a folder or a hub name; `settings`: other settings of the reader, over the environment's. The
    first `reader.passages` documents are read. The model is loaded by the first run, or by `warm_up`. "No answer here"
    is an answer without `data`; `no_answer=False` leaves it out.
    """

    def __init__(
        self,
        model: str = "bundled",
        top_k: int = 3,
        no_answer: bool = True,
        settings: dict[str, Any] | None = None,
    ) -> None:
        if top_k <= 0:
            raise ValueError(f"top_k is {top_k}, it must be above 0")
        self.top_k = top_k
        self._model, self._no_answer = model, no_answer
        self._stated = dict(settings or {})
        self._settings = load_settings(reader={**self._stated, "model": model}).calibrated_reader
        self._loaded: ExtractiveReader | None = None

    def to_dict(self) -> dict[str, Any]:
        return default_to_dict(
            self, model=self._model, top_k=self.top_k, no_answer=self._no_answer, settings=self._stated
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> SearchAppReader:
        return default_from_dict(cls, data)

    def warm_up(self) -> None:
        self._reader()

    @component.output_types(answers=list[ExtractedAnswer])
    def run(self, query: str, documents: list[Document], top_k: int | None = None) -> dict[str, list[ExtractedAnswer]]:
        count = self.top_k if top_k is None else top_k
        read = [document for document in documents if document.content][: self._settings.passages]
        more = 0 if self._no_answer else 1
        (answers,) = self._reader().read([query], [[to_hit(document) for document in read]], top_k=count + more)
        kept = [answer for answer in answers if self._no_answer or answer.span is not None][:count]
        return {"answers": [to_extracted(query, answer, read) for answer in kept]}

    @component.output_types(answers=list[ExtractedAnswer])
    async def run_async(
        self, query: str, documents: list[Document], top_k: int | None = None
    ) -> dict[str, list[ExtractedAnswer]]:
        return await asyncio.to_thread(self.run, query, documents, top_k)

    def _reader(self) -> ExtractiveReader:
        if self._loaded is None:
            self._loaded = ExtractiveReader(self._settings, detect())
        return self._loaded
