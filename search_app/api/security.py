"""Who may call the API: the key, its OpenAPI security schemes, and the refusal of other web sites."""

from __future__ import annotations

import hmac
from urllib.parse import urlsplit

from fastapi import Request
from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from search_app.api import errors

BEARER = HTTPBearer(auto_error=False, description="The API key, as `Authorization: Bearer KEY`.")
HEADER = APIKeyHeader(name="X-API-Key", auto_error=False, description="The API key, as `X-API-Key: KEY`.")

# The documentation describes the API and holds no data.
_OPEN = frozenset({"/docs", "/openapi.json"})
_OPEN_FOLDERS = ("/health/", "/docs/assets/")


class RequireKey:
    """Answers 401 without the key, before the body is read; health probes and the documentation need no key."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self.app = app
        self._key = key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _is_open(scope["path"]) or await self._has_key(Request(scope)):
            await self.app(scope, receive, send)
            return
        response = errors.error_response(
            401,
            "Unauthorized",
            "an API key is needed",
            hint="send it as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'",
            headers={"WWW-Authenticate": "Bearer"},
        )
        await response(scope, receive, send)

    async def _has_key(self, request: Request) -> bool:
        bearer = await BEARER(request)
        given = bearer.credentials if bearer else await HEADER(request) or ""
        return hmac.compare_digest(given.strip().encode("latin-1"), self._key)


class RefuseOtherSites:
    """Without a key: refuses changes sent by a web page of another site, such as a form."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD", "OPTIONS"):
            headers = Headers(scope=scope)
            origin = headers.get("origin")
            if origin is not None and urlsplit(origin).netloc != headers.get("host"):
                refused = HTTPException(403, "requests from web pages of other sites are refused")
                await errors.http_error(refused)(scope, receive, send)
                return
        await self.app(scope, receive, send)


def _is_open(path: str) -> bool:
    return path in _OPEN or path.startswith(_OPEN_FOLDERS)
