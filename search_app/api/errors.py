"""Every failure as `{"error": {"type", "message", "hint", "field"}}`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPMethod, HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from search_app.api.schemas import ErrorOut, ErrorResponse
from search_app.errors import SearchAppError, TooBusy

log = logging.getLogger(__name__)


def error_response(
    status: int, type_: str, message: str, *, hint: str = "", field: str = "", headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """The response to a failed request."""
    body = ErrorResponse(error=ErrorOut(type=type_, message=message, hint=hint, field=field))
    return JSONResponse(body.model_dump(), status, headers)


def http_error(error: HTTPException) -> JSONResponse:
    """The response to an error of HTTP itself, such as 404 or 413."""
    name = HTTPStatus(error.status_code).phrase
    return error_response(error.status_code, name.title().replace(" ", ""), str(error.detail), headers=error.headers)


def install(app: FastAPI) -> None:
    """Registers the handlers; an unknown error is logged, and its response shows nothing of it."""

    @app.exception_handler(SearchAppError)
    def known(request: Request, error: SearchAppError) -> JSONResponse:
        headers = {"Retry-After": str(error.retry_after)} if isinstance(error, TooBusy) else None
        return error_response(
            error.http_status,
            type(error).__name__,
            error.message,
            hint=error.hint,
            field=error.field,
            headers=headers,
        )

    @app.exception_handler(ClientDisconnect)
    def left(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=499)  # nobody reads it; the metrics count it

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            return error_response(400, "BadRequest", "the body is not JSON", field="body")
        where = first["loc"]
        # ("body", "where", "str") is the field "where"; ("body",) is the body as a whole.
        field = where[1] if len(where) > 1 and isinstance(where[1], str) else where[0]
        return error_response(422, "InvalidQuery", f"{field}: {first['msg']}", field=str(field))

    @app.exception_handler(HTTPException)
    def http(request: Request, error: HTTPException) -> Response:
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            error.headers = {"Allow": ", ".join(_methods(request))}  # the router names those of one route only
            if request.method == HTTPMethod.OPTIONS:
                return Response(status_code=HTTPStatus.NO_CONTENT, headers=error.headers)
        return http_error(error)

    @app.exception_handler(Exception)
    def unknown(request: Request, error: Exception) -> JSONResponse:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return error_response(
            500,
            "InternalError",
            "something went wrong inside the server",
            hint="see the server's log",
            headers={"Connection": "close"},  # the server closes it: a client must not send its next request on it
        )


def _methods(request: Request) -> list[HTTPMethod]:
    """The methods that the path of a request has a route for."""
    offered = [
        method
        for method in HTTPMethod
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in request.app.routes)
    ]
    return sorted({*offered, HTTPMethod.OPTIONS})
