"""A killed job loses and duplicates nothing; `make soak` repeats this a thousand times."""

from __future__ import annotations

import random
import secrets

import index_kills
from living_index import fast_folder


def test_ten_kills_of_each_kind_of_job_lose_and_duplicate_nothing() -> None:
    seed, struck = secrets.randbits(31), 0
    with fast_folder() as folder:
        bench = index_kills.Bench(folder, random.Random(seed))
        for number in range(40):
            played = bench.play(index_kills.pick(random.Random(f"{seed}:{number}"), number))
            assert not played.problems, f"seed {seed}, round {number}, {played.job}: {played.problems}"
            struck += played.kills
            if struck >= 10 and number >= len(index_kills.WEIGHTS):
                break
    assert struck >= 10
