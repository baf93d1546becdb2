"""Free TCP ports on loopback. Each worker of a test run has its own range, below the ephemeral ports."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Sequence

_PER_WORKER = 500
_WORKERS = 24
_FIRST = 20_000 + _PER_WORKER * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS)
_taken: set[int] = set()


def free_port() -> int:
    """A port that was not returned before."""
    return free_ports(1)


def free_ports(count: int, *, offsets: Sequence[int] = (0,)) -> int:
    """The first of `count` ports in a row that are free, each with the ports at these offsets."""
    for first in random.sample(range(_FIRST, _FIRST + _PER_WORKER - max(offsets) - count), 200):
        ports = {first + number + offset for number in range(count) for offset in offsets}
        if not ports & _taken and all(map(_is_free, ports)):
            _taken.update(ports)
            return first
    raise AssertionError("no free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
