"""The embedded store beyond the contract: crashes, damage, locks, permissions, rebuilds."""

from __future__ import annotations

import dataclasses
import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import HashEncoder

from search_app.errors import IndexMismatch, IndexNotFound, SearchAppError
from search_app.manifest import Manifest, encoded_text, vector_key
from search_app.protocols import FileChange, FileRecord
from search_app.settings import VectorSettings, load_settings
from search_app.stores.embedded.catalog import EmbeddedCatalog
from search_app.stores.embedded.connection import connect_writing, rows
from search_app.stores.embedded.files import Files
from search_app.stores.embedded.schema import INDEX_FILE
from search_app.stores.embedded.store import SqliteStore
from search_app.stores.embedded.verify import verify
from search_app.stores.embedded.writer import SqliteWriter
from search_app.types import Document, Passage, PassageBatch

ENCODER = HashEncoder(dim=32)
MANIFEST = Manifest(ENCODER.stamp, "v1 64/8", "auto")


def change(number: int, text: str = "") -> FileChange:
    text = text or f"Paragraph {number} tells of river {number % 7} and of mountain {number % 11}."
    document = Document(f"d{number}", "", text, f"{number}.txt", {"number": number}, "en")
    passages = (Passage(f"p{number}-{hash(text)}", document.id, "", text, 0, len(text)),)
    batch = PassageBatch(passages, ENCODER.encode_passages([text]))
    return FileChange(FileRecord(f"/{number}.txt", f"{number}.txt", f"sha{number}", 1, 1, 1), (document,), batch)


def build(folder: Path, count: int = 30) -> Path:
    with SqliteWriter(folder, MANIFEST, collection="c") as writer:
        writer.write([change(number) for number in range(count)])
        writer.finish()
    return folder


def ids(folder: Path) -> list[str]:
    store = SqliteStore.open(folder, collection="c")
    try:
        return sorted(document.id for document in store.documents(limit=10_000))
    finally:
        store.close()


def test_a_missing_index_names_the_command_that_creates_it(tmp_path: Path) -> None:
    with pytest.raises(IndexNotFound, match=r"run: search-index apply --collection notes PATH"):
        SqliteStore.open(tmp_path, collection="notes")


def test_a_second_writer_is_refused_with_the_firsts_process_id(tmp_path: Path) -> None:
    with SqliteWriter(tmp_path, MANIFEST, collection="c"):
        code = textwrap.dedent(f"""
            from test_embedded import SqliteWriter, MANIFEST, Path
            try:
                SqliteWriter(Path({str(tmp_path)!r}), MANIFEST, collection="c")
            except Exception as error:
                print(error)
        """)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=_environment())
    assert f"another job (process {os.getpid()}) is writing to collection 'c'" in done.stdout, done.stderr
    SqliteWriter(tmp_path, MANIFEST, collection="c").close()


def test_the_lock_of_a_killed_writer_is_free(tmp_path: Path) -> None:
    code = f"""
from test_embedded import *
writer = SqliteWriter(Path({str(tmp_path)!r}), MANIFEST, collection="c")
writer.write([change(1)])
print("written", flush=True)
signal.pause()
"""
    with _python(code) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        process.kill()
    with SqliteWriter(tmp_path, MANIFEST, collection="c") as writer:
        assert [record.path for record in writer.files()] == ["/1.txt"]


def test_a_kill_during_a_write_loses_no_commit(tmp_path: Path) -> None:
    code = f"""
from test_embedded import *
writer = SqliteWriter(Path({str(tmp_path)!r}), MANIFEST, collection="c")
for number in range(10_000):
    writer.write([change(number)])
    print(number, flush=True)
"""
    generator = random.Random(5)
    for _ in range(3):
        shutil.rmtree(tmp_path)
        with _python(code) as process:
            assert process.stdout is not None
            reported = -1
            for line in process.stdout:
                reported = int(line)
                if reported >= generator.randrange(5, 60):
                    process.send_signal(signal.SIGKILL)
                    break
        assert verify(tmp_path, collection="c") == []
        survived = ids(tmp_path)
        assert set(survived) >= {f"d{number}" for number in range(reported + 1)}
        with SqliteWriter(tmp_path, MANIFEST, collection="c") as writer:
            writer.write([change(number) for number in range(100)])
            writer.finish()
        assert len(ids(tmp_path)) == max(100, len(survived))
        assert verify(tmp_path, collection="c") == []


def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    folder = build(tmp_path / "c", 60)
    sound = (folder / INDEX_FILE).read_bytes()
    assert verify(folder, collection="c") == []
    generator = random.Random(1)
    for _ in range(60):
        place = generator.randrange(len(sound))
        damaged = bytearray(sound)
        damaged[place] ^= 1 << generator.randrange(8)
        (folder / INDEX_FILE).write_bytes(damaged)
        problems = _problems(folder)
        assert problems, f"bit flip at {place} went unnoticed"


@pytest.mark.parametrize(
    ("tampering", "message"),
    [
        (
            "UPDATE documents SET title = 'other' WHERE rowid = 3",
            "document 3 of the index is damaged",
        ),
        ("UPDATE documents SET text = text || ' ' WHERE rowid = 3", "text of document 3 of the index"),
        ("UPDATE passages SET page = 9 WHERE rowid = 4", "passage 4 of the index is damaged"),
        ("UPDATE vectors SET embedding = zeroblob(128) WHERE rowid = 5", "vector 5 of the index"),
        ("UPDATE vectors SET embedding = zeroblob(12) WHERE rowid = 5", "is not a unit vector of 32 numbers"),
        ("UPDATE terms SET length = 99 WHERE passage = 6", "words of passage 6 of the index"),
        ("UPDATE terms SET words = (SELECT words FROM terms WHERE passage = 8) WHERE passage = 6", "other words than"),
        ("DELETE FROM terms WHERE passage = 6", "1 passages missing from the BM25 index"),
        ("INSERT INTO terms VALUES (999, 0, x'', x'', 0)", "1 BM25 entries without a passage"),
        ("UPDATE attributes SET value = 1000 WHERE document = 7", "a filter would not find document 7 by its number"),
        ("DELETE FROM attributes WHERE document = 7", "a filter would not find document 7 by its number"),
        ("INSERT INTO removed VALUES (8, 1)", "1 passages that exist and are listed as removed"),
        (
            "UPDATE passages SET vector = (SELECT vector FROM passages WHERE rowid = 2) WHERE rowid = 3",
            "passage 3 has the vector of another text",
        ),
        (
            "INSERT INTO caches VALUES ('vectors', 'vectors-0.cache', 1, 1, '00', 1)",
            "vectors-0.cache cannot be read: No such file or directory",
        ),
        (
            "CREATE TRIGGER wrong AFTER INSERT ON passages BEGIN DELETE FROM removed; END",
            "wrong is not a table or index of this program",
        ),
        ("UPDATE manifest SET generation = 0", "has lost commits: it is at generation 0 and was at 1"),
    ],
)
def test_inconsistent_rows_on_sound_pages_are_found(tmp_path: Path, tampering: str, message: str) -> None:
    folder = build(tmp_path, 12)
    with closing(connect_writing(folder / INDEX_FILE)) as db:
        db.pragma("foreign_keys", False)
        db.execute(tampering)
    problems = verify(folder, collection="c")
    assert any(message in problem for problem in problems), problems


@pytest.mark.parametrize("size", [0, 100, 4096, 0.5, -1])
def test_a_truncated_index_is_found(tmp_path: Path, size: float) -> None:
    folder = build(tmp_path / "c", 60)
    sound = (folder / INDEX_FILE).read_bytes()
    keep = int(len(sound) * size) if isinstance(size, float) else size if size >= 0 else len(sound) + int(size)
    (folder / INDEX_FILE).write_bytes(sound[:keep])
    assert _problems(folder)


def _problems(folder: Path) -> list[str]:
    try:
        return verify(folder, collection="c")
    except SearchAppError as error:
        return [str(error)]


def test_a_read_only_folder_can_be_searched(tmp_path: Path) -> None:
    folder = build(tmp_path / "c")
    build(tmp_path / "warm", 1)
    tmp_path.chmod(0o755)
    for path in (folder, *folder.iterdir()):
        path.chmod(0o555 if path.is_dir() else 0o444)
    code = f"""
from test_embedded import *
warm = SqliteStore.open(Path({str(tmp_path / "warm")!r}), collection="c")
warm.search_both(["x"], ENCODER.encode_queries(["x"]), k=1)  # imports, while it may
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
store = SqliteStore.open(Path({str(folder)!r}), collection="c")
vectors = ENCODER.encode_queries(["river"])
print(len(store.search_keyword(["river"], k=100)[0]), len(store.search_dense(vectors, k=5)[0]))
store.close()
try:
    SqliteWriter(Path({str(folder)!r}), MANIFEST, collection="c")
except SearchAppError as error:
    print(type(error).__name__, error)
"""
    for parent in tmp_path.parents:  # pytest's own folders are private
        if parent.stat().st_uid == os.getuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o055)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=_environment())
    assert done.stdout.splitlines()[:1] == ["30 5"], done.stderr
    assert "ConfigurationError" in done.stdout
    assert "cannot be written; check the folder's permissions" in done.stdout
    kept = ["generation", INDEX_FILE, f"{INDEX_FILE}-shm", f"{INDEX_FILE}-wal", "writer.lock", "writer.pid"]
    assert sorted(path.name for path in folder.iterdir()) == kept


def test_another_format_is_refused_with_both_versions(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    with SqliteWriter(folder, dataclasses.replace(MANIFEST, format=99), collection="c"):
        pass
    for open_it in (
        lambda: SqliteStore.open(folder, collection="c"),
        lambda: SqliteWriter(folder, MANIFEST, collection="c"),
    ):
        with pytest.raises(IndexMismatch, match="format 99, this program reads formats 2 to 3"):
            open_it()


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (dataclasses.replace(MANIFEST, splitter="v1 99/8"), "splitter: the index was built with v1 64/8, .* v1 99/8"),
        (
            dataclasses.replace(MANIFEST, analysis="de"),
            "analysis: the index was built with auto, .* de",
        ),
        (Manifest(HashEncoder(dim=32, digest="other").stamp, "v1 64/8", "auto"), "encoder: .*hash.*other"),
        (Manifest(HashEncoder(dim=32, precision="int4").stamp, "v1 64/8", "auto"), "precision: .*float32.*int4"),
    ],
)
def test_incompatible_settings_are_refused_with_both_values(tmp_path: Path, other: Manifest, message: str) -> None:
    build(tmp_path)
    with pytest.raises(IndexMismatch, match=message) as caught:
        SqliteWriter(tmp_path, other, collection="c")
    assert "search-index apply --rebuild" in caught.value.hint


def test_bfloat16_vectors_can_be_added_to_a_float32_index(tmp_path: Path) -> None:
    build(tmp_path)
    SqliteWriter(
        tmp_path, Manifest(HashEncoder(dim=32, precision="bfloat16").stamp, "v1 64/8", "auto"), collection="c"
    ).close()


def test_a_rebuild_serves_the_old_index_until_the_new_one_is_complete(tmp_path: Path) -> None:
    folder = build(tmp_path)
    reader = SqliteStore.open(folder, collection="c")
    before = reader.generation
    other = dataclasses.replace(MANIFEST, splitter="v2")
    with SqliteWriter(folder, other, collection="c", rebuild=True) as writer:
        writer.write([change(100), change(101)])
        assert len(reader.search_keyword(["river"], k=100)[0]) == 30
        writer.finish()
        assert [hit.passage.document_id for hit in reader.search_keyword(["river 3"], k=1)[0]] == ["d101"]
        (dense,) = reader.search_dense(ENCODER.encode_queries(["river"]), k=100)
        assert {hit.passage.document_id for hit in dense} == {"d100", "d101"}
        assert reader.generation > before
    reader.close()
    assert verify(folder, collection="c") == []
    assert SqliteStore.open(folder, collection="c").manifest.splitter == "v2"
    assert not list(folder.glob("rebuild*"))


def test_an_interrupted_rebuild_keeps_the_old_index_and_can_be_continued(tmp_path: Path) -> None:
    folder = build(tmp_path)
    with SqliteWriter(folder, MANIFEST, collection="c", rebuild=True) as writer:
        writer.write([change(100)])
    assert len(ids(folder)) == 30
    with SqliteWriter(folder, MANIFEST, collection="c", rebuild=True) as writer:
        assert [record.path for record in writer.files()] == ["/100.txt"]
        writer.finish()
    assert ids(folder) == ["d100"]


def test_a_running_reader_refuses_an_index_that_was_rebuilt_with_another_encoder(tmp_path: Path) -> None:
    folder = build(tmp_path)
    reader = SqliteStore.open(folder, collection="c")
    reader.search_dense(ENCODER.encode_queries(["river"]), k=1)
    other = HashEncoder(dim=32, digest="other")
    with SqliteWriter(folder, Manifest(other.stamp, "v1 64/8", "auto"), collection="c", rebuild=True) as writer:
        writer.finish()
    with pytest.raises(IndexMismatch):
        reader.search_dense(ENCODER.encode_queries(["river"]), k=1)
    reader.close()


def test_vectors_are_reused_for_the_same_encoded_text(tmp_path: Path) -> None:
    folder = build(tmp_path, 3)
    key = vector_key(encoded_text(change(1).batch.passages[0]), ENCODER.stamp)
    with SqliteWriter(folder, MANIFEST, collection="c") as writer:
        found = writer.known_vectors([key, "unknown"])
        assert list(found) == [key]
        np.testing.assert_array_equal(found[key], change(1).batch.embeddings[0])
        writer.remove_files(["/1.txt"])
        assert writer.known_vectors([key]), "a removed passage's vector stays until the job ends"
        writer.finish()
        assert writer.known_vectors([key]) == {}


def test_readers_see_only_whole_commits(tmp_path: Path) -> None:
    folder = build(tmp_path, 10)
    reader = SqliteStore.open(folder, collection="c")
    stop = threading.Event()
    errors: list[str] = []
    vectors = ENCODER.encode_queries(["river"])

    def read() -> None:
        while not stop.is_set():
            (found,) = reader.search_both(["paragraph"], vectors, k=1000)
            dense = {hit.passage.document_id for hit in found.dense}
            keyword = {hit.passage.document_id for hit in found.keyword}
            if dense != keyword or len(dense) % 5:
                errors.append(f"{len(dense)} dense, {len(keyword)} keyword in generation {found.generation}")

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    with SqliteWriter(folder, MANIFEST, collection="c") as writer:
        for start in range(10, 160, 5):
            writer.write([change(number) for number in range(start, start + 5)])
            if start % 20 == 0:
                writer.remove_files([f"/{number}.txt" for number in range(start - 10, start - 5)])
        writer.finish()
    stop.set()
    for thread in threads:
        thread.join()
    reader.close()
    assert errors == []


def test_a_full_disk_is_one_clear_error_and_keeps_the_old_state(tmp_path: Path) -> None:
    folder = build(tmp_path, 30)
    code = f"""
from test_embedded import *
import resource
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
try:
    with SqliteWriter(Path({str(folder)!r}), MANIFEST, collection="c") as writer:
        for number in range(1000, 3000):
            writer.write([change(number, "words " * 400 + str(number))])
except SearchAppError as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=_environment())
    assert INDEX_FILE in done.stdout, done.stderr
    assert ("no space left" in done.stdout) or ("cannot write" in done.stdout), done.stdout
    assert verify(folder, collection="c") == []
    assert {f"d{number}" for number in range(30)} <= set(ids(folder))


def _environment() -> dict[str, str]:
    here = Path(__file__).resolve()
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(here.parent), str(here.parents[2])])}


def _python(code: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=_environment())


def test_a_partly_written_file_is_marked_and_can_be_removed(tmp_path: Path) -> None:
    whole = change(1)
    with SqliteWriter(tmp_path, MANIFEST, collection="c") as writer:
        writer.write([dataclasses.replace(whole, last=False)])
    with SqliteWriter(tmp_path, MANIFEST, collection="c") as writer:
        assert [(record.digest, record.modified_ns) for record in writer.files()] == [("", 0)]
        writer.write([change(2)])
        writer.remove_files(["/1.txt"])
        writer.finish()
    assert ids(tmp_path) == ["d2"]


def state(folder: Path, sql: str) -> list[Any]:
    with closing(connect_writing(folder / INDEX_FILE)) as db:
        return rows(db, sql)


def test_removing_a_document_keeps_the_record_of_its_file(tmp_path: Path) -> None:
    one, other = change(1), change(2)
    both = FileChange(
        dataclasses.replace(one.record, documents=2),
        one.documents + other.documents,
        PassageBatch(
            one.batch.passages + other.batch.passages, np.vstack([one.batch.embeddings, other.batch.embeddings])
        ),
    )
    with SqliteWriter(tmp_path, MANIFEST, collection="c") as writer:
        writer.write([both])
        assert writer.remove_documents(["d2", "unknown"]) == 1
        assert writer.remove_documents(["d2"]) == 0
        assert list(writer.files()) == [dataclasses.replace(both.record, documents=1)]
        writer.finish()
    assert ids(tmp_path) == ["d1"]
    assert verify(tmp_path, collection="c") == []
    assert state(tmp_path, "SELECT passage, generation FROM removed") == [(2, 2)]
    assert state(tmp_path, "SELECT generation FROM manifest") == [2], "what removed nothing is no commit"


def test_row_numbers_are_not_reused_after_removing_the_newest(tmp_path: Path) -> None:
    build(tmp_path, 3)
    with SqliteWriter(tmp_path, MANIFEST, collection="c") as writer:
        writer.remove_documents(["d2"])
    with SqliteWriter(tmp_path, MANIFEST, collection="c") as writer:
        writer.write([change(7)])
    assert state(tmp_path, "SELECT rowid FROM passages ORDER BY rowid") == [1, 2, 4]


def test_several_parts_in_one_batch_equal_separate_batches(tmp_path: Path) -> None:
    long = change(1)
    second = Passage("more", "d1", "", long.documents[0].text[:9], 0, 9)
    parts = [
        dataclasses.replace(long, last=False),
        FileChange(long.record, (), PassageBatch((second,), ENCODER.encode_passages([second.text])), first=False),
    ]
    with SqliteWriter(tmp_path, MANIFEST, collection="c") as writer:
        writer.write([change(1, "An earlier text of the same file."), change(2), *parts])
        writer.finish()
    assert verify(tmp_path, collection="c") == []
    assert sorted(state(tmp_path, "SELECT id FROM passages WHERE document IN (SELECT rowid FROM documents"
                                  " WHERE id = 'd1')")) == sorted([long.batch.passages[0].id, "more"])  # fmt: skip


def test_removals_are_trimmed_when_no_reader_needs_them(tmp_path: Path) -> None:
    settings = VectorSettings(index="compressed", lists=4)

    def job(numbers: range, gone: range = range(0)) -> None:
        with SqliteWriter(tmp_path, MANIFEST, collection="c", settings=settings) as writer:
            writer.write([change(number) for number in numbers])
            writer.remove_documents([f"d{number}" for number in gone])
            writer.finish()

    listed = "SELECT (SELECT removals_since FROM manifest), (SELECT count(*) FROM removed), generation FROM caches"
    job(range(1200))
    assert state(tmp_path, listed) == [(0, 0, 1)]
    job(range(1200, 1210), range(20))
    assert state(tmp_path, listed) == [(0, 20, 1)], "a small change makes no cache anew"
    job(range(2000, 2300), range(20, 40))
    assert state(tmp_path, listed) == [(1, 40, 5)], "one who knows the earlier cache needs what was removed since"
    job(range(3000, 3400), range(40, 50))
    assert state(tmp_path, listed) == [(5, 10, 7)]
    assert verify(tmp_path, collection="c") == []


@pytest.mark.parametrize("operation", ["create", "append", "sync_file", "rename", "sync_folder"])
def test_a_commit_is_kept_if_its_generation_cannot_be_recorded(tmp_path: Path, operation: str) -> None:
    build(tmp_path, 3)

    class Full(Files):
        full = False

    def fail(*arguments: object) -> Any:
        if files.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return getattr(Files, operation)(files, *arguments)

    files = Full()
    setattr(files, operation, fail)
    with SqliteWriter(tmp_path, MANIFEST, collection="c", files=files) as writer:
        files.full = True
        with pytest.raises(SearchAppError, match=r"no space left for .*/generation: \d+ bytes were needed"):
            writer.write([change(10)])
    assert verify(tmp_path, collection="c") == []
    assert len(ids(tmp_path)) == 4


def test_a_duplicate_id_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    build(tmp_path, 3)
    second = dataclasses.replace(change(2), record=change(9).record)
    with (
        SqliteWriter(tmp_path, MANIFEST, collection="c") as writer,
        pytest.raises(SearchAppError, match=r"UNIQUE constraint failed: documents.id; give every document"),
    ):
        writer.write([change(8), second])
    assert ids(tmp_path) == ["d0", "d1", "d2"]
    assert state(tmp_path, "SELECT generation FROM manifest") == [1]


def test_first_jobs_of_two_collections_can_create_their_parent_folder_together(tmp_path: Path) -> None:
    class Late(Files):
        """Another process creates each folder just before this one does."""

        def make(self, path: Path) -> None:
            path.mkdir()
            super().make(path)

    folder = tmp_path / "home" / "collections" / "one"
    with SqliteWriter(folder, MANIFEST, collection="one", files=Late()) as writer:
        writer.write([change(1)])
        writer.finish()
    assert len(ids(folder)) == 1
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SearchAppError, match="file/one cannot be written"):
        SqliteWriter(tmp_path / "file" / "one", MANIFEST, collection="one")


def test_an_index_keeps_its_older_rules_for_words_until_it_is_compacted(tmp_path: Path) -> None:
    catalog = EmbeddedCatalog(load_settings(home=tmp_path))
    for words, number, text in ((1, 1, "The lid is 8Z-4411/B."), (2, 2, "The lid of Łódź is 77-3041/B.")):
        with catalog.writer("c", dataclasses.replace(MANIFEST, words=words)) as writer:
            writer.write([change(number, text), *(change(other) for other in range(10 * number, 10 * number + 9))])
            writer.finish()
    with closing(catalog.open("c")) as store:

        def found(question: str) -> list[str]:
            return [hit.passage.document_id for hit in store.search_keyword([question], k=3)[0]]

        assert (found("8z4411b"), found("773041b"), found("lodz"), found("Łódź")) == ([], [], [], ["d2"])
        assert catalog.verify("c") == []
        catalog.compact("c")
        assert (found("8z4411b"), found("773041b"), found("lodz"), found("Łódź")) == (["d1"], *[["d2"]] * 3)
        assert found("2.txt")[0] == "d2"
    assert catalog.verify("c") == []
