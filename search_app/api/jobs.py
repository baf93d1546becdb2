"""Jobs and schedules over HTTP. `search-index worker` does what is queued here."""

from __future__ import annotations

import shutil
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from search_app.api.names import CollectionName, JobId, ScheduleId
from search_app.api.schemas import (
    DeleteRequest,
    ErrorResponse,
    FolderOut,
    FoldersResponse,
    JobOut,
    JobRequest,
    JobsResponse,
    ScheduleOut,
    SchedulesResponse,
)
from search_app.api.search import as_filter
from search_app.api.uploads import FIELD, is_form, receive
from search_app.errors import InvalidQuery
from search_app.queue.jobs import Job, JobKind, new_id
from search_app.queue.queue import JobQueue
from search_app.queue.schedules import Schedules
from search_app.settings import JobSettings
from search_app.stores.filters import check

_REQUEST = JobRequest.model_json_schema()
# Inlined: FastAPI collects only the models that handlers have as parameters.
_REQUEST["properties"]["delete"]["anyOf"][0] = _REQUEST.pop("$defs")["DeleteRequest"]
_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {
                    FIELD: {"type": "array", "minItems": 1, "items": {"type": "string", "format": "binary"}}
                },
                "required": [FIELD],
            }
        },
        "application/json": {"schema": _REQUEST},
    },
}


def job_routes(queue: JobQueue, settings: JobSettings) -> APIRouter:
    """`/v1/collections/{name}/jobs` and `…/schedules`, and `/v1/folders`."""
    router = APIRouter(
        prefix="/v1",
        tags=["jobs"],
        responses={status: {"model": ErrorResponse} for status in (422, 503, 507)},
    )

    @router.post(
        "/collections/{name}/jobs",
        status_code=202,
        responses={status: {"model": ErrorResponse} for status in (400, 413)},
        openapi_extra={"requestBody": _BODY},
    )
    async def add(name: CollectionName, request: Request, response: Response) -> JobOut:
        """Queues files to index, a folder by name, or a delete. A job that was answered with 202 survives a crash."""
        content_type = request.headers.get("content-type", "")
        if is_form(content_type):
            job = await _upload(queue, settings, name, request)
        else:
            wanted = _parsed(content_type, await request.body())
            job = await run_in_threadpool(_add, queue, settings, name, wanted)
        response.headers["Location"] = job_path(job)
        return JobOut.of(job)

    @router.get("/collections/{name}/jobs")
    def jobs(
        name: CollectionName,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        offset: Annotated[int, Query(ge=0, le=1 << 40)] = 0,
    ) -> JobsResponse:
        """Lists jobs, newest first; `workers` counts the running workers."""
        return JobsResponse(
            jobs=[JobOut.of(job) for job in queue.list(name, limit=limit, offset=offset)],
            total=queue.count(name),
            workers=len(queue.live_workers()),
        )

    @router.get("/collections/{name}/jobs/{job_id}", responses={404: {"model": ErrorResponse}})
    def job(name: CollectionName, job_id: JobId) -> JobOut:
        """Returns a job's state, progress and result."""
        return JobOut.of(_known(queue, name, job_id))

    @router.post(
        "/collections/{name}/jobs/{job_id}/cancel",
        responses={404: {"model": ErrorResponse}, 409: {"model": ErrorResponse}},
    )
    def cancel(name: CollectionName, job_id: JobId) -> JobOut:
        """Cancels a job. A running one stops after its current batch and keeps what it has indexed."""
        _known(queue, name, job_id)
        if not queue.cancel(job_id):
            raise HTTPException(409, f"job {job_id} has ended")
        return JobOut.of(_known(queue, name, job_id))

    @router.get("/collections/{name}/schedules")
    def schedules(name: CollectionName) -> SchedulesResponse:
        """Lists the folders that are indexed repeatedly."""
        return SchedulesResponse(schedules=[ScheduleOut.of(schedule) for schedule in Schedules(queue).list(name)])

    @router.delete(
        "/collections/{name}/schedules/{schedule_id}", status_code=204, responses={404: {"model": ErrorResponse}}
    )
    def unschedule(name: CollectionName, schedule_id: ScheduleId) -> None:
        """Removes a schedule; its queued jobs and indexed documents stay."""
        mine = any(schedule.id == schedule_id for schedule in Schedules(queue).list(name))
        if not mine or not Schedules(queue).remove(schedule_id):
            raise HTTPException(404, f"no schedule {schedule_id} in collection '{name}'")

    @router.get("/folders")
    def folders() -> FoldersResponse:
        """Lists the folders that a job may name."""
        return FoldersResponse(folders=[FolderOut(name=name) for name in sorted(settings.folders)])

    return router


def job_path(job: Job) -> str:
    """The job's address, for the Location header."""
    return f"/v1/collections/{job.collection}/jobs/{job.id}"


async def _upload(queue: JobQueue, limits: JobSettings, collection: str, request: Request) -> Job:
    job_id = new_id()
    folder = queue.staging / job_id
    files = await receive(request, folder, limits)

    def enqueue() -> Job:
        try:
            return queue.enqueue(collection, JobKind.UPLOAD, {"files": files}, job_id=job_id)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    return await run_in_threadpool(enqueue)


def _parsed(content_type: str, body: bytes) -> JobRequest:
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise InvalidQuery(
            f"the content type must be 'multipart/form-data' or 'application/json', not {content_type[:100]!r}",
            field="body",
        )
    try:
        return JobRequest.model_validate_json(body)
    except ValidationError as error:
        raise RequestValidationError([{**each, "loc": ("body", *each["loc"])} for each in error.errors()]) from error


def _add(queue: JobQueue, limits: JobSettings, collection: str, wanted: JobRequest) -> Job:
    if wanted.delete is not None and wanted.folder is None and wanted.every is None:
        return queue.enqueue(collection, JobKind.DELETE, _deletion(wanted.delete))
    if wanted.folder is None or wanted.delete is not None:
        raise InvalidQuery(
            "a job needs either a folder or a delete", hint='send {"folder": NAME} or {"delete": {…}}', field="body"
        )
    _check_folder(wanted.folder, limits)
    if wanted.every is None:
        return queue.enqueue(collection, JobKind.FOLDER, {"folder": wanted.folder})
    schedule = Schedules(queue).set(collection, wanted.folder, wanted.every)
    return _known(queue, collection, schedule.last_job)


def _check_folder(name: str, limits: JobSettings) -> None:
    if name in limits.folders:
        return
    known = ", ".join(sorted(limits.folders))
    raise InvalidQuery(
        f"no folder is called {name[:100]!r}",
        hint=f"choose one of: {known}"
        if known
        else """name folders that jobs may index: SEARCH_APP_JOBS__FOLDERS='{"handbook": "/srv/handbook"}'""",
        field="folder",
    )


def _deletion(wanted: DeleteRequest) -> dict[str, object]:
    where = as_filter(wanted.where)
    if where is not None:
        check(where)
    if not wanted.documents and not wanted.sources and where is None:
        raise InvalidQuery("nothing to delete", hint="give documents, sources or where", field="delete")
    return {"documents": wanted.documents, "sources": wanted.sources, "where": where}


def _known(queue: JobQueue, collection: str, job_id: str) -> Job:
    job = queue.get(job_id)
    if job is None or job.collection != collection:
        raise HTTPException(404, f"no job {job_id} in collection '{collection}'")
    return job
