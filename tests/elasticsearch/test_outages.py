"""Questions and jobs while a server is down, slow, busy or disconnected, through a faulty proxy."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from checkpoints import make_checkpoint
from collections_on import ENCODER, MANIFEST, catalog_on, change, contents, settings_for, write
from fakes import FirstWordReader
from faults import Exchange, Fault, Proxy, answered, cut_short, delayed, passed, reset, reset_when_done, then
from scripted_api import running
from servers import Address, Cluster, missing, remove_indices

from search_app.errors import BackendUnavailable
from search_app.manifest import Manifest
from search_app.service import SearchService
from search_app.settings import ApiSettings, Settings
from search_app.stores.breaker import CircuitBreaker
from search_app.stores.catalog import open_catalog
from search_app.stores.elasticsearch.connection import Connection
from search_app.stores.elasticsearch.store import ElasticsearchStore
from search_app.stores.embedded.catalog import EmbeddedCatalog

pytestmark = [pytest.mark.elasticsearch]
FILES = [change(name, f"a {name} in Vienna", f"the {name} of Osaka") for name in ("river", "engine", "treaty")]


@pytest.fixture(scope="module")
def filled(elasticsearch: Address) -> Iterator[str]:
    """The prefix of a read-only collection "c"."""
    prefix = f"test-{secrets.token_hex(4)}"
    with catalog_on(elasticsearch, prefix) as catalog:
        write(catalog, *FILES)
    yield prefix
    remove_indices(elasticsearch, prefix)


@pytest.fixture
def proxies(elasticsearch: Address) -> Iterator[list[Proxy]]:
    """Two proxies to the same server."""
    with Proxy(elasticsearch) as one, Proxy(elasticsearch) as other:
        yield [one, other]


@pytest.fixture
def proxy(proxies: list[Proxy]) -> Proxy:
    return proxies[0]


def both_ways(proxies: Sequence[Proxy]) -> Address:
    first, second = (proxy.address for proxy in proxies)
    return Address(first.urls + second.urls, first.username, first.password)


def ask(store: Any, question: str = "river") -> set[str]:
    """The sources that both retrievers found."""
    (found,) = store.search_both([question], ENCODER.encode_queries([question]), k=10)
    assert {hit.passage.source for hit in found.keyword} == {f"docs/{question}"}
    return {hit.passage.source for hit in found.dense}


EVERYTHING = {"docs/river", "docs/engine", "docs/treaty"}


# --- questions


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_briefly_busy_server_is_retried(proxy: Proxy, filled: str, status: int) -> None:
    with catalog_on(proxy.address, filled) as catalog:
        store = catalog.open("c")
        before = proxy.seen("_msearch")
        with proxy.failing(answered(status, retry_after=1), times=2, only="_msearch"):
            assert ask(store) == EVERYTHING
        assert proxy.seen("_msearch") - before == 3


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_an_error_at_the_deadline(proxy: Proxy, filled: str, status: int) -> None:
    with catalog_on(proxy.address, filled, timeout=0.5) as catalog:
        store = catalog.open("c")
        before = proxy.seen("_msearch")
        with proxy.failing(answered(status)), pytest.raises(BackendUnavailable, match="too busy"):
            ask(store)
        assert proxy.seen("_msearch") - before > 1
        assert ask(store) == EVERYTHING


def test_a_slow_server_is_an_error_at_the_deadline(proxy: Proxy, filled: str) -> None:
    released = threading.Event()
    with catalog_on(proxy.address, filled, timeout=1.0) as catalog:
        store = catalog.open("c")
        with proxy.failing(then(lambda: released.wait(60)), only="_msearch"):
            with pytest.raises(BackendUnavailable, match="did not answer within 1 seconds"):
                ask(store)  # the server itself has not been asked yet
            released.set()
        assert ask(store) == EVERYTHING


def test_all_requests_of_a_question_share_one_deadline(proxy: Proxy, filled: str) -> None:
    with catalog_on(proxy.address, filled, timeout=2.0) as catalog:
        store = catalog.open("c")
        threading.Event().wait(0.6)  # so that it looks first which index is the live one
        before = proxy.seen("_msearch")
        with proxy.failing(delayed(1.2)), pytest.raises(BackendUnavailable, match="did not answer within 2 seconds"):
            ask(store)
        assert proxy.seen("_msearch") - before == 1
        assert ask(store) == EVERYTHING


BREAKS = {"reset": reset, "reset when done": reset_when_done, "cut short": cut_short}


@pytest.mark.parametrize("fault", [*BREAKS, "refused", "503", "slow"])
def test_another_host_answers_for_a_failing_one(proxies: list[Proxy], filled: str, fault: str) -> None:
    broken, whole = proxies
    released = threading.Event()
    faults: dict[str, Fault] = {**BREAKS, "503": answered(503), "slow": then(lambda: released.wait(60))}
    with catalog_on(both_ways(proxies), filled, timeout=3.0) as catalog, ExitStack() as failing:
        store = catalog.open("c")
        failing.enter_context(broken.refusing() if fault == "refused" else broken.failing(faults[fault]))
        before = whole.seen("_msearch")
        for _ in range(6):
            assert ask(store) == EVERYTHING
        assert whole.seen("_msearch") - before == 6
        released.set()


@pytest.mark.parametrize("fault", BREAKS)
def test_a_question_survives_one_broken_connection(proxy: Proxy, filled: str, fault: str) -> None:
    with catalog_on(proxy.address, filled) as catalog:
        store = catalog.open("c")
        for only in ("_msearch", ""):
            with proxy.failing(BREAKS[fault], times=1, only=only):
                assert ask(store) == EVERYTHING


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_after_five_failures_nothing_is_sent_until_a_trial_question(proxy: Proxy, filled: str) -> None:
    clock = Clock()
    breaker = CircuitBreaker("Elasticsearch", clock=clock)
    with closing(Connection(settings_for(proxy.address, filled).elasticsearch, breaker=breaker)) as connection:
        store = ElasticsearchStore(connection, "c")
        with proxy.failing(reset):
            for _ in range(5):
                with pytest.raises(BackendUnavailable, match="cannot be reached"):
                    ask(store)
            sent = len(proxy.requests)
            for _ in range(50):
                with pytest.raises(BackendUnavailable, match="will be tried again in 15 s"):
                    ask(store)
            assert len(proxy.requests) == sent
            clock.now += 15
            with pytest.raises(BackendUnavailable, match="cannot be reached"):
                ask(store)
            assert len(proxy.requests) > sent
            sent = len(proxy.requests)
        with pytest.raises(BackendUnavailable, match="will be tried again"):
            ask(store)
        assert len(proxy.requests) == sent
        clock.now += 15
        for _ in range(3):
            assert ask(store) == EVERYTHING
        assert breaker.state == "closed"


def test_a_missing_collection_is_not_a_server_failure(proxy: Proxy, filled: str) -> None:
    with closing(Connection(settings_for(proxy.address, filled).elasticsearch)) as connection:
        store = ElasticsearchStore(connection, "c")
        for _ in range(10):
            assert store.document("none") is None
        assert connection.breaker.state == "closed"
        assert ask(store) == EVERYTHING


# --- the API


def served(settings: Settings) -> Any:
    catalog = open_catalog(settings)
    service = SearchService(
        settings,
        lambda name: (catalog.open(name), ENCODER),
        FirstWordReader,
        collections=catalog.names,
        close=catalog.close,
    )
    return running(service, settings)  # type: ignore[arg-type]


ASKED = {"question": "Where is the river?", "k": 3}


def test_the_api_answers_503_while_the_server_is_down_and_recovers(proxy: Proxy, filled: str, tmp_path: Path) -> None:
    settings = settings_for(proxy.address, filled, timeout=1.0).model_copy(update={"home": tmp_path})
    with ExitStack() as away, served(settings) as url, httpx.Client(base_url=url, trust_env=False, timeout=30) as api:
        away.enter_context(proxy.refusing())  # it starts without the server
        _says_503(api, "cannot be reached")
        away.close()
        _answers(api)
        away.enter_context(proxy.failing(reset))
        _says_503(api, "will be tried again")
        sent = len(proxy.requests)
        _says_503(api, "will be tried again")
        assert len(proxy.requests) == sent
        away.close()
        _answers(api)


def _says_503(api: httpx.Client, why: str) -> None:
    """All endpoints except liveness fail, eventually for this reason."""
    for _ in range(10):
        assert api.get("/health/live").status_code == 200
        responses = [
            api.get("/health/ready"),
            api.post("/v1/collections/c/answer", json=ASKED),
            api.get("/v1/collections"),
        ]
        errors = [response.json()["error"] for response in responses]
        assert {response.status_code for response in responses} == {503}
        assert {error["type"] for error in errors} == {"BackendUnavailable"}
        assert all(error["hint"] for error in errors)
        if all(why in error["message"] for error in errors):
            return
    pytest.fail(f"not said: {why}")


def _answers(api: httpx.Client) -> None:
    """Waits until the breaker closes by itself."""
    for _ in range(300):
        if api.get("/health/ready").json() == {"status": "ready"}:
            break
        threading.Event().wait(0.1)
    found = api.post("/v1/collections/c/answer", json=ASKED).json()
    assert found["answers"][0]["passage"] in {"a river in Vienna", "the river of Osaka"}
    assert found["degraded"] is False


def test_liveness_works_while_all_threads_wait_for_a_slow_server(proxy: Proxy, filled: str, tmp_path: Path) -> None:
    patient = {"home": tmp_path, "api": ApiSettings(at_once=40, max_wait=3600)}
    settings = settings_for(proxy.address, filled, timeout=60.0).model_copy(update=patient)
    released, clients = threading.Event(), 60
    with (
        served(settings) as url,
        httpx.Client(base_url=url, trust_env=False, timeout=30, limits=httpx.Limits(max_connections=100)) as api,
        ThreadPoolExecutor(clients) as pool,
    ):
        _answers(api)
        before = proxy.seen("_msearch")
        with proxy.failing(then(lambda: released.wait(60)), only="_msearch"):
            waiting = [
                pool.submit(api.post, "/v1/collections/c/search", json=ASKED, timeout=120) for _ in range(clients)
            ]
            for _ in range(2000):
                if proxy.seen("_msearch") - before >= 40:
                    break
                threading.Event().wait(0.02)
            assert proxy.seen("_msearch") - before == 40, "not every thread of the server has asked"
            assert api.get("/health/live").status_code == 200
            assert not any(future.done() for future in waiting)
            released.set()
            assert {future.result().status_code for future in waiting} == {200}


@pytest.mark.parametrize("fault", [reset, answered(503)])
def test_the_api_answers_degraded_from_the_replica_while_the_server_is_down(
    proxy: Proxy, filled: str, tmp_path: Path, fault: Fault
) -> None:
    settings = settings_for(proxy.address, filled, timeout=1.0, fallback=True).model_copy(update={"home": tmp_path})
    with EmbeddedCatalog(settings).writer("c", MANIFEST) as writer:
        writer.write(FILES[:1])
        writer.finish()
    with served(settings) as url, httpx.Client(base_url=url, trust_env=False, timeout=30) as api:
        _answers(api)
        with proxy.failing(fault):
            assert api.get("/health/ready").json() == {"status": "degraded"}
            for way in ("search", "answer"):
                found = api.post(f"/v1/collections/c/{way}", json=ASKED).json()
                assert found["degraded"] is True
                assert len(found["hits"]) == 2
        _answers(api)


def test_a_replica_with_another_encoder_is_not_used(proxy: Proxy, filled: str, tmp_path: Path) -> None:
    settings = settings_for(proxy.address, filled, fallback=True).model_copy(update={"home": tmp_path})
    other = Manifest(type(ENCODER)(dim=64, digest="other").stamp, MANIFEST.splitter, MANIFEST.analysis)
    with EmbeddedCatalog(settings).writer("c", other) as writer:
        writer.finish()
    with closing(open_catalog(settings)) as catalog, closing(catalog.open("c")) as store:
        with proxy.failing(reset), pytest.raises(BackendUnavailable, match="cannot be reached"):
            ask(store)
        assert ask(store) == EVERYTHING


# --- jobs

LATER = [change("river", "a wide river in Lima"), change("comet", "a comet over Perth", "another comet")]
RESULT = {
    "docs/river": ["river-0-a wide river in Lima: a wide river in Lima"],
    "docs/engine": [
        "engine-0-a engine in Vienna: a engine in Vienna",
        "engine-1-the engine of Osaka: the engine of Osaka",
    ],
    "docs/comet": ["comet-0-a comet over Perth: a comet over Perth", "comet-1-another comet: another comet"],
}  # fmt: skip


def job(address: Address, prefix: str, **more: Any) -> None:
    """Replaces one file, adds one, removes one."""
    with catalog_on(address, prefix, **more) as catalog, catalog.writer("c", MANIFEST) as writer:
        assert writer.write(LATER) == []
        writer.remove_files(["/docs/treaty"])
        writer.finish()


def check(elasticsearch: Address, prefix: str) -> None:
    with catalog_on(elasticsearch, prefix) as catalog:
        assert contents(catalog) == RESULT
        assert catalog.verify("c") == []
        assert catalog.open("c").generation == 2
    assert len(indices(elasticsearch, prefix)) == 2


FAULTS: dict[str, Fault] = {**BREAKS, "429": answered(429), "503": answered(503)}
STEPS = ["PUT .*-leases/_(create|doc)", "_clone", "_bulk", "_delete_by_query", "_aliases", "DELETE .*-leases"]


@pytest.mark.parametrize("step", STEPS)
def test_a_job_survives_a_lost_response_at_any_step(
    proxy: Proxy, elasticsearch: Address, elasticsearch_prefix: str, step: str
) -> None:
    with catalog_on(elasticsearch, elasticsearch_prefix) as catalog:
        write(catalog, *FILES)
    with proxy.failing(reset_when_done, times=1, only=step):
        job(proxy.address, elasticsearch_prefix)
    assert proxy.seen(step), "the step has another name now"
    check(elasticsearch, elasticsearch_prefix)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_job_survives_a_fault_at_each_request(proxy: Proxy, elasticsearch: Address, fault: str) -> None:
    number = count = 0
    while number <= count:
        prefix = f"test-{secrets.token_hex(4)}"
        try:
            with catalog_on(elasticsearch, prefix) as catalog:
                write(catalog, *FILES)
            before = len(proxy.requests)
            with proxy.failing(_at(number, FAULTS[fault])) if number else ExitStack():
                job(proxy.address, prefix)
            if not number:
                count = len(proxy.requests) - before
                assert count > 10
            check(elasticsearch, prefix)
        finally:
            remove_indices(elasticsearch, prefix)
        number += 1
    print(f"{count} requests, each of them once {fault}")


def _at(number: int, fault: Fault) -> Fault:
    """Apply the fault only to the request with this number, from 1."""
    lock, seen = threading.Lock(), 0

    def meets(exchange: Any) -> None:
        nonlocal seen
        with lock:
            seen += 1
            mine = seen == number
        (fault if mine else passed)(exchange)

    return meets


@pytest.mark.skipif(bool(Address.given()), reason="it changes settings of the whole cluster")
def test_a_clone_with_late_shards_is_waited_for(
    proxy: Proxy, elasticsearch: Address, elasticsearch_prefix: str
) -> None:
    """As if the server died between creating a clone and allocating it."""

    def allocate(what: str | None) -> None:
        with elasticsearch.http() as http:
            setting = {"persistent": {"cluster.routing.allocation.enable": what}}
            assert http.put("/_cluster/settings", json=setting).status_code == 200

    def made_but_not_filled(exchange: Exchange) -> None:
        allocate("none")
        exchange.path += "?wait_for_active_shards=0"
        exchange.ask()
        threading.Timer(2.0, allocate, [None]).start()
        exchange.reset()

    with catalog_on(elasticsearch, elasticsearch_prefix) as catalog:
        write(catalog, *FILES)
    with proxy.failing(made_but_not_filled, times=1, only="_clone"):
        job(proxy.address, elasticsearch_prefix, patience=30.0)
    assert proxy.seen("_clone") == 2
    check(elasticsearch, elasticsearch_prefix)


@pytest.mark.slow
@pytest.mark.skipif(bool(missing()), reason=missing())
def test_a_clone_with_lost_files_is_created_again() -> None:
    with Cluster() as cluster:
        address, prefix = cluster.address(), "test-lost"
        with catalog_on(address, prefix) as catalog:
            write(catalog, *FILES)
            with catalog.writer("c", MANIFEST) as writer:
                writer.write(LATER[:1])
            (copy,) = set(indices(address, prefix)) - {catalog.describe("c")["index"]}
        with address.http() as http:
            identity = http.get(f"/{copy}/_settings").json()[copy]["settings"]["index"]["uuid"]
        cluster.kill(0)
        shutil.rmtree(cluster.data(0) / "indices" / identity / "0")
        cluster.start(0)
        cluster.wait(status="red")
        job(address, prefix, patience=5.0)
        assert copy not in indices(address, prefix)
        check(address, prefix)


def indices(address: Address, prefix: str) -> list[str]:
    with address.http() as http:
        return list(http.get(f"/{prefix}.*", params={"expand_wildcards": "all"}).json())


def test_a_job_continues_on_the_other_host(
    proxies: list[Proxy], elasticsearch: Address, elasticsearch_prefix: str
) -> None:
    with catalog_on(elasticsearch, elasticsearch_prefix) as catalog:
        write(catalog, *FILES)
    with proxies[0].refusing():
        job(both_ways(proxies), elasticsearch_prefix)
    check(elasticsearch, elasticsearch_prefix)
    assert proxies[1].seen("_bulk")


def test_a_job_waits_for_a_server_that_returns_in_time(
    proxy: Proxy, elasticsearch: Address, elasticsearch_prefix: str
) -> None:
    with catalog_on(elasticsearch, elasticsearch_prefix) as catalog:
        write(catalog, *FILES)
    refusals = 0

    def counted(exchange: Any) -> None:
        nonlocal refusals
        refusals += 1
        reset(exchange)

    with proxy.failing(counted, times=6, only="_bulk"):
        job(proxy.address, elasticsearch_prefix)
    assert refusals == 6
    check(elasticsearch, elasticsearch_prefix)


def test_a_job_that_times_out_publishes_nothing_and_can_be_continued(
    proxy: Proxy, elasticsearch: Address, elasticsearch_prefix: str
) -> None:
    with catalog_on(elasticsearch, elasticsearch_prefix) as catalog:
        write(catalog, *FILES)
        before = contents(catalog)
        with proxy.failing(reset, only="_bulk|_aliases"), pytest.raises(BackendUnavailable):
            job(proxy.address, elasticsearch_prefix, patience=0.5)
        assert contents(catalog) == before
    job(proxy.address, elasticsearch_prefix)
    check(elasticsearch, elasticsearch_prefix)


# --- commands


@pytest.mark.slow
def test_the_command_line_shows_degraded_answers(proxy: Proxy, elasticsearch_prefix: str, tmp_path: Path) -> None:
    model = make_checkpoint("bert", tmp_path / "model", reader=False)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "river.txt").write_text("A river crosses Vienna.")
    address = proxy.address
    common = {
        "HOME": str(tmp_path / "home"), "ENCODER__MODEL": str(model), "SPLITTER__PASSAGE_TOKENS": "100",
        "ELASTICSEARCH__URLS": proxy.url, "ELASTICSEARCH__PREFIX": elasticsearch_prefix,
    }  # fmt: skip
    if address.username:
        common |= {"ELASTICSEARCH__USERNAME": address.username, "ELASTICSEARCH__PASSWORD": address.password or ""}

    def run(*command: str, **more: str) -> subprocess.CompletedProcess[str]:
        own = {f"SEARCH_APP_{name}": value for name, value in (common | more).items()}
        return subprocess.run(
            [sys.executable, "-m", *command], env={**os.environ, **own}, capture_output=True, text=True, check=False
        )

    for store in ("embedded", "elasticsearch"):
        done = run("indexing.cli", "apply", str(tmp_path / "docs"), STORE=store)
        assert done.returncode == 0, done.stderr
    ask = ("search_app.cli", "search", "river", "--json")
    whole = run(*ask, STORE="elasticsearch", ELASTICSEARCH__FALLBACK="true")
    assert (json.loads(whole.stdout)["degraded"], whole.stderr) == (False, "")
    with proxy.refusing():
        degraded = run(*ask, STORE="elasticsearch", ELASTICSEARCH__FALLBACK="true")
        refused = run(*ask, STORE="elasticsearch")
    assert json.loads(degraded.stdout)["degraded"] is True
    assert [hit["text"] for hit in json.loads(degraded.stdout)["hits"]] == ["A river crosses Vienna."]
    assert degraded.stderr.splitlines()[-1].startswith("warning: the search server or the GPU is unavailable")
    assert refused.returncode == 3
    assert refused.stdout == ""
    assert refused.stderr.splitlines()[-1].startswith(f"error: Elasticsearch at {proxy.url} cannot be reached")


# --- jobs that die

JOB = """
import json, sys
settings = json.loads(sys.argv[1])
sys.path[:0] = settings.pop("path")
from test_outages import Address, job
job(Address((settings["url"],), settings["username"], settings["password"]), settings["prefix"])
"""


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("done", [False, True])
def test_a_job_killed_at_any_request_can_be_continued(proxy: Proxy, elasticsearch: Address, done: bool) -> None:
    """The server gets this request (`done`) or not, and nothing after it."""
    number, ended = 0, False
    while not ended:
        number += 1
        prefix = f"test-{secrets.token_hex(4)}"
        try:
            with catalog_on(elasticsearch, prefix) as catalog:
                write(catalog, *FILES)
                before = contents(catalog)
            told = {"url": proxy.url, "username": elasticsearch.username, "password": elasticsearch.password}
            told |= {"prefix": prefix, "path": sys.path}
            process = subprocess.Popen([sys.executable, "-c", JOB, json.dumps(told)])

            def die(exchange: Any, process: subprocess.Popen[bytes] = process) -> None:
                process.kill()
                process.wait()
                if done:
                    exchange.ask()
                exchange.reset()

            with proxy.failing(_at(number, die)):
                ended = process.wait(60) == 0
            with catalog_on(elasticsearch, prefix) as catalog:
                assert contents(catalog) in (before, RESULT), f"killed at request {number}"
            job(elasticsearch, prefix)
            with catalog_on(elasticsearch, prefix) as catalog:
                assert contents(catalog) == RESULT, f"killed at request {number}"
                assert catalog.verify("c") == []
        finally:
            remove_indices(elasticsearch, prefix)
    assert number > 10
    print(f"killed at each of {number - 1} requests")
