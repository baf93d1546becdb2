"""What can be asked over HTTP. Handlers are plain functions: the service blocks, so each runs in a thread."""

# No `from __future__ import annotations`: FastAPI could not resolve the request models, which are made per app.

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, BinaryIO, Protocol, TypeAlias
from urllib.parse import quote

from fastapi import APIRouter, Path, Query
from fastapi.responses import PlainTextResponse, Response, StreamingResponse
from pydantic import AfterValidator
from starlette.exceptions import HTTPException

from search_app.api.metrics import Metrics
from search_app.api.schemas import (
    AnswerRequest,
    CollectionOut,
    CollectionsResponse,
    DocumentResponse,
    DocumentsResponse,
    DocumentSummary,
    ErrorResponse,
    HealthResponse,
    SearchRequest,
    SearchResponse,
    request_models,
)
from search_app.errors import ConfigurationError, IndexNotFound, InvalidQuery, SearchAppError
from search_app.protocols import FileRecord, PassageStore
from search_app.settings import Settings, check_collection_name
from search_app.stores.filters import parse_where
from search_app.types import Filter, SearchResult

BLOCK_BYTES = 1 << 20


def _collection_name(name: str) -> str:
    try:
        return check_collection_name(name)
    except ConfigurationError as error:
        raise InvalidQuery(error.message, hint=error.hint, field="name") from error


CollectionName = Annotated[str, AfterValidator(_collection_name), Path(examples=["default"])]
DocumentId = Annotated[str, Path(min_length=1, max_length=256)]


class Service(Protocol):
    """What the routes need of `search_app.service.SearchService`."""

    def search(self, question: str, *, collection: str, k: int, where: Filter | None) -> SearchResult: ...

    def answer(self, question: str, *, collection: str, k: int, top_k: int, where: Filter | None) -> SearchResult: ...

    def store(self, collection: str) -> PassageStore: ...

    def collections(self) -> Sequence[str]: ...

    def close(self) -> None: ...


def health_routes(service: Service) -> APIRouter:
    router = APIRouter(prefix="/health", tags=["health"])

    @router.get("/live")
    async def live() -> HealthResponse:  # async: it needs none of the threads, which may all wait for a slow server
        """The process runs."""
        return HealthResponse(status="live")

    @router.get("/ready", responses={503: {"model": ErrorResponse}})
    def ready() -> HealthResponse:
        """At least one collection can be searched; 503 with what to do where none can.

        "degraded" if only in a replica or without its GPU.
        """
        problem: SearchAppError = IndexNotFound("default")
        degraded = False
        for name in service.collections():
            try:
                if not service.store(name).is_degraded():
                    return HealthResponse(status="ready")
                degraded = True
            except SearchAppError as error:
                problem = error
        if degraded:
            return HealthResponse(status="degraded")
        raise problem

    return router


def metrics_routes(metrics: Metrics) -> APIRouter:
    router = APIRouter(tags=["health"])

    @router.get("/metrics", response_class=PlainTextResponse, responses={401: {"model": ErrorResponse}})
    def read() -> Response:
        """For Prometheus, in its text format."""
        return metrics.response()

    return router


def collection_routes(service: Service, settings: Settings) -> APIRouter:
    router = APIRouter(
        prefix="/v1/collections",
        responses={status: {"model": ErrorResponse} for status in (401, 413, 422, 503)},
    )
    if TYPE_CHECKING:
        SearchBody: TypeAlias = SearchRequest
        AnswerBody: TypeAlias = AnswerRequest
    else:
        SearchBody, AnswerBody = request_models(settings.limits)

    @router.post("/{name}/search", tags=["search"])
    def search(name: CollectionName, body: SearchBody) -> SearchResponse:
        """The passages nearest to a question, best first."""
        found = service.search(body.question, collection=name, k=body.k, where=as_filter(body.where))
        return SearchResponse.of(found)

    @router.post("/{name}/answer", tags=["search"])
    def answer(name: CollectionName, body: AnswerBody) -> SearchResponse:
        """Answers to a question, marked in the passages that were found."""
        found = service.answer(body.question, collection=name, k=body.k, top_k=body.top_k, where=as_filter(body.where))
        return SearchResponse.of(found)

    @router.get("", tags=["documents"])
    def collections() -> CollectionsResponse:
        """All collections; one that cannot be used is listed with the reason."""
        return CollectionsResponse(collections=[_collection(service, name) for name in service.collections()])

    @router.get("/{name}/documents", tags=["documents"])
    def documents(
        name: CollectionName,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        offset: Annotated[int, Query(ge=0, le=1 << 40)] = 0,
    ) -> DocumentsResponse:
        """What is indexed, in order of source."""
        store = service.store(name)
        return DocumentsResponse(
            documents=[DocumentSummary.of(document) for document in store.documents(limit=limit, offset=offset)],
            total=store.counts()["documents"],
            limit=limit,
            offset=offset,
        )

    @router.get("/{name}/documents/{document_id}", tags=["documents"], responses={404: {"model": ErrorResponse}})
    def document(
        name: CollectionName,
        document_id: DocumentId,
        start: Annotated[int, Query(ge=0, description="first character wanted")] = 0,
        end: Annotated[int | None, Query(ge=0, description="character after the last one wanted")] = None,
    ) -> DocumentResponse:
        """A document's text, or a part of it, with its pages and headings."""
        found = service.store(name).document(document_id)
        if found is None:
            raise HTTPException(404, f"no document {document_id} in collection '{name}'")
        return DocumentResponse.part(found, start, end)

    @router.get(
        "/{name}/documents/{document_id}/original",
        tags=["documents"],
        response_class=StreamingResponse,
        responses={404: {"model": ErrorResponse}, 410: {"model": ErrorResponse}},
    )
    def original(name: CollectionName, document_id: DocumentId) -> StreamingResponse:
        """The file that the document was read from, as long as it is still the file that was indexed."""
        record = service.store(name).file_of(document_id)
        if record is None:
            raise HTTPException(404, f"no document {document_id} in collection '{name}'")
        return _download(record)

    return router


def _collection(service: Service, name: str) -> CollectionOut:
    try:
        store = service.store(name)
        counts = store.counts()
    except SearchAppError as error:
        return CollectionOut(name=name, error=error.message, hint=error.hint)
    return CollectionOut(
        name=name, documents=counts["documents"], passages=counts["passages"], generation=store.generation
    )


def as_filter(where: str | dict[str, object] | None) -> Filter | None:
    if isinstance(where, str):
        return parse_where(where) if where.strip() else None
    return where or None


def _download(record: FileRecord) -> StreamingResponse:
    """Always as bytes to save: a browser must not run an indexed page under this server's name."""
    name = os.path.basename(record.path)
    file = _open_indexed(record)
    return StreamingResponse(
        _blocks(file),
        media_type="application/octet-stream",
        headers={
            "Content-Length": str(record.size),
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='', errors='replace')}",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "sandbox; default-src 'none'",
        },
    )


def _open_indexed(record: FileRecord) -> BinaryIO:
    if "://" in record.path:
        raise HTTPException(410, f"{record.path} is in an object store, from which this server hands out nothing")
    gone = HTTPException(410, f"{record.source} is no longer the file that was indexed; run: search-index apply")
    try:
        # Without O_NONBLOCK the open would wait for ever where the file has become a named pipe.
        file = os.fdopen(os.open(record.path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb")
    except OSError:
        raise gone from None
    try:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size != record.size:
            raise gone
        if hashlib.file_digest(file, "sha256").hexdigest() != record.digest.partition("+")[0]:
            raise gone
        file.seek(0)
    except OSError:
        file.close()
        raise gone from None
    except HTTPException:
        file.close()
        raise
    return file


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while block := file.read(BLOCK_BYTES):
            yield block
