"""Every failure as `{"error": {"type", "message", "hint", "field"}}`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from search_app.api.schemas import ErrorOut, ErrorResponse
from search_app.errors import SearchAppError

log = logging.getLogger(__name__)


def error_response(
    status: int, type_: str, message: str, *, hint: str = "", field: str = "", headers: Mapping[str, str] | None = None
) -> JSONResponse:
    body = ErrorResponse(error=ErrorOut(type=type_, message=message, hint=hint, field=field))
    return JSONResponse(body.model_dump(), status, headers)


def http_error(error: HTTPException) -> JSONResponse:
    name = HTTPStatus(error.status_code).phrase
    return error_response(error.status_code, name.title().replace(" ", ""), str(error.detail), headers=error.headers)


def install(app: FastAPI) -> None:
    """Registers the handlers; the last one hides what it does not know and logs it."""

    @app.exception_handler(SearchAppError)
    def known(request: Request, error: SearchAppError) -> JSONResponse:
        return error_response(
            error.http_status, type(error).__name__, error.message, hint=error.hint, field=error.field
        )

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = first["loc"]
        # ("body", "where", "str") is the field "where"; ("body", 17) is a place in unreadable JSON.
        field = where[1] if len(where) > 1 and isinstance(where[1], str) else where[0]
        return error_response(422, "InvalidQuery", f"{field}: {first['msg']}", field=str(field))

    @app.exception_handler(HTTPException)
    def http(request: Request, error: HTTPException) -> JSONResponse:
        return http_error(error)

    @app.exception_handler(Exception)
    def unknown(request: Request, error: Exception) -> JSONResponse:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return error_response(
            500,
            "InternalError",
            "something went wrong inside the server",
            hint="the server's log says what",
            headers={"Connection": "close"},  # as the server does now: a client must not send its next request on it
        )
