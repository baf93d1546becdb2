"""Questions under load: a real server, real sockets, more clients than it can serve."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from scripted_api import ScriptedReader, ScriptedService, Text, index, running
from starlette.requests import ClientDisconnect

from search_app.api.admission import Admission, Pace
from search_app.errors import TooBusy
from search_app.settings import ApiSettings, Settings
from search_app.types import Answer, Hit

SECONDS = 0.05


class SlowReader:
    """One question at a time, SECONDS each."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.read = 0

    def __call__(self, question: str, hits: Sequence[Hit]) -> list[Answer]:
        with self._lock:
            time.sleep(SECONDS)
            self.read += 1
        return ScriptedReader("yellow")(question, hits)


def test_what_cannot_be_answered_in_time_is_refused_at_once(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, api=ApiSettings(max_wait=0.5, at_once=4))
    index(settings, [Text("fruit.txt", "Bananas are yellow.")])
    reader = SlowReader()
    with (
        running(ScriptedService(settings, reader), settings) as url,
        httpx.Client(base_url=url, trust_env=False) as api,
    ):

        def ask(number: int) -> tuple[int, float, str]:
            began = time.monotonic()
            answer = api.post("/v1/collections/default/answer", json={"question": f"What is yellow {number}?"})
            return answer.status_code, time.monotonic() - began, answer.headers.get("Retry-After", "")

        assert ask(0)[0] == 200
        with ThreadPoolExecutor(40) as clients:
            asked = list(clients.map(ask, range(40)))
            began = time.monotonic()
            assert api.get("/health/live").status_code == 200
            assert api.get("/health/ready").status_code == 200
            quick = time.monotonic() - began
        statuses = [status for status, *_ in asked]
        assert set(statuses) == {200, 503}
        assert reader.read == statuses.count(200) + 1
        assert all(seconds < 0.5 + 1 for status, seconds, _ in asked)
        assert all(int(after) >= 1 for status, _, after in asked if status == 503)
        assert quick < 1
        assert ask(41)[0] == 200  # it recovers
        busy = TooBusy(12, 3)
        assert str(busy) == "the server is busy: 12 questions are waiting; try again in 3 seconds"


def test_a_client_that_went_away_frees_its_place() -> None:
    async def main() -> None:
        admission = Admission(max_wait=10, at_once=1)
        done: list[str] = []

        async def here() -> bool:
            return False

        async def gone() -> bool:
            return True

        def work(name: str) -> str:
            time.sleep(SECONDS)
            done.append(name)
            return name

        await admission.run(lambda: None, here)
        results = await asyncio.gather(
            admission.run(lambda: work("first"), here),
            admission.run(lambda: work("gone"), gone),
            admission.run(lambda: work("last"), here),
            return_exceptions=True,
        )
        assert done == ["first", "last"]
        assert isinstance(results[1], ClientDisconnect)
        assert admission.inside == 0
        admission.close()

    asyncio.run(main())


def test_an_idle_server_takes_a_question_however_slow_the_last_ones_were() -> None:
    async def main() -> None:
        admission = Admission(max_wait=SECONDS / 10, at_once=1)

        async def here() -> bool:
            return False

        for _ in range(3):
            await admission.run(lambda: time.sleep(SECONDS), here)
        slow = asyncio.ensure_future(admission.run(lambda: time.sleep(SECONDS), here))
        await asyncio.sleep(0)
        with pytest.raises(TooBusy, match="1 question is waiting; try again in 1 second"):
            await admission.run(lambda: None, here)
        await slow
        admission.close()

    asyncio.run(main())


def test_the_pace_counts_only_the_time_with_work() -> None:
    now = 0.0
    pace = Pace(lambda: now)
    assert pace.seconds is None
    pace.began()
    now = 1.0
    pace.answered()
    pace.idle()
    now = 100.0
    pace.began()
    pace.began()
    now = 103.0
    pace.answered()
    pace.answered()  # both were computed together
    assert pace.seconds == pytest.approx((1 + 3 + 0) / 3)


def test_the_server_is_ready_once_its_models_are_warm(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    index(settings, [Text("fruit.txt", "Bananas are yellow.")])
    loaded = threading.Event()

    class Loading(ScriptedService):
        def warm_up(self) -> None:
            loaded.wait(10)

    with running(Loading(settings), settings) as url, httpx.Client(base_url=url, trust_env=False) as api:
        early = api.get("/health/ready")
        assert (early.status_code, early.json()["error"]["message"]) == (503, "the models are loading")
        assert api.get("/health/live").status_code == 200
        assert api.post("/v1/collections/default/search", json={"question": "bananas"}).status_code == 200
        loaded.set()
        until = time.monotonic() + 5
        while api.get("/health/ready").status_code != 200:
            assert time.monotonic() < until
            time.sleep(0.01)
