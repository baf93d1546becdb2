"""The JSON of REST and command line.

Offsets are half-open and count characters of the document: Unicode code points, as in Python. In languages that count
UTF-16 units, as JavaScript does, `[...text].slice(start, end).join("")` takes them as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, create_model

from search_app.errors import ConfigurationError, InvalidQuery
from search_app.queue.jobs import Job, JobKind, JobState, Schedule
from search_app.settings import COLLECTION_PATTERN, LimitSettings, check_collection_name
from search_app.text.passage_tables import passage_tables
from search_app.text.questions import is_question
from search_app.text.reading import reading
from search_app.text.utf16 import Utf16
from search_app.types import (
    RESERVED_META,
    Answer,
    Document,
    Hit,
    Meta,
    MetaValue,
    Page,
    Passage,
    SearchResult,
    Span,
    Table,
)

QUESTION = "What does the global statement do?"


def _check_name(name: str) -> str:
    try:
        return check_collection_name(name)
    except ConfigurationError as error:
        raise InvalidQuery(error.message, hint=error.hint, field="name") from error


CheckedName = Annotated[
    str,
    AfterValidator(_check_name),
    Field(json_schema_extra={"minLength": 1, "maxLength": 64, "pattern": f"^{COLLECTION_PATTERN}$"}),
]
"""A collection's name."""


class SearchRequest(BaseModel):
    """A question; `where` is text such as `modified>=2026-01-01 and format=pdf`, or a filter in Haystack's grammar."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"question": QUESTION},
                {"question": QUESTION, "k": 5, "where": "modified>=2026-01-01"},
                {"question": QUESTION, "where": {"field": "meta.format", "operator": "==", "value": "pdf"}},
            ]
        },
    )

    question: str
    k: int = 10
    where: str | dict[str, Any] | None = Field(default=None, description="which passages may be found")


class AnswerRequest(SearchRequest):
    """A question to be answered from the best `k` passages, with at most `top_k` answers."""

    top_k: int = 3


def request_models(limits: LimitSettings) -> tuple[type[SearchRequest], type[AnswerRequest]]:
    """Both requests with an installation's own limits, so that they stand in its OpenAPI too."""
    text = StringConstraints(strip_whitespace=True, min_length=1, max_length=limits.question_chars)
    fields: dict[str, Any] = {
        "question": (Annotated[str, text], Field(examples=[QUESTION])),
        "k": (int, Field(default=min(10, limits.k), ge=1, le=limits.k, description="passages to find")),
    }
    top_k = (int, Field(default=min(3, limits.k), ge=1, le=limits.k, description="answers to return"))
    return (
        create_model("SearchRequest", __base__=SearchRequest, **fields),
        create_model("AnswerRequest", __base__=AnswerRequest, top_k=top_k, **fields),
    )


class CellOut(BaseModel):
    """A cell of a table, in the (first) column `column`, from 0."""

    start: int
    end: int
    column: int


class TableOut(BaseModel):
    """A table. `columns` are the names of its columns, "" for one without; the first `header` rows hold them.

    The tables of a passage have no header rows, and the tables of a part of a document only the rows in that part.
    """

    start: int
    end: int
    columns: list[str]
    header: int
    rows: list[list[CellOut]]

    @classmethod
    def of(cls, table: Table, first: int = 0, last: int | None = None) -> TableOut:
        """With the rows in [first, last) of the document."""
        kept = [
            number
            for number, row in enumerate(table.rows)
            if row[-1].end > first and (last is None or row[0].start < last)
        ]
        return cls(
            start=table.start,
            end=table.end,
            columns=list(table.columns),
            header=sum(number < table.header for number in kept),
            rows=[
                [CellOut(start=cell.start, end=cell.end, column=cell.column) for cell in table.rows[number]]
                for number in kept
            ],
        )


class PlaceOut(BaseModel):
    """Another place with (nearly) the same text."""

    passage_id: str
    document_id: str
    source: str
    title: str
    page: int | None

    @classmethod
    def of(cls, passage: Passage) -> PlaceOut:
        return cls(
            passage_id=passage.id,
            document_id=passage.document_id,
            source=passage.source,
            title=passage.title,
            page=passage.page,
        )


class AnswerOut(BaseModel):
    """A marked answer: `passage[start - passage_start : end - passage_start] == text`.

    `utf16_start` and `utf16_end` are its place in `passage` in UTF-16 units: `passage.slice(utf16_start, utf16_end)`
    in JavaScript. `tables` are those of the passage.

    "No answer here" has no place: `text` is empty, `start` and `end` are null. `confidence` is a probability, or
    null where the reader is not calibrated. Show an answer that is not `reliable` as a guess, if at all: it comes after
    "no answer here", or its confidence is below what `reader.max_wrong` needs. `url` leads to an original on the web.
    `also_in` are passages of other documents with the same answer. `date` is that of the document (`modified` or `date`
    of its metadata), to tell answers apart that contradict each other.
    """

    text: str
    score: float
    confidence: float | None
    reliable: bool = True
    source: str | None = None
    title: str | None = None
    page: int | None = None
    start: int | None = None
    end: int | None = None
    passage: str | None = None
    passage_start: int | None = None
    passage_id: str | None = None
    document_id: str | None = None
    url: str | None = None
    utf16_start: int | None = None
    utf16_end: int | None = None
    tables: list[TableOut] = []
    also_in: list[PlaceOut] = []
    date: str | None = None

    @classmethod
    def of(cls, answer: Answer) -> AnswerOut:
        confidence = _probability(answer.confidence)
        marked = cls(text=answer.text, score=float(answer.score), confidence=confidence, reliable=answer.reliable)
        if answer.span is not None:
            marked = marked.model_copy(update={"start": answer.span.start, "end": answer.span.end})
        if answer.hit is None:
            return marked
        passage = answer.hit.passage
        if answer.span is not None:
            units = Utf16(passage.text)
            first, last = (units.of(place - passage.start) for place in (answer.span.start, answer.span.end))
            marked = marked.model_copy(update={"utf16_start": first, "utf16_end": last})
        return marked.model_copy(
            update={
                "source": passage.source,
                "title": passage.title,
                "page": passage.page,
                "passage": passage.text,
                "passage_start": passage.start,
                "passage_id": passage.id,
                "document_id": passage.document_id,
                "url": web_address(passage.meta),
                "tables": [TableOut.of(table) for table in passage_tables(passage)],
                "also_in": [PlaceOut.of(other) for other in answer.also],
                "date": passage.date or None,
            }
        )


class MarkOut(BaseModel):
    """Characters [start, end) of a passage's text."""

    start: int
    end: int


class HitOut(BaseModel):
    """A passage that was found; `scores` holds each retriever's own score, for the retrievers that found it.

    `marks` are the words of a keyword query in `text`; a question has none. `also_in` lists the places with (nearly)
    the same text, which this hit stands for.
    `tables` are those in the passage: a table may have more rows before and after it.
    """

    text: str
    score: float
    scores: dict[str, float]
    source: str
    title: str
    page: int | None
    start: int
    end: int
    passage_id: str
    document_id: str
    meta: dict[str, MetaValue]
    url: str | None
    tables: list[TableOut] = []
    marks: list[MarkOut] = []
    also_in: list[PlaceOut] = []
    newer: PlaceOut | None = None

    @classmethod
    def of(cls, hit: Hit, keywords: str = "") -> HitOut:
        """`keywords`: the query whose words are marked."""
        passage = hit.passage
        spans = _marks(keywords, passage.text) if keywords else []
        return cls(
            text=passage.text,
            score=float(hit.score),
            scores={name: float(score) for name, score in hit.scores.items()},
            source=passage.source,
            title=passage.title,
            page=passage.page,
            start=passage.start,
            end=passage.end,
            passage_id=passage.id,
            document_id=passage.document_id,
            meta=_shown(passage.meta),
            url=web_address(passage.meta),
            tables=[TableOut.of(table) for table in passage_tables(passage)],
            marks=[MarkOut(start=span.start, end=span.end) for span in spans],
            also_in=[PlaceOut.of(other) for other in hit.also],
            newer=None if hit.newer is None else PlaceOut.of(hit.newer),
        )


def _marks(keywords: str, text: str) -> list[Span]:
    from search_app.text.marks import marks  # its stemmers are not in the image of the pages

    return marks(keywords, text)


class SearchResponse(BaseModel):
    """`timings` in seconds by stage; `generation` names the state of the index that answered.

    `degraded`: the server of the index is out of reach, and a replica answered that may be older; or a GPU is, and
    the CPU searched in its place.
    """

    question: str
    answers: list[AnswerOut]
    hits: list[HitOut]
    timings: dict[str, float]
    generation: int
    degraded: bool = False

    @classmethod
    def of(cls, result: SearchResult) -> SearchResponse:
        keywords = "" if is_question(result.question) else result.question
        return cls(
            question=result.question,
            answers=[AnswerOut.of(answer) for answer in result.answers],
            hits=[HitOut.of(hit, keywords) for hit in result.hits],
            timings={stage: float(seconds) for stage, seconds in result.timings.items()},
            generation=result.generation,
            degraded=result.degraded,
        )


class CollectionOut(BaseModel):
    """One collection; `error` and `hint` say why it cannot be used, then the counts are 0."""

    name: str
    documents: int = 0
    passages: int = 0
    generation: int = 0
    error: str | None = None
    hint: str | None = None


class CollectionsResponse(BaseModel):
    """All collections."""

    collections: list[CollectionOut]


class DocumentSummary(BaseModel):
    """A document without its text."""

    id: str
    title: str
    source: str
    language: str
    meta: dict[str, MetaValue]
    url: str | None

    @classmethod
    def of(cls, document: Document) -> DocumentSummary:
        return cls(**_summary(document))


class DocumentsResponse(BaseModel):
    """Documents `offset` to `offset + limit` of `total`, in order of source."""

    documents: list[DocumentSummary]
    total: int
    limit: int
    offset: int


class BoxOut(BaseModel):
    """Where the characters [start, end) are on a scanned page: shares of its size, from the left and from the top."""

    start: int
    end: int
    left: float
    top: float
    right: float
    bottom: float


class PageOut(BaseModel):
    """A page (from 1) and its range in the document's text; `boxes` are those of a scan, in the part asked for."""

    number: int
    start: int
    end: int
    boxes: list[BoxOut] = []

    @classmethod
    def of(cls, page: Page, first: int, last: int) -> PageOut:
        boxes = [
            BoxOut(
                start=box.start,
                end=box.start + box.length,
                left=box.left,
                top=box.top,
                right=box.right,
                bottom=box.bottom,
            )
            for box in page.boxes
            if box.start < last and box.start + box.length > first
        ]
        return cls(number=page.number, start=page.start, end=page.end, boxes=boxes)


class HeadingOut(BaseModel):
    """A heading and its range in the document's text."""

    level: int
    title: str
    start: int
    end: int


class DocumentResponse(DocumentSummary):
    """A document; `text` is its characters `start` to `end` of `length`, all of them unless a part was asked for.

    `tables` and the boxes of `pages` are those in that part.
    """

    text: str
    start: int
    end: int
    length: int
    pages: list[PageOut]
    headings: list[HeadingOut]
    tables: list[TableOut] = []

    @classmethod
    def part(cls, document: Document, start: int, end: int | None) -> DocumentResponse:
        length = len(document.text)
        first = min(start, length)
        last = length if end is None else max(first, min(end, length))
        return cls(
            **_summary(document),
            text=document.text[first:last],
            start=first,
            end=last,
            length=length,
            pages=[PageOut.of(page, first, last) for page in document.pages],
            headings=[
                HeadingOut(level=heading.level, title=heading.title, start=heading.start, end=heading.end)
                for heading in document.headings
            ],
            tables=[
                TableOut.of(table, first, last) for table in document.tables if table.start < last and table.end > first
            ],
        )

    @classmethod
    def utf16_part(cls, document: Document, start: int, end: int | None) -> DocumentResponse:
        """The same with all offsets, also `start` and `end`, in UTF-16 units."""
        units = Utf16(document.text)
        part = cls.part(document, units.place(start), None if end is None else units.place(end)).model_dump()
        for name in ("start", "end", "length"):
            part[name] = units.of(part[name])
        for name in ("pages", "headings", "tables"):
            part[name] = _counted(part[name], units)
        return cls(**part)


class PassageOut(BaseModel):
    """A passage of a document, in its characters [start, end). `title` is its path of headings.

    `reading` is what encoder and reader get of `text`, below the title: of a table, each cell with the name of its
    column. `tables` are those in the passage: a table may have more rows before and after it.
    """

    id: str
    title: str
    page: int | None
    start: int
    end: int
    text: str
    reading: str
    tables: list[TableOut] = []

    @classmethod
    def of(cls, passage: Passage) -> PassageOut:
        return cls(
            id=passage.id,
            title=passage.title,
            page=passage.page,
            start=passage.start,
            end=passage.end,
            text=passage.text,
            reading=reading(passage).text,
            tables=[TableOut.of(table) for table in passage_tables(passage)],
        )


class PassagesResponse(BaseModel):
    """Passages of a document, in order. `next`: ask for more of them with it as `start`; null after the last one."""

    passages: list[PassageOut]
    next: int | None


class DeleteRequest(BaseModel):
    """Documents to take out of the index, by id, source (a name or a glob) and filter: all that is given must hold."""

    model_config = ConfigDict(extra="forbid")

    documents: list[str] = Field(default=[], max_length=10_000)
    sources: list[str] = Field(default=[], max_length=10_000)
    where: str | dict[str, Any] | None = None


class JobRequest(BaseModel):
    """A folder, by the name that this installation gives it, once or `every` time of a cron expression; or a delete."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"folder": "handbook"},
                {"folder": "handbook", "every": "30 2 * * *"},
                {"delete": {"sources": ["guide.pdf"]}},
                {"delete": {"where": "modified<2020-01-01"}},
            ]
        },
    )

    folder: str | None = None
    every: str | None = Field(default=None, description="cron's five fields, in the server's time zone")
    delete: DeleteRequest | None = None


class RenameRequest(BaseModel):
    """The new name of a collection."""

    model_config = ConfigDict(extra="forbid")

    name: CheckedName = Field(examples=["handbook"])


class JobCounts(BaseModel):
    """Files by what happens to them."""

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0
    skipped: int = 0
    failed: int = 0


class FormatCounts(BaseModel):
    """Files of one format by what was done; `warnings` counts those of the `read` ones that have some.

    `format` is a name as in a document's metadata, or the ending of files that have no format, "" without one.
    `ocr_pages` were read by OCR.
    """

    format: str
    read: int = 0
    unchanged: int = 0
    skipped: int = 0
    failed: int = 0
    warnings: int = 0
    ocr_pages: int = 0


class JobResult(JobCounts):
    """What was done; `deleted` documents are those of a delete. `formats`: those with the most files first."""

    passages: int = 0
    passages_encoded: int = 0
    deleted: int = 0
    seconds: float = 0.0
    formats: list[FormatCounts] = []


class ProblemOut(BaseModel):
    """A file that was not indexed, and the reason."""

    source: str
    reason: str


class JobError(BaseModel):
    """Why a job failed, and what to do next."""

    message: str
    hint: str = ""


class JobOut(BaseModel):
    """A job; `stage` says what a running one does and what a queued one waits for. `eta_seconds`: null is unknown."""

    id: str
    collection: str
    kind: JobKind
    state: JobState
    title: str
    created: datetime
    started: datetime | None
    ended: datetime | None
    stage: str
    bytes_done: int
    bytes_total: int | None
    eta_seconds: float | None
    plan: JobCounts | None
    result: JobResult | None
    problems: list[ProblemOut]
    skips: list[ProblemOut]
    warnings: list[str]
    error: JobError | None
    cancel_requested: bool
    attempts: int

    @classmethod
    def of(cls, job: Job) -> JobOut:
        return cls(
            id=job.id,
            collection=job.collection,
            kind=job.kind,
            state=job.state,
            title=job.title,
            created=_utc(job.created),
            started=None if job.started is None else _utc(job.started),
            ended=None if job.ended is None else _utc(job.ended),
            stage=job.stage,
            bytes_done=job.bytes_done,
            bytes_total=job.bytes_total,
            eta_seconds=job.eta_seconds,
            plan=None if job.plan is None else JobCounts.model_validate(job.plan),
            result=None if job.result is None else JobResult.model_validate(job.result),
            problems=[ProblemOut.model_validate(problem) for problem in job.problems],
            skips=[ProblemOut.model_validate(skip) for skip in job.skips],
            warnings=list(job.warnings),
            error=None if job.error is None else JobError(message=job.error, hint=job.hint or ""),
            cancel_requested=job.cancel_requested,
            attempts=job.attempts,
        )


class JobsResponse(BaseModel):
    """Jobs `offset` to `offset + limit` of `total`, newest first; with 0 `workers` alive, none of them goes on."""

    jobs: list[JobOut]
    total: int
    workers: int


class ScheduleOut(BaseModel):
    """A folder's repeated job; `last_job` is the id of the one queued last."""

    id: str
    folder: str
    every: str
    next: datetime
    last_job: str

    @classmethod
    def of(cls, schedule: Schedule) -> ScheduleOut:
        return cls(
            id=schedule.id,
            folder=schedule.folder,
            every=schedule.cron,
            next=_utc(schedule.next),
            last_job=schedule.last_job,
        )


class SchedulesResponse(BaseModel):
    """The schedules of a collection."""

    schedules: list[ScheduleOut]


class FolderOut(BaseModel):
    """A folder that jobs may name."""

    name: str


class FoldersResponse(BaseModel):
    """Folders that a job may name."""

    folders: list[FolderOut]


class HealthResponse(BaseModel):
    """`status`: "live", or "ready", or "degraded" where only a replica answers, or the CPU for a GPU."""

    status: str


class ErrorOut(BaseModel):
    """What went wrong and what to do next; `field` names the part of the request at fault."""

    type: str
    message: str
    hint: str = ""
    field: str = ""


class ErrorResponse(BaseModel):
    """The body of every error."""

    error: ErrorOut


def web_address(meta: Mapping[str, MetaValue]) -> str | None:
    """`meta["url"]` where it is a web address; never `javascript:` or another scheme."""
    url = meta.get("url")
    return url if isinstance(url, str) and url.lower().startswith(("http://", "https://")) else None


def _counted(value: Any, units: Utf16) -> Any:
    """Every `start` and `end` in a JSON value, from code points to UTF-16 units."""
    match value:
        case list():
            return [_counted(item, units) for item in value]
        case dict():
            return {
                name: units.of(item) if name in ("start", "end") else _counted(item, units)
                for name, item in value.items()
            }
    return value


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _probability(confidence: float | None) -> float | None:
    return None if confidence is None else float(confidence)


def _shown(meta: Meta) -> dict[str, MetaValue]:
    return {name: value for name, value in meta.items() if name != RESERVED_META}


def _summary(document: Document) -> dict[str, Any]:
    return {
        "id": document.id,
        "title": document.title,
        "source": document.source,
        "language": document.language,
        "meta": _shown(document.meta),
        "url": web_address(document.meta),
    }
