"""Bulk indexing of ready vectors: this program's writer and Haystack's document store on one server."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from typing import Any, Protocol

from tqdm import tqdm

from benchmarks.elasticsearch.server import Server
from benchmarks.kept import Kept
from benchmarks.sentences import Sentences
from search_app.manifest import Manifest
from search_app.protocols import EncoderStamp, FileChange, FileRecord
from search_app.settings import load_settings
from search_app.stores.catalog import open_catalog
from search_app.types import Document, Passage, PassageBatch

PREFIX = "search-app-benchmark"
FILE_CHARACTERS = 163_840
"""Passages per file; the indexer writes about as many at a time."""
WARM_UP = 8_000
"""Passages written before measuring."""


class Writes(Protocol):
    """Write everything to a new index; returns when a search finds all of it."""

    name: str

    def write(self) -> None: ...

    def found(self) -> int:
        """Number of passages that a search finds."""
        ...

    def vectors(self) -> str:
        """How the index stores the vectors."""
        ...


class Ours:
    """`with catalog.writer(…)`, like the indexer, documents included."""

    def __init__(self, server: Server, data: Sentences, stamp: EncoderStamp, vectors: str) -> None:
        self._settings = load_settings(
            store="elasticsearch", elasticsearch={"urls": (server.url,), "prefix": PREFIX, "vectors": vectors}
        )
        self._manifest = Manifest(stamp, "sentences", "auto")
        self._changes = list(changes(data))
        self._vectors = vectors
        self.name = "ours"

    def write(self) -> None:
        with closing(open_catalog(self._settings)) as catalog, catalog.writer("bulk", self._manifest) as writer:
            for change in self._changes:
                if rejected := writer.write([change]):
                    raise RuntimeError(f"rejected: {rejected[0].reason}")
            writer.finish()

    def found(self) -> int:
        with closing(open_catalog(self._settings)) as catalog, closing(catalog.open("bulk")) as store:
            return store.counts()["passages"]

    def vectors(self) -> str:
        return self._vectors


class Haystack:
    """`write_documents` as it is documented. `refresh` is its own argument: it waits for each request's refresh by
    default; False is its fastest, with one refresh at the end so that the passages are found.
    """

    def __init__(self, server: Server, data: Sentences, *, refresh: str | bool) -> None:
        from haystack import Document as HaystackDocument

        self._server = server
        self._refresh = refresh
        self._index = f"{PREFIX}-haystack"
        self._documents = [
            HaystackDocument(id=passage.id, content=passage.text, embedding=vector.tolist())
            for passage, vector in zip(data.passages, data.vectors, strict=True)
        ]
        self.name = "Haystack, as it comes" if refresh else "Haystack, one refresh at the end"

    def write(self) -> None:
        from haystack_integrations.document_stores.elasticsearch import ElasticsearchDocumentStore

        store: Any = ElasticsearchDocumentStore(hosts=self._server.url, index=self._index)
        store.write_documents(self._documents, refresh=self._refresh)
        if not self._refresh:
            self._server.post(f"/{self._index}/_refresh")
        store.close()

    def found(self) -> int:
        return int(self._server.get(f"/{self._index}/_count")["count"])

    def vectors(self) -> str:
        mapping = self._server.get(f"/{self._index}/_mapping")[self._index]["mappings"]["properties"]
        return str(mapping["embedding"]["index_options"]["type"])


def changes(data: Sentences) -> Iterator[FileChange]:
    """File changes, each with whole documents."""
    rows: dict[str, list[int]] = {}
    for row, passage in enumerate(data.passages):
        rows.setdefault(passage.document_id, []).append(row)
    part: list[Document] = []
    size = 0
    for document in data.documents:
        part.append(document)
        size += len(document.text)
        if size >= FILE_CHARACTERS:
            yield _change(part, rows, data)
            part, size = [], 0
    if part:
        yield _change(part, rows, data)


def _change(documents: Sequence[Document], rows: dict[str, list[int]], data: Sentences) -> FileChange:
    chosen = [row for document in documents for row in rows[document.id]]
    passages: tuple[Passage, ...] = tuple(data.passages[row] for row in chosen)
    path = f"/corpus/{documents[0].id}.jsonl"
    size = sum(len(document.text) for document in documents)
    record = FileRecord(path, path, documents[0].id, size, 1, len(documents))
    return FileChange(record, tuple(documents), PassageBatch(passages, data.vectors[chosen]))


def warm_up(server: Server, systems: Iterable[Writes]) -> None:
    """Write until the Java server has compiled its code: its first minute is half as fast."""
    server.remove(PREFIX)
    for system in systems:
        system.write()
        server.remove(PREFIX)


def measure(
    server: Server, data: Sentences, stamp: EncoderStamp, kept: Kept, *, rounds: int, types: Sequence[str]
) -> None:
    """Measure the systems in turns, each on a new index."""
    systems: dict[str, Writes] = {vectors: Ours(server, data, stamp, vectors) for vectors in types}
    systems["haystack"] = Haystack(server, data, refresh="wait_for")
    systems["haystack-fast"] = Haystack(server, data, refresh=False)
    todo = [(number, key) for number in range(rounds) for key in systems if not kept.has(system=key, round=number)]
    if todo:
        part = data.first(WARM_UP)
        ours: list[Writes] = [Ours(server, part, stamp, vectors) for vectors in types]
        warm_up(server, [*ours, Haystack(server, part, refresh=False)])
    for number, key in tqdm(todo, desc="bulk", unit="round", disable=None):
        server.settle()
        server_cpu, client_cpu, start = server.cpu_seconds(), time.process_time(), time.perf_counter()
        systems[key].write()
        seconds = time.perf_counter() - start
        client, cpu = time.process_time() - client_cpu, server.cpu_seconds() - server_cpu
        found = systems[key].found()
        if found != len(data.passages):
            raise RuntimeError(f"{systems[key].name}: {found} of {len(data.passages)} passages are found")
        kept.add(
            system=key,
            name=systems[key].name,
            vectors=systems[key].vectors(),
            round=number,
            passages=found,
            documents=len(data.documents),
            seconds=seconds,
            client_cpu=client,
            server_cpu=cpu,
        )
        server.remove(PREFIX)


def section(kept: Kept) -> str:
    """A Markdown table of medians over the rounds."""
    medians: dict[str, dict[str, float]] = {}
    for key in dict.fromkeys(row["system"] for row in kept.rows):
        rows = kept.of(system=key)
        medians[key] = {
            name: statistics.median(row[value] / row["passages"] for row in rows)
            for name, value in (("seconds", "seconds"), ("client", "client_cpu"), ("server", "server_cpu"))
        }
    first = kept.rows[0]
    rounds = len(kept.of(system=first["system"]))
    lines = [
        f"{first['passages']:,} real sentences with their vectors (384 dimensions, float32), {first['documents']:,}"
        f" paragraphs, a fresh index each round, median of {rounds} rounds in turns, after a warm-up of the server."
        " The clock stops when a search finds all of them.",
        "",
        "- ours: the indexer's own way, `catalog.writer(…)`, `write`, `finish`; the paragraphs go in too, for the view"
        " of a document.",
        '- Haystack, as it comes: `write_documents(documents)`, whose default is `refresh="wait_for"`.',
        "- Haystack, one refresh at the end: `write_documents(documents, refresh=False)`, then a refresh: its fastest.",
        "",
        "| | vectors | passages/s | to Haystack as it comes | to its fastest | client CPU, ms a passage"
        " | server CPU, ms a passage |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for key, median in medians.items():
        row = kept.of(system=key)[0]
        ratios = [f"{medians[base]['seconds'] / median['seconds']:.2f}" for base in ("haystack", "haystack-fast")]
        lines.append(
            f"| {row['name']} | {row['vectors']} | {1 / median['seconds']:,.0f} | {' | '.join(ratios)}"
            f" | {1000 * median['client']:.2f} | {1000 * median['server']:.2f} |"
        )
    return "\n".join(lines)
