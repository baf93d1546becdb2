"""Collections over HTTP. Renaming and dropping are jobs: the API never changes an index."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from search_app.api.jobs import job_path
from search_app.api.names import CollectionName
from search_app.api.schemas import CollectionOut, CollectionsResponse, ErrorResponse, JobOut, RenameRequest
from search_app.api.service import Stores
from search_app.errors import IndexNotFound, InvalidQuery, SearchAppError
from search_app.queue.jobs import Job, JobKind
from search_app.queue.queue import JobQueue


def collection_routes(stores: Stores, queue: JobQueue) -> APIRouter:
    """`/v1/collections`. Stores and queue block, so each handler runs in a thread."""
    router = APIRouter(prefix="/v1/collections", tags=["collections"], responses={503: {"model": ErrorResponse}})
    changes: dict[str, Any] = {
        "status_code": 202,
        "responses": {status: {"model": ErrorResponse} for status in (404, 422, 507)},
    }

    @router.get("")
    def collections() -> CollectionsResponse:
        """Lists all collections; one that cannot be used is listed with the reason."""
        return CollectionsResponse(collections=[_collection(stores, name) for name in stores.collections()])

    @router.patch("/{name}", **{**changes, "responses": {**changes["responses"], **_BODY}})
    def rename(name: CollectionName, body: RenameRequest, response: Response) -> JobOut:
        """Queues a job that renames the collection. Its uploads and schedules move along."""
        _require(stores, name)
        if body.name in stores.collections():
            raise InvalidQuery(f"collection '{body.name}' already exists", hint="choose another name", field="name")
        return _queued(queue.enqueue(name, JobKind.RENAME, {"name": body.name}), response)

    @router.delete("/{name}", **changes)
    def drop(name: CollectionName, response: Response) -> JobOut:
        """Queues a job that deletes the collection with its uploaded files and schedules."""
        _require(stores, name)
        return _queued(queue.enqueue(name, JobKind.DROP, {}), response)

    return router


_BODY = {status: {"model": ErrorResponse} for status in (400, 413)}


def _require(stores: Stores, name: str) -> None:
    if name not in stores.collections():
        raise IndexNotFound(name)


def _queued(job: Job, response: Response) -> JobOut:
    response.headers["Location"] = job_path(job)
    return JobOut.of(job)


def _collection(stores: Stores, name: str) -> CollectionOut:
    try:
        store = stores.store(name)
        counts = store.counts()
    except SearchAppError as error:
        return CollectionOut(name=name, error=error.message, hint=error.hint)
    return CollectionOut(
        name=name, documents=counts["documents"], passages=counts["passages"], generation=store.generation
    )
