"""The real API on a real socket over a real store, with a scripted reader, so that tests can choose the answers."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import uvicorn
from fakes import HashEncoder

from indexing.converters.content import TextBuilder
from search_app.api.app import create_app
from search_app.errors import InvalidQuery
from search_app.manifest import Manifest, encoded_text
from search_app.protocols import FileChange, FileRecord, PassageStore
from search_app.settings import Settings
from search_app.stores.catalog import open_catalog
from search_app.stores.embedded.writer import SqliteWriter
from search_app.stores.index import Catalog
from search_app.text.reading import edits_of
from search_app.types import (
    Answer,
    Box,
    Document,
    Filter,
    Hit,
    MetaValue,
    Page,
    Passage,
    PassageBatch,
    SearchResult,
    Span,
    Table,
)

Read = Callable[[str, Sequence[Hit]], list[Answer]]


@dataclass
class Text:
    """A document to index: each paragraph becomes a passage; `pages` are page lengths in characters.

    `boxes` are places on the first page, which is a scan then. `content` is what the file has instead of the text.
    """

    name: str
    text: str
    title: str = ""
    meta: Mapping[str, MetaValue] = field(default_factory=dict)
    pages: Sequence[int] = ()
    language: str = "en"
    tables: Sequence[Table] = ()
    boxes: Sequence[Box] = ()
    content: bytes | None = None


def table_text(name: str, *blocks: str | Sequence[Sequence[str]], **more: Any) -> Text:
    """A document of paragraphs and tables, which are lists of rows."""
    builder = TextBuilder()
    for block in blocks:
        if isinstance(block, str):
            builder.block(block)
        else:
            builder.table(block)
    return Text(name, builder.text(), tables=builder.tables, **more)


def index(settings: Settings, texts: Sequence[Text], *, collection: str = "default") -> None:
    """Write each text to a file below `home` and index it."""
    _files(settings).mkdir(parents=True, exist_ok=True)
    with _writer(settings, collection) as writer:
        for text in texts:
            path = _files(settings) / text.name
            path.write_bytes(text.text.encode() if text.content is None else text.content)
            writer.write([_change(path, text, HashEncoder())])
        writer.finish()


def remove(settings: Settings, *names: str, collection: str = "default") -> None:
    with _writer(settings, collection) as writer:
        writer.remove_files([str(_files(settings) / name) for name in names])
        writer.finish()


def _files(settings: Settings) -> Path:
    return settings.home / "files"


def _writer(settings: Settings, collection: str) -> SqliteWriter:
    manifest = Manifest(HashEncoder().stamp, "test", "auto")
    return SqliteWriter(settings.collection_folder(collection), manifest, collection=collection)


def _change(path: Path, text: Text, encoder: HashEncoder) -> FileChange:
    identity = hashlib.sha256(text.name.encode()).hexdigest()[:32]
    pages, position = [], 0
    for number, length in enumerate(text.pages, start=1):
        pages.append(Page(number, position, position + length, boxes=tuple(text.boxes) if number == 1 else ()))
        position += length
    document = Document(
        identity,
        text.title,
        text.text,
        text.name,
        {"format": path.suffix.lstrip("."), **text.meta},
        text.language,
        pages=tuple(pages),
        tables=tuple(text.tables),
    )
    passages, start = [], 0
    for paragraph in text.text.split("\n\n"):
        end = start + len(paragraph)
        page = next((page.number for page in pages if page.start <= start < page.end), None)
        if paragraph.strip():
            passages.append(
                Passage(
                    f"{identity}-{start}",
                    identity,
                    text.title,
                    paragraph,
                    start,
                    end,
                    page,
                    text.name,
                    document.meta,
                    edits_of(text.text, document.tables, start, end),
                )
            )
        start = end + 2
    batch = PassageBatch(tuple(passages), encoder.encode_passages([encoded_text(passage) for passage in passages]))
    status = path.stat()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    record = FileRecord(str(path), text.name, digest, status.st_size, status.st_mtime_ns, 1)
    return FileChange(record, (document,), batch)


class ScriptedReader:
    """A reader that answers with the given texts where a hit contains them, all with the same `confidence`."""

    def __init__(self, *answers: str, confidence: float | None = 0.87) -> None:
        self.answers = answers
        self.confidence = confidence

    def __call__(self, question: str, hits: Sequence[Hit]) -> list[Answer]:
        found = []
        for rank, wanted in enumerate(self.answers):
            for hit in hits:
                start = hit.passage.text.find(wanted)
                if start >= 0:
                    span = Span(hit.passage.start + start, hit.passage.start + start + len(wanted))
                    found.append(Answer(wanted, span, 7.0 - rank, self.confidence, hit))
                    break
        return found


def no_answer(question: str, hits: Sequence[Hit]) -> list[Answer]:
    return [Answer("", None, 2.5, 0.91, None)]


class ScriptedService:
    """A service with real retrieval; `read` decides the answers, `calls` lists the questions."""

    def __init__(self, settings: Settings, read: Read | None = None, *, catalog: Catalog | None = None) -> None:
        self.catalog = catalog or open_catalog(settings)
        self.read: Read = read or ScriptedReader()
        self.calls: list[str] = []
        self.closed = False
        self._encoder = HashEncoder()
        self._stores: dict[str, PassageStore] = {}

    def store(self, collection: str) -> PassageStore:
        if collection not in self._stores:
            self._stores[collection] = self.catalog.open(collection)
        return self._stores[collection]

    def collections(self) -> list[str]:
        return self.catalog.names()

    def search(self, question: str, *, collection: str, k: int, where: Filter | None) -> SearchResult:
        self.calls.append(question)
        if question == "explode":
            raise RuntimeError("secret detail in /etc/shadow")
        if question == "refuse":
            raise InvalidQuery("this question is refused", hint="ask another", field="question")
        vectors = self._encoder.encode_queries([question])
        both = self.store(collection).search_both([question], vectors, k=k, where=where)[0]
        scores: dict[str, dict[str, float]] = {}
        passages: dict[str, Hit] = {}
        for name, ranking in (("dense", both.dense), ("keyword", both.keyword)):
            for rank, hit in enumerate(ranking, start=1):
                passages[hit.passage.id] = hit
                scores.setdefault(hit.passage.id, {})[name] = hit.score
                scores[hit.passage.id]["rrf"] = scores[hit.passage.id].get("rrf", 0) + 1 / (60 + rank)
        hits = [
            Hit(passages[key].passage, found.pop("rrf"), found)
            for key, found in sorted(scores.items(), key=lambda item: -item[1]["rrf"])
        ]
        return SearchResult(question, tuple(hits[:k]), (), {"retrieve": 0.004}, both.generation, both.degraded)

    def answer(self, question: str, *, collection: str, k: int, top_k: int, where: Filter | None) -> SearchResult:
        found = self.search(question, collection=collection, k=k, where=where)
        answers = self.read(question, found.hits)[:top_k] if found.hits else []
        return replace(found, answers=tuple(answers), timings={"retrieve": 0.004, "read": 0.12})

    def warm_up(self) -> None:
        """No models to load."""

    def close(self) -> None:
        self.closed = True
        for store in self._stores.values():
            store.close()


@contextmanager
def running(service: ScriptedService, settings: Settings) -> Iterator[str]:
    """Run the API and yield its address."""
    config = uvicorn.Config(create_app(service, settings), port=0, log_level="critical", access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the API did not start"
        thread.join(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(15)
