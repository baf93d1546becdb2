"""This program's encoder for stock Haystack pipelines: its vectors are what search-app compares questions with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from haystack import Document, component, default_from_dict, default_to_dict

from search_app.encoders.sentence_transformer import SentenceTransformerEncoder
from search_app.hardware import detect
from search_app.settings import load_settings


class _Embedder:
    """`model`: "bundled", a folder or a hub name; loaded by the first run, or by `warm_up`."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._loaded: SentenceTransformerEncoder | None = None

    def to_dict(self) -> dict[str, Any]:
        return default_to_dict(self, model=self._model)

    def warm_up(self) -> None:
        self._encoder()

    def _encoder(self) -> SentenceTransformerEncoder:
        if self._loaded is None:
            environment = load_settings().encoder
            self._loaded = SentenceTransformerEncoder(environment.model_copy(update={"model": self._model}), detect())
        return self._loaded


@component
class SearchAppTextEmbedder(_Embedder):
    """A question to its unit vector."""

    def __init__(self, model: str = "bundled") -> None:
        _Embedder.__init__(self, model)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> SearchAppTextEmbedder:
        return default_from_dict(cls, data)

    @component.output_types(embedding=list[float])
    def run(self, text: str) -> dict[str, list[float]]:
        return {"embedding": self._encoder().encode_queries([text])[0].tolist()}


@component
class SearchAppDocumentEmbedder(_Embedder):
    """Documents with the unit vectors of their contents; one without content stays as it is."""

    def __init__(self, model: str = "bundled") -> None:
        _Embedder.__init__(self, model)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> SearchAppDocumentEmbedder:
        return default_from_dict(cls, data)

    @component.output_types(documents=list[Document])
    def run(self, documents: list[Document]) -> dict[str, list[Document]]:
        texts = [document.content for document in documents if document.content]
        vectors = iter(self._encoder().encode_passages(texts) if texts else ())
        return {
            "documents": [
                replace(document, embedding=next(vectors).tolist()) if document.content else document
                for document in documents
            ]
        }
