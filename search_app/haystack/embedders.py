"""The encoder as Haystack embedders: the same vectors as in an index of search-app."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from haystack import Document, component, default_from_dict, default_to_dict

from search_app.encoders.sentence_transformer import SentenceTransformerEncoder
from search_app.hardware import detect
from search_app.haystack.documents import edits_in
from search_app.settings import load_settings
from search_app.text.reading import edited


class _Embedder:
    """`model`: "bundled", a folder or a hub name; `settings`: other settings of the encoder, over the environment's.

    The model is loaded by the first run, or by `warm_up`.
    """

    def __init__(self, model: str, settings: Mapping[str, Any] | None) -> None:
        self._model = model
        self._settings = dict(settings or {})
        self._loaded: SentenceTransformerEncoder | None = None

    def warm_up(self) -> None:
        self._encoder()

    def _encoder(self) -> SentenceTransformerEncoder:
        if self._loaded is None:
            settings = load_settings(encoder={**self._settings, "model": self._model}).encoder
            self._loaded = SentenceTransformerEncoder(settings, detect())
        return self._loaded


@component
class SearchAppTextEmbedder(_Embedder):
    """A question to its unit vector."""

    def __init__(self, model: str = "bundled", settings: dict[str, Any] | None = None) -> None:
        _Embedder.__init__(self, model, settings)

    def to_dict(self) -> dict[str, Any]:
        return default_to_dict(self, model=self._model, settings=self._settings)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> SearchAppTextEmbedder:
        return default_from_dict(cls, data)

    @component.output_types(embedding=list[float])
    def run(self, text: str) -> dict[str, list[float]]:
        return {"embedding": self._encoder().encode_queries([text])[0].tolist()}

    @component.output_types(embedding=list[float])
    async def run_async(self, text: str) -> dict[str, list[float]]:
        return await asyncio.to_thread(self.run, text)


@component
class SearchAppDocumentEmbedder(_Embedder):
    """Documents with the unit vectors of their contents. A document without content is returned unchanged.

    `meta_fields_to_embed` are put in front of the content, one per line. Rows of a table are embedded with the names of
    their columns. With ["title"], passages get the vectors that `search-index apply` gives them.
    """

    def __init__(
        self,
        model: str = "bundled",
        settings: dict[str, Any] | None = None,
        meta_fields_to_embed: Sequence[str] = (),
    ) -> None:
        _Embedder.__init__(self, model, settings)
        self._fields = list(meta_fields_to_embed)

    def to_dict(self) -> dict[str, Any]:
        return default_to_dict(self, model=self._model, settings=self._settings, meta_fields_to_embed=self._fields)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> SearchAppDocumentEmbedder:
        return default_from_dict(cls, data)

    @component.output_types(documents=list[Document])
    def run(self, documents: list[Document]) -> dict[str, list[Document]]:
        texts = [self._text(document) for document in documents if document.content]
        vectors = iter(self._encoder().encode_passages(texts) if texts else ())
        return {
            "documents": [
                replace(document, embedding=next(vectors).tolist()) if document.content else document
                for document in documents
            ]
        }

    @component.output_types(documents=list[Document])
    async def run_async(self, documents: list[Document]) -> dict[str, list[Document]]:
        return await asyncio.to_thread(self.run, documents)

    def _text(self, document: Document) -> str:
        fields = [str(document.meta[name]) for name in self._fields if document.meta.get(name)]
        return "\n".join([*fields, edited(document.content or "", edits_in(document.meta)).text])
