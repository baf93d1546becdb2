"""The interfaces between the parts. They are structural: implementations do not inherit from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from search_app.types import Answer, Document, Filter, Hit, Matrix, Passage, PassageBatch, Rankings, SpanCandidate


@dataclass(frozen=True, slots=True)
class EncoderStamp:
    """Identifies an encoder: vectors of equal stamps are comparable. `digest`: SHA-256 of weights and tokenizer."""

    model: str
    digest: str
    dim: int
    max_tokens: int
    precision: str


class Tokenized(Protocol):
    """Texts as the input of an encoder: `len` texts, `tokens` in all with special tokens. Opaque to callers."""

    @property
    def tokens(self) -> int: ...

    def __len__(self) -> int: ...


class Encoder(Protocol):
    """Turns texts into unit vectors."""

    @property
    def stamp(self) -> EncoderStamp: ...

    def token_spans(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """The character range of every token, without special tokens or truncation: one (n, 2) array per text."""
        ...

    def tokenizer_json(self) -> str:
        """The tokenizer behind `token_spans`, in the format of the `tokenizers` library, for another process."""
        ...

    def encode_passages(self, texts: Sequence[str]) -> Matrix:
        """float32 (n, dim), unit length, in input order: `tokenize_passages`, then `encode_tokenized`."""
        ...

    def tokenize_passages(self, texts: Sequence[str]) -> Tokenized:
        """One thread may tokenise while another one encodes."""
        ...

    def encode_tokenized(self, tokenized: Any) -> Matrix:
        """float32 (n, dim), unit length, in input order. `tokenized` comes from this encoder."""
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
    """A file in the index. `path` is absolute, `source` as given.

    `digest` is the SHA-256 of its bytes, followed by "+" and the SHA-256 of its metadata file if it has one, and by the
    number of pages that could not be read (indexing.unread).
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
    """A collection that is open for reading. Hits have descending scores; a search returns min(k, matching) of them."""

    @property
    def generation(self) -> int: ...

    def search_dense(self, vectors: Matrix, *, k: int, where: Filter | None = None) -> list[list[Hit]]:
        """Nearest by inner product; `vectors` (n, dim), unit length."""
        ...

    def search_both(
        self, questions: Sequence[str], vectors: Matrix, *, k: int, where: Filter | None = None
    ) -> list[Rankings]:
        """Both retrievers, on the same generation."""
        ...

    def document(self, document_id: str) -> Document | None: ...

    def documents(self, *, limit: int, offset: int = 0) -> list[Document]:
        """Documents in order of source, without `text`, `headings` and `pages`."""
        ...

    def passages(
        self, where: Filter | None = None, *, ids: Sequence[str] | None = None, vectors: bool = False
    ) -> Iterator[PassageBatch]:
        """Batches of the passages that match `where` or have one of the `ids`, all of one generation.

        `embeddings` are NaN for a passage without a vector, and (n, 0) unless `vectors` is set.
        """
        ...

    def passages_of(self, document_id: str, *, limit: int, start: int = 0, end: int | None = None) -> list[Passage]:
        """The first `limit` passages, in order, with a character in [start, end) of the document.

        To read on, take the end of the last one as `start`. An unknown document has none.
        """
        ...

    def count_passages(self, where: Filter) -> int: ...

    def files(self) -> Iterator[FileRecord]:
        """File records in order of path; `digest` is empty for a file that is only partly indexed."""
        ...

    def file_of(self, document_id: str) -> FileRecord | None:
        """The record of the document's file."""
        ...

    def fields(self) -> Mapping[str, str]:
        """Names of the metadata fields and their kind."""
        ...

    def counts(self) -> Mapping[str, int]:
        """`files`, `documents`, `passages`, `vectors`."""
        ...

    def is_degraded(self) -> bool:
        """Whether a replica answers instead of the server, or the CPU instead of a GPU.

        Contacts the same server as a search, and raises the same errors.
        """
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class FileChange:
    """The documents and passages of one file, or of a part of a large file.

    The first part replaces the file's earlier content; the last one marks the file as indexed. A store may need to know
    `first_document`, the number in the file of the first of `documents`, and the `languages`, by id, of documents of
    earlier parts with passages here. Only parts that are written out of order have to set these.
    """

    record: FileRecord
    documents: tuple[Document, ...]
    batch: PassageBatch
    first: bool = True
    last: bool = True
    first_document: int = 0
    languages: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rejection:
    """Something that a store rejected; the rest of the batch was written."""

    path: str
    source: str
    reason: str


class IndexWriter(Protocol):
    """A collection that is open for writing by one job.

    The embedded store commits each call as a new generation; Elasticsearch publishes with `finish`. A killed job loses
    nothing that a call has returned for.
    """

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def files(self) -> Iterator[FileRecord]:
        """All files; `digest` is empty and `modified_ns` 0 for a file that is only partly indexed."""
        ...

    def known_vectors(self, keys: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Vectors that the index already has, by `manifest.vector_key`."""
        ...

    def write(self, changes: Sequence[FileChange]) -> list[Rejection]: ...

    def remove_files(self, paths: Sequence[str]) -> None: ...

    def remove_documents(self, ids: Sequence[str]) -> int:
        """Delete documents and their passages; returns how many there were.

        The record of their file stays, so later jobs index them again only if the file has changed.
        """
        ...

    def finish(self) -> tuple[int, ...]:
        """Clean up and publish. Returns the shards that other jobs must finish before the index is published."""
        ...

    def close(self) -> None: ...


class Ranker(Protocol):
    """Reorders hits by reading question and passage together."""

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
        """`extract`, then `score`."""
        ...
