"""The data of the program: documents, passages, hits, answers. Frozen dataclasses without behaviour.

Every offset counts characters (Unicode code points) of `Document.text`. Ranges are half-open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Scalar = str | int | float | bool
MetaValue = Scalar | list[str] | list[Scalar]
Meta = Mapping[str, MetaValue]
RESERVED_META = "haystack:rest"
"""A metadata field that is stored and returned, but not shown, and that filters ignore."""
Matrix = NDArray[np.float32]
Filter = Mapping[str, object]
"""A filter in Haystack's grammar: `{"field", "operator", "value"}` or `{"operator": "AND", "conditions": [...]}`."""


@dataclass(frozen=True, slots=True)
class Span:
    """Half-open character range."""

    start: int
    end: int

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.end:
            raise ValueError(f"not a span: {self.start}..{self.end}")


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading in a document's text. `level` 1 is the outermost; [start, end) is the heading's line."""

    level: int
    title: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Run:
    """`length` characters from `start` in the document are at `raw_start` in the original page's character list."""

    start: int
    raw_start: int
    length: int


@dataclass(frozen=True, slots=True)
class Box:
    """Where `length` characters from `start` in the document are on a page that is a picture, as shares of its size.

    0..1 from the left and from the top.
    """

    start: int
    length: int
    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True)
class Page:
    """A page (`number` from 1) and its range in the document's text.

    `runs` map it to the original's characters, `boxes` to places on the page of a scan.
    """

    number: int
    start: int
    end: int
    runs: tuple[Run, ...] = ()
    boxes: tuple[Box, ...] = ()


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table: [start, end) in the document's text, and its (first) column from 0."""

    start: int
    end: int
    column: int


@dataclass(frozen=True, slots=True)
class Table:
    """A table: [start, end) in the document's text, with one line per row.

    `columns` are the names of its columns, "" for one without; the first `header` rows hold them. A table without
    names has none.
    """

    start: int
    end: int
    columns: tuple[str, ...]
    header: int
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True, slots=True)
class Edit:
    """For encoder and reader, `text` takes the place of the characters [start, end) of a passage's text."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Document:
    """A document of the user. `source` is the path or URL as given; `headings` and `pages` are ordered by `start`."""

    id: str
    title: str
    text: str
    source: str
    meta: Meta = field(default_factory=dict)
    language: str = ""
    headings: tuple[Heading, ...] = ()
    pages: tuple[Page, ...] = ()
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True, slots=True)
class Passage:
    """A part of a document that can be retrieved: `document.text[start:end] == text`. `title`: its path of headings.

    `edits`, in order and without overlap, put names of columns before the cells of a table (search_app.text.reading).
    """

    id: str
    document_id: str
    title: str
    text: str
    start: int
    end: int
    page: int | None = None
    source: str = ""
    meta: Meta = field(default_factory=dict)
    edits: tuple[Edit, ...] = ()

    @property
    def date(self) -> str:
        """`modified` or `date` of its document's metadata, "" without one."""
        return str(self.meta.get("modified") or self.meta.get("date") or "")


@dataclass(frozen=True, slots=True)
class PassageBatch:
    """Passages and their vectors: `embeddings` float32 (n, dim), unit length, row i belongs to passage i."""

    passages: tuple[Passage, ...]
    embeddings: Matrix

    def __post_init__(self) -> None:
        if self.embeddings.ndim != 2 or len(self.embeddings) != len(self.passages):
            raise ValueError(f"{len(self.passages)} passages with embeddings of shape {self.embeddings.shape}")


@dataclass(frozen=True, slots=True)
class Hit:
    """A retrieved passage. A higher `score` is better. `scores` holds the raw score of each retriever.

    `also`: passages with (nearly) the same text, which would have been hits too. `newer`: the newest version of the
    passage among the hits, if it is another one.
    """

    passage: Passage
    score: float
    scores: Mapping[str, float] = field(default_factory=dict)
    also: tuple[Passage, ...] = ()
    newer: Passage | None = None


@dataclass(frozen=True, slots=True)
class Rankings:
    """The hits of both retrievers for one question, best first, from one `generation` of the index.

    `degraded`: a replica answered because the index was out of reach, or the CPU because the GPU was.
    """

    dense: Sequence[Hit]
    keyword: Sequence[Hit]
    generation: int
    degraded: bool = False


@dataclass(frozen=True, slots=True)
class SpanCandidate:
    """A possible answer before the answers of all hits are compared: characters [start, end) of a document.

    `hit` is the index of the hit that it was found in, `logit` the sum of its start and end logits, `null_logit` the
    same for "no answer here" in its window. Candidates of equal `normalized_text` are one answer; "" equals no other.
    `kind` is the kind of question (readers.questions.KINDS), which the calibration uses.
    """

    document_id: str
    start: int
    end: int
    hit: int
    logit: float
    null_logit: float
    normalized_text: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """A marked answer. `span` is in the document's characters; None means "no answer here" (and `text` is empty).

    `confidence` is the probability that the answer is right, or None if the reader has no calibration. `reliable`: it
    comes before "no answer here", and its confidence keeps the promise of `reader.max_wrong`, if it has one. `also`:
    passages of other documents with the same answer.
    """

    text: str
    span: Span | None
    score: float
    confidence: float | None
    hit: Hit | None
    reliable: bool = True
    also: tuple[Passage, ...] = ()


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The result of one question. `timings` are seconds by stage; `generation` numbers the state of the index.

    `degraded`: from a replica, which may be older than the index, or without the GPU that the settings ask for.
    """

    question: str
    hits: tuple[Hit, ...]
    answers: tuple[Answer, ...]
    timings: Mapping[str, float]
    generation: int
    degraded: bool = False
