"""What the indexing pipeline's sockets carry. Immutable all through, so that Haystack's deep copies may be the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from indexing.splitter import Piece
from search_app.protocols import FileChange, FileRecord, Rejection
from search_app.types import Document, Passage


class _Immutable:
    __slots__ = ()

    def __deepcopy__(self, memo: object) -> Self:
        return self


@dataclass(frozen=True, slots=True)
class Part(_Immutable):
    """Of one file: documents that begin here, pieces to split, and the file's bytes that this part stands for."""

    record: FileRecord
    documents: tuple[Document, ...]
    pieces: tuple[Piece, ...]
    first: bool
    last: bool
    bytes: int


@dataclass(frozen=True, slots=True)
class Parts(_Immutable):
    items: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class SplitPart(_Immutable):
    part: Part
    passages: tuple[Passage, ...]


@dataclass(frozen=True, slots=True)
class SplitParts(_Immutable):
    items: tuple[SplitPart, ...]


@dataclass(frozen=True, slots=True)
class Changes(_Immutable):
    """One batch; `encoded` passages went through the encoder, the other vectors were known."""

    items: tuple[FileChange, ...]
    encoded: int
    rejected: tuple[Rejection, ...] = ()
