"""What flows through an indexing job: chunks of files, and batches of chunks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from indexing.diff import Outcome
from indexing.sources import Skip
from search_app.protocols import FileChange, FileRecord, Rejection, Tokenized
from search_app.types import Document, Passage

BATCH_CHARACTERS = 163_840
"""Text per transaction, about 250 passages: enough to sort by length, little to lose, a few seconds of work."""
DOCUMENT_CHARACTERS = 200
"""Characters that each document counts in addition to its text, so that many tiny documents fill a batch too."""
_FIRST_BATCH = 1 / 8


@dataclass(frozen=True, slots=True)
class FileChunk:
    """A bounded piece of one file: the documents that begin in it, and passages.

    `number` counts the file's chunks from 0, `first_document` is the number in the file of the first of `documents`.
    `languages` holds, by id, the language of a document that began in an earlier chunk. `bytes` is the chunk's share
    of the file, `characters` its text plus `DOCUMENT_CHARACTERS` per document. The first chunk has the `warnings`.
    """

    record: FileRecord
    documents: tuple[Document, ...]
    passages: tuple[Passage, ...]
    number: int
    last: bool
    bytes: int
    characters: int
    first_document: int = 0
    languages: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FileFailure:
    """A file that is not indexed, or not whole: the outcome, the reason, and the bytes of it not yet reported."""

    path: str
    source: str
    outcome: Outcome
    reason: str
    bytes: int = 0

    @classmethod
    def of(cls, rejection: Rejection) -> FileFailure:
        """The failure that a store's rejection means."""
        return cls(rejection.path, rejection.source, Outcome.FAILED, rejection.reason)


@dataclass(frozen=True, slots=True)
class BatchReport:
    """A batch that has been written: `encoded` passages of `tokens` tokens went through the encoder.

    `ocr_pages` are pages read by OCR, by file.
    """

    bytes: int = 0
    passages: int = 0
    encoded: int = 0
    tokens: int = 0
    truncated: int = 0
    failures: tuple[FileFailure, ...] = ()
    warnings: tuple[Skip, ...] = ()
    ocr_pages: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Batch:
    """Chunks that are encoded and written together. Each stage fills in its fields.

    Tokenising sets `keys`, one per passage; `vectors`, the known ones by key; `missing`, the keys to compute, with
    their texts in `tokenized`; and `shared`, the keys that an earlier batch computes. Encoding sets the rest.
    """

    chunks: Sequence[FileChunk] = ()
    failures: Sequence[FileFailure] = ()
    keys: Sequence[str] = ()
    vectors: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    missing: Sequence[str] = ()
    shared: Sequence[str] = ()
    tokenized: Tokenized | None = None
    tokens: int = 0
    truncated: int = 0
    changes: Sequence[FileChange] = ()

    @property
    def bytes(self) -> int:
        """Bytes of files that are done when the batch is written."""
        return sum(chunk.bytes for chunk in self.chunks) + sum(failure.bytes for failure in self.failures)

    @property
    def passages(self) -> list[Passage]:
        """Passages of all chunks, in order."""
        return [passage for chunk in self.chunks for passage in chunk.passages]

    @property
    def warnings(self) -> list[Skip]:
        """Warnings of all chunks, in order."""
        return [Skip(chunk.record.source, text) for chunk in self.chunks for text in chunk.warnings]

    @property
    def ocr_pages(self) -> Mapping[str, int]:
        """Pages read by OCR, which have boxes, by file."""
        return Counter(
            chunk.record.source
            for chunk in self.chunks
            for document in chunk.documents
            for page in document.pages
            if page.boxes and not page.runs  # values of form fields have boxes too
        )

    def report(self, rejections: Iterable[Rejection]) -> BatchReport:
        """What became of the batch; `rejections` is the store's answer to the write."""
        return BatchReport(
            bytes=self.bytes,
            passages=len(self.keys),
            encoded=len(self.missing),
            tokens=self.tokens,
            truncated=self.truncated,
            failures=(*self.failures, *map(FileFailure.of, rejections)),
            warnings=tuple(self.warnings),
            ocr_pages=self.ocr_pages,
        )


def in_chunks(
    record: FileRecord,
    contents: Iterable[Document | Sequence[Passage]],
    *,
    total: int,
    characters: int = BATCH_CHARACTERS,
    warnings: tuple[str, ...] = (),
) -> Iterator[FileChunk]:
    """Cut one file into chunks of about `characters`. In `contents`, passages follow their document.

    `total` is the file's number of characters; an estimate will do. It divides the file's bytes among the chunks, and
    the last one takes the rest.
    """
    documents: list[Document] = []
    passages: list[Passage] = []
    number = size = assigned = first_document = 0
    languages: dict[str, str] = {}

    def chunk(last: bool) -> FileChunk:
        rest = record.size - assigned
        share = rest if last else min(rest, record.size * size // max(1, total))
        return FileChunk(
            record, tuple(documents), tuple(passages), number, last, share, size,
            first_document, languages, () if number else warnings,
        )  # fmt: skip

    for item in contents:
        if size >= characters:
            done = chunk(last=False)
            yield done
            first_document += len(documents)
            if documents:  # only the last document continues in later chunks
                languages = {documents[-1].id: documents[-1].language}
            documents, passages, size, number, assigned = [], [], 0, number + 1, assigned + done.bytes
        if isinstance(item, Document):
            documents.append(item)
            size += DOCUMENT_CHARACTERS
        else:
            passages.extend(item)
            size += sum(len(passage.text) for passage in item)
    yield chunk(last=True)


def in_batches(
    items: Iterable[FileChunk | FileFailure], *, characters: int = BATCH_CHARACTERS, first: float = _FIRST_BATCH
) -> Iterator[Batch]:
    """Group chunks into batches of about `characters`.

    The first batch has the share `first` of that, and each one double the size of the one before: the encoder starts
    early.
    """
    chunks: list[FileChunk] = []
    failures: list[FileFailure] = []
    size = 0
    for item in items:
        size += DOCUMENT_CHARACTERS
        if isinstance(item, FileChunk):
            chunks.append(item)
            size += item.characters
        else:
            failures.append(item)
        if size >= characters * first:
            yield Batch(chunks, failures)
            chunks, failures, size, first = [], [], 0, min(1.0, 2 * first)
    if chunks or failures:
        yield Batch(chunks, failures)
