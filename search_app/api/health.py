"""Health probes and metrics."""

from __future__ import annotations

import threading
from collections.abc import Callable

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse, Response

from search_app.api.metrics import Metrics
from search_app.api.schemas import ErrorResponse, HealthResponse
from search_app.api.service import Stores
from search_app.errors import IndexNotFound, IndexUnavailable, SearchAppError


class WarmUp:
    """Runs `warm_up` once, in a thread of its own."""

    def __init__(self, warm_up: Callable[[], None]) -> None:
        self._thread = threading.Thread(target=warm_up, name="warm-up", daemon=True)

    def start(self) -> None:
        """Returns at once."""
        self._thread.start()

    def join(self, seconds: float) -> None:
        """Wait for its end: a process that exits while a model loads may crash."""
        self._thread.join(seconds)

    def require_done(self) -> None:
        """Raises IndexUnavailable until the models have been used once."""
        if self._thread.is_alive():
            raise IndexUnavailable("the models are loading", hint="try again in a few seconds")


def health_routes(stores: Stores, warming: WarmUp) -> APIRouter:
    """`/health/live` and `/health/ready`."""
    router = APIRouter(prefix="/health", tags=["health"])

    @router.get("/live")
    async def live() -> HealthResponse:  # async: the threads may all be waiting for a slow server
        """The process is running."""
        return HealthResponse(status="live")

    @router.get("/ready", responses={503: {"model": ErrorResponse}})
    def ready() -> HealthResponse:
        """The models are loaded and at least one collection can be searched; else 503 with reason and next step.

        "degraded": only a replica answers, or the CPU instead of the GPU.
        """
        response = HealthResponse(status=_status(stores))
        warming.require_done()
        return response

    return router


def _status(stores: Stores) -> str:
    """Ready or degraded; raises the problem of a collection if none can be searched."""
    problem: SearchAppError = IndexNotFound("default")
    degraded = False
    for name in stores.collections():
        try:
            if not stores.store(name).is_degraded():
                return "ready"
            degraded = True
        except SearchAppError as error:
            problem = error
    if degraded:
        return "degraded"
    if isinstance(problem, IndexNotFound):
        raise IndexUnavailable(problem.message, hint=problem.hint)  # 503: a probe's address itself exists
    raise problem


def metrics_routes(metrics: Metrics) -> APIRouter:
    """`/metrics`."""
    router = APIRouter(tags=["health"])

    @router.get("/metrics", response_class=PlainTextResponse)
    def read() -> Response:
        """Metrics in Prometheus' text format."""
        return metrics.response()

    return router
