"""The REST server: who may speak to it, what it serves, how it starts and stops."""

from __future__ import annotations

import errno
import hmac
import ipaddress
import re
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from urllib.parse import urlsplit

import uvicorn
from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from search_app.api import errors
from search_app.api.jobs import job_routes
from search_app.api.key import api_key
from search_app.api.metrics import Measure, Metrics
from search_app.api.routes import Service, collection_routes, health_routes, metrics_routes
from search_app.api.uploads import is_form
from search_app.errors import ConfigurationError
from search_app.queue.queue import JobQueue
from search_app.settings import Settings

SHUTDOWN_SECONDS = 10
_UPLOADS = re.compile(r"/v1/collections/[^/]+/jobs")


def create_app(service: Service, settings: Settings) -> FastAPI:
    """The application; it closes `service` when it stops."""
    queue = JobQueue.of(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        queue.close()
        service.close()

    app = FastAPI(
        title="search-app",
        summary="Semantic search and extractive question answering over your own documents",
        version=version("search-app"),
        lifespan=lifespan,
    )
    errors.install(app)
    app.include_router(health_routes(service))
    app.include_router(collection_routes(service, settings))
    app.include_router(job_routes(queue, settings))
    metrics = Metrics(service, queue)
    app.include_router(metrics_routes(metrics))
    app.add_middleware(LimitBody, most=settings.api.max_body_bytes, most_upload=settings.jobs.max_upload_mb << 20)
    if key := api_key(settings.api):
        app.add_middleware(RequireKey, key=key)
    else:
        app.add_middleware(RefuseOtherSites)
    if _is_loopback(settings.api.host):
        # A web page whose name was re-pointed to 127.0.0.1 could read the answers otherwise.
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=["localhost", "127.0.0.1", "[::1]"], www_redirect=False)
    app.add_middleware(Measure, count=metrics.count)
    return app


class LimitBody:
    """Refuses a body of more than `most` bytes, an upload of more than `most_upload`: by its stated length unread, else
    as soon as that many have come."""

    def __init__(self, app: ASGIApp, most: int, most_upload: int) -> None:
        self.app = app
        self.most = most
        self.most_upload = most_upload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        is_upload = _UPLOADS.fullmatch(scope["path"]) is not None and is_form(headers.get("content-type", ""))
        most = self.most_upload if is_upload else self.most
        # Closing spares the server from reading the rest of it.
        too_large = HTTPException(413, f"the body has more than {most} bytes", headers={"Connection": "close"})
        stated = headers.get("content-length", "")
        if stated.isascii() and stated.isdigit() and int(stated) > most:
            await errors.http_error(too_large)(scope, receive, send)
            return
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > most:
                raise too_large
            return message

        await self.app(scope, limited, send)


class RefuseOtherSites:
    """Where there is no key: a web page elsewhere may not change anything here, as a form that it sends could."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD", "OPTIONS"):
            headers = Headers(scope=scope)
            origin = headers.get("origin")
            if origin is not None and urlsplit(origin).netloc != headers.get("host"):
                refused = HTTPException(403, "a web page of another site may not do this")
                await errors.http_error(refused)(scope, receive, send)
                return
        await self.app(scope, receive, send)


class RequireKey:
    """Turns away what comes without the key, before its body is read; /health stays open to probes."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self.app = app
        self.key = key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/health/") or self._knows(Headers(scope=scope)):
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

    def _knows(self, headers: Headers) -> bool:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        given = token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        return hmac.compare_digest(given.encode("latin-1"), self.key)


def check_bind(settings: Settings) -> None:
    """Raises ConfigurationError where the server would be open to others without a key."""
    if not _is_loopback(settings.api.host) and not api_key(settings.api):
        raise ConfigurationError(
            f"refusing to listen on {settings.api.host} without an API key",
            hint="set SEARCH_APP_API__KEY or SEARCH_APP_API__KEY_FILE, or listen on 127.0.0.1",
            field="api.key",
        )


def serve(
    settings: Settings,
    *,
    open_service: Callable[[Settings], Service] | None = None,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serves until SIGINT or SIGTERM, then lets running requests finish; `ready` is given the address.

    Raises ConfigurationError where the address cannot be used, before any model is loaded.
    """
    check_bind(settings)
    with _listen(settings) as listener:
        host, port = listener.getsockname()[:2]
        app = create_app(_open(settings) if open_service is None else open_service(settings), settings)
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=SHUTDOWN_SECONDS,
            )
        )
        (ready or _announce)(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")
        try:
            server.run(sockets=[listener])
        except KeyboardInterrupt:
            return


def _announce(url: str) -> None:
    print(f"serving at {url} (try it at {url}/docs); Ctrl-C stops it", file=sys.stderr, flush=True)


def _open(settings: Settings) -> Service:
    # Late, so that a port in use is said at once and not after the models' libraries have loaded.
    from search_app.bootstrap import open_service

    return open_service(settings)


def _listen(settings: Settings) -> socket.socket:
    host, port = settings.api.host, settings.api.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OverflowError as error:
        raise ConfigurationError(f"not a port: {port}", field="api.port") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConfigurationError(
                f"port {port} of {host} is in use",
                hint="stop the program that uses it, or choose another port: SEARCH_APP_API__PORT=8001",
                field="api.port",
            ) from error
        raise ConfigurationError(
            f"cannot listen on {host}:{port}: {error.strerror or error}", field="api.host"
        ) from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
