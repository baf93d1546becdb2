"""Other engines for the same work: FTS5, bm25s and tantivy for BM25, FAISS's indexes for vectors."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import apsw
import faiss
import numpy as np

from benchmarks.timing import percentiles, timed
from search_app.types import Matrix

Words = Sequence[Sequence[str]]


class WordRival(Protocol):
    """Indexes analysed texts; `ask` searches the k best for a question's distinct words and returns their number."""

    name: str

    def build(self, texts: Words) -> None: ...

    def ask(self, words: Sequence[str], k: int) -> int: ...


class Fts5:
    """SQLite's BM25 in its simplest form: one table in a file."""

    name = "FTS5"

    def __init__(self, folder: Path) -> None:
        path = folder / "fts5.db"
        path.unlink(missing_ok=True)
        self._db = apsw.Connection(str(path))
        self._db.pragma("journal_mode", "off")
        self._db.execute("CREATE VIRTUAL TABLE terms USING fts5(body, content='', tokenize='ascii')")

    def build(self, texts: Words) -> None:
        rows = ((row, " ".join(words)) for row, words in enumerate(texts, start=1))
        with self._db:
            self._db.executemany("INSERT INTO terms (rowid, body) VALUES (?, ?)", rows)
            self._db.execute("INSERT INTO terms(terms) VALUES('optimize')")

    def ask(self, words: Sequence[str], k: int) -> int:
        match = " OR ".join(f'"{word}"' for word in words)
        sql = "SELECT rowid, rank FROM terms WHERE terms MATCH ? ORDER BY rank LIMIT ?"
        return len(self._db.execute(sql, (match, k)).fetchall()) if match else 0


class Bm25s:
    name = "bm25s"

    def __init__(self, folder: Path) -> None:
        import bm25s

        self._index: Any = bm25s.BM25()

    def build(self, texts: Words) -> None:
        self._index.index(texts, show_progress=False)

    def ask(self, words: Sequence[str], k: int) -> int:
        return int(self._index.retrieve([list(words)], k=k, show_progress=False)[0].size)


class Tantivy:
    name = "tantivy"

    def __init__(self, folder: Path) -> None:
        import tantivy

        self._tantivy: Any = tantivy
        builder = tantivy.SchemaBuilder()
        builder.add_text_field("body", stored=False, tokenizer_name="whitespace", index_option="freq")
        self._schema = builder.build()
        self._index: Any = tantivy.Index(self._schema)

    def build(self, texts: Words) -> None:
        writer = self._index.writer(200_000_000, num_threads=1)
        for words in texts:
            document = self._tantivy.Document()
            document.add_text("body", " ".join(words))
            writer.add_document(document)
        writer.commit()
        writer.wait_merging_threads()
        self._index.reload()
        self._searcher: Any = self._index.searcher()

    def ask(self, words: Sequence[str], k: int) -> int:
        query = self._tantivy.Query
        should = self._tantivy.Occur.Should
        asked = query.boolean_query([(should, query.term_query(self._schema, "body", word)) for word in words])
        return len(self._searcher.search(asked, k).hits)


RIVALS: tuple[type[Fts5] | type[Bm25s] | type[Tantivy], ...] = (Fts5, Bm25s, Tantivy)


def kinds(dim: int, lists: int) -> Iterator[tuple[str, Any, dict[str, int]]]:
    """FAISS's indexes for a million vectors: name, index, and search parameters."""
    product = faiss.METRIC_INNER_PRODUCT
    yield "flat", faiss.IndexFlatIP(dim), {}
    yield "SQ8, scanned", faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_8bit, product), {}
    yield "RaBitQ, scanned", faiss.IndexRaBitQFastScan(dim, product), {}
    for share in (8, 4):
        index: Any = faiss.IndexIVFScalarQuantizer(
            faiss.IndexFlatIP(dim), dim, lists, faiss.ScalarQuantizer.QT_8bit, product, False
        )
        yield f"IVF{lists}, SQ8, 1/{share} probed", index, {"nprobe": lists // share}
    for share in (4, 2):
        index = faiss.IndexIVFRaBitQFastScan(faiss.IndexFlatIP(dim), dim, lists, product, 32, True)
        yield f"IVF{lists}, RaBitQ, 1/{share} probed", index, {"nprobe": lists // share}
    codes: Any = faiss.ScalarQuantizer.QT_8bit
    graph = faiss.IndexHNSWSQ(dim, codes, 16, product)
    graph.hnsw.efConstruction = 80
    yield "HNSW16, SQ8", graph, {"efSearch": 256}


def measure_kind(
    index: Any, parameters: dict[str, int], vectors: Matrix, asked: Matrix, exact_rows: Any, *, candidates: int
) -> dict[str, float]:
    """Build time, size, and recall and latency of the ten best of `candidates` after exact re-ranking."""
    start = time.perf_counter()
    sample = vectors[np.random.default_rng(0).choice(len(vectors), min(len(vectors), 100_000), replace=False)]
    index.train(sample)
    index.add(vectors)
    build = time.perf_counter() - start
    for name, value in parameters.items():
        setattr(index.hnsw if name == "efSearch" else index, name, value)

    def best(question: Any, k: int) -> Any:
        rows = index.search(question[None], candidates)[1][0]
        rows = rows[rows >= 0]
        return rows[np.argsort(-(vectors[rows] @ question))[:k]]

    times, found = list[float](), 0
    for question, truth in zip(asked, exact_rows, strict=True):
        found += len(np.intersect1d(timed(times, best, question, len(truth)), truth))
    return {
        "build": build,
        "bytes": len(faiss.serialize_index(index)) / len(vectors),
        "recall": found / exact_rows.size,
        **percentiles("p", times),
    }
