"""Times the stages of a request, for the response, the log and Prometheus."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from prometheus_client import Histogram

_log = logging.getLogger("search_app")
_timings: ContextVar[dict[str, float] | None] = ContextVar("timings", default=None)
_STAGE_SECONDS = Histogram("search_app_stage_seconds", "Seconds spent in a stage of a request", ["stage"])


@contextmanager
def collect_timings() -> Iterator[dict[str, float]]:
    """Collect the seconds of each stage that runs in the block, in this thread."""
    timings: dict[str, float] = {}
    token = _timings.set(timings)
    try:
        yield timings
    finally:
        _timings.reset(token)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Time the block as one stage of a request."""
    start = time.perf_counter()
    try:
        yield
    finally:
        seconds = time.perf_counter() - start
        _STAGE_SECONDS.labels(name).observe(seconds)
        timings = _timings.get()
        if timings is not None:
            timings[name] = timings.get(name, 0.0) + seconds
        _log.debug("%s took %.1f ms", name, seconds * 1000)
