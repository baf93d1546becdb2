"""Files to documents to passages as Haystack components, with the converters and the splitter of `search-index apply`.

This is the one module of `search_app` that uses `indexing`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from haystack import Document, Pipeline, component, default_from_dict, default_to_dict
from haystack.components.writers import DocumentWriter
from haystack.document_stores.types import DuplicatePolicy

from indexing import sources as files
from indexing.conversion import FileSplitter
from indexing.job import split_config_of
from indexing.splitter import SplitConfig, Splitter
from search_app import types
from search_app.encoders.sentence_transformer import SentenceTransformerEncoder
from search_app.hardware import detect
from search_app.haystack.documents import place_of
from search_app.haystack.embedders import SearchAppDocumentEmbedder
from search_app.haystack.pipelines import document_store, stated_settings
from search_app.settings import Settings, load_settings
from search_app.text import outline

_log = logging.getLogger(__name__)
_STRUCTURE = ("headings", "pages", "tables")
"""Metadata that carries them from the converter to the splitter."""


@component
class SearchAppConverter:
    """Files, folders and URLs to documents: every format of `search-index apply`, in sandboxed processes with limits.

    `include` and `exclude` are globs. A file that cannot be read is logged and left out, as with Haystack's converters.
    """

    def __init__(self, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> None:
        self._include, self._exclude = list(include), list(exclude)

    def to_dict(self) -> dict[str, Any]:
        return default_to_dict(self, include=self._include, exclude=self._exclude)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> SearchAppConverter:
        return default_from_dict(cls, data)

    @component.output_types(documents=list[Document])
    def run(self, sources: list[str | Path], meta: dict[str, Any] | None = None) -> dict[str, list[Document]]:
        return {"documents": list(self._converted(sources, meta or {}))}

    @component.output_types(documents=list[Document])
    async def run_async(
        self, sources: list[str | Path], meta: dict[str, Any] | None = None
    ) -> dict[str, list[Document]]:
        return await asyncio.to_thread(self.run, sources, meta)

    def _converted(self, paths: Sequence[str | Path], meta: Mapping[str, Any]) -> Iterator[Document]:
        settings = load_settings()
        documents_only = SplitConfig(
            "",
            passage_tokens=1,
            overlap_tokens=0,
            max_tokens=1,
            language=settings.analysis.language,
            fields=tuple(settings.indexing.fields.items()),
        )
        with FileSplitter(documents_only) as splitter:
            for file in files.scan(paths, include=self._include, exclude=self._exclude):
                if not isinstance(file, files.SourceFile):
                    if isinstance(file, files.SkippedFile):
                        _log.warning("%s: %s", file.source, file.reason)
                    continue
                converted = splitter.convert(file, "")
                if converted.failure is not None:
                    _log.warning("%s: %s", file.source, converted.failure.reason)
                for chunk in converted.chunks():
                    yield from (_from_document(document, meta) for document in chunk.documents)
                converted.discard()


@component
class SearchAppSplitter:
    """Documents to passages at headings and sentences, sized in the encoder's tokens; each has its place in `meta`.

    `model` is the encoder; `settings` are those of the splitter, as {"passage_tokens": 160}, over the environment's.
    Documents of other converters are split too; their headings, pages and tables are not known.
    """

    def __init__(self, model: str = "bundled", settings: dict[str, Any] | None = None) -> None:
        self._model = model
        self._settings = dict(settings or {})
        self._loaded: Splitter | None = None

    def to_dict(self) -> dict[str, Any]:
        return default_to_dict(self, model=self._model, settings=self._settings)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> SearchAppSplitter:
        return default_from_dict(cls, data)

    def warm_up(self) -> None:
        self._splitter()

    @component.output_types(documents=list[Document])
    def run(self, documents: list[Document]) -> dict[str, list[Document]]:
        split = self._splitter()
        return {
            "documents": [
                _from_passage(passage, document)
                for document in documents
                for passage in split.passages(_to_document(document))
            ]
        }

    @component.output_types(documents=list[Document])
    async def run_async(self, documents: list[Document]) -> dict[str, list[Document]]:
        return await asyncio.to_thread(self.run, documents)

    def _splitter(self) -> Splitter:
        if self._loaded is None:
            settings = load_settings(encoder={"model": self._model}, splitter=self._settings)
            self._loaded = split_config_of(settings, SentenceTransformerEncoder(settings.encoder, detect())).splitter()
        return self._loaded


def indexing_pipeline(settings: Settings | None = None, *, collection: str = "default") -> Pipeline:
    """Files to an index. Input: `converter.sources`. Passages get the vectors that `search-index apply` gives them.

    `search-index apply` does more: it skips unchanged files, removes deleted ones, and resumes after a kill.
    """
    settings = settings or load_settings()
    encoder = stated_settings(settings.encoder)
    pipeline = Pipeline()
    pipeline.add_component("converter", SearchAppConverter())
    pipeline.add_component("splitter", SearchAppSplitter(settings.encoder.model, stated_settings(settings.splitter)))
    pipeline.add_component("embedder", SearchAppDocumentEmbedder(settings.encoder.model, encoder, ["title"]))
    pipeline.add_component("writer", DocumentWriter(document_store(settings, collection), DuplicatePolicy.OVERWRITE))
    for sender, receiver in (("converter", "splitter"), ("splitter", "embedder"), ("embedder", "writer")):
        pipeline.connect(f"{sender}.documents", f"{receiver}.documents")
    return pipeline


def _from_document(document: types.Document, meta: Mapping[str, Any]) -> Document:
    structure = {name: items for name, items in zip(_STRUCTURE, outline.to_lists(document), strict=True) if items}
    known = {"title": document.title, "source": document.source, "language": document.language}
    return Document(id=document.id, content=document.text, meta={**document.meta, **known, **structure, **meta})


def _to_document(document: Document) -> types.Document:
    meta = document.meta
    headings, pages, tables = outline.from_lists(*(meta.get(name) or [] for name in _STRUCTURE))
    source = str(meta.get("source") or meta.get("file_path") or document.id)
    title, text = str(meta.get("title") or ""), document.content or ""
    return types.Document(document.id, title, text, source, headings=headings, pages=pages, tables=tables)


def _from_passage(passage: types.Passage, document: Document) -> Document:
    meta = {name: value for name, value in document.meta.items() if name not in _STRUCTURE}
    return Document(id=passage.id, content=passage.text, meta={**meta, **place_of(passage)})
