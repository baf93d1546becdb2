"""The same files and questions with Haystack's converters and splitter: make bench-documents PEERS=1 ARGS=--write."""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from documents.measuring import Judgement, found_in, questions, table
from documents.run import measured, report
from documents.suite import File, Question, build

from benchmarks.page import put_section

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"
FEWEST = 3
"""Questions of a trait that is shown."""
TITLE = "Documents of every format, beside Haystack's converters"
INTRO = """{files} files of all formats with the traits that people's files have, and {questions} questions with the
wanted passage, place and cell (`tests/documents`). In percent of the questions: *passage*, the first hit is a passage
of the right file with the answer in it; *place*, the answer is also on the right page and, for a cell of a table, in
its row and below the name of its column; *answer*, the first answer of the reader is right.

Haystack 3.4 with its own converters and `DocumentSplitter`, the same encoder, vectors and BM25 joined by reciprocal
rank fusion (vectors alone: passage {passage}, place {place}). It has no converter for OpenDocument, EPUB, RTF and
pictures; mail, notebooks, JSON and code are read as text. For its cells, the names of row and column may be anywhere
in the passage. `make bench-documents PEERS=1 ARGS=--write` writes this section."""
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
        ".pdf": made.PyPDFToDocument(),
        ".docx": made.DOCXToDocument(),
        ".pptx": made.PPTXToDocument(),
        ".xlsx": made.XLSXToDocument(),
        ".html": made.HTMLToDocument(),
        ".xhtml": made.HTMLToDocument(),
        ".md": made.MarkdownToDocument(progress_bar=False),
        ".csv": made.CSVToDocument(),
        ".tsv": made.CSVToDocument(),
        **dict.fromkeys(_TEXT, text),
    }


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


def section(ours: list[Judgement], theirs: list[Judgement], dense: list[Judgement]) -> str:
    """The results as Markdown. `theirs` and `dense` are Haystack's by vectors and words, and by vectors alone."""
    parts = [INTRO.format(files=len({item.file.path for item in ours}), questions=len(ours), **_shares(dense))]
    for heading, group in (
        ("", lambda item: ["all"]),
        ("format", lambda item: [item.format]),
        ("trait", lambda item: item.question.traits or ["prose"]),
    ):
        peers = {row[0]: row for row in table(theirs, group)}
        parts.append(
            f"| {heading} | questions | passage | place | answer | Haystack: passage | place |\n"
            + "|---|"
            + "---:|" * 6
        )
        for name, count, passage, place, answer in table(ours, group):
            if heading == "trait" and count < FEWEST:
                continue
            _, _, their_passage, their_place, _ = peers[name]
            first = f"{passage:.0f} | {place:.0f} | {answer or 0:.0f}"
            parts[-1] += f"\n| {name} | {count} | {first} | {their_passage:.0f} | {their_place:.0f} |"
    return "\n\n".join(parts)


def _shares(judged: list[Judgement]) -> dict[str, str]:
    [(_, _, passage, place, _)] = table(judged, lambda item: ["all"])
    return {"passage": f"{passage:.0f}", "place": f"{place:.0f}"}


@click.command()
@click.option("--show", is_flag=True, help="Show each question that fails.")
@click.option("--write", is_flag=True, help="Write the results into docs/benchmarks.md, ours beside Haystack's.")
def main(show: bool, write: bool) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "docs")
        files = build(folder)
        documents = convert(folder, files)
        ours = measured(files, folder, read=True) if write else []
    results = []
    for hybrid in (False, True):
        click.echo("\nvectors and words" if hybrid else "\nvectors")
        first = retriever(documents, hybrid=hybrid)
        results.append([judged(first(question.text), file, question) for file, question in questions(files)])
        report(results[-1], show=show)
    if write:
        dense, theirs = results
        put_section(PAGE, TITLE, section(ours, theirs, dense))


if __name__ == "__main__":
    main()
