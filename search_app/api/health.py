"""Health probes and metrics."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse, Response

from search_app.api.metrics import Metrics
from search_app.api.schemas import ErrorResponse, HealthResponse
from search_app.api.service import Stores
from search_app.errors import IndexNotFound, IndexUnavailable, SearchAppError


def health_routes(stores: Stores) -> APIRouter:
    """`/health/live` and `/health/ready`."""
    router = APIRouter(prefix="/health", tags=["health"])

    @router.get("/live")
    async def live() -> HealthResponse:  # async: the threads may all be waiting for a slow server
        """The process is running."""
        return HealthResponse(status="live")

    @router.get("/ready", responses={503: {"model": ErrorResponse}})
    def ready() -> HealthResponse:
        """At least one collection can be searched; otherwise 503 with the reason and the next step.

        "degraded": only a replica answers, or the CPU instead of the GPU.
        """
        problem: SearchAppError = IndexNotFound("default")
        degraded = False
        for name in stores.collections():
            try:
                if not stores.store(name).is_degraded():
                    return HealthResponse(status="ready")
                degraded = True
            except SearchAppError as error:
                problem = error
        if degraded:
            return HealthResponse(status="degraded")
        if isinstance(problem, IndexNotFound):
            raise IndexUnavailable(problem.message, hint=problem.hint)  # 503: a probe's address itself exists
        raise problem

    return router


def metrics_routes(metrics: Metrics) -> APIRouter:
    """`/metrics`."""
    router = APIRouter(tags=["health"])

    @router.get("/metrics", response_class=PlainTextResponse)
    def read() -> Response:
        """Metrics in Prometheus' text format."""
        return metrics.response()

    return router
