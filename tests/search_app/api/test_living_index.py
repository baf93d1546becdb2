"""Changes of an index under the API that answers from it: the next question knows, and none fails meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from scripted_api import ScriptedReader, ScriptedService, Text, index, running

from indexing.deletion import delete
from search_app.settings import Settings
from search_app.stores.filters import parse_where

COUNT = 40


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(home=tmp_path)
    texts = [
        Text(f"{number}.txt", f"Record {number} is about the harbour of town {number}.", "", {"number": number})
        for number in range(COUNT)
    ]
    index(settings, texts)
    return settings


@pytest.fixture
def api(settings: Settings) -> Iterator[httpx.Client]:
    service = ScriptedService(settings, ScriptedReader("harbour of town 7"))
    with running(service, settings) as url, httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        yield client
    service.close()


def search(api: httpx.Client, question: str, **more: object) -> tuple[set[str], int]:
    response = api.post("/v1/collections/default/search", json={"question": question, "k": 100, **more})
    assert response.status_code == 200, response.text
    found = response.json()
    return {hit["source"] for hit in found["hits"]}, found["generation"]


def test_the_question_after_a_deletion_finds_nothing_of_it(api: httpx.Client, settings: Settings) -> None:
    asked = {"question": "Where is the harbour of town 7?", "k": 20, "top_k": 1}
    answered = api.post("/v1/collections/default/answer", json=asked).json()
    assert answered["answers"][0]["text"] == "harbour of town 7"
    document = answered["answers"][0]["document_id"]
    before, generation = search(api, "harbour")
    assert len(before) == COUNT
    done = delete(settings, documents=[document])
    after, now = search(api, "harbour")
    assert after == before - {"7.txt"}
    assert generation < now == done.generation
    assert api.post("/v1/collections/default/answer", json=asked).json()["answers"] == []
    assert api.get(f"/v1/collections/default/documents/{document}").status_code == 404
    assert search(api, "town 7", where="number = 7")[0] == set()
    delete(settings, where=parse_where("number >= 20"))
    assert search(api, "harbour")[0] == {f"{number}.txt" for number in range(20) if number != 7}


def test_questions_asked_while_documents_go_see_each_deletion_whole(api: httpx.Client, settings: Settings) -> None:
    """Two documents go at once: an answer has both or none of a pair, and only what its generation has."""
    seen: list[tuple[set[str], int]] = []
    failures: list[BaseException] = []
    ended = threading.Event()

    def ask() -> None:
        try:
            while not ended.is_set():
                seen.append(search(api, "the harbour"))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    left = {search(api, "harbour")[1]: COUNT}
    for number in range(0, COUNT - 10, 2):
        done = delete(settings, sources=[f"{number}.txt", f"{number + 1}.txt"])
        left[done.generation] = left[max(left)] - 2
        time.sleep(0.02)
    ended.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert len({generation for _, generation in seen}) > 2
    for sources, generation in seen:
        assert len(sources) == left[generation]
        assert all(f"{int(name[:-4]) ^ 1}.txt" in sources for name in sources)
    assert search(api, "harbour")[0] == {f"{number}.txt" for number in range(COUNT - 10, COUNT)}


def test_a_document_that_comes_back_is_found_again(api: httpx.Client, settings: Settings) -> None:
    delete(settings, sources=["3.txt"])
    assert "3.txt" not in search(api, "harbour")[0]
    index(settings, [Text("3.txt", "The harbour of town 3 has been dredged.", "", {"number": 3})])
    assert "3.txt" in search(api, "dredged harbour")[0]
    assert api.get("/v1/collections").json()["collections"][0]["documents"] == COUNT
