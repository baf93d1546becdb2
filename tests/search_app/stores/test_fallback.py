"""Two real indexes of one collection: the primary knows one document more than its replica."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import HashEncoder, UnreliableCatalog
from scripted_api import Text, index

from search_app.errors import BackendUnavailable, IndexMismatch, IndexNotFound, InvalidQuery
from search_app.manifest import Manifest
from search_app.settings import Settings
from search_app.stores.embedded.catalog import EmbeddedCatalog
from search_app.stores.embedded.writer import SqliteWriter
from search_app.stores.fallback import FallbackCatalog, FallbackStore
from search_app.stores.filters import parse_where
from search_app.types import Rankings

ENCODER = HashEncoder()
OLD = [
    Text("river.txt", "The Danube crosses Vienna.", meta={"size": 1}),
    Text("law.txt", "A treaty was signed in Lima."),
]
NEW = [*OLD, Text("rain.txt", "It rains in Bergen, and the Danube is far.")]


class Pair:
    def __init__(self, folder: Path) -> None:
        self.here, self.there = Settings(home=folder / "here"), Settings(home=folder / "there")
        self.server = UnreliableCatalog(EmbeddedCatalog(self.there))
        self.catalog = FallbackCatalog(self.server, EmbeddedCatalog(self.here))


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    made = Pair(tmp_path)
    index(made.there, NEW)
    index(made.here, OLD)
    yield made
    made.catalog.close()


@pytest.fixture
def store(pair: Pair) -> Iterator[Any]:
    opened = pair.catalog.open("default")
    yield opened
    opened.close()


def ask(store: Any, question: str = "Danube") -> Rankings:
    (found,) = store.search_both([question], ENCODER.encode_queries([question]), k=10)
    return found


def sources(rankings: Rankings) -> set[str]:
    return {hit.passage.source for hit in rankings.dense}


def test_the_primary_answers_while_it_is_available(store: Any) -> None:
    found = ask(store)
    assert sources(found) == {"river.txt", "law.txt", "rain.txt"}
    assert not found.degraded
    assert not store.is_degraded()


def test_the_replica_answers_as_degraded_only_while_the_primary_is_down(pair: Pair, store: Any) -> None:
    ask(store)
    pair.server.down = True
    found = ask(store)
    assert sources(found) == {"river.txt", "law.txt"}
    assert found.degraded
    assert store.is_degraded()
    pair.server.down = False
    assert not ask(store).degraded
    assert not store.is_degraded()


def test_every_call_falls_back(pair: Pair, store: Any) -> None:
    with closing(EmbeddedCatalog(pair.here).open("default")) as expected:
        pair.server.down = True
        vectors = ENCODER.encode_queries(["Danube"])
        id = next(document.id for document in expected.documents(limit=9) if document.source == "river.txt")
        calls = [
            lambda one: one.manifest, lambda one: one.generation, lambda one: one.search_dense(vectors, k=3),
            lambda one: one.search_keyword(["Danube"], k=3), lambda one: one.document(id), lambda one: one.fields(),
            lambda one: one.documents(limit=1, offset=1), lambda one: list(one.files()), lambda one: one.file_of(id),
            lambda one: one.counts(), lambda one: one.search_keyword(["Danube"], k=3, where=parse_where("size = 1")),
        ]  # fmt: skip
        for call in calls:
            found, same = call(store), call(expected)
            assert found == same
            assert found


def test_it_opens_while_the_server_is_down_and_switches_later(pair: Pair) -> None:
    pair.server.down = True
    assert pair.catalog.names() == ["default"]
    store = pair.catalog.open("default")
    assert ask(store).degraded
    pair.server.down = False
    assert sources(ask(store)) == {"river.txt", "law.txt", "rain.txt"}
    store.close()


def test_without_a_replica_the_servers_error_is_raised(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    index(pair.there, NEW)
    store = pair.catalog.open("default")
    pair.server.down = True
    for call in (lambda: ask(store), store.is_degraded, pair.catalog.names, lambda: pair.catalog.open("default")):
        with pytest.raises(BackendUnavailable, match="the server is down; start it"):
            call()
    store.close()


def test_a_replica_created_later_is_used(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    index(pair.there, NEW)
    store = pair.catalog.open("default")
    pair.server.down = True
    with pytest.raises(BackendUnavailable):
        ask(store)
    index(pair.here, OLD)
    assert ask(store).degraded
    store.close()


@pytest.mark.parametrize("odd", ["here", "there"])
def test_vectors_of_another_encoder_are_never_compared(pair: Pair, odd: str) -> None:
    other = Manifest(HashEncoder(digest="other").stamp, "test", "auto")
    folder = getattr(pair, odd).collection_folder("default")
    with SqliteWriter(folder, other, collection="default", rebuild=True) as writer:
        writer.finish()
    if odd == "here":
        store = pair.catalog.open("default")
        pair.server.down = True
        with pytest.raises(BackendUnavailable):
            ask(store)
    else:
        pair.server.down = True
        store = pair.catalog.open("default")
        assert ask(store).degraded
        pair.server.down = False
        with pytest.raises(IndexMismatch):
            ask(store)
    store.close()


def test_only_an_unavailable_server_triggers_the_fallback(pair: Pair, store: Any) -> None:
    with pytest.raises(InvalidQuery, match="colour"):
        store.search_keyword(["Danube"], k=3, where=parse_where("colour = red"))
    with pytest.raises(IndexNotFound):
        pair.catalog.open("other")
    assert not store.is_degraded()


def test_writing_verifying_and_describing_use_the_server(pair: Pair, store: Any) -> None:
    assert pair.catalog.verify("default") == []
    assert str(pair.there.home) in str(pair.catalog.describe("default")["folder"])
    with pair.catalog.writer("default", store.manifest) as writer:
        writer.remove_files([record.path for record in writer.files()])
        writer.finish()
    assert store.counts()["documents"] == 0
    pair.server.down = True
    assert store.counts()["documents"] == 2
    for call in (pair.catalog.verify, pair.catalog.describe, pair.catalog.rollback):
        with pytest.raises(BackendUnavailable):
            call("default")
    with pytest.raises(BackendUnavailable):
        pair.catalog.writer("default", store.manifest)


def test_stores_are_opened_on_first_use(pair: Pair) -> None:
    opened: list[str] = []

    def opener(name: str, settings: Settings) -> Any:
        opened.append(name)
        return EmbeddedCatalog(settings).open("default")

    store = FallbackStore(lambda: opener("there", pair.there), lambda: opener("here", pair.here))
    assert np.isfinite(ask(store).dense[0].score)
    assert opened == ["there"]
    store.close()


def test_maintenance_is_for_the_primary_alone(pair: Pair, store: Any) -> None:
    replica = EmbeddedCatalog(pair.here).open("default")
    before = replica.generation
    river = next(document.id for document in store.documents(limit=9) if document.source == "river.txt")
    with pair.catalog.writer("default", store.manifest) as writer:
        assert writer.remove_documents([river]) == 1
        writer.finish()
    assert sources(ask(store)) == {"law.txt", "rain.txt"}
    pair.catalog.compact("default")
    assert pair.catalog.verify("default") == []
    with pair.catalog.writer("default", store.manifest, rebuild=True) as writer:
        writer.finish()
    assert sources(ask(store)) == set()
    pair.catalog.rollback("default")
    assert sources(ask(store)) == {"law.txt", "rain.txt"}
    assert (replica.generation, replica.counts()["documents"]) == (before, 2)
    replica.close()
    pair.server.down = True
    with pytest.raises(BackendUnavailable):
        pair.catalog.verify("default")


def test_drop_and_rename_take_the_replica_along(pair: Pair) -> None:
    pair.catalog.rename("default", "other")
    here = EmbeddedCatalog(pair.here)
    assert (pair.server.names(), here.names()) == (["other"], ["other"])
    pair.server.down = True
    with pytest.raises(BackendUnavailable):
        pair.catalog.drop("other")
    assert here.names() == ["other"]
    pair.server.down = False
    pair.catalog.drop("other")
    assert (pair.server.names(), here.names()) == ([], [])
    with pytest.raises(IndexNotFound):
        pair.catalog.drop("other")


def test_a_drop_that_stopped_after_the_primary_can_be_run_again(pair: Pair) -> None:
    EmbeddedCatalog(pair.there).drop("default")
    pair.catalog.drop("default")
    assert EmbeddedCatalog(pair.here).names() == []


def test_a_rename_replaces_a_replica_that_is_left_under_the_new_name(pair: Pair) -> None:
    EmbeddedCatalog(pair.there).rename("default", "other")
    pair.catalog.rename("other", "default")
    pair.server.down = True
    for call in (pair.catalog.names, lambda: pair.catalog.open("default")):
        with pytest.raises(BackendUnavailable):
            call()
