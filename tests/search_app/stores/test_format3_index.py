"""An index of format 3, as a later format must still read it: tables, places, edits, words of the second rules.

`data/format3` was written by commit 283f1eb with cached postings; one of its files has two pages that OCR did not read.
"""

from __future__ import annotations

import json
import logging
import shutil
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from fakes import HashEncoder, table_change

from search_app.settings import load_settings
from search_app.stores.embedded.catalog import EmbeddedCatalog
from search_app.stores.filters import parse_where
from search_app.types import Hit

DATA = Path(__file__).parent / "data"
EXPECTED: dict[str, Any] = json.loads((DATA / "format3.json").read_text(encoding="utf-8"))
ENCODER = HashEncoder(dim=16)


@pytest.fixture
def catalog(tmp_path: Path) -> EmbeddedCatalog:
    shutil.copytree(DATA / "format3", tmp_path / "collections" / "c")
    return EmbeddedCatalog(load_settings(home=tmp_path))


def scored(hits: list[Hit]) -> list[list[Any]]:
    return [[hit.passage.id, pytest.approx(hit.score, rel=1e-5, abs=1e-6)] for hit in hits]


def test_it_gives_the_same_answers_from_the_same_caches(
    catalog: EmbeddedCatalog, caplog: pytest.LogCaptureFixture
) -> None:
    questions = EXPECTED["questions"]
    with caplog.at_level(logging.WARNING), closing(catalog.open("c")) as store:
        found = store.search_both(questions, ENCODER.encode_queries(questions), k=20)
        for ours, theirs in zip(found, EXPECTED["answers"], strict=True):
            assert theirs == {"dense": scored(list(ours.dense)), "keyword": scored(list(ours.keyword))}
        assert dict(store.counts()) == EXPECTED["counts"]
        assert dict(store.fields()) == EXPECTED["fields"]
        assert store.generation == EXPECTED["generation"]
        assert [asdict(record) for record in store.files()] == EXPECTED["files"]
        assert store.describe()["caches"] == EXPECTED["describe"]
    assert not caplog.records
    assert catalog.verify("c") == []


def test_tables_places_and_edits_are_read(catalog: EmbeddedCatalog) -> None:
    change = table_change(ENCODER)
    with closing(catalog.open("c")) as store:
        assert store.document("doc1") == change.documents[0]
        found = {
            passage.id: passage for batch in store.passages(parse_where("number = 1")) for passage in batch.passages
        }
    assert {passage.id: passage for passage in change.batch.passages}.items() <= found.items()
    assert any(passage.edits for passage in change.batch.passages)


def test_jobs_work_with_it(catalog: EmbeddedCatalog) -> None:
    with closing(catalog.open("c")) as store:
        manifest = store.manifest
    with catalog.writer("c", manifest) as writer:
        assert writer.remove_documents(["doc15"]) == 1
        writer.write([table_change(ENCODER, 2)])
        writer.finish()
    assert catalog.verify("c") == []
    catalog.compact("c")
    with closing(catalog.open("c")) as store:
        assert store.document("doc2") == table_change(ENCODER, 2).documents[0]
        assert store.counts()["documents"] == EXPECTED["counts"]["documents"]
    assert catalog.verify("c") == []
