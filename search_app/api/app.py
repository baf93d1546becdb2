"""The REST server: builds the application, checks the address, starts and stops."""

from __future__ import annotations

import errno
import ipaddress
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

import uvicorn
from fastapi import APIRouter, FastAPI, Security
from starlette.middleware.trustedhost import TrustedHostMiddleware

from indexing.page_pictures import PagePictures
from search_app.api import errors
from search_app.api.admission import Admission
from search_app.api.collections import collection_routes
from search_app.api.docs import add_docs
from search_app.api.documents import document_routes
from search_app.api.health import WarmUp, health_routes, metrics_routes
from search_app.api.jobs import job_routes
from search_app.api.key import api_key
from search_app.api.limits import LimitBody
from search_app.api.metrics import Measure, Metrics
from search_app.api.pages import page_routes
from search_app.api.schemas import ErrorResponse
from search_app.api.search import search_routes
from search_app.api.security import BEARER, HEADER, RefuseOtherSites, RequireKey
from search_app.api.service import Service
from search_app.errors import ConfigurationError
from search_app.queue.queue import JobQueue
from search_app.settings import Settings

SHUTDOWN_SECONDS = 10


def create_app(service: Service, settings: Settings) -> FastAPI:
    """The application; it closes `service` when it stops."""
    queue, pictures = JobQueue.from_settings(settings), PagePictures()
    warming = WarmUp(service.warm_up)
    admission = Admission(max_wait=settings.api.max_wait, at_once=settings.api.at_once)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        warming.start()
        yield
        warming.join(SHUTDOWN_SECONDS)
        admission.close()
        pictures.close()
        queue.close()
        service.close()

    app = FastAPI(
        title="search-app",
        summary="Semantic search and extractive question answering over your own documents",
        version=version("search-app"),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    errors.install(app)
    add_docs(app)
    app.include_router(health_routes(service, warming))
    metrics = Metrics(service, queue)
    key = api_key(settings.api)
    # RequireKey checks the key; this states it in OpenAPI.
    locked: dict[str, Any] = {
        "dependencies": [Security(BEARER), Security(HEADER)],
        "responses": {401: {"model": ErrorResponse}},
    }
    for router in _routers(service, queue, pictures, metrics, admission, settings):
        app.include_router(router, **(locked if key else {}))
    app.add_middleware(LimitBody, most=settings.api.max_body_bytes, most_upload=settings.jobs.max_upload_mb << 20)
    if key:
        app.add_middleware(RequireKey, key=key)
    else:
        app.add_middleware(RefuseOtherSites)
    if _is_loopback(settings.api.host):
        # Otherwise a web page whose name was re-pointed to 127.0.0.1 could read the answers.
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=["localhost", "127.0.0.1", "[::1]"], www_redirect=False)
    app.add_middleware(Measure, count=metrics.count)
    return app


def _routers(
    service: Service,
    queue: JobQueue,
    pictures: PagePictures,
    metrics: Metrics,
    admission: Admission,
    settings: Settings,
) -> list[APIRouter]:
    """Everything that needs the key."""
    return [
        search_routes(service, settings.limits, admission),
        document_routes(service),
        page_routes(service, pictures),
        collection_routes(service, queue),
        job_routes(queue, settings.jobs),
        metrics_routes(metrics),
    ]


def check_bind(settings: Settings) -> None:
    """Raises ConfigurationError when the server would be open to other machines without a key."""
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
    """Serves until SIGINT or SIGTERM, then finishes the running requests; calls `ready` with the address.

    Raises ConfigurationError when the address cannot be used, before any model is loaded.
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
    print(f"serving at {url} (documentation: {url}/docs); press Ctrl-C to stop", file=sys.stderr, flush=True)


def _open(settings: Settings) -> Service:
    # Imported late, so that a port in use is reported before the models' libraries load.
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
