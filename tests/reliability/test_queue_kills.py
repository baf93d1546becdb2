"""Jobs end once, whoever is killed while they run: API, worker or both."""

from __future__ import annotations

import secrets

import pytest
import queue_kills


def test_three_kills_of_api_and_worker_lose_no_job_and_double_none() -> None:
    seed = secrets.randbits(31)
    (played,) = queue_kills.rounds(seed, range(1))
    assert not played.problems, f"seed {seed}: {played.problems}"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_thirty_kills_of_api_and_worker_lose_no_job_and_double_none() -> None:
    seed, struck = secrets.randbits(31), 0
    for number, played in enumerate(queue_kills.rounds(seed, range(100))):
        assert not played.problems, f"seed {seed}, round {number}: {played.problems}"
        struck += played.kills
        if struck >= 30:
            return
    raise AssertionError(f"only {struck} kills struck")
