"""What flows from stage to stage of a job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search_app.protocols import FileChange, FileRecord, Rejection, Tokenized
from search_app.types import Document, Passage


@dataclass(frozen=True, slots=True)
class SplitPart:
    """Of one file: documents that begin here, passages, and the file's bytes that this part stands for.

    `size` is in characters, some for each document included.
    """

    record: FileRecord
    documents: tuple[Document, ...]
    passages: tuple[Passage, ...]
    first: bool
    last: bool
    bytes: int
    size: int


@dataclass(frozen=True, slots=True)
class SplitParts:
    """One batch; `bytes` of files are dealt with when it is written, those of files that failed included."""

    items: tuple[SplitPart, ...]
    bytes: int


@dataclass(frozen=True, slots=True)
class TokenizedParts:
    """One batch and the vectors that are `known` of its texts, by key.

    `keys` has one for each passage, `missing` those whose texts were tokenised, `awaited` those that an earlier batch
    brings.
    """

    parts: SplitParts
    keys: tuple[str, ...]
    known: Mapping[str, NDArray[np.float32]]
    missing: tuple[str, ...]
    awaited: tuple[str, ...]
    tokenized: Tokenized | None


@dataclass(frozen=True, slots=True)
class Changes:
    """One batch; `encoded` passages of `tokens` tokens went through the encoder, the other vectors were known."""

    items: tuple[FileChange, ...]
    bytes: int
    encoded: int
    tokens: int
    in_use: tuple[str, ...]
    rejected: tuple[Rejection, ...] = ()
