"""How long calls take."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")


def timed(times: list[float], call: Callable[..., T], *given: Any, **named: Any) -> T:
    """The result of the call; its seconds are appended to `times`."""
    start = time.perf_counter()
    result = call(*given, **named)
    times.append(time.perf_counter() - start)
    return result


def percentiles(name: str, times: Sequence[float]) -> dict[str, float]:
    """The median and the 95th percentile, as `name` with 50 and with 95 behind it; nothing for no times."""
    return {f"{name}{at}": float(np.percentile(times, at)) for at in (50, 95)} if times else {}
