"""The cross-encoder as a Haystack component."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from haystack import Document, component, default_from_dict, default_to_dict

from search_app.hardware import detect
from search_app.haystack.documents import to_hit
from search_app.rankers.cross_encoder import CrossEncoderRanker
from search_app.settings import load_settings


@component
class SearchAppRanker:
    """Reorders documents by reading query and content together; the model's logit becomes the score.

    `model`: a folder or hub name of a sequence classifier; `settings`: other settings of the ranker, over the
    environment's. The first `ranker.top` documents are reordered; the rest follow in their order, so all are returned
    unless `top_k` is given. The model is loaded by the first run, or by `warm_up`.
    """

    def __init__(self, model: str, top_k: int | None = None, settings: dict[str, Any] | None = None) -> None:
        if top_k is not None and top_k <= 0:
            raise ValueError(f"top_k is {top_k}, it must be above 0")
        self.top_k = top_k
        self._model = model
        self._stated = dict(settings or {})
        self._settings = load_settings(ranker={**self._stated, "model": model}).ranker
        self._loaded: CrossEncoderRanker | None = None

    def to_dict(self) -> dict[str, Any]:
        return default_to_dict(self, model=self._model, top_k=self.top_k, settings=self._stated)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> SearchAppRanker:
        return default_from_dict(cls, data)

    def warm_up(self) -> None:
        self._ranker()

    @component.output_types(documents=list[Document])
    def run(self, query: str, documents: list[Document], top_k: int | None = None) -> dict[str, list[Document]]:
        first, rest = documents[: self._settings.top], documents[self._settings.top :]
        (ranked,) = self._ranker().rank([query], [[to_hit(document) for document in first]])
        by_id = {document.id: document for document in first}
        reordered = [replace(by_id[hit.passage.id], score=hit.score) for hit in ranked]
        return {"documents": [*reordered, *rest][: self.top_k if top_k is None else top_k]}

    @component.output_types(documents=list[Document])
    async def run_async(
        self, query: str, documents: list[Document], top_k: int | None = None
    ) -> dict[str, list[Document]]:
        return await asyncio.to_thread(self.run, query, documents, top_k)

    def _ranker(self) -> CrossEncoderRanker:
        if self._loaded is None:
            self._loaded = CrossEncoderRanker(self._settings, detect())
        return self._loaded
