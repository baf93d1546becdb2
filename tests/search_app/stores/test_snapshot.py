"""Snapshot, restore, rollback, repair and compact, also when they are killed."""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from test_embedded import ENCODER, MANIFEST, change

from search_app.errors import ConfigurationError, IndexBusy, IndexCorrupt, IndexNotFound, SearchAppError
from search_app.settings import Settings, load_settings
from search_app.stores.embedded import generation
from search_app.stores.embedded.catalog import EmbeddedCatalog
from search_app.stores.embedded.connection import connect_writing
from search_app.stores.embedded.files import Files
from search_app.stores.embedded.schema import INDEX_FILE, PREVIOUS_FILE

QUESTIONS = ["river 3", "mountain", "paragraph 12"]


class Catalog(EmbeddedCatalog):
    """A catalog that returns the folder of a collection."""

    def __init__(self, settings: Settings, files: Files | None = None) -> None:
        super().__init__(settings, files)
        self._home = settings

    def folder(self, name: str = "c") -> Path:
        return self._home.collection_folder(name)


@pytest.fixture(params=["exact", "compressed"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """With flat and with compressed vectors, which are cached at any size."""
    vectors = {"index": "compressed", "lists": 4} if request.param == "compressed" else {"index": "flat"}
    return load_settings(home=tmp_path / "home", vectors=vectors)


@pytest.fixture
def catalog(settings: Settings) -> Catalog:
    return Catalog(settings)


@pytest.fixture
def plain(tmp_path: Path) -> Catalog:
    return Catalog(load_settings(home=tmp_path / "home"))


def fill(catalog: Catalog, numbers: range = range(1200), *, rebuild: bool = False, name: str = "c") -> None:
    with catalog.writer(name, MANIFEST, rebuild=rebuild) as writer:
        writer.write([change(number) for number in numbers])
        writer.finish()


def answers(catalog: Catalog, name: str = "c") -> Any:
    """Ids and exact scores."""
    with closing(catalog.open(name)) as store:
        vectors = ENCODER.encode_queries(QUESTIONS)
        return [
            [[(hit.passage.id, hit.score) for hit in side] for side in (found.dense, found.keyword)]
            for found in store.search_both(QUESTIONS, vectors, k=20)
        ]


def fill_and_ask(catalog: Catalog) -> None:
    fill(catalog, range(1))
    answers(catalog)


def documents(catalog: Catalog, name: str = "c") -> set[str]:
    with closing(catalog.open(name)) as store:
        return {document.id for document in store.documents(limit=10_000)}


def test_a_restored_snapshot_gives_bitwise_equal_scores(catalog: Catalog, tmp_path: Path) -> None:
    fill(catalog)
    with catalog.writer("c", MANIFEST) as writer:
        writer.remove_files([f"/{number}.txt" for number in range(0, 60, 3)])
        writer.finish()
    before = answers(catalog)
    catalog.snapshot("c", tmp_path / "kept" / "snapshot")
    described = json.loads((tmp_path / "kept/snapshot/snapshot.json").read_text())
    assert (described["collection"], described["generation"], described["format"]) == ("c", 2, 3)
    assert set(described["files"]) == {path.name for path in (tmp_path / "kept/snapshot").iterdir()} - {"snapshot.json"}
    assert catalog.restore("other", tmp_path / "kept" / "snapshot") == 3
    assert answers(catalog, "other") == before == answers(catalog)
    assert catalog.verify("other") == catalog.verify("c") == []
    fill(catalog, range(1200, 1210), name="other")
    assert len(documents(catalog, "other")) == 1190


def test_a_snapshot_includes_the_caches_of_a_compressed_index(tmp_path: Path) -> None:
    catalog = Catalog(load_settings(home=tmp_path / "home", vectors={"index": "compressed", "lists": 4}))
    fill(catalog)
    catalog.snapshot("c", tmp_path / "snapshot")
    (cache,) = (tmp_path / "snapshot").glob("vectors-*.cache")
    catalog.restore("other", tmp_path / "snapshot")
    assert (catalog.folder("other") / cache.name).read_bytes() == cache.read_bytes()
    facts: Any = catalog.describe("other")["caches"]
    assert facts["vectors"] == {"bytes": cache.stat().st_size, "passages_behind": 0, "there": True}


def test_a_snapshot_during_writes_has_one_generation(plain: Catalog, tmp_path: Path) -> None:
    fill(plain, range(10))
    stop = threading.Event()

    def write() -> None:
        with plain.writer("c", MANIFEST) as writer:
            for start in range(10, 5000, 10):
                if stop.is_set():
                    break
                writer.write([change(number) for number in range(start, start + 10)])

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for number in range(5):
            plain.snapshot("c", tmp_path / f"s{number}")
    finally:
        stop.set()
        thread.join()
    for number in range(5):
        plain.restore(f"r{number}", tmp_path / f"s{number}")
        assert plain.verify(f"r{number}") == []
        found = documents(plain, f"r{number}")
        taken = json.loads((tmp_path / f"s{number}/snapshot.json").read_text())["generation"]
        assert found == {f"d{item}" for item in range(taken * 10)}


def test_a_snapshot_never_overwrites(plain: Catalog, tmp_path: Path) -> None:
    fill(plain, range(3))
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "mine").touch()
    with pytest.raises(ConfigurationError, match="exists and is not an empty folder"):
        plain.snapshot("c", tmp_path / "kept")
    (tmp_path / "empty").mkdir()
    plain.snapshot("c", tmp_path / "empty")
    assert sorted(path.name for path in (tmp_path / "empty").iterdir()) == [INDEX_FILE, "snapshot.json"]
    with pytest.raises(IndexNotFound):
        plain.snapshot("nothing", tmp_path / "new")


@pytest.mark.parametrize("damage", ["index.db", "snapshot.json", "gone", "outside", "none"])
def test_a_damaged_snapshot_touches_nothing(plain: Catalog, tmp_path: Path, damage: str) -> None:
    fill(plain, range(3))
    taken = tmp_path / "s"
    plain.snapshot("c", taken)
    before = {path.name: path.read_bytes() for path in plain.folder().iterdir()}
    if damage == "gone":
        (taken / INDEX_FILE).unlink()
    elif damage == "outside":
        described = json.loads((taken / "snapshot.json").read_text())
        described["files"]["../../x.cache"] = described["files"][INDEX_FILE]
        (taken / "snapshot.json").write_text(json.dumps(described))
    elif damage == "none":
        shutil.rmtree(taken)
    else:
        content = bytearray((taken / damage).read_bytes())
        content[len(content) // 2 if damage == INDEX_FILE else 0] ^= 1
        (taken / damage).write_bytes(content)
    with pytest.raises(ConfigurationError if damage == "none" else IndexCorrupt, match=str(taken)):
        plain.restore("c", taken, replace=True)
    assert {path.name: path.read_bytes() for path in plain.folder().iterdir()} == before


def test_an_index_with_foreign_tables_is_not_restored(plain: Catalog, tmp_path: Path) -> None:
    fill(plain, range(3))
    taken = tmp_path / "s"
    plain.snapshot("c", taken)
    with closing(connect_writing(taken / INDEX_FILE)) as db:
        db.execute("CREATE TRIGGER wrong AFTER INSERT ON passages BEGIN DELETE FROM removed; END")
    described = json.loads((taken / "snapshot.json").read_text())
    described["files"][INDEX_FILE]["sha256"] = Files().sha256(taken / INDEX_FILE)
    (taken / "snapshot.json").write_text(json.dumps(described))
    with pytest.raises(IndexCorrupt, match="is not a snapshot of this program: wrong is not a table"):
        plain.restore("c", taken, replace=True)
    assert plain.verify("c") == []
    assert len(documents(plain)) == 3


def test_replacing_a_collection_needs_a_flag_and_can_be_undone(catalog: Catalog, tmp_path: Path) -> None:
    fill(catalog, range(100))
    catalog.snapshot("c", tmp_path / "s")
    first = answers(catalog)
    fill(catalog, range(100, 200))
    second = answers(catalog)
    with pytest.raises(ConfigurationError, match="'c' already exists; add --replace"):
        catalog.restore("c", tmp_path / "s")
    with closing(catalog.open("c")) as reader:
        vectors = ENCODER.encode_queries(["river"])
        assert len(reader.search_dense(vectors, k=1000)[0]) == 200
        assert catalog.restore("c", tmp_path / "s", replace=True) == 3
        assert len(reader.search_dense(vectors, k=1000)[0]) == 100
        assert answers(catalog) == first
        assert catalog.rollback("c") == 4
        assert len(reader.search_dense(vectors, k=1000)[0]) == 200
        assert answers(catalog) == second
        assert catalog.rollback("c") == 5
        assert len(reader.search_keyword(["river"], k=1000)[0]) == 100
        assert answers(catalog) == first
    assert catalog.verify("c") == []
    assert catalog.describe("c")["previous"]


def test_a_rebuild_keeps_the_previous_index_for_rollback(catalog: Catalog) -> None:
    fill(catalog, range(100))
    fill(catalog, range(50, 60), rebuild=True)
    assert documents(catalog) == {f"d{number}" for number in range(50, 60)}
    catalog.rollback("c")
    assert documents(catalog) == {f"d{number}" for number in range(100)}
    fill(catalog, range(100, 105))
    catalog.rollback("c")
    assert documents(catalog) == {f"d{number}" for number in range(50, 60)}
    catalog.rollback("c")
    assert documents(catalog) == {f"d{number}" for number in range(105)}
    assert catalog.verify("c") == []


def test_rollback_without_a_previous_index_names_the_commands_that_keep_one(plain: Catalog) -> None:
    fill(plain, range(2))
    with pytest.raises(ConfigurationError, match=r"no previous index.*apply --rebuild"):
        plain.rollback("c")
    with pytest.raises(IndexNotFound):
        plain.rollback("other")
    assert plain.names() == ["c"]


class Killed(BaseException):
    pass


class Killing(Files):
    """Performs no operation from the n-th on, as if the process were killed."""

    def __init__(self, at: int) -> None:
        self.left = at

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name in ("create", "append", "sync_file", "rename", "unlink", "sync_folder", "make"):
            self.left -= 1
            if self.left < 0:
                raise Killed
        return found


@pytest.mark.slow
@pytest.mark.parametrize("job", ["rebuild", "rollback", "restore", "compact"])
def test_a_kill_at_any_file_operation_leaves_the_old_or_the_new_index_and_a_rollback(job: str, tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path / "home", vectors={"index": "compressed", "lists": 4})
    sound = Catalog(settings)
    fill(sound, range(1000))
    sound.snapshot("c", tmp_path / "s")
    fill(sound, range(1000, 2000), rebuild=True)
    shutil.copytree(tmp_path / "home", tmp_path / "start")
    old, new = documents(sound), {f"d{number}" for number in range(1000)}
    point = 0
    while True:
        shutil.rmtree(tmp_path / "home")
        shutil.copytree(tmp_path / "start", tmp_path / "home")
        dying = Catalog(settings, Killing(point))
        ended = True
        try:
            if job == "rebuild":
                fill(dying, range(1000), rebuild=True)
            elif job == "rollback":
                dying.rollback("c")
            elif job == "restore":
                dying.restore("c", tmp_path / "s", replace=True)
            else:
                dying.compact("c")
        except Killed:
            ended = False
        found = documents(sound)
        assert found in ([old] if job == "compact" else [old, new]), point
        fill(sound, range(9000, 9001))  # the next writer tidies up
        assert documents(sound) == found | {"d9000"}
        assert sound.verify("c") == [], point
        assert sound.describe("c")["caches"]
        names = {path.name.partition("-")[0] for path in sound.folder().iterdir()}
        assert names <= {"index.db", "previous.db", "generation", "vectors", "writer.lock", "writer.pid", "rebuild.db"}
        assert ("rebuild.db" not in names) or job == "rebuild"
        sound.rollback("c")
        assert documents(sound) == (new if found == old else old), point
        if ended:
            break
        point += 1
    assert point > 5


def test_a_rebuild_killed_after_writing_caches_is_finished_with_them(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path / "home", vectors={"index": "compressed", "lists": 4})
    sound = Catalog(settings)
    fill(sound, range(10))

    class Stopping(Files):
        def write_stream(self, path: Path, parts: Any, size: int) -> None:
            super().write_stream(path, parts, size)
            if path.suffix == ".cache":
                stop.append(path)

        def sync(self, path: Path) -> None:
            raise Killed

    stop: list[Path] = []
    with pytest.raises(Killed):
        fill(Catalog(settings, Stopping()), range(1000), rebuild=True)
    assert stop
    fill(sound, range(10, 20))  # which clears away what is not its own
    assert not stop[0].exists()
    with sound.writer("c", MANIFEST, rebuild=True) as writer:
        assert len(list(writer.files())) == 1000
        writer.finish()
    assert sound.verify("c") == []
    assert stop[0].exists()


def test_a_snapshot_that_cannot_be_written_leaves_nothing(plain: Catalog, tmp_path: Path) -> None:
    fill(plain, range(3))

    class Full(Files):
        def append(self, descriptor: int, data: bytes | memoryview, path: Path) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    full = Catalog(load_settings(home=tmp_path / "home"), Full())
    with pytest.raises(SearchAppError, match=r"no space left for .*snapshot.json: \d+ bytes were needed"):
        full.snapshot("c", tmp_path / "kept")
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_repair_rebuilds_a_damaged_cache(tmp_path: Path) -> None:
    catalog = Catalog(load_settings(home=tmp_path / "home", vectors={"index": "compressed", "lists": 4}))
    fill(catalog)
    before = answers(catalog)
    (cache,) = catalog.folder().glob("vectors-*.cache")
    sound = cache.read_bytes()
    for content in (sound[:-1], sound[:100] + b"x" + sound[101:], b"", None):
        if content is None:
            cache.unlink()
        else:
            cache.write_bytes(content)
        assert any(cache.name in problem for problem in catalog.verify("c"))
        assert catalog.repair("c") == ["rebuilt the caches"]
        assert catalog.verify("c") == []
        assert answers(catalog) == before
        (cache,) = catalog.folder().glob("vectors-*.cache")


def test_repair_rewrites_a_damaged_generation_file(plain: Catalog) -> None:
    fill(plain, range(3))
    path = plain.folder() / generation.GENERATION_FILE
    for content in (b"", b"nonsense", None):
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content)
        assert plain.verify("c")
        assert any(said.startswith("rewrote ") and said.endswith("generation") for said in plain.repair("c"))
        assert plain.verify("c") == []


def test_commits_lost_by_a_damaged_log_are_listed(plain: Catalog) -> None:
    fill(plain, range(3))
    folder = plain.folder()
    earlier = (folder / INDEX_FILE).read_bytes()
    fill(plain, range(3, 6))
    fill(plain, range(6, 9))
    (folder / INDEX_FILE).write_bytes(earlier)
    for suffix in ("-wal", "-shm"):
        (folder / f"{INDEX_FILE}{suffix}").unlink(missing_ok=True)
    for use in (lambda: fill(plain, range(9, 12)), lambda: documents(plain), lambda: plain.compact("c")):
        with pytest.raises(IndexCorrupt, match=r"lost commits.*search-index verify --repair"):
            use()
    assert any("lost commits" in problem for problem in plain.verify("c"))
    assert plain.repair("c") == ["commits 2 to 3 are lost: index their files again with: search-index apply PATH"]
    assert documents(plain) == {"d0", "d1", "d2"}
    fill(plain, range(9))
    assert plain.verify("c") == []


def test_repair_derives_a_damaged_bm25_index_from_the_texts(plain: Catalog) -> None:
    import apsw

    fill(plain)
    before = answers(plain)
    path = plain.folder() / INDEX_FILE
    with closing(apsw.Connection(":memory:", vfs="cksmvfs")) as db:
        db.execute("ATTACH ? AS c", (str(path),))
        root = db.execute("SELECT rootpage FROM c.sqlite_schema WHERE name = 'terms'").get
        size = db.execute("PRAGMA c.page_size").get
    content = bytearray(path.read_bytes())
    content[(root - 1) * size : root * size] = bytes(size)
    path.write_bytes(content)
    assert plain.verify("c")
    with pytest.raises(IndexCorrupt):
        answers(plain)
    assert any("BM25 index" in said for said in plain.repair("c"))
    assert plain.verify("c") == []
    assert answers(plain) == before


def test_damaged_source_data_is_reported_with_the_commands_that_restore_it(plain: Catalog, tmp_path: Path) -> None:
    fill(plain)
    plain.snapshot("c", tmp_path / "s")
    before = answers(plain)
    path = plain.folder() / INDEX_FILE
    sound = path.read_bytes()
    place = sound.index(b"tells of river", len(sound) // 2)
    for content in (sound[: len(sound) // 2], b"", sound[:place] + b"T" + sound[place + 1 :]):
        path.write_bytes(content)
        assert plain.verify("c")
        with pytest.raises(IndexCorrupt, match=r"search-index (verify|apply --rebuild)"):
            fill_and_ask(plain)
        (said, *_) = plain.repair("c")
        assert "search-index restore" in said
        assert "search-index apply --rebuild" in said
        assert plain.verify("c"), "what is damaged stays as it is"
        plain.restore("c", tmp_path / "s", replace=True)
        assert plain.verify("c") == []
        assert answers(plain) == before


def test_a_reader_of_a_damaged_index_sees_its_replacement(plain: Catalog, tmp_path: Path) -> None:
    fill(plain, range(50))
    plain.snapshot("c", tmp_path / "s")
    fill(plain, range(50, 60))
    with closing(plain.open("c")) as reader:
        assert len(reader.search_keyword(["river"], k=100)[0]) == 60
        path = plain.folder() / INDEX_FILE
        path.write_bytes(path.read_bytes()[:5000])
        plain.restore("c", tmp_path / "s", replace=True)
        assert len(reader.search_keyword(["river"], k=100)[0]) == 50
        assert len(reader.search_dense(ENCODER.encode_queries(["river"]), k=100)[0]) == 50


def test_a_rebuild_replaces_a_damaged_index(plain: Catalog) -> None:
    fill(plain)
    path = plain.folder() / INDEX_FILE
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    fill(plain, rebuild=True)
    assert plain.verify("c") == []
    assert len(documents(plain)) == 1200


def test_compacting_frees_space_while_readers_continue(catalog: Catalog) -> None:
    fill(catalog)
    with catalog.writer("c", MANIFEST) as writer:
        writer.remove_files([f"/{number}.txt" for number in range(1150)])
        writer.finish()
    with closing(catalog.open("c")) as reader:
        vectors = ENCODER.encode_queries(QUESTIONS)
        before, size = reader.search_both(QUESTIONS, vectors, k=100), catalog.describe("c")["bytes"]
        after = catalog.compact("c")
        found = reader.search_both(QUESTIONS, vectors, k=100)
        assert [(list(each.dense), list(each.keyword)) for each in found] == [
            (list(each.dense), list(each.keyword)) for each in before
        ]
        assert reader.generation == 3
    assert int(str(after["bytes"])) < int(str(size)) / 2
    assert catalog.verify("c") == []
    with closing(catalog.open("c")) as reader:
        assert reader.counts() == {"files": 50, "documents": 50, "passages": 50, "vectors": 50}


def test_maintenance_is_refused_while_a_job_writes(plain: Catalog, tmp_path: Path) -> None:
    fill(plain, range(3))
    plain.snapshot("c", tmp_path / "s")
    with plain.writer("c", MANIFEST):
        for job in (
            lambda: plain.compact("c"),
            lambda: plain.repair("c"),
            lambda: plain.rollback("c"),
            lambda: plain.restore("c", tmp_path / "s", replace=True),
        ):
            with pytest.raises(IndexBusy, match=rf"process {os.getpid()}"):
                job()
    assert (plain.folder() / PREVIOUS_FILE).exists() is False
