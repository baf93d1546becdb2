"""kill -9 of the indexer, the server, or both at random points: the index finally equals the files.

The number of rounds of each kind is KILLS in the environment; the seed of a failed round is in its message.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from checkpoints import make_checkpoint
from collections_on import settings_for
from faults import Exchange, Proxy, passed
from servers import Cluster, missing

from indexing import job
from search_app.encoders.sentence_transformer import SentenceTransformerEncoder
from search_app.hardware import Hardware
from search_app.settings import EncoderSettings, Settings, SplitterSettings
from search_app.stores.catalog import open_catalog
from search_app.stores.embedded.catalog import EmbeddedCatalog

pytestmark = [
    pytest.mark.elasticsearch,
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing()), reason=missing()),
    pytest.mark.timeout(7200),
]

ROUNDS = int(os.environ.get("KILLS", "1"))
PREFIX = "test-kills"
SPLITTER = {"passage_tokens": 100, "overlap_tokens": 10}
WORDS = [
    "river",
    "crosses",
    "Vienna",
    "treaty",
    "glacier",
    "engine",
    "measures",
    "Osaka",
    "names",
    "global",
    "statement",
]

Passages = list[tuple[str, str, str]]
"""Of every passage: id, source, text."""


@dataclass
class Bench:
    cluster: Cluster
    proxy: Proxy
    model: Path
    docs: Path
    embedded: Settings
    requests: int = 0

    def edit(self, chance: random.Random) -> None:
        """Change, add and remove some files."""
        names = sorted(path.name for path in self.docs.iterdir())
        for name in chance.sample(names, len(names) // 3):
            self.write(name, chance)
        for name in chance.sample(names, len(names) // 10):
            (self.docs / name).unlink()
        for _ in range(len(names) // 10):
            self.write(f"{chance.randrange(10**9):09}.txt", chance)

    def write(self, name: str, chance: random.Random) -> None:
        paragraphs = [" ".join(chance.choices(WORDS, k=90)) + f" {name} {number}." for number in range(8)]
        (self.docs / name).write_text("\n\n".join(paragraphs))

    def apply(self) -> subprocess.Popen[str]:
        """The command itself, as a process."""
        own = {
            "STORE": "elasticsearch", "ELASTICSEARCH__URLS": self.proxy.url, "ELASTICSEARCH__PREFIX": PREFIX,
            "ELASTICSEARCH__VECTORS": "flat", "ENCODER__MODEL": str(self.model), "THREADS": "1",
            **{f"SPLITTER__{name.upper()}": str(value) for name, value in SPLITTER.items()},
        }  # fmt: skip
        return subprocess.Popen(
            [sys.executable, "-m", "indexing.cli", "apply", str(self.docs), "--json"],
            env={**os.environ, **{f"SEARCH_APP_{name}": value for name, value in own.items()}},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def finished(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        summary: dict[str, Any] = json.loads(out)
        assert summary["failed"] == 0
        return summary

    def expected(self) -> Passages:
        """The result of an uninterrupted job in the embedded store."""
        encoder = SentenceTransformerEncoder(
            EncoderSettings(model=str(self.model)), Hardware("test", 1, frozenset(), "cpu", "float32")
        )
        job.apply([self.docs], settings=self.embedded, encoder=encoder)
        with closing(EmbeddedCatalog(self.embedded).open("default")) as store:
            count = store.counts()["passages"]
            (hits,) = store.search_dense(encoder.encode_queries(["river"]), k=10 * count)
        found = sorted((hit.passage.id, hit.passage.source, hit.passage.text) for hit in hits)
        assert len(found) == count
        return found

    def served(self) -> Passages:
        """What the server has, read without our store; None before the first publication."""
        with self.cluster.address().http() as http:
            body = {"size": 10_000, "query": {"term": {"kind": "passage"}}, "_source": ["source", "text"]}
            answer = http.post(f"/{PREFIX}.default/_search", json=body)
            if answer.status_code == 404:
                return []
            hits = answer.json()["hits"]["hits"]
        return sorted((hit["_id"].removeprefix("p:"), hit["_source"]["source"], hit["_source"]["text"]) for hit in hits)

    def problems(self) -> list[str]:
        with closing(open_catalog(settings_for(self.cluster.address(), PREFIX))) as catalog:
            return catalog.verify("default")

    def indices(self) -> int:
        with self.cluster.address().http() as http:
            return len(http.get(f"/{PREFIX}.*", params={"expand_wildcards": "all"}).json())


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("kills")
    model = make_checkpoint("bert", folder / "model", reader=False)
    embedded = Settings(home=folder / "home", splitter=SplitterSettings(**SPLITTER))
    docs = folder / "docs"
    docs.mkdir()
    with Cluster() as cluster, Proxy(cluster.address()) as proxy:
        made = Bench(cluster, proxy, model, docs, embedded)
        chance = random.Random(0)
        for number in range(100):
            made.write(f"{number:03}.txt", chance)
        made.finished(made.apply())
        before = len(proxy.requests)
        made.edit(chance)
        made.finished(made.apply())
        made.requests = len(proxy.requests) - before
        assert made.served() == made.expected()
        yield made


@pytest.mark.parametrize("number", range(ROUNDS))
@pytest.mark.parametrize("victim", ["indexer", "server", "both"])
def test_kills_lose_and_duplicate_nothing(bench: Bench, victim: str, number: int) -> None:
    seed = secrets.randbits(32)
    chance = random.Random(seed)
    before = bench.served()
    bench.edit(chance)
    after = bench.expected()
    at, later = chance.randint(1, bench.requests), chance.random() * chance.choice([0.05, 0.3, 1.5])
    process = bench.apply()
    killed = threading.Event()

    def kill() -> None:
        time.sleep(later)
        if victim != "indexer":
            bench.cluster.kill(0)
        if victim != "server":
            process.kill()
        killed.set()

    with _when(bench.proxy, at, kill):
        while not killed.is_set() and process.poll() is None:
            time.sleep(0.02)
        struck = killed.wait(5)  # not if the job was done in fewer requests
    if victim != "indexer" and struck:
        bench.cluster.start(0)
        bench.cluster.wait(status="yellow")
    if victim == "server":
        bench.finished(process)  # it has waited, and goes on by itself
    else:
        process.communicate()
        between = bench.served()
        assert between in (before, after), f"seed {seed}: neither the old nor the new index is served"
        bench.finished(bench.apply())
    assert bench.served() == after, f"seed {seed}"
    assert bench.problems() == [], f"seed {seed}"
    assert bench.indices() == 2, f"seed {seed}: what a killed job left lies about"
    when = f"{later:.2f} s after request {at} of about {bench.requests}" if struck else "not at all: it was done before"
    print(f"{victim} killed {when}: {len(after)} passages as in the files")


def _when(proxy: Proxy, number: int, action: Any) -> Any:
    """Runs it beside the request of that number, counted from now."""
    lock, seen = threading.Lock(), 0

    def fault(exchange: Exchange) -> None:
        nonlocal seen
        with lock:
            seen += 1
            if seen == number:
                threading.Thread(target=action, daemon=True).start()
        passed(exchange)

    return proxy.failing(fault)
