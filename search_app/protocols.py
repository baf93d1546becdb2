"""What the parts promise each other; structural, nothing inherits from these."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from search_app.types import Answer, Document, Filter, Hit, Matrix, PassageBatch, Rankings, SpanCandidate


@dataclass(frozen=True, slots=True)
class EncoderStamp:
    """What makes two encoders' vectors comparable; `digest` is a SHA-256 over weights and tokenizer."""

    model: str
    digest: str
    dim: int
    max_tokens: int
    precision: str


class Tokenized(Protocol):
    """Texts as an encoder's model takes them: `len` of them, `tokens` with special ones. Opaque to callers."""

    @property
    def tokens(self) -> int: ...

    def __len__(self) -> int: ...


class Encoder(Protocol):
    """Text to unit vectors."""

    @property
    def stamp(self) -> EncoderStamp: ...

    def token_spans(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Character range of every token, without special tokens or truncation: one (n, 2) array a text."""
        ...

    def tokenizer_json(self) -> str:
        """What `token_spans` uses, in the format of the `tokenizers` library, for another process."""
        ...

    def encode_passages(self, texts: Sequence[str]) -> Matrix:
        """float32 (n, dim), unit length, in input order: `tokenize_passages` and `encode_tokenized` in a row."""
        ...

    def tokenize_passages(self, texts: Sequence[str]) -> Tokenized:
        """Safe to call in one thread while another one encodes."""
        ...

    def encode_tokenized(self, tokenized: Any) -> Matrix:
        """float32 (n, dim), unit length, in input order, of what this encoder tokenised."""
        ...

    def encode_queries(self, texts: Sequence[str]) -> Matrix:
        """float32 (n, dim), unit length, in input order."""
        ...

    @property
    def truncated_tokens(self) -> int:
        """Tokens cut off by the model's limit since the encoder was made."""
        ...


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A file that the index knows: `path` is absolute, `source` as given.

    `digest` is the SHA-256 of its bytes; a file with metadata beside it adds "+" and the SHA-256 of that.
    """

    path: str
    source: str
    digest: str
    size: int
    modified_ns: int
    documents: int


class KeywordSearch(Protocol):
    """BM25 over passages."""

    def search_keyword(self, questions: Sequence[str], *, k: int, where: Filter | None = None) -> list[list[Hit]]: ...


class PassageStore(KeywordSearch, Protocol):
    """One collection, open for reading. Scores descend; a filtered search returns min(k, matching) hits."""

    @property
    def generation(self) -> int: ...

    def search_dense(self, vectors: Matrix, *, k: int, where: Filter | None = None) -> list[list[Hit]]:
        """Nearest by inner product; `vectors` (n, dim), unit length."""
        ...

    def search_both(
        self, questions: Sequence[str], vectors: Matrix, *, k: int, where: Filter | None = None
    ) -> list[Rankings]:
        """Both retrievers on one generation."""
        ...

    def document(self, document_id: str) -> Document | None: ...

    def documents(self, *, limit: int, offset: int = 0) -> list[Document]:
        """In order of source; `text`, `headings` and `pages` are left empty."""
        ...

    def passages(
        self, where: Filter | None = None, *, ids: Sequence[str] | None = None, vectors: bool = False
    ) -> Iterator[PassageBatch]:
        """All that match `where`, or those of `ids`, a batch at a time, of one generation; older ones first, if known.

        `embeddings` are NaN where a passage has no vector, and (n, 0) unless `vectors`.
        """
        ...

    def count_passages(self, where: Filter) -> int: ...

    def files(self) -> Iterator[FileRecord]:
        """In order of path; `digest` is empty where a job ended half-way through the file."""
        ...

    def file_of(self, document_id: str) -> FileRecord | None:
        """The file that the document came from."""
        ...

    def fields(self) -> Mapping[str, str]:
        """Names of the metadata fields and their kind."""
        ...

    def counts(self) -> Mapping[str, int]:
        """`files`, `documents`, `passages`, `vectors`."""
        ...

    def is_degraded(self) -> bool:
        """Whether a replica, or the CPU in place of a GPU, answers now.

        Asks whoever would be asked a question, and raises what that would raise.
        """
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class FileChange:
    """Documents of one file and their passages, or a part of them: a huge file comes as first, …, last part.

    The first part replaces whatever came from `record.path` before; the file counts as indexed with the last.
    """

    record: FileRecord
    documents: tuple[Document, ...]
    batch: PassageBatch
    first: bool = True
    last: bool = True


@dataclass(frozen=True, slots=True)
class Rejection:
    """What a store would not take; the rest of the batch went in."""

    path: str
    source: str
    reason: str


class IndexWriter(Protocol):
    """One collection, open for its one writer.

    The embedded store makes each call one transaction that raises the generation; Elasticsearch publishes with
    `finish`. Either way a job that was killed loses nothing that it had reported.
    """

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def files(self) -> Iterator[FileRecord]:
        """All files; `digest` is empty and `modified_ns` 0 where a job ended half-way through the file."""
        ...

    def known_vectors(self, keys: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Vectors that are there already, by `manifest.vector_key`."""
        ...

    def write(self, changes: Sequence[FileChange]) -> list[Rejection]: ...

    def remove_files(self, paths: Sequence[str]) -> None: ...

    def remove_documents(self, ids: Sequence[str]) -> int:
        """Takes these documents and their passages out; returns how many were there.

        The record of their file stays, so a later job brings them back only where the file has changed.
        """
        ...

    def finish(self) -> tuple[int, ...]:
        """The end of a job: tidies up and, where that is still to be done, publishes.

        Returns the shards that others have to do before anything is seen.
        """
        ...

    def close(self) -> None: ...


class Ranker(Protocol):
    """Re-orders hits by reading question and passage together."""

    def rank(self, questions: Sequence[str], hits: Sequence[Sequence[Hit]]) -> list[list[Hit]]: ...


class Reader(Protocol):
    """Extractive question answering in two steps: find spans in every hit, then compare and score them."""

    def extract(self, questions: Sequence[str], hits: Sequence[Sequence[Hit]]) -> list[list[SpanCandidate]]:
        """The best spans of each question's hits, not yet compared with each other."""
        ...

    def score(self, candidates: Sequence[SpanCandidate], hits: Sequence[Hit], *, top_k: int) -> list[Answer]:
        """At most `top_k` answers of one question with calibrated confidence, best first; duplicates are merged.

        One of them may be "no answer here". `hits` are those that `extract` read.
        """
        ...

    def read(self, questions: Sequence[str], hits: Sequence[Sequence[Hit]], *, top_k: int) -> list[list[Answer]]:
        """`extract` and `score` in a row."""
        ...
