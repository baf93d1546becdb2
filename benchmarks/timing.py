"""How long calls take."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")


def timed(times: list[float], call: Callable[..., T], *given: Any, **named: Any) -> T:
    """Call it and return its result; append its seconds to `times`."""
    start = time.perf_counter()
    result = call(*given, **named)
    times.append(time.perf_counter() - start)
    return result


def percentiles(name: str, times: Sequence[float]) -> dict[str, float]:
    """Median and 95th percentile as {name}50 and {name}95; empty without times."""
    return {f"{name}{at}": float(np.percentile(times, at)) for at in (50, 95)} if times else {}
