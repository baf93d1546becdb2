"""Metrics for Prometheus: requests by route and status, time by stage, indexes and jobs."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from search_app.api.service import Stores
from search_app.errors import SearchAppError
from search_app.queue.queue import JobQueue

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The metrics of one application; those of `search_app.observability` are of the whole process."""

    def __init__(self, stores: Stores, queue: JobQueue) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "search_app_requests", "Requests answered", ["route", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "search_app_request_seconds",
            "Seconds from a request to the end of its response",
            ["route"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._registry.register(_Indexes(stores))
        self._registry.register(_Jobs(queue))

    def count(self, route: str, status: int, seconds: float) -> None:
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def response(self) -> Response:
        return Response(generate_latest(self._registry) + generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)


class Measure:
    """Counts every request, refused ones too, by its route's template, never by the path that a client sent."""

    def __init__(self, app: ASGIApp, count: Callable[[str, int, float], None]) -> None:
        self.app = app
        self.count = count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start = time.perf_counter()
        status = 500

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, send_and_note)
        finally:
            route = getattr(scope.get("route"), "path", "")
            self.count(route, status, time.perf_counter() - start)


class _Indexes(Collector):
    """Read at each scrape; a collection that cannot be opened is left out."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    def describe(self) -> list[Metric]:
        return list(self._families())

    def collect(self) -> Iterator[Metric]:
        generation, documents, passages = families = self._families()
        with contextlib.suppress(SearchAppError):
            for name in self._stores.collections():
                with contextlib.suppress(SearchAppError):
                    store = self._stores.store(name)
                    counts = store.counts()
                    generation.add_metric([name], store.generation)
                    documents.add_metric([name], counts["documents"])
                    passages.add_metric([name], counts["passages"])
        yield from families

    def _families(self) -> tuple[GaugeMetricFamily, GaugeMetricFamily, GaugeMetricFamily]:
        return (
            GaugeMetricFamily("search_app_index_generation", "Generation of the index", labels=["collection"]),
            GaugeMetricFamily("search_app_index_documents", "Documents in the index", labels=["collection"]),
            GaugeMetricFamily("search_app_index_passages", "Passages in the index", labels=["collection"]),
        )


class _Jobs(Collector):
    """Read at each scrape; empty when no job was ever queued or the queue cannot be read."""

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue

    def describe(self) -> list[Metric]:
        return list(self._families())

    def collect(self) -> Iterator[Metric]:
        jobs, workers = self._families()
        with contextlib.suppress(SearchAppError):
            if self._queue.exists():
                for state, count in self._queue.count_by_state().items():
                    jobs.add_metric([state], count)
                workers.add_metric([], len(self._queue.live_workers()))
        yield from (jobs, workers)

    def _families(self) -> tuple[GaugeMetricFamily, GaugeMetricFamily]:
        return (
            GaugeMetricFamily("search_app_jobs", "Jobs in the queue and its history", labels=["state"]),
            GaugeMetricFamily("search_app_job_workers", "Running workers", labels=[]),
        )
