"""Tables, places and edits, which format 3 added: upgrade from format 2, and every copy of an index.

`data/format2` was written by an earlier version of the program.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from fakes import HashEncoder, table_change

from search_app.manifest import Manifest
from search_app.settings import load_settings
from search_app.stores.embedded.catalog import EmbeddedCatalog
from search_app.stores.embedded.connection import connect_reading, connect_writing, rows
from search_app.stores.embedded.schema import INDEX_FILE
from search_app.stores.embedded.state import read_format
from search_app.types import Hit, Passage

DATA = Path(__file__).parent / "data"
ENCODER = HashEncoder(dim=16)
CHANGE = table_change(ENCODER)


@pytest.fixture
def catalog(tmp_path: Path) -> EmbeddedCatalog:
    """With an index of format 2 as the collection "old"."""
    shutil.copytree(DATA / "format2", tmp_path / "collections" / "old")
    return EmbeddedCatalog(load_settings(home=tmp_path, vectors={"index": "compressed", "lists": 2}))


def manifest_of(catalog: EmbeddedCatalog, name: str) -> Manifest:
    with closing(catalog.open(name)) as store:
        return store.manifest


def write(catalog: EmbeddedCatalog, name: str) -> None:
    with catalog.writer(name, manifest_of(catalog, "old")) as writer:
        writer.write([CHANGE])
        writer.finish()


def format_of(home: Path, name: str) -> int:
    with closing(connect_reading(home / "collections" / name / INDEX_FILE)) as db:
        return read_format(db)


def passages_of(hits: Iterable[Hit]) -> dict[str, Passage]:
    return {hit.passage.id: hit.passage for hit in hits}


def require_tables(catalog: EmbeddedCatalog, name: str) -> None:
    assert catalog.verify(name) == []
    with closing(catalog.open(name)) as store:
        assert store.document("doc1") == CHANGE.documents[0]
        (hits,) = store.search_keyword(["allowance"], k=5)
        assert passages_of(hits) == {passage.id: passage for passage in CHANGE.batch.passages}


def test_an_open_reader_of_format_2_follows_the_writer_that_upgrades_it(
    catalog: EmbeddedCatalog, tmp_path: Path
) -> None:
    vectors = ENCODER.encode_queries(["allowance"])
    with closing(catalog.open("old")) as reader:
        before = reader.search_dense(vectors, k=50)[0]
        assert reader.document("doc5").tables == ()
        with catalog.writer("old", reader.manifest) as writer:
            assert (format_of(tmp_path, "old"), reader.generation) == (3, reader.generation)
            assert reader.search_dense(vectors, k=50)[0] == before
            writer.remove_documents(["doc1"])
            writer.write([CHANGE])
            writer.finish()
        assert reader.document("doc1") == CHANGE.documents[0]
        after = passages_of(reader.search_dense(vectors, k=50)[0])
        kept = {id: passage for id, passage in passages_of(before).items() if passage.document_id != "doc1"}
        assert after == kept | {passage.id: passage for passage in CHANGE.batch.passages}
    assert catalog.verify("old") == []


def test_the_upgrade_writes_no_row_again(catalog: EmbeddedCatalog, tmp_path: Path) -> None:
    path = tmp_path / "collections" / "old" / INDEX_FILE
    with closing(connect_writing(path)) as db:
        before = [rows(db, f"SELECT * FROM {table} ORDER BY rowid") for table in ("documents", "passages", "terms")]
        state = rows(db, "SELECT lineage, generation, removals_since FROM manifest")
    with catalog.writer("old", manifest_of(catalog, "old")):
        pass
    with closing(connect_reading(path)) as db:
        documents, passages, words = (
            rows(db, f"SELECT * FROM {table} ORDER BY rowid") for table in ("documents", "passages", "terms")
        )
        assert rows(db, "SELECT lineage, generation, removals_since FROM manifest") == state
    assert [(*row, "") for row in before[0]] == documents
    assert [(*row, "") for row in before[1]] == passages
    assert before[2] == words


def test_an_index_of_format_2_can_be_repaired_copied_and_restored(catalog: EmbeddedCatalog, tmp_path: Path) -> None:
    catalog.snapshot("old", tmp_path / "copy")
    assert format_of(tmp_path, "old") == 2
    catalog.restore("restored", tmp_path / "copy")
    assert (catalog.verify("restored"), format_of(tmp_path, "restored")) == ([], 3)
    with closing(connect_writing(tmp_path / "collections" / "old" / INDEX_FILE)) as db:
        db.execute("DELETE FROM terms WHERE passage % 2 = 0")
    assert catalog.verify("old")
    assert catalog.repair("old")
    assert (catalog.verify("old"), format_of(tmp_path, "old")) == ([], 3)


def compacted(catalog: EmbeddedCatalog, folder: Path) -> str:
    catalog.compact("new")
    return "new"


def restored(catalog: EmbeddedCatalog, folder: Path) -> str:
    catalog.snapshot("new", folder / "copy")
    catalog.restore("restored", folder / "copy")
    return "restored"


def repaired(catalog: EmbeddedCatalog, folder: Path) -> str:
    with closing(connect_writing(folder / "collections" / "new" / INDEX_FILE)) as db:
        db.execute("DELETE FROM terms")
    assert catalog.repair("new")
    return "new"


def rolled_back(catalog: EmbeddedCatalog, folder: Path) -> str:
    with catalog.writer("new", manifest_of(catalog, "new"), rebuild=True) as writer:
        writer.finish()
    catalog.rollback("new")
    return "new"


@pytest.mark.parametrize("copy", [compacted, restored, repaired, rolled_back])
def test_every_copy_keeps_tables_places_and_edits(
    catalog: EmbeddedCatalog, tmp_path: Path, copy: Callable[[EmbeddedCatalog, Path], str]
) -> None:
    write(catalog, "new")
    require_tables(catalog, "new")
    require_tables(catalog, copy(catalog, tmp_path))


@pytest.mark.parametrize("damage", ["UPDATE passages SET edits = '[]'", "UPDATE documents SET tables = '[]'"])
def test_damaged_edits_and_tables_are_found(catalog: EmbeddedCatalog, tmp_path: Path, damage: str) -> None:
    write(catalog, "new")
    with closing(connect_writing(tmp_path / "collections" / "new" / INDEX_FILE)) as db:
        db.execute(damage)
    assert any("its checksum is wrong" in problem for problem in catalog.verify("new"))


def test_a_failed_upgrade_leaves_format_2(catalog: EmbeddedCatalog, tmp_path: Path) -> None:
    from search_app.stores.embedded import upgrade

    path = tmp_path / "collections" / "old" / INDEX_FILE
    with closing(connect_writing(path)) as db:
        db.set_authorizer(lambda action, table, *_: int(action == apsw.SQLITE_UPDATE and table == "manifest"))
        with pytest.raises(apsw.AuthError):
            upgrade.upgrade(db)
    assert (catalog.verify("old"), format_of(tmp_path, "old")) == ([], 2)
