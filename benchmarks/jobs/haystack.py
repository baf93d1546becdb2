"""Haystack's indexing pipeline over a folder of files, as in its documentation; run in its own process.

Prints what it took as JSON, and writes the texts that it embedded, one JSON string a line.
"""

from __future__ import annotations

import importlib.metadata
import json
import logging
import time
from pathlib import Path
from typing import Any

import click

PDF, HTML = "application/pdf", "text/html"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


def pipeline(weights: str, words: int, store: Any) -> Any:
    """The pipeline with defaults, except for the split length."""
    from haystack import Pipeline
    from haystack.components.converters import DOCXToDocument, HTMLToDocument, PyPDFToDocument
    from haystack.components.joiners import DocumentJoiner
    from haystack.components.preprocessors import DocumentSplitter
    from haystack.components.routers import FileTypeRouter
    from haystack.components.writers import DocumentWriter
    from haystack_integrations.components.embedders.sentence_transformers import SentenceTransformersDocumentEmbedder

    made: Any = Pipeline()
    made.add_component("router", FileTypeRouter(mime_types=[PDF, HTML, DOCX]))
    made.add_component("joiner", DocumentJoiner())
    for mime, name, converter in (
        (PDF, "pdf", PyPDFToDocument()),
        (HTML, "html", HTMLToDocument()),
        (DOCX, "docx", DOCXToDocument()),
    ):
        made.add_component(name, converter)
        made.connect(f"router.{mime}", f"{name}.sources")
        made.connect(f"{name}.documents", "joiner.documents")
    made.add_component("splitter", DocumentSplitter(split_by="word", split_length=words))
    made.add_component("embedder", SentenceTransformersDocumentEmbedder(model=weights, progress_bar=False))
    made.add_component("writer", DocumentWriter(store))
    made.connect("joiner.documents", "splitter.documents")
    made.connect("splitter.documents", "embedder.documents")
    made.connect("embedder.documents", "writer.documents")
    return made


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--weights", required=True)
@click.option("--words", required=True, type=int, help="Words per split.")
@click.option("--threads", required=True, type=int)
@click.option("--texts", required=True, type=click.Path(path_type=Path))
def main(folder: Path, weights: str, words: int, threads: int, texts: Path) -> None:
    import torch
    from haystack.document_stores.in_memory import InMemoryDocumentStore

    logging.disable(logging.WARNING)
    torch.set_num_threads(threads)
    store: Any = InMemoryDocumentStore()
    made = pipeline(weights, words, store)
    made.warm_up()
    sources = sorted(path for path in folder.rglob("*") if path.is_file())
    began = time.perf_counter()
    made.run({"router": {"sources": sources}})
    seconds = time.perf_counter() - began
    written = store.filter_documents()
    texts.write_text("".join(json.dumps(item.content) + "\n" for item in written), encoding="utf-8")
    found = {
        "version": importlib.metadata.version("haystack-ai"),
        "files": len({item.meta["file_path"] for item in written}),
        "passages": len(written),
        "seconds": seconds,
    }
    click.echo(json.dumps(found))


if __name__ == "__main__":
    main()
