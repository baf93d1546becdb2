"""The REST API as Python calls. Every failure is an ApiError with a hint."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any, BinaryIO, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from search_app.api.schemas import (
    CollectionOut,
    CollectionsResponse,
    DocumentResponse,
    DocumentsResponse,
    ErrorResponse,
    FoldersResponse,
    HealthResponse,
    JobOut,
    JobsResponse,
    PassagesResponse,
    ScheduleOut,
    SchedulesResponse,
    SearchResponse,
)

API_URL_VARIABLE = "SEARCH_APP_UI_API_URL"
API_KEY_VARIABLE = "SEARCH_APP_API__KEY"
DEFAULT_API_URL = "http://127.0.0.1:8000"
CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 120.0  # the first question loads the models

Response = TypeVar("Response", bound=BaseModel)


class ApiError(Exception):
    """The API refused a request; `hint` is what to do next."""

    def __init__(self, message: str, *, hint: str = "", field: str = "", status: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.field = field
        self.status = status


class ApiUnreachable(ApiError):
    """No connection to the API, or no response in time."""


class Client:
    """Thread-safe; one serves all sessions."""

    def __init__(self, url: str, key: str = "") -> None:
        self.url = url.rstrip("/")
        self._http = httpx.Client(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
            trust_env=False,  # a web proxy must not be between the UI and its API
        )

    @classmethod
    def from_environment(cls) -> Client:
        return cls(os.environ.get(API_URL_VARIABLE) or DEFAULT_API_URL, os.environ.get(API_KEY_VARIABLE, ""))

    def answer(self, collection: str, question: str, *, k: int, top_k: int, where: str = "") -> SearchResponse:
        body = {"question": question, "k": k, "top_k": top_k, "where": where or None}
        return self._call(SearchResponse, "POST", f"{_path(collection)}/answer", json=body)

    def collections(self) -> list[CollectionOut]:
        return self._call(CollectionsResponse, "GET", "/v1/collections").collections

    def require_ready(self) -> None:
        """Raises ApiError if the API has nothing to answer from."""
        self._call(HealthResponse, "GET", "/health/ready")

    def documents(self, collection: str, *, limit: int, offset: int) -> DocumentsResponse:
        path = f"{_path(collection)}/documents"
        return self._call(DocumentsResponse, "GET", path, params={"limit": limit, "offset": offset})

    def document(self, collection: str, document_id: str, *, start: int, end: int) -> DocumentResponse:
        path = _document_path(collection, document_id)
        return self._call(DocumentResponse, "GET", path, params={"start": start, "end": end})

    def passages(self, collection: str, document_id: str, *, start: int, end: int, limit: int) -> PassagesResponse:
        path = f"{_document_path(collection, document_id)}/passages"
        return self._call(PassagesResponse, "GET", path, params={"start": start, "end": end, "limit": limit})

    def page(self, collection: str, document_id: str, number: int, *, start: int, end: int, width: int) -> bytes:
        """A page as PNG, with the characters [start, end) of the document marked."""
        path = f"{_document_path(collection, document_id)}/pages/{number}.png"
        return self._send("GET", path, params={"start": start, "end": end, "width": width}).content

    def original(self, collection: str, document_id: str) -> bytes:
        """The bytes of the file that the document was read from."""
        return self._send("GET", f"{_document_path(collection, document_id)}/original").content

    def upload(self, collection: str, files: Iterable[tuple[str, BinaryIO]]) -> JobOut:
        """Streams (name, content) pairs to the API, for a worker to index."""
        parts = [("files", (name, content, "application/octet-stream")) for name, content in files]
        return self._call(JobOut, "POST", f"{_path(collection)}/jobs", files=parts)

    def index_folder(self, collection: str, folder: str, *, every: str | None = None) -> JobOut:
        """Index a folder once, or repeatedly by the cron expression `every`."""
        return self._call(JobOut, "POST", f"{_path(collection)}/jobs", json={"folder": folder, "every": every})

    def delete(self, collection: str, documents: Sequence[str]) -> JobOut:
        body = {"delete": {"documents": list(documents)}}
        return self._call(JobOut, "POST", f"{_path(collection)}/jobs", json=body)

    def rename_collection(self, collection: str, name: str) -> JobOut:
        return self._call(JobOut, "PATCH", _path(collection), json={"name": name})

    def drop_collection(self, collection: str) -> JobOut:
        return self._call(JobOut, "DELETE", _path(collection))

    def jobs(self, collection: str, *, limit: int) -> JobsResponse:
        return self._call(JobsResponse, "GET", f"{_path(collection)}/jobs", params={"limit": limit})

    def job(self, collection: str, job_id: str) -> JobOut:
        return self._call(JobOut, "GET", f"{_path(collection)}/jobs/{quote(job_id, safe='')}")

    def cancel(self, collection: str, job_id: str) -> JobOut:
        return self._call(JobOut, "POST", f"{_path(collection)}/jobs/{quote(job_id, safe='')}/cancel")

    def folders(self) -> list[str]:
        """Names of the folders that the server may index."""
        return [folder.name for folder in self._call(FoldersResponse, "GET", "/v1/folders").folders]

    def schedules(self, collection: str) -> list[ScheduleOut]:
        return self._call(SchedulesResponse, "GET", f"{_path(collection)}/schedules").schedules

    def unschedule(self, collection: str, schedule_id: str) -> None:
        self._send("DELETE", f"{_path(collection)}/schedules/{quote(schedule_id, safe='')}")

    def close(self) -> None:
        self._http.close()

    def _call(self, model: type[Response], method: str, path: str, **arguments: Any) -> Response:
        response = self._send(method, path, **arguments)
        try:
            return model.model_validate_json(response.content)
        except ValidationError as error:
            raise ApiError(f"{self.url} is not the API of search-app", hint=f"check {API_URL_VARIABLE}") from error

    def _send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        try:
            response = self._http.request(method, self.url + path, **arguments)
        except httpx.TimeoutException as error:
            raise ApiUnreachable(f"the search API at {self.url} did not answer in time") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ApiUnreachable(
                f"the search API does not answer at {self.url}", hint="run: search-app serve"
            ) from error
        if response.is_success:
            return response
        try:
            problem = ErrorResponse.model_validate_json(response.content).error
        except ValidationError:
            raise ApiError(
                f"{self.url} answered with HTTP status {response.status_code}",
                hint=f"check {API_URL_VARIABLE}",
                status=response.status_code,
            ) from None
        hint = f"set {API_KEY_VARIABLE} for the UI too" if response.status_code == 401 else problem.hint
        raise ApiError(problem.message, hint=hint, field=problem.field, status=response.status_code)


def _path(collection: str) -> str:
    return f"/v1/collections/{quote(collection, safe='')}"


def _document_path(collection: str, document_id: str) -> str:
    return f"{_path(collection)}/documents/{quote(document_id, safe='')}"
