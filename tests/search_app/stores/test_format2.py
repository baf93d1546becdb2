"""A collection written by an earlier version of the program, in the current format, opens and works unchanged.

`data/format2` was written by commit 372fe0f with a compressed vector index and cached postings.
"""

from __future__ import annotations

import json
import logging
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fakes import HashEncoder

from search_app.settings import load_settings
from search_app.stores.embedded.catalog import EmbeddedCatalog
from search_app.stores.filters import parse_where

DATA = Path(__file__).parent / "data"
EXPECTED: dict[str, Any] = json.loads((DATA / "format2.json").read_text())
ENCODER = HashEncoder(dim=16)


def catalog_of(home: Path, **settings: Any) -> EmbeddedCatalog:
    return EmbeddedCatalog(load_settings(home=home, vectors={"index": "compressed", "lists": 2}, **settings))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    shutil.copytree(DATA / "format2", tmp_path / "collections" / "c")
    return tmp_path


def answers(catalog: EmbeddedCatalog) -> list[dict[str, list[tuple[str, float]]]]:
    with closing(catalog.open("c")) as store:
        questions = EXPECTED["questions"]
        found = store.search_both(questions, ENCODER.encode_queries(questions), k=20)
    return [
        {side: [(hit.passage.id, hit.score) for hit in getattr(each, side)] for side in ("dense", "keyword")}
        for each in found
    ]


def require_all(catalog: EmbeddedCatalog) -> None:
    for ours, theirs in zip(answers(catalog), EXPECTED["answers"], strict=True):
        for side in ("dense", "keyword"):
            assert [id for id, _ in ours[side]] == [id for id, _ in theirs[side]]
            assert [score for _, score in ours[side]] == pytest.approx([score for _, score in theirs[side]], rel=1e-5)


def test_it_gives_the_same_answers_from_the_same_caches(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    catalog = catalog_of(home)
    before = {path.name: path.read_bytes() for path in (home / "collections" / "c").glob("*.*e")}
    with caplog.at_level(logging.WARNING):
        require_all(catalog)
        with closing(catalog.open("c")) as store:
            assert dict(store.counts()) == EXPECTED["counts"]
            assert dict(store.fields()) == EXPECTED["fields"]
            assert store.generation == EXPECTED["generation"]
            assert [record.path for record in store.files()] == EXPECTED["files"]
            assert store.describe()["caches"] == EXPECTED["describe"]
    assert not caplog.records
    assert catalog.verify("c") == []
    assert before == {path.name: path.read_bytes() for path in (home / "collections" / "c").glob("*.*e")}


def test_jobs_and_rollback_work_with_it(home: Path) -> None:
    catalog = catalog_of(home)
    with closing(catalog.open("c")) as store:
        manifest = store.manifest
    with catalog.writer("c", manifest) as writer:
        assert [record.path for record in writer.files()] == EXPECTED["files"]
        assert writer.remove_documents(["doc5"]) == 1
        writer.finish()
    assert catalog.verify("c") == []
    catalog.compact("c")
    assert catalog.verify("c") == []
    catalog.rollback("c")
    with closing(catalog.open("c")) as store:
        assert store.counts()["documents"] == 8
        assert store.count_passages(parse_where("format = html")) == 6


def test_it_uses_the_default_bm25_and_follows_other_settings(home: Path) -> None:
    default, other = catalog_of(home), catalog_of(home, keyword={"k1": 0.4, "b": 0.1})
    require_all(default)
    for ours, theirs in zip(answers(other), EXPECTED["answers"], strict=True):
        assert {id for id, _ in ours["keyword"]} == {id for id, _ in theirs["keyword"]}
        assert not ours["keyword"] or dict(ours["keyword"]) != dict(theirs["keyword"])
        assert ours["dense"] == [(id, pytest.approx(score, rel=1e-5)) for id, score in theirs["dense"]]
    require_all(default)
