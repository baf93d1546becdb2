"""`docker compose up` with the embedded index on a real engine: build, start, index, ask, kill, inspect."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from checks import (
    ANSWER,
    QUESTION,
    WRITABLE,
    ask,
    best,
    published,
    require_locked_down,
    require_locked_down_inside,
    secrets_in_sight,
    see_the_answer,
)
from stack import Stack, wait

pytestmark = [pytest.mark.docker, pytest.mark.timeout(1800)]

INDEX_COMMAND = "docker compose run --rm indexer apply /data"
LIMITS = """
from pathlib import Path
first = lambda *paths: next(path.read_text().strip() for path in map(Path, paths) if path.exists())
print(first("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"))
print(first("/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/pids/pids.max"))
import torch
print(torch.get_num_threads())
"""


@pytest.fixture(scope="module")
def stack(start: Callable[..., Stack]) -> Stack:
    stack = start()
    stack.up()
    stack.until_healthy("api", "ui", "worker")
    return stack


@pytest.fixture
def api(stack: Stack) -> Iterator[httpx.Client]:
    with stack.api() as client:
        yield client


def test_an_empty_installation_is_live_and_shows_how_to_index(stack: Stack, api: httpx.Client, page: Any) -> None:
    assert api.get("/health/live").status_code == 200
    ready = api.get("/health/ready")
    assert (ready.status_code, ready.json()["error"]["type"]) == (503, "IndexUnavailable")
    page.goto(stack.page)
    page.get_by_text("No index for collection").wait_for()
    assert page.locator("code").first.inner_text().strip() == INDEX_COMMAND


def test_a_running_api_answers_from_newly_indexed_documents(stack: Stack, api: httpx.Client) -> None:
    before = stack.container("api")["State"]["StartedAt"]
    said = stack.index("apply", "/data", "--json")
    summary = json.loads(said.stdout)
    assert (summary["added"], summary["failed"]) == (len(list(stack.documents.rglob("*.*"))), 0)
    found = ask(api)
    assert best(found) == ANSWER
    assert found["answers"][0]["source"] == "/data/packages/tokenizers.md"
    assert api.get("/health/ready").status_code == 200
    (stack.documents / "late.txt").write_text("The spare key hangs behind the blue teapot.\n")
    stack.index("apply", "/data")
    later = ask(api, "Where does the spare key hang?")
    assert "blue teapot" in best(later)
    assert later["generation"] > found["generation"]
    assert stack.container("api")["State"]["StartedAt"] == before, "nobody started it again"


def test_the_search_page_highlights_the_answer(stack: Stack, page: Any) -> None:
    see_the_answer(page, stack)


def test_the_original_is_the_indexed_file(stack: Stack, api: httpx.Client) -> None:
    document = ask(api)["answers"][0]["document_id"]
    original = api.get(f"/v1/collections/default/documents/{document}/original")
    assert original.content == (stack.documents / "packages" / "tokenizers.md").read_bytes()


def test_the_api_answers_while_a_job_is_killed_and_nothing_is_lost(
    stack: Stack, api: httpx.Client, more_documents: Path
) -> None:
    name = f"{stack.project}-killed"
    job = ["apply", "/more", "--collection", "more", "--json"]
    mount = ["-v", f"{more_documents}:/more:ro"]
    stack.compose("run", "--detach", "--name", name, *mount, "indexer", *job)

    def documents() -> int:
        assert best(ask(api)) == ANSWER
        collections = {item["name"]: item for item in api.get("/v1/collections").json()["collections"]}
        # Until the job's first commit, the collection is there without an index.
        assert collections.get("more", {}).get("error") in (None, "no index for collection 'more'")
        return int(collections.get("more", {}).get("documents", 0))

    wait(lambda: documents() > 8, "the job to write", lambda: stack.engine.docker("logs", name).stdout)
    stack.engine.docker("kill", name)
    stack.engine.docker("rm", name)
    assert documents() > 8
    summary = json.loads(stack.compose("run", "--rm", "-T", *mount, "indexer", *job).stdout)
    files = len([path for path in more_documents.rglob("*") if path.is_file()])
    assert summary["unchanged"] > 0, "what the killed job had committed is kept"
    assert summary["added"] + summary["changed"] + summary["unchanged"] == files
    assert documents() == files
    assert "sound" in stack.index("verify", "--collection", "more").stdout


def test_the_worker_indexes_an_upload_and_the_running_api_answers_from_it(stack: Stack, api: httpx.Client) -> None:
    before = stack.container("api")["State"]["StartedAt"]
    files = [
        ("files", ("cellar.txt", b"The wine cellar was dug in 1874.\n")),
        ("files", ("house/roof.md", b"# Roof\n\nThe roof is made of copper.\n")),
    ]
    job = ended(stack, api, queued(api, "uploads", files=files))
    assert (job["state"], job["result"]["added"], job["problems"]) == ("done", 2, [])
    found = ask(api, "When was the wine cellar dug?", "uploads")
    assert "1874" in best(found)
    original = api.get(f"/v1/collections/uploads/documents/{found['answers'][0]['document_id']}/original")
    assert original.content == files[0][1][1]
    assert stack.container("api")["State"]["StartedAt"] == before


def test_a_job_whose_worker_is_killed_finishes_when_the_worker_restarts(stack: Stack, api: httpx.Client) -> None:
    place = queued(api, "folder", json={"folder": "documents"})
    wait(lambda: api.get(place).json()["state"] == "running", "the worker to take the job")
    stack.crash("worker")
    job = ended(stack, api, place)
    assert (job["state"], job["attempts"]) == ("done", 2)
    collections = {item["name"]: item for item in api.get("/v1/collections").json()["collections"]}
    assert collections["folder"]["documents"] == len(list(stack.documents.rglob("*.*")))
    assert best(ask(api, collection="folder")) == ANSWER


def queued(api: httpx.Client, collection: str, **request: Any) -> str:
    """The URL of the new job."""
    response = api.post(f"/v1/collections/{collection}/jobs", **request)
    assert response.status_code == 202, response.text
    return response.headers["location"]


def ended(stack: Stack, api: httpx.Client, place: str) -> dict[str, Any]:
    wait(
        lambda: api.get(place).json()["state"] not in ("queued", "running"),
        f"{place} to end",
        lambda: api.get(place).text + stack.compose("logs", "--tail", "40", "worker").stdout,
    )
    return dict(api.get(place).json())


@pytest.mark.parametrize("service", ["api", "ui"])
def test_a_killed_container_restarts_and_nothing_is_lost(stack: Stack, service: str, page: Any) -> None:
    key = stack.key()
    stack.crash(service)
    assert stack.key() == key
    with stack.api() as api:
        assert best(ask(api)) == ANSWER
    see_the_answer(page, stack)


def test_data_survive_down_and_up(stack: Stack) -> None:
    key = stack.key()
    stack.down()
    stack.up()
    stack.until_healthy("api", "ui")
    assert stack.key() == key
    with stack.api() as api:
        assert best(ask(api)) == ANSWER
        collections = {item["name"] for item in api.get("/v1/collections").json()["collections"]}
        assert collections == {"default", "more", "uploads", "folder"}
        assert api.get("/v1/collections/uploads/jobs").json()["total"] == 1


@pytest.mark.parametrize("service", ["api", "ui", "worker"])
def test_containers_have_minimal_privileges(stack: Stack, service: str) -> None:
    require_locked_down(stack.container(service))
    require_locked_down_inside(stack, service, writable=WRITABLE[service])


def test_resource_limits_apply_and_threads_match_them(stack: Stack) -> None:
    host = stack.container("api")["HostConfig"]
    memory, pids, threads = stack.python("api", LIMITS).split()
    assert (int(memory), int(pids)) == (host["Memory"], host["PidsLimit"])
    assert int(threads) * 10**9 == host["NanoCpus"]


def test_the_indexer_has_no_network_and_writes_only_to_the_index(stack: Stack) -> None:
    code = (
        "import os, socket; print([name for _, name in socket.if_nameindex()]);"
        "print([f for f in ('/', '/data', '/var/lib/search-app', '/secrets/indexer') if os.access(f, os.W_OK)]);"
        "print(os.getuid())"
    )
    said = stack.compose("run", "--rm", "-T", "--entrypoint", "python", "indexer", "-c", code).stdout
    assert said.splitlines() == ["['lo']", "['/var/lib/search-app']", "1000"]


def test_the_worker_has_no_network(stack: Stack) -> None:
    assert stack.python("worker", "import socket; print([name for _, name in socket.if_nameindex()])") == "['lo']\n"


def test_only_the_api_and_the_pages_are_published_on_loopback(stack: Stack) -> None:
    assert published(stack) == {
        ("api", "127.0.0.1", str(stack.ports["api"])),
        ("ui", "127.0.0.1", str(stack.ports["ui"])),
    }


def test_the_api_requires_the_key_and_no_log_shows_it(stack: Stack) -> None:
    for path in ("/v1/collections", "/metrics"):
        assert httpx.get(stack.url + path, trust_env=False).status_code == 401
    assert secrets_in_sight(stack, ["api", "ui"]) == []


def test_no_log_contains_questions(stack: Stack) -> None:
    with stack.api() as api:
        ask(api)
    assert QUESTION not in stack.compose("logs").stdout


def test_the_pages_refuse_an_unknown_host_name(stack: Stack) -> None:
    headers = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    stream = f"{stack.page}/_stcore/stream"
    assert httpx.get(stream, headers=headers | {"Host": "evil.example.org"}, trust_env=False).status_code == 403
    origin = {"Origin": "https://evil.example.org"}
    assert httpx.get(stream, headers=headers | origin, trust_env=False).status_code == 403


def test_prometheus_reads_the_metrics_with_the_api_key(stack: Stack) -> None:
    stack.up("prometheus")
    stack.until_healthy("prometheus")
    require_locked_down(stack.container("prometheus"))

    def query(expression: str) -> list[dict[str, Any]]:
        code = (
            "import sys, urllib.parse, urllib.request as u; "
            f"q = urllib.parse.quote({expression!r}); "
            "print(u.urlopen('http://prometheus:9090/api/v1/query?query=' + q, timeout=10).read().decode())"
        )
        return list(json.loads(stack.python("api", code))["data"]["result"])

    wait(lambda: bool(query("search_app_index_passages")), "a scrape")
    (up,) = query("up")
    assert up["value"][1] == "1"
    counts = {item["metric"]["collection"]: float(item["value"][1]) for item in query("search_app_index_documents")}
    assert counts["default"] == len(list(stack.documents.rglob("*.*")))
    answered = query('search_app_requests_total{route="/v1/collections/{name}/answer",status="200"}')
    assert float(answered[0]["value"][1]) >= 1
    assert query("search_app_stage_seconds_count")
    assert ("prometheus", "127.0.0.1", "9090") not in published(stack)
    assert len(published(stack)) == 2


def test_a_removed_file_disappears_from_the_answers(stack: Stack) -> None:
    with stack.api() as api:
        (stack.documents / "late.txt").unlink()
        stack.index("apply", "/data")
        sources = {item["source"] for item in ask(api, "Where does the spare key hang?")["hits"]}
        assert "/data/late.txt" not in sources
