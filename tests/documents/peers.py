"""The same files and questions with Haystack's converters and splitter, and the same encoder.

make bench-documents PEERS=1
"""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from documents.measuring import Judgement, found_in, questions
from documents.run import report
from documents.suite import File, Question, build

_TEXT = (
    ".txt",
    ".log",
    ".rst",
    ".tex",
    ".srt",
    ".vtt",
    ".py",
    ".sql",
    ".xml",
    ".json",
    ".jsonl",
    ".ipynb",
    ".eml",
    ".mbox",
)
"""Read as plain text: Haystack has no converter for them, or one that needs a schema for each file."""


def converters() -> dict[str, Any]:
    """Haystack's converters by ending, with their defaults."""
    from haystack.components import converters as made

    text = made.TextFileToDocument()
    return {
        ".pdf": made.PyPDFToDocument(), ".docx": made.DOCXToDocument(), ".pptx": made.PPTXToDocument(),
        ".xlsx": made.XLSXToDocument(), ".html": made.HTMLToDocument(), ".xhtml": made.HTMLToDocument(),
        ".md": made.MarkdownToDocument(progress_bar=False), ".csv": made.CSVToDocument(), ".tsv": made.CSVToDocument(),
        **dict.fromkeys(_TEXT, text),
    }  # fmt: skip


def convert(folder: Path, files: list[File]) -> list[Any]:
    """Haystack's documents of all files that it has a converter for, each with its `file`."""
    known, missing, found = converters(), Counter[str](), []
    for file in files:
        ending = Path(file.path).suffix
        if ending not in known:
            missing[ending] += 1
            continue
        try:
            documents = known[ending].run(sources=[folder / file.path])["documents"]
        except Exception as error:
            click.echo(f"{file.path}: {type(error).__name__}: {error}"[:200])
            continue
        for document in documents:
            document.meta["file"] = file.path
        found += documents
    click.echo(f"no converter: {', '.join(f'{count} {ending}' for ending, count in missing.items())}")
    return found


def retriever(documents: list[Any], *, hybrid: bool) -> Any:
    """From a question, the first passage: by vectors, or by vectors and words together."""
    from haystack.components.joiners import DocumentJoiner
    from haystack.components.preprocessors import DocumentSplitter
    from haystack.components.retrievers import InMemoryBM25Retriever, InMemoryEmbeddingRetriever
    from haystack.document_stores.in_memory import InMemoryDocumentStore

    from search_app.encoders.sentence_transformer import SentenceTransformerEncoder
    from search_app.hardware import detect
    from search_app.settings import Settings

    settings = Settings().encoder
    encoder = SentenceTransformerEncoder(settings, detect(settings.device))
    splitter = DocumentSplitter(split_by="word")
    splitter.warm_up()
    passages = splitter.run(documents=documents)["documents"]
    vectors = encoder.encode_passages([passage.content for passage in passages])
    passages = [replace(one, embedding=vector.tolist()) for one, vector in zip(passages, vectors, strict=True)]
    store = InMemoryDocumentStore(embedding_similarity_function="cosine")
    store.write_documents(passages)
    by_vector, by_words = InMemoryEmbeddingRetriever(store, top_k=10), InMemoryBM25Retriever(store, top_k=10)
    joiner = DocumentJoiner(join_mode="reciprocal_rank_fusion")
    click.echo(f"{len(passages)} passages")

    def first(question: str) -> Any:
        dense = by_vector.run(query_embedding=encoder.encode_queries([question])[0].tolist())["documents"]
        if not hybrid:
            return dense[0]
        return joiner.run(documents=[dense, by_words.run(query=question)["documents"]])["documents"][0]

    return first


def judged(hit: Any, file: File, question: Question) -> Judgement:
    """As for our own hits, but a cell needs the names of its row and column only somewhere in the passage."""
    passage = hit.meta["file"] in (file.path, *question.also) and found_in(question.answer, hit.content)
    page = question.page is None or hit.meta.get("page_number") == question.page
    named = all(found_in(name, hit.content) for name in (question.row, *question.column.split()))
    return Judgement(
        file, question, passage, passage and page and named, None, f"{hit.meta['file']}: {hit.content[:100]!r}"
    )


@click.command()
@click.option("--show", is_flag=True, help="Show each question that fails.")
def main(show: bool) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        files = build(folder)
        documents = convert(folder, files)
    for hybrid in (False, True):
        click.echo("\nvectors and words" if hybrid else "\nvectors")
        first = retriever(documents, hybrid=hybrid)
        report([judged(first(question.text), file, question) for file, question in questions(files)], show=show)


if __name__ == "__main__":
    main()
