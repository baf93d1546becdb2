"""An index of format 1 is upgraded without loss; an index of a later format is refused."""

from __future__ import annotations

import dataclasses
import json
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest
from fakes import HashEncoder

from search_app.errors import IndexMismatch
from search_app.manifest import Manifest
from search_app.settings import load_settings
from search_app.stores.embedded import publish, upgrade
from search_app.stores.embedded.catalog import EmbeddedCatalog
from search_app.stores.embedded.connection import connect_writing
from search_app.stores.embedded.schema import INDEX_FILE
from search_app.stores.filters import parse_where
from search_app.types import Filter

DATA = Path(__file__).parent / "data"
HELD: dict[str, Any] = json.loads((DATA / "format1.json").read_text())
ENCODER = HashEncoder(dim=16)
MANIFEST = Manifest(ENCODER.stamp, "v1 64/8", "auto")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The index file."""
    folder = tmp_path / "collections" / "c"
    folder.mkdir(parents=True)
    shutil.copy(DATA / "format1.db", folder / INDEX_FILE)
    return folder / INDEX_FILE


@pytest.fixture
def catalog(tmp_path: Path, path: Path) -> EmbeddedCatalog:
    return EmbeddedCatalog(load_settings(home=tmp_path))


def found(catalog: EmbeddedCatalog, where: Filter | None = None) -> list[dict[str, list[tuple[str, float]]]]:
    with closing(catalog.open("c")) as store:
        questions = HELD["questions"]
        answers = store.search_both(questions, ENCODER.encode_queries(questions), k=20, where=where)
    return [
        {side: [(hit.passage.id, hit.score) for hit in getattr(each, side)] for side in ("dense", "keyword")}
        for each in answers
    ]


def require_all(catalog: EmbeddedCatalog, *, rel: float = 1e-5) -> None:
    for ours, theirs in zip(found(catalog), HELD["answers"], strict=True):
        for side in ("dense", "keyword"):
            assert {id for id, _ in ours[side]} == {id for id, _ in theirs[side]}
            assert [score for _, score in ours[side]] == pytest.approx([score for _, score in theirs[side]], rel=rel)
    with closing(catalog.open("c")) as store:
        assert dict(store.counts()) == HELD["counts"]
        assert dict(store.fields()) == HELD["fields"]
        assert [list(dataclasses.astuple(record)) for record in store.files()] == HELD["files"]
        for document in HELD["documents"]:
            kept = store.document(document["id"])
            assert kept is not None
            pages = [{**page, "boxes": []} for page in document["pages"]]
            assert json.loads(json.dumps(dataclasses.asdict(kept))) == {**document, "pages": pages, "tables": []}


def test_a_reader_names_the_command_that_upgrades_the_index(catalog: EmbeddedCatalog) -> None:
    with pytest.raises(IndexMismatch, match=r"has format 1, this program reads formats 2 to 3.*search-index compact"):
        catalog.open("c")
    with pytest.raises(IndexMismatch, match="search-index compact"):
        catalog.verify("c")


def test_compacting_upgrades_it_without_loss(catalog: EmbeddedCatalog) -> None:
    catalog.compact("c")
    assert catalog.verify("c") == []
    require_all(catalog, rel=0.1)  # with the words of today's rules
    where = parse_where("kind = letter and tags in [t1, t4] and modified >= 2026-01-01")
    assert {id for id, _ in found(catalog, where)[0]["dense"]} == {"p1-0", "p1-40"}


def test_a_job_upgrades_it_and_continues(catalog: EmbeddedCatalog) -> None:
    with catalog.writer("c", MANIFEST) as writer:
        assert [record.path for record in writer.files()] == ["/1.txt", "/2.txt", "/3.txt", "/4.txt"]
        require_all(catalog)
        writer.remove_files(["/2.txt"])
        writer.finish()
    assert catalog.verify("c") == []
    with closing(catalog.open("c")) as store:
        assert store.generation == HELD["generation"] + 2
        assert store.document("d2") is None
        assert store.search_keyword(["Kündigungsfrist"], k=5) == [[]]


def test_row_numbers_of_removed_passages_are_not_reused(path: Path) -> None:
    with closing(connect_writing(path)) as db:
        sql = "SELECT seq FROM sqlite_sequence WHERE name = 'passages'"
        before = db.execute(sql).get
        assert upgrade.upgrade(db)
        assert not upgrade.upgrade(db)
        assert db.execute(sql).get == before == 10
        assert db.execute("SELECT max(rowid) FROM passages").get == 8


def test_a_failed_upgrade_leaves_the_index_unchanged(catalog: EmbeddedCatalog, path: Path) -> None:
    with closing(connect_writing(path)) as db:
        db.set_authorizer(lambda action, table, *_: int(action == apsw.SQLITE_DROP_TABLE and table == "old_manifest"))
        with pytest.raises(apsw.AuthError):
            upgrade.upgrade(db)
    with pytest.raises(IndexMismatch, match="has format 1"):
        catalog.open("c")
    catalog.compact("c")
    require_all(catalog, rel=0.1)


def test_incompatible_settings_are_refused_before_the_upgrade(catalog: EmbeddedCatalog) -> None:
    other = dataclasses.replace(MANIFEST, splitter="v9")
    with pytest.raises(IndexMismatch, match="splitter"):
        catalog.writer("c", other)
    with pytest.raises(IndexMismatch, match="has format 1"):
        catalog.open("c")


def test_a_rebuild_over_it_can_be_undone(catalog: EmbeddedCatalog) -> None:
    with catalog.writer("c", MANIFEST, rebuild=True) as writer:
        writer.finish()
    assert catalog.verify("c") == []
    catalog.rollback("c")
    assert catalog.verify("c") == []
    require_all(catalog)


@pytest.mark.parametrize("version", [99, 0, "2", None])
def test_an_unknown_format_is_refused_and_left_unchanged(catalog: EmbeddedCatalog, path: Path, version: Any) -> None:
    with closing(connect_writing(path)) as db:
        text = json.loads(str(db.execute("SELECT json FROM manifest").get))
        db.execute("UPDATE manifest SET json = ?", (json.dumps({**text, "format": version}),))
        publish.checkpoint(db)
    before = path.read_bytes()
    for use in (
        lambda: catalog.open("c"),
        lambda: catalog.writer("c", MANIFEST),
        lambda: catalog.compact("c"),
        lambda: catalog.verify("c"),
        lambda: catalog.repair("c"),
    ):
        with pytest.raises(IndexMismatch, match=f"has format {version}, this program reads formats 2 to 3"):
            use()
    assert path.read_bytes() == before
