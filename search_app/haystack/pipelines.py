"""The query path as Haystack pipelines: add the components, connect them, nothing else."""

from __future__ import annotations

from haystack import Pipeline

from search_app.haystack.embedders import QueryEmbedder
from search_app.haystack.rankers import PassageRanker
from search_app.haystack.readers import AnswerReader
from search_app.haystack.retrievers import HybridRetriever, RankFusion


def search_pipeline(
    embedder: QueryEmbedder, retriever: HybridRetriever, fusion: RankFusion, ranker: PassageRanker | None = None
) -> Pipeline:
    """Question → documents (output of `fusion`, or of `ranker` where there is one)."""
    pipeline = Pipeline()
    pipeline.add_component("embedder", embedder)
    pipeline.add_component("retriever", retriever)
    pipeline.add_component("fusion", fusion)
    pipeline.connect("embedder.embedding", "retriever.query_embedding")
    pipeline.connect("retriever.rankings", "fusion.rankings")
    if ranker is not None:
        pipeline.add_component("ranker", ranker)
        pipeline.connect("fusion.documents", "ranker.documents")
    return pipeline


def answer_pipeline(search: Pipeline, reader: AnswerReader) -> Pipeline:
    """A search pipeline with the reader behind it."""
    last = "ranker" if "ranker" in search.graph.nodes else "fusion"
    search.add_component("reader", reader)
    search.connect(f"{last}.documents", "reader.documents")
    return search
