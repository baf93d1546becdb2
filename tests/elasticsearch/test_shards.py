"""Several jobs that fill one index version, with kills, published once."""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from checkpoints import make_checkpoint
from collections_on import ENCODER, MANIFEST, catalog_on, change, contents, settings_for, write
from faults import Exchange, Fault, Proxy, passed, reset, reset_when_done, then
from numpy.typing import NDArray
from servers import Address
from shard_process import file

from search_app.errors import BackendUnavailable, IndexBusy
from search_app.manifest import Manifest
from search_app.protocols import FileChange
from search_app.settings import Settings
from search_app.stores.catalog import open_catalog
from search_app.stores.elasticsearch import index_versions, lease
from search_app.stores.elasticsearch.catalog import ElasticsearchCatalog
from search_app.stores.elasticsearch.connection import Connection
from search_app.stores.elasticsearch.schema import IndexVersion
from search_app.stores.embedded.catalog import EmbeddedCatalog
from search_app.stores.index import Catalog

pytestmark = [pytest.mark.elasticsearch]

HERE = Path(__file__).parent
ROUNDS = int(os.environ.get("KILLS", "2"))


@pytest.fixture
def catalog(elasticsearch: Address, elasticsearch_prefix: str) -> Iterator[ElasticsearchCatalog]:
    with catalog_on(elasticsearch, elasticsearch_prefix) as catalog:
        yield catalog


def shard(catalog: ElasticsearchCatalog, which: str, *changes: FileChange, rebuild: bool = False) -> tuple[int, ...]:
    """Write this shard's part of the changes; returns the missing shards."""
    number, count = map(int, which.split("/"))
    with catalog.shard_writer("c", MANIFEST, (number, count), rebuild=rebuild) as writer:
        list(writer.files())
        assert writer.write(changes) == []
        return writer.finish()


def indices(address: Address, prefix: str) -> int:
    with address.http() as http:
        return len(http.get(f"/{prefix}.*", params={"expand_wildcards": "all"}).json())


def left_beside_the_leases(address: Address, prefix: str) -> list[str]:
    with address.http() as http:
        http.post(f"/{prefix}-leases/_refresh")
        hits = http.get(f"/{prefix}-leases/_search", params={"size": 100}).json()["hits"]["hits"]
    return [hit["_id"] for hit in hits]


def vectors(catalog: Catalog, name: str = "c") -> dict[str, tuple[str, NDArray[np.float32]]]:
    """Text and vector by passage id."""
    return {
        passage.id: (passage.text, vector)
        for batch in catalog.open(name).passages(vectors=True)
        for passage, vector in zip(batch.passages, batch.embeddings, strict=True)
    }


# --- processes of their own


def process(address: Address, prefix: str, which: str, *, until: int = 60, pause: float = 0) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(HERE), str(HERE.parent), str(HERE.parents[1])])
    return subprocess.Popen(
        [sys.executable, str(HERE / "shard_process.py"), address.urls[0], prefix, which, "10", str(until), str(pause)],
        env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def written_first(process: subprocess.Popen[str], count: int) -> list[int]:
    """Its files, once it has written this many."""
    assert process.stdout
    lines = list(itertools.islice(process.stdout, count))
    assert len(lines) == count, process.communicate()[1]
    return [int(line) for line in lines]


def ended(process: subprocess.Popen[str]) -> tuple[list[int], list[int]]:
    """Its files and the missing shards."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    *written, last = out.split("\n")[:-1]
    return [int(line) for line in written], [int(number) for number in re.findall(r"\d+", last)]


@pytest.mark.skipif(bool(Address.given()), reason="the processes know no password")
def test_three_processes_with_one_killed_equal_one_process(elasticsearch: Address, elasticsearch_prefix: str) -> None:
    with catalog_on(elasticsearch, elasticsearch_prefix) as catalog:
        write(catalog, *(file(number) for number in range(30)))
        before = contents(catalog)
        running = [process(elasticsearch, elasticsearch_prefix, f"{number}/3", pause=0.05) for number in (1, 2)]
        doomed = process(elasticsearch, elasticsearch_prefix, "3/3", pause=0.3)
        half = written_first(doomed, 3)
        doomed.kill()
        doomed.communicate()
        done = [ended(one) for one in running]
        assert all(3 in missing for _, missing in done)
        assert contents(catalog) == before
        with pytest.raises(IndexBusy, match="2 of 3 shards of collection 'c' are done, missing: 3/3"):
            catalog.writer("c", MANIFEST)
        rest, missing = ended(process(elasticsearch, elasticsearch_prefix, "3/3"))
        assert missing == []
        assert rest
        assert not set(rest) & set(half)
        assert sorted(number for written in (done[0][0], done[1][0], half, rest) for number in written) == [
            *range(30, 60)
        ]
        assert catalog.open("c").generation == 2
        assert catalog.verify("c") == []
        together, fields = vectors(catalog), catalog.open("c").fields()
        order = [document.id for document in catalog.open("c").documents(limit=1000)]
    assert indices(elasticsearch, elasticsearch_prefix) == 2
    assert left_beside_the_leases(elasticsearch, elasticsearch_prefix) == []
    with catalog_on(elasticsearch, f"{elasticsearch_prefix}-alone") as alone:
        write(alone, *(file(number) for number in range(10, 60)))
        expected = vectors(alone)
        assert fields == alone.open("c").fields()
        assert order == [document.id for document in alone.open("c").documents(limit=1000)]
    assert {id: text for id, (text, _) in together.items()} == {id: text for id, (text, _) in expected.items()}
    for id, (_, vector) in together.items():
        np.testing.assert_allclose(vector, expected[id][1], atol=1e-5)


def test_a_shard_does_not_delete_the_version_that_another_is_creating(
    catalog: ElasticsearchCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(catalog, *(file(number) for number in range(5)))
    make, delete, missing = index_versions.wait_for_shards, index_versions.delete_indices, []
    deleted: list[str] = []
    other = threading.Thread(target=lambda: missing.append(shard(catalog, "2/2", file(41))))

    def while_another_comes(connection: Connection, version: IndexVersion) -> None:
        """Between the clone and its metadata."""
        make(connection, version)
        if other.ident is None:
            other.start()
            other.join(timeout=2)

    def noted(connection: Connection, names: Sequence[str]) -> None:
        deleted.extend(names)
        delete(connection, names)

    monkeypatch.setattr(index_versions, "wait_for_shards", while_another_comes)
    monkeypatch.setattr(index_versions, "delete_indices", noted)
    missing.append(shard(catalog, "1/2", file(40)))
    other.join(timeout=120)
    assert deleted == []
    assert sorted(missing) in ([(), (1,)], [(), (2,)])
    assert len(contents(catalog)) == 7
    assert catalog.verify("c") == []


WORDS = ["river", "glacier", "treaty", "engine", "comet", "Vienna", "Osaka", "Perth", "crosses", "measures", "names"]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(bool(Address.given()), reason="the processes know no password")
def test_the_command_in_three_shards_with_one_killed_equals_one_job(
    elasticsearch: Address, elasticsearch_prefix: str, tmp_path: Path
) -> None:
    model, docs = make_checkpoint("bert", tmp_path / "model", reader=False), tmp_path / "docs"
    docs.mkdir()
    chance = random.Random(5)
    for number in range(45):
        paragraphs = [" ".join(chance.choices(WORDS, k=90)) + f" {number} {part}." for part in range(6)]
        (docs / f"{number:03}.txt").write_text("\n\n".join(paragraphs))
    own = {
        "STORE": "elasticsearch", "ELASTICSEARCH__URLS": elasticsearch.urls[0], "ELASTICSEARCH__VECTORS": "flat",
        "ELASTICSEARCH__PREFIX": elasticsearch_prefix, "ENCODER__MODEL": str(model), "THREADS": "1",
        "ENCODER__PRECISION": "float32",
        "SPLITTER__PASSAGE_TOKENS": "100", "SPLITTER__OVERLAP_TOKENS": "10", "HOME": str(tmp_path / "home"),
    }  # fmt: skip

    def command(*arguments: str, **more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "indexing.cli", *arguments, str(docs)],
            env={**os.environ, **{f"SEARCH_APP_{name}": value for name, value in {**own, **more}.items()}},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def output(process: subprocess.Popen[str]) -> str:
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        return out

    plan = json.loads(output(command("plan", "--shard", "2/3", "--json")))
    assert [share["shard"] for share in plan["shards"]] == ["1/3", "2/3", "3/3"]
    assert sum(share["files"] for share in plan["shards"]) == 45
    assert plan["added"] == plan["shards"][1]["files"] > 0

    with Proxy(elasticsearch) as proxy:
        doomed = command("apply", "--shard", "3/3", ELASTICSEARCH__URLS=proxy.url)
        with proxy.failing(then(doomed.kill), only="_bulk", times=1):
            doomed.communicate(timeout=300)
    others = [command("apply", "--shard", f"{number}/3") for number in (1, 2)]
    told = [output(other) for other in others]
    assert any("the index changes when these are done too: 3/3" in text for text in told)
    assert "nothing of it" not in output(command("apply", "--shard", "3/3"))

    output(command("apply", STORE="embedded"))
    settings = settings_for(elasticsearch, elasticsearch_prefix)
    with closing(open_catalog(settings)) as shared, closing(EmbeddedCatalog(Settings(home=tmp_path / "home"))) as alone:
        assert shared.verify("default") == []
        found, expected = vectors(shared, "default"), vectors(alone, "default")
    assert {id: text for id, (text, _) in found.items()} == {id: text for id, (text, _) in expected.items()}
    for id, (_, vector) in found.items():
        np.testing.assert_allclose(vector, expected[id][1], atol=1e-5)


# --- what they agree on


def test_the_last_shard_publishes_and_rollback_undoes_all(
    catalog: ElasticsearchCatalog, elasticsearch: Address, elasticsearch_prefix: str
) -> None:
    write(catalog, change("old", "as it was"))
    before = contents(catalog)
    assert shard(catalog, "2/3", change("b", "second", meta={"b": 1})) == (1, 3)
    assert shard(catalog, "1/3", change("a", "first", meta={"a": 1})) == (3,)
    assert contents(catalog) == before
    assert shard(catalog, "3/3") == ()
    assert list(contents(catalog)) == ["docs/a", "docs/b", "docs/old"]
    assert catalog.open("c").fields() == {"a": "number", "b": "number"}
    assert catalog.open("c").generation == 2
    catalog.rollback("c")
    assert contents(catalog) == before


def test_shards_create_and_rebuild_an_index(catalog: ElasticsearchCatalog) -> None:
    assert shard(catalog, "1/2", change("a", "one")) == (2,)
    assert catalog.names() == []
    assert shard(catalog, "2/2", change("b", "two")) == ()
    assert list(contents(catalog)) == ["docs/a", "docs/b"]
    assert shard(catalog, "1/2", change("c", "three"), rebuild=True) == (2,)
    assert shard(catalog, "2/2", rebuild=True) == ()
    assert list(contents(catalog)) == ["docs/c"]


def test_shards_without_changes_publish_nothing(
    catalog: ElasticsearchCatalog, elasticsearch: Address, elasticsearch_prefix: str
) -> None:
    write(catalog, change("a", "one"))
    generation = catalog.open("c").generation
    assert shard(catalog, "1/2") == (2,)
    assert shard(catalog, "2/2") == ()
    assert catalog.open("c").generation == generation
    assert left_beside_the_leases(elasticsearch, elasticsearch_prefix) == []


def test_a_finished_shard_can_run_again_and_is_unfinished_meanwhile(catalog: ElasticsearchCatalog) -> None:
    assert shard(catalog, "1/2", change("a", "one")) == (2,)
    with catalog.shard_writer("c", MANIFEST, (1, 2)) as again:
        assert [record.source for record in again.files()] == ["docs/a"]
        assert shard(catalog, "2/2", change("b", "two")) == (1,)
        again.write([change("a", "another one")])
        assert again.finish() == ()
    assert contents(catalog)["docs/a"] == ["a-0-another one: another one"]


def test_the_same_shard_twice_is_refused_with_the_other_process(
    catalog: ElasticsearchCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.2)
    with (
        catalog.shard_writer("c", MANIFEST, (1, 2)),
        pytest.raises(IndexBusy, match=rf"process {os.getpid()} on .* is doing shard 1/2 of collection 'c'"),
    ):
        catalog.shard_writer("c", MANIFEST, (1, 2))


def test_shards_are_refused_during_an_ordinary_job(
    catalog: ElasticsearchCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.2)
    with catalog.writer("c", MANIFEST), pytest.raises(IndexBusy, match="is writing to collection 'c'"):
        catalog.shard_writer("c", MANIFEST, (1, 2))


def test_shards_with_different_settings_are_refused(catalog: ElasticsearchCatalog) -> None:
    assert shard(catalog, "1/3", change("a", "one")) == (2, 3)
    other = Manifest(ENCODER.stamp, "v1 32/4", "auto")
    for shards, manifest, rebuild, told in (
        ((2, 4), MANIFEST, False, "started with shards 3, not 4"),
        ((2, 3), MANIFEST, True, "started with --rebuild False, not True"),
        ((2, 3), other, False, "started with encoder, splitter and analysis others"),
    ):
        with pytest.raises(IndexBusy, match=told):
            catalog.shard_writer("c", manifest, shards, rebuild=rebuild)
    with pytest.raises(IndexBusy, match="1 of 3 shards"):
        catalog.writer("c", MANIFEST, rebuild=True)


def test_one_job_finishes_an_abandoned_set(
    catalog: ElasticsearchCatalog, elasticsearch: Address, elasticsearch_prefix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.2)
    write(catalog, change("old", "as it was"))
    assert shard(catalog, "1/3", change("a", "one", meta={"a": 1})) == (2, 3)
    with catalog.shard_writer("c", MANIFEST, (2, 3)) as running:
        running.write([change("b", "two", meta={"b": 1})])
        with pytest.raises(IndexBusy, match="shard 2/3"):
            catalog.shard_writer("c", MANIFEST, (1, 1))
        with pytest.raises(IndexBusy, match="1 of 3 shards"):
            catalog.rollback("c")
    with catalog.shard_writer("c", MANIFEST, (1, 1)) as rest:
        assert [record.source for record in rest.files()] == ["docs/a", "docs/b", "docs/old"]
        rest.write([change("c", "three")])
        assert rest.finish() == ()
    assert list(contents(catalog)) == ["docs/a", "docs/b", "docs/c", "docs/old"]
    assert catalog.open("c").fields() == {"a": "number", "b": "number"}
    assert left_beside_the_leases(elasticsearch, elasticsearch_prefix) == []
    write(catalog, change("d", "an ordinary job again"))


def test_the_field_limit_counts_all_shards(elasticsearch: Address, elasticsearch_prefix: str) -> None:
    def fields(first: int) -> dict[str, int]:
        return {f"k{number}": 1 for number in range(first, first + 6)}

    with catalog_on(elasticsearch, elasticsearch_prefix, max_fields=10) as catalog:
        with catalog.shard_writer("c", MANIFEST, (1, 2)) as one, catalog.shard_writer("c", MANIFEST, (2, 2)) as two:
            assert one.write([change("a", "first", meta=fields(0))]) == []
            (rejection,) = two.write([change("b", "second", meta=fields(6)), change("c", "third", meta=fields(0))])
            assert rejection.source == "docs/b"
            one.finish()
            two.finish()
        assert list(contents(catalog)) == ["docs/a", "docs/c"]
        assert len(catalog.open("c").fields()) == 6
        assert catalog.verify("c") == []


# --- the end of it


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("step", "fault"),
    [
        pytest.param("_mapping", reset, marks=SLOW),
        pytest.param("_settings", reset, marks=SLOW),
        ("_aliases", reset),
        ("_aliases", reset_when_done),
        pytest.param("DELETE .*shards", reset, marks=SLOW),
    ],
)
def test_the_last_shard_killed_while_publishing_can_run_again(
    elasticsearch: Address, elasticsearch_prefix: str, step: str, fault: Fault
) -> None:
    with catalog_on(elasticsearch, elasticsearch_prefix) as catalog, Proxy(elasticsearch) as proxy:
        write(catalog, change("old", "as it was"))
        shard(catalog, "1/2", change("a", "one"))
        with (
            catalog_on(proxy.address, elasticsearch_prefix, patience=1.0) as doomed,
            doomed.shard_writer("c", MANIFEST, (2, 2)) as writer,
        ):
            writer.write([change("b", "two")])
            with proxy.failing(fault, only=step), pytest.raises(BackendUnavailable):
                writer.finish()
        if "docs/b" not in contents(catalog):
            with pytest.raises(IndexBusy, match=r"2 of 2 shards .* but 2/2 ended before publishing"):
                catalog.writer("c", MANIFEST)
        assert shard(catalog, "2/2") == ()
        assert list(contents(catalog)) == ["docs/a", "docs/b", "docs/old"]
        assert catalog.open("c").generation == 2
        assert catalog.verify("c") == []
        write(catalog, change("c", "an ordinary job again"))
    assert indices(elasticsearch, elasticsearch_prefix) == 2


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(bool(Address.given()), reason="the processes know no password")
@pytest.mark.parametrize("round_", range(ROUNDS))
def test_a_shard_killed_at_any_request_loses_and_duplicates_nothing(
    elasticsearch: Address, elasticsearch_prefix: str, round_: int
) -> None:
    seed = secrets.randbits(32)
    chance = random.Random(seed)
    with catalog_on(elasticsearch, elasticsearch_prefix) as catalog, Proxy(elasticsearch) as proxy:
        write(catalog, *(file(number) for number in range(20)))
        before = vectors(catalog)
        first, last = chance.sample(["1/2", "2/2"], 2)
        ended(process(elasticsearch, elasticsearch_prefix, first, until=30))
        doomed = process(proxy.address, elasticsearch_prefix, last, until=30)
        at = chance.randrange(55)
        with proxy.failing(_killing(doomed, at, chance.choice([passed, reset]))):
            doomed.communicate(timeout=120)
        published = catalog.open("c").generation == 2
        assert published or vectors(catalog).keys() == before.keys(), f"seed {seed}"
        if doomed.returncode:  # else it was done before: run again it would begin the next set
            ended(process(elasticsearch, elasticsearch_prefix, last, until=30))
        print(f"{last} killed at request {at} of {len(proxy.requests)}, published before: {published}, seed {seed}")
        assert catalog.open("c").generation == 2, f"seed {seed}"
        assert sorted(contents(catalog)) == [f"docs/{number:03}" for number in range(10, 30)], f"seed {seed}"
        assert catalog.verify("c") == [], f"seed {seed}"
        assert left_beside_the_leases(elasticsearch, elasticsearch_prefix) == [], f"seed {seed}"
        assert indices(elasticsearch, elasticsearch_prefix) == 2, f"seed {seed}"


def _killing(process: subprocess.Popen[str], number: int, fault: Fault) -> Fault:
    """Kill the process at this request, from 0, which is performed or not."""
    seen = itertools.count()

    def meets(exchange: Exchange) -> None:
        mine = next(seen) == number
        if mine and fault is passed:
            exchange.ask()
        if mine:
            process.kill()
        (reset if mine else passed)(exchange)

    return meets
