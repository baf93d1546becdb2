"""Three nodes, of which one is killed at critical moments and restarted: nothing is lost or duplicated."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from collections_on import ENCODER, MANIFEST, catalog_on, change, contents
from faults import Exchange, Proxy, passed
from servers import Address, Cluster, missing, remove_indices

from search_app.stores.elasticsearch.catalog import ElasticsearchCatalog

pytestmark = [
    pytest.mark.elasticsearch,
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing()), reason=missing()),
    pytest.mark.timeout(600),
]

FILES, AT_ONCE = 90, 6


class Trio:
    """The cluster, with a proxy in front of each node to time the kill."""

    def __init__(self, cluster: Cluster, proxies: list[Proxy]) -> None:
        self.cluster = cluster
        self.proxies = proxies

    @property
    def address(self) -> Address:
        """All hosts, through the proxies."""
        return Address(tuple(proxy.url for proxy in self.proxies))

    @property
    def direct(self) -> Address:
        return self.cluster.address()

    def get(self, path: str) -> Any:
        for node in range(3):
            try:
                with self.cluster.address(node).http() as http:
                    return http.get(path, params={"format": "json"}).json()
            except OSError:
                continue
        raise AssertionError("no node answers")

    def master(self) -> int:
        return _number(self.get("/_cat/master")[0]["node"])

    def holder(self, pattern: str) -> int:
        """The node with the primary shard of the newest index of that name."""
        shards = [shard for shard in self.get(f"/_cat/shards/{pattern}") if shard["prirep"] == "p"]
        return _number(max(shards, key=lambda shard: str(shard["index"]))["node"])

    def revive(self, node: int) -> None:
        self.cluster.start(node)
        self.cluster.wait(nodes=3)


def _number(name: str) -> int:
    return int(name.removeprefix("node-")) - 1


@pytest.fixture(scope="module")
def trio() -> Iterator[Trio]:
    with Cluster(nodes=3) as cluster, ExitStack() as stack:
        yield Trio(cluster, [stack.enter_context(Proxy(cluster.address(node))) for node in range(3)])


@pytest.fixture
def prefix(trio: Trio) -> Iterator[str]:
    name = f"test-{secrets.token_hex(4)}"
    yield name
    remove_indices(trio.direct, name)


@contextmanager
def striking(trio: Trio, request: str, *, at: int, node: Callable[[], int], done: bool = False) -> Iterator[list[int]]:
    """Kills the node when the request of that number comes, or when it is `done` and its answer on the way.

    The list then holds the node's number.
    """
    struck: list[int] = []
    lock, seen = threading.Lock(), 0

    def fault(exchange: Exchange) -> None:
        nonlocal seen
        with lock:
            seen += request in exchange.path
            now = seen == at and not struck
            if now:
                if done:
                    exchange.ask()
                struck.append(node())
                trio.cluster.kill(struck[0])
        if now and done:
            exchange.reset()
        else:
            passed(exchange)

    with ExitStack() as stack:
        for proxy in trio.proxies:
            stack.enter_context(proxy.failing(fault))
        yield struck
    assert struck, "the request never came"


def first_job(address: Address, prefix: str, *, between: Callable[[int], None] = lambda part: None) -> None:
    with catalog_on(address, prefix, replicas="0-1") as catalog, catalog.writer("c", MANIFEST) as writer:
        for part, start in enumerate(range(0, FILES, AT_ONCE)):
            changes = [
                change(f"{number:03}", f"file {number} speaks of rivers", f"number {number} of engines " * 40)
                for number in range(start, start + AT_ONCE)
            ]
            assert writer.write(changes) == []
            between(part)
        writer.finish()


def second_job(address: Address, prefix: str) -> None:
    with catalog_on(address, prefix, replicas="0-1") as catalog, catalog.writer("c", MANIFEST) as writer:
        assert writer.write([change("000", "file 0 was changed"), change("new", "a new file", "of two texts")]) == []
        writer.remove_files(["/docs/001", "/docs/002"])
        writer.finish()


def state(trio: Trio, prefix: str) -> dict[str, list[str]]:
    """The contents, after they were counted on the server and verified."""
    with catalog_on(trio.direct, prefix) as catalog:
        found = contents(catalog)
        assert catalog.verify("c") == []
        counts = catalog.open("c").counts()
    with trio.direct.http() as http:
        body = {"size": 10_000, "query": {"term": {"kind": "passage"}}, "_source": ["text"]}
        hits = http.post(f"/{prefix}.c/_search", json=body).json()["hits"]["hits"]
    stored = sorted(f"{hit['_id'].removeprefix('p:')}: {hit['_source']['text']}" for hit in hits)
    assert stored == sorted(line for lines in found.values() for line in lines)
    assert counts["passages"] == len(stored)
    return found


@pytest.fixture(scope="module")
def undisturbed(trio: Trio) -> Iterator[tuple[dict[str, list[str]], dict[str, list[str]]]]:
    """After the first and after the second job."""
    prefix = f"test-{secrets.token_hex(4)}"
    first_job(trio.direct, prefix)
    first = state(trio, prefix)
    second_job(trio.direct, prefix)
    yield first, state(trio, prefix)
    remove_indices(trio.direct, prefix)


def test_a_node_killed_during_bulk(trio: Trio, prefix: str, undisturbed: Any) -> None:
    with striking(trio, "_bulk", at=15, node=lambda: trio.holder(f"{prefix}.c.*")) as struck:
        first_job(trio.address, prefix)
    with catalog_on(trio.address, prefix) as catalog:
        assert contents(catalog) == undisturbed[0]  # with the two that are left
    trio.revive(struck[0])
    assert state(trio, prefix) == undisturbed[0]


def test_a_node_is_killed_and_restarted_during_a_job_and_then_another(
    trio: Trio, prefix: str, undisturbed: Any
) -> None:
    killed: list[int] = []

    def between(part: int) -> None:
        if part in (3, 10):
            killed.append(trio.holder(f"{prefix}.c.*"))
            trio.cluster.kill(killed[-1])
        elif part in (6, 13):
            trio.revive(killed[-1])

    first_job(trio.address, prefix, between=between)
    assert len(killed) == 2
    assert state(trio, prefix) == undisturbed[0]


def test_a_node_killed_during_questions(trio: Trio, prefix: str, undisturbed: Any) -> None:
    first_job(trio.direct, prefix)
    ended, answered = threading.Event(), threading.Semaphore(0)
    vectors = ENCODER.encode_queries(["rivers"])

    def ask(catalog: ElasticsearchCatalog) -> int:
        store, count = catalog.open("c"), 0
        while not ended.is_set():
            (found,) = store.search_both(["rivers"], vectors, k=300)
            assert len(found.dense) == 2 * FILES
            assert len({hit.passage.id for hit in found.keyword}) == FILES
            answered.release()
            count += 1
        return count

    with catalog_on(trio.address, prefix, timeout=20.0) as catalog, ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask, catalog) for _ in range(4)]
        try:
            for node in (trio.holder(f"{prefix}.c.*"), trio.master()):
                trio.cluster.kill(node)
                for _ in range(40):
                    assert answered.acquire(timeout=60)
                trio.revive(node)
        finally:
            ended.set()
        print(f"{sum(future.result() for future in asking)} questions, each answered in full")
    assert state(trio, prefix) == undisturbed[0]


@pytest.mark.parametrize("done", [False, True])
def test_the_master_killed_during_the_alias_swap(trio: Trio, prefix: str, undisturbed: Any, done: bool) -> None:
    first_job(trio.direct, prefix)
    with striking(trio, "_aliases", at=1, node=trio.master, done=done) as struck:
        second_job(trio.address, prefix)
    trio.revive(struck[0])
    assert state(trio, prefix) == undisturbed[1]
    with trio.direct.http() as http:
        assert len(http.get(f"/{prefix}.*").json()) == 2
