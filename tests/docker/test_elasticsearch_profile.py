"""The `elasticsearch` profile on a real engine, switched on by its settings in .env."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from checks import (
    ANSWER,
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

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(1800)]

SETTINGS = {
    "COMPOSE_PROFILES": "elasticsearch",
    "SEARCH_APP_STORE": "elasticsearch",
    "SEARCH_APP_INDEXER_NETWORK": "PROJECT-indexing",
    "ELASTICSEARCH_HEAP": "512m",
    "ELASTICSEARCH_MEMORY": "1200m",
}
AS_USER = """
import base64, json, sys, urllib.error, urllib.request
from pathlib import Path
user, method, path, body = sys.argv[1:]
request = urllib.request.Request("http://elasticsearch:9200" + path, method=method, data=body.encode() or None)
request.add_header("Content-Type", "application/json")
if user:
    password = Path(f"/secrets/{user}/search_app_elasticsearch__password").read_text()
    request.add_header("Authorization", "Basic " + base64.b64encode(f"search-app-{user}:{password}".encode()).decode())
try:
    print(urllib.request.urlopen(request, timeout=10).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""
DOCUMENT = '{"text": "x"}'
COLLECTIONS = {"default", "more", "uploads"}


@pytest.fixture(scope="module")
def stack(start: Callable[..., Stack]) -> Stack:
    """Returns while the API and Elasticsearch are still starting."""
    stack = start(**SETTINGS)
    stack.up()
    return stack


@pytest.fixture
def api(stack: Stack) -> Iterator[httpx.Client]:
    with stack.api() as client:
        yield client


def until_answered(api: httpx.Client) -> dict[str, Any]:
    """Wait for the circuit breaker, which does not call a server for some seconds after a failure."""
    wait(lambda: api.get("/health/ready").status_code == 200, "the API to be ready again")
    return ask(api)


def test_the_api_is_live_while_elasticsearch_starts_and_then_connects(stack: Stack, api: httpx.Client) -> None:
    stack.until_healthy("api")
    started = stack.container("api")["State"]["StartedAt"]
    assert api.get("/health/live").status_code == 200
    assert api.get("/health/ready").status_code == 503
    stack.until_healthy("elasticsearch", "ui")
    wait(
        lambda: api.get("/health/ready").json()["error"]["type"] == "IndexUnavailable",
        "the server to be reached, and found empty",
        lambda: api.get("/health/ready").text,
    )
    assert stack.container("api")["State"]["StartedAt"] == started
    assert stack.container("elasticsearch-setup")["State"]["ExitCode"] == 0


def test_a_running_api_answers_from_newly_indexed_documents(stack: Stack, api: httpx.Client) -> None:
    summary = json.loads(stack.index("apply", "/data", "--json").stdout)
    assert (summary["added"], summary["failed"]) == (len(list(stack.documents.rglob("*.*"))), 0)
    found = ask(api)
    assert best(found) == ANSWER
    (stack.documents / "late.txt").write_text("The spare key hangs behind the blue teapot.\n")
    stack.index("apply", "/data")
    later = ask(api, "Where does the spare key hang?")
    assert "blue teapot" in best(later)
    assert later["generation"] > found["generation"]
    narrowed = {"question": "spare key", "where": "size < 100 and not (format = pdf)"}
    hits = api.post("/v1/collections/default/search", json=narrowed).json()["hits"]
    assert {hit["source"] for hit in hits} == {"/data/late.txt"}
    assert "sound" in stack.index("verify").stdout


def test_the_worker_writes_to_elasticsearch(stack: Stack, api: httpx.Client) -> None:
    files = [("files", ("cellar.txt", b"The wine cellar was dug in 1874.\n"))]
    response = api.post("/v1/collections/uploads/jobs", files=files)
    assert response.status_code == 202, response.text
    place = response.headers["location"]
    wait(
        lambda: api.get(place).json()["state"] == "done",
        f"{place} to be done",
        lambda: api.get(place).text + stack.compose("logs", "--tail", "40", "worker").stdout,
    )
    assert "1874" in best(ask(api, "When was the wine cellar dug?", "uploads"))


def test_the_search_page_highlights_the_answer(stack: Stack, page: Any) -> None:
    see_the_answer(page, stack)


def test_elasticsearch_has_no_published_port_and_requires_a_password(stack: Stack) -> None:
    assert {service for service, _, _ in published(stack)} == {"api", "ui"}
    assert {address for _, address, _ in published(stack)} == {"127.0.0.1"}
    assert as_user(stack, "api", "", "GET", "/") == 401
    assert secrets_in_sight(stack, ["api", "ui", "elasticsearch", "elasticsearch-setup"]) == []
    elastic = stack.compose("exec", "-T", "elasticsearch", "cat", "/secrets/elasticsearch/elastic").stdout.strip()
    assert elastic
    assert elastic not in stack.compose("logs").stdout
    assert elastic not in json.dumps(stack.container("elasticsearch"))


def test_the_api_may_only_read_its_indices(stack: Stack) -> None:
    assert as_user(stack, "api", "reader", "GET", "/search-app.default/_search") == 200
    for method, path, body in (
        ("POST", "/search-app.default/_doc", DOCUMENT),
        ("POST", "/search-app.default/_close", ""),
        ("PUT", "/search-app.default/_settings", '{"index": {"number_of_replicas": 0}}'),
        ("PUT", "/search-app.new", ""),
        ("GET", "/other/_search", ""),
        ("GET", "/_security/user", ""),
    ):
        assert as_user(stack, "api", "reader", method, path, body) == 403, (method, path)


def test_the_indexer_may_write_its_indices_and_reaches_only_elasticsearch(stack: Stack) -> None:
    def run(*arguments: str) -> str:
        return stack.compose("run", "--rm", "-T", "--entrypoint", "python", "indexer", "-c", *arguments).stdout.strip()

    assert run(AS_USER, "indexer", "GET", "/search-app.default/_search", "") == "200"
    assert run(AS_USER, "indexer", "POST", "/other/_doc", DOCUMENT) == "403"
    assert run(AS_USER, "indexer", "GET", "/_security/user", "") == "403"
    places = [
        (network["IPAddress"], port)
        for service, port in (("api", 8000), ("ui", 8501))
        for network in stack.container(service)["NetworkSettings"]["Networks"].values()
    ]
    reach = f"""
import socket
def reached(host, port):
    try:
        socket.create_connection((host, port), timeout=2).close()
        return True
    except OSError:
        return False
print(reached("elasticsearch", 9200), [place for place in {places} if reached(*place)])
"""
    assert stack.python("api", reach).strip() == f"True {places}", "they are there for others"
    assert run(reach) == "True []"


def as_user(stack: Stack, service: str, user: str, method: str, path: str, body: str = "") -> int:
    return int(stack.compose("exec", "-T", service, "python", "-c", AS_USER, user, method, path, body).stdout)


def test_a_killed_job_that_runs_again_neither_loses_nor_duplicates_anything(
    stack: Stack, api: httpx.Client, more_documents: Path
) -> None:
    name = f"{stack.project}-killed"
    job = ["apply", "/more", "--collection", "more", "--json"]
    mount = ["-v", f"{more_documents}:/more:ro"]
    stack.compose("run", "--detach", "--name", name, *mount, "indexer", *job)
    time.sleep(12)  # after the model is loaded; the result must not depend on how far the job is
    stack.engine.docker("kill", name, check=False)
    stack.engine.docker("rm", "--force", name)
    assert best(ask(api)) == ANSWER
    summary = json.loads(stack.compose("run", "--rm", "-T", *mount, "indexer", *job).stdout)
    files = len([path for path in more_documents.rglob("*") if path.is_file()])
    assert summary["added"] + summary["changed"] + summary["unchanged"] == files
    collections = {item["name"]: item for item in api.get("/v1/collections").json()["collections"]}
    assert collections["more"]["documents"] == files
    assert "sound" in stack.index("verify", "--collection", "more").stdout


@pytest.mark.parametrize("service", ["elasticsearch", "api", "ui"])
def test_a_killed_container_restarts_and_nothing_is_lost(stack: Stack, service: str, page: Any) -> None:
    stack.crash(service)
    with stack.api() as api:
        assert best(until_answered(api)) == ANSWER
    see_the_answer(page, stack)


def test_the_api_stays_live_and_reports_that_elasticsearch_is_down(stack: Stack, api: httpx.Client) -> None:
    stack.compose("stop", "--timeout", "30", "elasticsearch")
    assert api.get("/health/live").status_code == 200
    question = api.post("/v1/collections/default/search", json={"question": "anything"})
    assert (question.status_code, question.json()["error"]["type"]) == (503, "BackendUnavailable")
    assert api.get("/health/ready").status_code == 503
    stack.compose("start", "elasticsearch")
    assert best(until_answered(api)) == ANSWER


def test_data_survive_down_and_up(stack: Stack) -> None:
    stack.down()
    stack.up()
    stack.until_healthy("api", "elasticsearch", "ui")
    with stack.api() as api:
        assert best(until_answered(api)) == ANSWER
        assert {item["name"] for item in api.get("/v1/collections").json()["collections"]} == COLLECTIONS


@pytest.mark.parametrize("service", ["api", "ui", "worker", "elasticsearch"])
def test_containers_have_minimal_privileges(stack: Stack, service: str) -> None:
    require_locked_down(stack.container(service))
    if service == "elasticsearch":
        probe = "id -u; cat /proc/self/status | grep -E 'CapEff|NoNewPrivs'; touch /x 2>&1"
        said = stack.compose("exec", "-T", service, "sh", "-c", probe, check=False).stdout.split()
        assert said[:5] == ["1000", "CapEff:", "0" * 16, "NoNewPrivs:", "1"]
        assert "Read-only" in said
    else:
        require_locked_down_inside(stack, service, writable=WRITABLE[service])
