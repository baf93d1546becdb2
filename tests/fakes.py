"""Stand-ins for the protocols: a deterministic encoder, an exact store as the reference for real stores, and a
catalog whose server can be down."""

from __future__ import annotations

import functools
import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split

from search_app.errors import BackendUnavailable
from search_app.manifest import encoded_text
from search_app.protocols import EncoderStamp, FileChange, FileRecord
from search_app.stores import filters
from search_app.text import analysis
from search_app.text.reading import edits_of, keyword_texts
from search_app.text.tokens import TokenSpans
from search_app.types import (
    Answer,
    Box,
    Cell,
    Document,
    Filter,
    Heading,
    Hit,
    Matrix,
    Page,
    Passage,
    PassageBatch,
    Rankings,
    Run,
    Span,
    SpanCandidate,
    Table,
)

_TOKEN = re.compile(r"\w+|[^\w\s]")


@functools.cache
def _tokenizer_json() -> str:
    tokenizer = Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Split(Regex(_TOKEN.pattern), behavior="removed", invert=True)
    return str(tokenizer.to_str())


@functools.cache
def _token_spans() -> TokenSpans:
    return TokenSpans(_tokenizer_json())


@dataclass(frozen=True, slots=True)
class TokenizedTexts:
    """The tokenised texts of HashEncoder."""

    texts: tuple[str, ...]

    @property
    def tokens(self) -> int:
        return sum(len(_TOKEN.findall(text)) for text in self.texts)

    def __len__(self) -> int:
        return len(self.texts)


class HashEncoder:
    """A bag of hashed words: similar texts get similar vectors, without a model. `encoded` lists encoded texts."""

    def __init__(
        self, *, dim: int = 64, max_tokens: int = 256, digest: str = "hash", precision: str = "float32"
    ) -> None:
        self.stamp = EncoderStamp("hash", digest, dim, max_tokens, precision)
        self.encoded: list[str] = []
        self.truncated_tokens = 0

    def token_spans(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        return _token_spans()(texts)

    def tokenizer_json(self) -> str:
        return _tokenizer_json()

    def tokenize_passages(self, texts: Sequence[str]) -> TokenizedTexts:
        return TokenizedTexts(tuple(texts))

    def encode_tokenized(self, tokenized: TokenizedTexts) -> Matrix:
        return self.encode_passages(tokenized.texts)

    def encode_passages(self, texts: Sequence[str]) -> Matrix:
        self.encoded.extend(texts)
        self.truncated_tokens += sum(max(0, len(_TOKEN.findall(text)) + 2 - self.stamp.max_tokens) for text in texts)
        return self._vectors(texts)

    def encode_queries(self, texts: Sequence[str]) -> Matrix:
        return self._vectors(texts)

    def _vectors(self, texts: Sequence[str]) -> Matrix:
        vectors = np.full((len(texts), self.stamp.dim), 1e-3, dtype=np.float32)
        for row, text in enumerate(texts):
            for word in _TOKEN.findall(text.casefold()):
                digest = hashlib.sha256(word.encode("utf-8", "surrogatepass")).digest()
                vectors[row, digest[0] % self.stamp.dim] += 1 if digest[1] % 2 else -1
                vectors[row, digest[2] % self.stamp.dim] += digest[3] / 255
        result: Matrix = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return result


class ExactStore:
    """Passages in a list and scores by definition: inner product, and BM25 as in SQLite's FTS5 (k1 1.2, b 0.75)."""

    def __init__(self) -> None:
        self.generation = 0
        self._documents: dict[str, list[tuple[Document, list[tuple[Passage, NDArray[np.float32]]]]]] = {}

    def write(self, changes: Sequence[FileChange]) -> None:
        for change in changes:
            if change.first:
                self._documents[change.record.path] = []
            rows = list(zip(change.batch.passages, change.batch.embeddings, strict=True))
            self._documents.setdefault(change.record.path, []).extend(
                (document, [row for row in rows if row[0].document_id == document.id]) for document in change.documents
            )
        self.generation += bool(changes)

    def remove_files(self, paths: Sequence[str]) -> None:
        for path in paths:
            self._documents.pop(path, None)
        self.generation += bool(paths)

    def remove_documents(self, ids: Sequence[str]) -> int:
        gone = {item.id for file in self._documents.values() for item, _ in file} & set(ids)
        for path, file in self._documents.items():
            self._documents[path] = [(item, rows) for item, rows in file if item.id not in gone]
        self.generation += bool(gone)
        return len(gone)

    def search_dense(self, vectors: Matrix, *, k: int, where: Filter | None = None) -> list[list[Hit]]:
        rows = [row for row in self._rows(where) if not np.isnan(row[2]).any()]
        results = []
        for vector in vectors:
            scored = [Hit(passage, s := float(embedding @ vector), {"dense": s}) for _, passage, embedding in rows]
            results.append(sorted(scored, key=lambda hit: -hit.score)[:k])
        return results

    def search_keyword(self, questions: Sequence[str], *, k: int, where: Filter | None = None) -> list[list[Hit]]:
        everything, allowed = self._rows(None), {passage.id for _, passage, _ in self._rows(where)}
        bags = [
            analysis.passage_terms(
                keyword_texts(passage.title, passage.text, passage.edits), document.source, document.language
            )
            for document, passage, _ in everything
        ]
        average = sum(map(len, bags)) / max(1, len(bags))
        languages = [document.language for document, _, _ in everything]
        results = []
        for question in questions:
            asked = Counter(analysis.asked(question, languages))
            found = []
            for (_, passage, _), bag in zip(everything, bags, strict=True):
                score = 0.0
                for word in asked.keys() & set(bag):
                    matching = sum(word in other for other in bags)
                    idf = max(1e-6, float(np.log((len(bags) - matching + 0.5) / (matching + 0.5))))
                    count = bag.count(word)
                    score += asked[word] * idf * count * 2.2 / (count + 1.2 * (0.25 + 0.75 * len(bag) / average))
                if score and passage.id in allowed:
                    found.append(Hit(passage, score, {"bm25": score}))
            results.append(sorted(found, key=lambda hit: -hit.score)[:k])
        return results

    def search_both(
        self, questions: Sequence[str], vectors: Matrix, *, k: int, where: Filter | None = None
    ) -> list[Rankings]:
        dense, keyword = self.search_dense(vectors, k=k, where=where), self.search_keyword(questions, k=k, where=where)
        return [Rankings(*both, self.generation) for both in zip(dense, keyword, strict=True)]

    def document(self, document_id: str) -> Document | None:
        return next((item for file in self._documents.values() for item, _ in file if item.id == document_id), None)

    def documents(self, *, limit: int, offset: int = 0) -> list[Document]:
        every = sorted((item for file in self._documents.values() for item, _ in file), key=lambda item: item.source)
        return every[offset : offset + limit]

    def passages_of(self, document_id: str, *, limit: int, start: int = 0, end: int | None = None) -> list[Passage]:
        passages = (passage for document, passage, _ in self._rows(None) if document.id == document_id)
        wanted = [item for item in passages if item.end > start and (end is None or item.start < end)]
        return sorted(wanted, key=lambda item: item.start)[:limit]

    def counts(self) -> Mapping[str, int]:
        rows = self._rows(None)
        documents = sum(len(file) for file in self._documents.values())
        vectors = {embedding.tobytes() for _, _, embedding in rows if not np.isnan(embedding).any()}
        return {"files": len(self._documents), "documents": documents, "passages": len(rows), "vectors": len(vectors)}

    def is_degraded(self) -> bool:
        return False

    def close(self) -> None:
        pass

    def _rows(self, where: Filter | None) -> list[tuple[Document, Passage, NDArray[np.float32]]]:
        return [
            (document, passage, embedding)
            for file in self._documents.values()
            for document, rows in file
            for passage, embedding in rows
            if where is None or filters.matches(where, document.meta)
        ]


class UnreliableCatalog:
    """A catalog behind a server: while the server is `down`, every call of the catalog and its open stores fails."""

    def __init__(self, catalog: Any) -> None:
        self._catalog = catalog
        self.down = False

    def open(self, name: str) -> Any:
        self.require()
        return _UnreliableStore(self, self._catalog.open(name))

    def close(self) -> None:
        self._catalog.close()

    def require(self) -> None:
        if self.down:
            raise BackendUnavailable("the server is down", hint="start it")

    def __getattr__(self, name: str) -> Any:
        self.require()
        return getattr(self._catalog, name)


class _UnreliableStore:
    def __init__(self, catalog: UnreliableCatalog, store: Any) -> None:
        self._catalog = catalog
        self._store = store

    def close(self) -> None:
        self._store.close()

    def __getattr__(self, name: str) -> Any:
        self._catalog.require()
        return getattr(self._store, name)


class FirstWordReader:
    """Answers with the first word of every passage."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def extract(self, questions: Sequence[str], hits: Sequence[Sequence[Hit]]) -> list[list[SpanCandidate]]:
        self.calls.append(len(questions))
        return [[_first_word(rank, hit) for rank, hit in enumerate(found)] for found in hits]

    def score(self, candidates: Sequence[SpanCandidate], hits: Sequence[Hit], *, top_k: int) -> list[Answer]:
        return [
            Answer(item.normalized_text, Span(item.start, item.end), item.logit, None, hits[item.hit])
            for item in candidates[:top_k]
        ]

    def read(self, questions: Sequence[str], hits: Sequence[Sequence[Hit]], *, top_k: int) -> list[list[Answer]]:
        raise NotImplementedError("the service extracts and scores")


def _first_word(rank: int, hit: Hit) -> SpanCandidate:
    word = hit.passage.text.split()[0]
    start = hit.passage.start
    return SpanCandidate(hit.passage.document_id, start, start + len(word), rank, hit.score, 0.0, word)


def table_change(encoder: HashEncoder, number: int = 1) -> FileChange:
    """A file with a table on a scanned page; the second passage begins below the table's header."""
    rows = [["Country", "Daily allowance"], ["Portugal", "EUR 46"], ["Österreich", "EUR 53"], ["", "none"]]
    cells, text = [], ""
    for row in rows:
        placed = []
        for column, cell in enumerate(row):
            placed.append(Cell(len(text), len(text) + len(cell), column))
            text += cell + (" | " if column == 0 else "\n")
        cells.append(tuple(placed))
    boxes = (Box(26, 8, 0.1, 0.25, 0.3333, 0.28), Box(37, 6, 0.4, 0.25, 0.5, 0.28))
    source, id = f"tables/{number}.png", f"doc{number}"
    document = Document(
        id, "Travel", text, source, {"number": number}, "en", (Heading(1, "Country", 0, 7),),
        (Page(1, 0, len(text), (Run(0, 4, 7),), boxes),), (Table(0, len(text), tuple(rows[0]), 1, tuple(cells)),),
    )  # fmt: skip
    cut = cells[2][0].start
    passages = tuple(
        Passage(
            f"p{number}-{start}", id, "Travel", text[start:end], start, end, 1, source, document.meta,
            edits_of(text, document.tables, start, end),
        )
        for start, end in ((0, cut), (cut, len(text)))
    )  # fmt: skip
    embeddings = encoder.encode_passages([encoded_text(passage) for passage in passages])
    record = FileRecord(f"/{source}", source, f"digest{number}", len(text), 1, 1)
    return FileChange(record, (document,), PassageBatch(passages, embeddings))
