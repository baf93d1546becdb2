"""Question to answer over Elasticsearch: this program and Haystack's hybrid retriever and reader."""

from __future__ import annotations

import importlib.metadata
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.corpus import Benchmark
from benchmarks.elasticsearch.server import Server
from benchmarks.kept import Kept
from benchmarks.systems import READ, Answers, Ours, Weights, haystack_reader
from benchmarks.timing import timed

PREFIX = "search-app-benchmark-answers"
_WARM_UP = 20


def ours(server: Server, folder: Path) -> Ours:
    return Ours(folder, store="elasticsearch", elasticsearch={"urls": [server.url], "prefix": PREFIX})


class Haystack:
    """`ElasticsearchHybridRetriever` (BM25 and embeddings, joined by reciprocal rank fusion), then its reader."""

    def __init__(self, server: Server, weights: Weights) -> None:
        from haystack import Pipeline
        from haystack_integrations.components.embedders.sentence_transformers import (
            SentenceTransformersDocumentEmbedder,
            SentenceTransformersTextEmbedder,
        )
        from haystack_integrations.components.retrievers.elasticsearch import ElasticsearchHybridRetriever
        from haystack_integrations.document_stores.elasticsearch import ElasticsearchDocumentStore

        versions = [importlib.metadata.version(name) for name in ("haystack-ai", "elasticsearch-haystack")]
        self.name = f"Haystack {versions[0]}, elasticsearch-haystack {versions[1]}"
        self._store: Any = ElasticsearchDocumentStore(hosts=server.url, index=f"{PREFIX}-haystack")
        self._embedder: Any = SentenceTransformersDocumentEmbedder(model=weights.encoder, progress_bar=False)
        self._pipeline: Any = Pipeline()
        embedder: Any = SentenceTransformersTextEmbedder(model=weights.encoder, progress_bar=False)
        self._pipeline.add_component(
            "retriever",
            ElasticsearchHybridRetriever(
                self._store, embedder=embedder, top_k_bm25=READ, top_k_embedding=READ, top_k=READ
            ),
        )
        self._pipeline.add_component("reader", haystack_reader(weights))
        self._pipeline.connect("retriever.documents", "reader.documents")

    def index(self, texts: Sequence[str]) -> None:
        from haystack import Document

        self._embedder.warm_up()
        self._pipeline.warm_up()
        documents = self._embedder.run(documents=[Document(content=text) for text in texts])["documents"]
        self._store.write_documents(documents)

    def answer(self, question: str) -> str:
        asked = {"retriever": {"query": question}, "reader": {"query": question}}
        found = self._pipeline.run(asked)["reader"]["answers"]
        return found[0].data or "" if found else ""


def measure(server: Server, systems: dict[str, Answers], data: Benchmark, kept: Kept) -> None:
    """Ask the systems in turns, question by question."""
    todo = [(key, asked) for asked in data.asked for key in systems if not kept.has(system=key, item=asked.id)]
    if not todo:
        return
    server.remove(PREFIX)
    for system in tqdm(systems.values(), desc="indexing", unit="system", disable=None):
        system.index(data.paragraphs)
    server.settle()
    for asked in data.asked[:_WARM_UP]:
        for system in systems.values():
            system.answer(asked.question)
    for key, asked in tqdm(todo, desc="answering", unit="answer", disable=None):
        times = list[float]()
        prediction = timed(times, systems[key].answer, asked.question)
        kept.add(system=key, name=systems[key].name, item=asked.id, seconds=times[0], prediction=prediction)
    server.remove(PREFIX)


def section(kept: Kept, data: Benchmark) -> str:
    by_id = {asked.id: asked for asked in data.asked}
    base = statistics.median(row["seconds"] for row in kept.of(system="haystack"))
    lines = [
        f"The {len(data.paragraphs):,} paragraphs of SQuAD's dev set, each one document; {len(data.asked)} sampled"
        f" questions, one at a time, the systems taking turns; the best {READ} passages of BM25 and vectors together"
        " are read. The same weights: all-MiniLM-L6-v2 and the bundled reader, Haystack's in float32 as it runs them,"
        " ours in the precision that it chooses itself.",
        "",
        "| | EM | F1 | p50, ms | p95, ms | p50 as a ratio to Haystack |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for key in dict.fromkeys(row["system"] for row in kept.rows):
        rows = kept.of(system=key)
        scores = [by_id[row["item"]].score(row["prediction"]) for row in rows]
        seconds = [row["seconds"] for row in rows]
        median = statistics.median(seconds)
        lines.append(
            f"| {rows[0]['name']} | {100 * statistics.fmean(score for score, _ in scores):.1f}"
            f" | {100 * statistics.fmean(score for _, score in scores):.1f} | {1000 * median:.0f}"
            f" | {1000 * float(np.percentile(seconds, 95)):.0f} | {median / base:.2f} |"
        )
    return "\n".join(lines)
