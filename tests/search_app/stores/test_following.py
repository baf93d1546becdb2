"""A reader follows the commits of a writer, with and without caches; each answer has one generation."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_embedded import ENCODER, INDEX_FILE, MANIFEST, SqliteStore, SqliteWriter, build, change

from search_app.errors import IndexCorrupt, InvalidQuery
from search_app.protocols import FileChange, FileRecord
from search_app.settings import KeywordSettings, VectorSettings
from search_app.stores.embedded import derived, generation, maintenance
from search_app.stores.embedded.connection import connect_reading, connect_writing
from search_app.stores.embedded.files import Files
from search_app.stores.filters import parse_where
from search_app.types import Document, Hit, Passage, PassageBatch, Rankings

COMPRESSED = VectorSettings(index="compressed")
QUESTIONS = ["river 3", "paragraph mountain", "tells of river and of mountain 7", "nothing of this"]
HERE = Path(__file__).resolve()
STARTING = 20


# What each commit of the writer does, so that a reader can tell what belongs to a generation.


def version(number: int, commit: int) -> FileChange:
    text = f"Paragraph of document {number} as commit {commit} wrote it."
    document = Document(f"d{number}", "", text, f"{number}.txt", {"number": number, "commit": commit}, "en")
    passages = (Passage(f"p{number}-{commit}", document.id, "", text, 0, len(text)),)
    record = FileRecord(f"/{number}.txt", f"{number}.txt", f"sha{number}-{commit}", 1, 1, 1)
    return FileChange(record, (document,), PassageBatch(passages, ENCODER.encode_passages([text])))


def removal(number: int) -> FileChange:
    """A file without documents."""
    record = FileRecord(f"/{number}.txt", f"{number}.txt", "", 0, 1, 0)
    return FileChange(record, (), PassageBatch((), np.zeros((0, ENCODER.stamp.dim), np.float32)))


def numbers_of(commit: int) -> tuple[list[int], list[int]]:
    """Documents that are added, changed and removed."""
    newest = STARTING + 3 * commit
    return [newest, newest + 1, newest + 2, newest - 7, newest - 11], [newest - 13, newest - 17, newest - 19]


def state_after(commits: int) -> dict[int, int]:
    """The commit that wrote each document."""
    documents = dict.fromkeys(range(STARTING), 0)
    for commit in range(1, commits + 1):
        written, removed = numbers_of(commit)
        documents.update(dict.fromkeys(written, commit))
        for number in removed:
            documents.pop(number, None)
    return documents


def commit_all(folder: Path, commits: int, pause: float) -> None:
    with SqliteWriter(folder, MANIFEST, collection="c") as writer:
        for commit in range(1, commits + 1):
            written, removed = numbers_of(commit)
            writer.write([*(version(number, commit) for number in written), *map(removal, removed)])
            time.sleep(pause)


def wrong(found: Rankings, first: int, least: int) -> str:
    """Hits that do not belong to the generation of the answer."""
    expected = {
        f"p{number}-{commit}" for number, commit in state_after(found.generation - first).items() if number >= least
    }
    for name, hits in (("dense", found.dense), ("keyword", found.keyword)):
        ids = [hit.passage.id for hit in hits]
        if len(ids) != len(set(ids)) or set(ids) != expected:
            return f"{name} of generation {found.generation}: {sorted(set(ids) ^ expected)[:6]}"
        for hit in hits:
            if f"commit {hit.passage.meta['commit']} wrote" not in hit.passage.text:
                return f"{hit.passage.id} has text and metadata of two commits"
    return ""


def read_until(folder: Path, first: int, last: int, threads: int) -> dict[str, Any]:
    """Searches from several threads until the last generation answers."""
    store = SqliteStore.open(folder, collection="c")
    vectors = ENCODER.encode_queries(["paragraph"])
    problems: list[str] = []
    generations: set[int] = set()

    def read(seed: int) -> None:
        chosen = random.Random(seed)
        before = 0
        try:
            while before < last and not problems:
                least = chosen.choice([0, 0, chosen.randrange(1, STARTING + 3 * (last - first))])
                where = parse_where(f"number >= {least}") if least else None
                (found,) = store.search_both(["paragraph"], vectors, k=100_000, where=where)
                if problem := wrong(found, first, least):
                    problems.append(problem)
                if found.generation < before:
                    problems.append(f"generation {found.generation} after {before}")
                before = found.generation
                generations.add(before)
        except Exception as error:
            problems.append(f"{type(error).__name__}: {error}")

    running = [threading.Thread(target=read, args=(seed,)) for seed in range(threads)]
    print("ready", flush=True)
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    store.close()
    return {"problems": problems, "generations": len(generations)}


def python(code: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (HERE.parent, HERE.parents[2], *sys.path)))}
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)


@pytest.mark.parametrize(
    ("commits", "pause"), [(100, 0.01), pytest.param(800, 0.03, marks=[pytest.mark.slow, pytest.mark.timeout(900)])]
)
def test_eight_readers_never_mix_generations_during_commits(tmp_path: Path, commits: int, pause: float) -> None:
    with SqliteWriter(tmp_path, MANIFEST, collection="c") as writer:
        writer.write([version(number, 0) for number in range(STARTING)])
    with closing(SqliteStore.open(tmp_path, collection="c")) as store:
        first = store.generation
    readers = [
        python(
            "import json; from pathlib import Path; from test_following import read_until\n"
            f"print(json.dumps(read_until(Path({str(tmp_path)!r}), {first}, {first + commits}, 2)))"
        )
        for _ in range(4)
    ]
    for reader in readers:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "ready\n"
    writer_process = python(
        "from pathlib import Path; from test_following import commit_all\n"
        f"commit_all(Path({str(tmp_path)!r}), {commits}, {pause})"
    )
    assert writer_process.wait() == 0
    writer_process.communicate()
    reports = [json.loads(reader.communicate()[0]) for reader in readers]
    assert [report["problems"] for report in reports] == [[]] * 4
    assert all(report["generations"] > 3 for report in reports), "answers fell between the commits"


def test_an_index_replaced_during_reads_answers_as_the_old_or_the_new_one(tmp_path: Path) -> None:
    def publish(round_: int) -> None:
        with SqliteWriter(tmp_path, MANIFEST, collection="c", rebuild=True) as writer:
            writer.write([version(number, round_) for number in range(STARTING)])
            writer.finish()
            writer.write([version(number, round_ + 1) for number in range(STARTING)])

    publish(0)
    stop = threading.Event()
    problems: list[str] = []
    seen: set[int] = set()
    vectors = ENCODER.encode_queries(["paragraph"])

    def read(*, anew: bool) -> None:
        before = -1
        store = SqliteStore.open(tmp_path, collection="c")
        try:
            while not stop.is_set():
                if anew:
                    store.close()
                    store = SqliteStore.open(tmp_path, collection="c")
                (found,) = store.search_both(["paragraph"], vectors, k=1_000)
                commits = {hit.passage.meta["commit"] for hit in (*found.dense, *found.keyword)}
                if len(commits) != 1 or {len(found.dense), len(found.keyword)} != {STARTING}:
                    problems.append(f"{commits}: {len(found.dense)} and {len(found.keyword)}")
                if found.generation < before:
                    problems.append(f"generation {found.generation} after {before}")
                before = found.generation
                seen.update(commits)  # type: ignore[arg-type]
        except Exception as error:
            problems.append(f"{type(error).__name__}: {error}")
        finally:
            store.close()

    threads = [threading.Thread(target=read, kwargs={"anew": number % 2 == 0}) for number in range(4)]
    for thread in threads:
        thread.start()
    for round_ in range(2, 14, 2):
        publish(round_)
    stop.set()
    for thread in threads:
        thread.join()
    assert problems == []
    assert len(seen) > 3, "answers fell between the swaps"


def damage(folder: Path, sql: str) -> None:
    with closing(connect_writing(folder / INDEX_FILE)) as db:
        db.pragma("foreign_keys", False)
        db.execute(sql)


# One process: what follows, compared with what is opened anew.


def answers(store: SqliteStore, where: str = "") -> list[Any]:
    vectors = ENCODER.encode_queries(QUESTIONS)
    condition = parse_where(where) if where else None
    return [
        [[(hit.passage.id, round(hit.score, 5)) for hit in hits] for hits in (found.dense, found.keyword)]
        for found in store.search_both(QUESTIONS, vectors, k=2_000, where=condition)
    ]


@contextmanager
def opened(folder: Path, settings: VectorSettings | None = None) -> Iterator[SqliteStore]:
    with closing(SqliteStore.open(folder, collection="c", settings=settings)) as store:
        yield store


def same_as_opened_anew(store: SqliteStore, folder: Path) -> None:
    with opened(folder) as other:
        for where in ("", "number >= 5", "number in [1, 2, 31]", "not (number < 30)"):
            assert by_score(answers(store, where)) == by_score(answers(other, where))


def by_score(found: list[Any]) -> list[Any]:
    """Hits with equal scores may be in any order."""
    return [[sorted(hits, key=lambda hit: (-hit[1], hit[0])) for hits in both] for both in found]


def write(folder: Path, changes: list[FileChange], *removed: str) -> None:
    with SqliteWriter(folder, MANIFEST, collection="c") as writer:
        writer.write(changes)
        writer.remove_files(removed)


def test_a_following_reader_equals_a_newly_opened_one(tmp_path: Path) -> None:
    build(tmp_path, 30)
    with opened(tmp_path) as store:
        answers(store)
        write(tmp_path, [change(3, "A river of another name."), change(31), change(32)], "/4.txt", "/31.txt")
        same_as_opened_anew(store, tmp_path)
        write(tmp_path, [], *(f"/{number}.txt" for number in range(30)))
        same_as_opened_anew(store, tmp_path)
        write(tmp_path, [change(number) for number in range(40)])
        same_as_opened_anew(store, tmp_path)


def test_a_reader_that_missed_trimmed_removals_starts_over(tmp_path: Path) -> None:
    build(tmp_path, 30)
    with opened(tmp_path) as store:
        answers(store)
        write(tmp_path, [change(33)], "/1.txt", "/2.txt")
        damage(tmp_path, "DELETE FROM removed; UPDATE manifest SET removals_since = generation")
        same_as_opened_anew(store, tmp_path)


def test_keyword_search_loads_no_vectors_and_dense_search_no_postings(tmp_path: Path) -> None:
    build(tmp_path, 30)
    shutil.copytree(tmp_path, tmp_path / "other")
    river = ENCODER.encode_queries(["river"])
    damage(tmp_path, "UPDATE vectors SET checksum = checksum + 1")
    with opened(tmp_path) as store:
        assert store.search_keyword(["river"], k=3)[0]
        with pytest.raises(IndexCorrupt):
            store.search_dense(river, k=3)
    damage(tmp_path / "other", "UPDATE terms SET checksum = checksum + 1")
    with opened(tmp_path / "other") as store:
        assert store.search_dense(river, k=3)[0]
        with pytest.raises(IndexCorrupt):
            store.search_keyword(["river"], k=3)


def test_a_passage_without_a_vector_is_found_by_keywords_only(tmp_path: Path) -> None:
    bare = change(7, "A paragraph that nobody has encoded.")
    unknown = PassageBatch(bare.batch.passages, np.full_like(bare.batch.embeddings, np.nan))
    build(tmp_path, 5)
    with opened(tmp_path) as store:
        answers(store)
        write(tmp_path, [dataclasses.replace(bare, batch=unknown)])
        (found,) = store.search_both(["paragraph"], ENCODER.encode_queries(["paragraph"]), k=10)
        assert {hit.passage.document_id for hit in found.keyword} == {"d0", "d1", "d2", "d3", "d4", "d7"}
        assert {hit.passage.document_id for hit in found.dense} == {"d0", "d1", "d2", "d3", "d4"}
        same_as_opened_anew(store, tmp_path)


def test_a_filter_is_resolved_again_after_a_commit(tmp_path: Path) -> None:
    build(tmp_path, 10)
    where = parse_where("number >= 8")
    with opened(tmp_path) as store:
        assert len(store.search_keyword(["paragraph"], k=100, where=where)[0]) == 2
        write(tmp_path, [change(11)], "/8.txt")
        (hits,) = store.search_keyword(["paragraph"], k=100, where=where)
        assert {hit.passage.document_id for hit in hits} == {"d9", "d11"}
        with pytest.raises(InvalidQuery, match="no document has the field 'colour'"):
            store.search_keyword(["paragraph"], k=1, where=parse_where("colour = red"))


# Caches.


def refresh(folder: Path, settings: VectorSettings = COMPRESSED, *, fresh: bool = False) -> dict[str, Path]:
    with closing(connect_writing(folder / INDEX_FILE)) as db:
        maintenance.refresh_caches(db, folder, Files(), settings, fresh=fresh)
        return {kind: folder / name for kind, name in db.execute("SELECT kind, file FROM caches")}


def exact_scores(hits: list[Hit], question: str) -> None:
    (vector,) = ENCODER.encode_queries([question])
    for hit in hits:
        assert hit.score == pytest.approx(float(vector @ ENCODER.encode_passages([hit.passage.text])[0]), abs=1e-5)


@pytest.fixture(scope="module")
def cached(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1,500 passages with a cached compressed vector index."""
    folder = build(tmp_path_factory.mktemp("cached") / "c", 1_500)
    assert set(refresh(folder)) == {"vectors"}, "so few postings need no cache"
    return folder


@pytest.fixture
def with_cache(cached: Path, tmp_path: Path) -> Path:
    shutil.copytree(cached, tmp_path / "c")
    return tmp_path / "c"


def kind(store: SqliteStore) -> str:
    vectors = store.describe()["vector_index"]
    assert isinstance(vectors, dict)
    return str(vectors["kind"])


def test_a_cache_is_used_and_updated_with_later_commits(with_cache: Path) -> None:
    write(with_cache, [change(2_000, "A zeppelin over the river."), change(7, "Glaciers calve.")], "/8.txt")
    with opened(with_cache, COMPRESSED) as store:
        (hits,) = store.search_dense(ENCODER.encode_queries(["A zeppelin over the river."]), k=5)
        assert hits[0].passage.document_id == "d2000"
        exact_scores(hits, "A zeppelin over the river.")
        assert kind(store) == "compressed"
        (everything,) = store.search_dense(ENCODER.encode_queries(["river"]), k=5_000)
        assert len({hit.passage.document_id for hit in everything}) == 1_500
        assert "d8" not in {hit.passage.document_id for hit in everything}
        write(with_cache, [], "/2000.txt")
        (hits,) = store.search_dense(ENCODER.encode_queries(["A zeppelin over the river."]), k=5)
        assert hits[0].passage.document_id != "d2000"


@pytest.mark.parametrize("harm", ["flipped", "cut", "empty", "gone"])
def test_a_damaged_cache_is_ignored_and_answers_come_from_the_tables(
    with_cache: Path, caplog: pytest.LogCaptureFixture, harm: str
) -> None:
    (path,) = with_cache.glob("vectors-*.cache")
    content = bytearray(path.read_bytes())
    if harm == "gone":
        path.unlink()
    else:
        content[len(content) // 2] ^= 4
        path.write_bytes({"flipped": content, "cut": content[:-1], "empty": b""}[harm])
    with opened(with_cache, COMPRESSED) as store, caplog.at_level(logging.WARNING, "search_app"):
        (hits,) = store.search_dense(ENCODER.encode_queries(["river 3"]), k=5)
        exact_scores(hits, "river 3")
        assert kind(store) == "flat"
        assert str(path) in caplog.text
        assert "search-index verify --repair" in caplog.text
        caplog.clear()
        store.search_dense(ENCODER.encode_queries(["river 4"]), k=5)
        assert not caplog.text, "said once"


def test_a_running_reader_uses_a_new_cache(tmp_path: Path) -> None:
    folder = build(tmp_path, 1_100)
    with opened(folder, COMPRESSED) as store:
        before = answers(store)
        assert kind(store) == "flat"
        refresh(folder)
        after = answers(store)
        assert kind(store) == "compressed"
        assert by_score(after) == by_score(before)


def test_a_question_is_repeated_if_a_cache_was_replaced_during_it(with_cache: Path) -> None:
    with closing(connect_reading(with_cache / INDEX_FILE)) as db:
        db.execute("BEGIN")
        before = derived.Commit.read(db)
        write(with_cache, [change(2_000)])
        refresh(with_cache, fresh=True)
        follower = derived.Derived(with_cache, COMPRESSED, KeywordSettings())
        with pytest.raises(derived.IndexReplaced):
            follower.vectors(db, before)
        db.execute("COMMIT")
        assert len(follower.vectors(db, derived.Commit.read(db))) == 1_501


def test_without_the_configured_gpu_answers_are_exact_and_degraded(with_cache: Path) -> None:
    with opened(with_cache, VectorSettings(device="cuda:15")) as store:
        assert not store.is_degraded(), "nobody has asked yet"
        (found,) = store.search_both(["river"], ENCODER.encode_queries(["river 3"]), k=5)
        assert found.degraded
        assert store.is_degraded()
        exact_scores(list(found.dense), "river 3")
        assert kind(store) == "flat"


def test_the_setting_flat_ignores_a_cache(with_cache: Path) -> None:
    with opened(with_cache, VectorSettings(index="flat")) as store:
        store.search_dense(ENCODER.encode_queries(["river"]), k=5)
        assert kind(store) == "flat"


def test_caches_are_rebuilt_after_changes_to_a_tenth_and_dropped_when_unneeded(with_cache: Path) -> None:
    (before,) = refresh(with_cache).values()
    write(with_cache, [change(number) for number in range(2_000, 2_100)])
    assert list(refresh(with_cache).values()) == [before]
    write(with_cache, [change(number) for number in range(2_100, 2_200)])
    (after,) = refresh(with_cache).values()
    assert after != before
    assert after.exists()
    assert not before.exists()
    assert refresh(with_cache, VectorSettings(index="flat")) == {}
    assert not list(with_cache.glob("*.cache"))


def test_postings_of_a_large_index_are_cached_and_followed(tmp_path: Path) -> None:
    texts = [f"word{number % 997} word{number % 13} of passage {number}" for number in range(20_100)]
    passages = tuple(Passage(f"p{i}", "d", "", text, 0, len(text)) for i, text in enumerate(texts))
    vectors = np.full((len(texts), ENCODER.stamp.dim), ENCODER.stamp.dim**-0.5, dtype=np.float32)
    whole = Document("d", "", "all of it", "d.txt", {}, "en")
    record = FileRecord("/d.txt", "d.txt", "sha", 1, 1, 1)
    write(tmp_path, [FileChange(record, (whole,), PassageBatch(passages, vectors))])
    question = ["word5 word7 passage 11"]
    with opened(tmp_path) as store:
        expected = store.search_keyword(question, k=50)
    assert "postings" in refresh(tmp_path, VectorSettings())
    with opened(tmp_path) as store:
        assert store.search_keyword(question, k=50) == expected
        write(tmp_path, [change(1, "word5 word5 word7 zeppelin")])
        (hits,) = store.search_keyword(["zeppelin word5"], k=3)
        assert hits[0].passage.document_id == "d1"
    with opened(tmp_path) as store:
        assert store.search_keyword(["zeppelin word5"], k=3) == [hits]


def test_describe_reports_vectors_and_caches_without_loading_them(with_cache: Path) -> None:
    write(with_cache, [change(2_000)], "/8.txt")
    with opened(with_cache, COMPRESSED) as store:
        facts: Any = store.describe()
        assert facts["vector_index"]["kind"] == "compressed"
        assert facts["vector_index"]["why"]
        assert facts["vector_index"]["bytes"] < 1_500 * ENCODER.stamp.dim * 4
        (path,) = with_cache.glob("vectors-*.cache")
        stated = {"bytes": path.stat().st_size, "passages_behind": 2}
        assert facts["caches"] == {"vectors": {**stated, "there": True}}
        path.unlink()
        damage(with_cache, "UPDATE vectors SET checksum = checksum + 1")
        facts = store.describe()
        assert facts["caches"] == {"vectors": {**stated, "there": False}}
    with opened(with_cache, VectorSettings(index="flat")) as store:
        facts = store.describe()
        assert facts["vector_index"]["kind"] == "flat"
        assert facts["vector_index"]["bytes"] >= 1_500 * ENCODER.stamp.dim * 4


# Rows that are not what was written.


@pytest.mark.parametrize(
    ("change_rows", "ask"),
    [
        ("UPDATE passages SET text = 'other' WHERE rowid = 3", lambda store: answers(store)),
        ("UPDATE passages SET document = 1 WHERE rowid = 3", lambda store: answers(store)),
        ("UPDATE documents SET meta = '{\"number\": 9}' WHERE id = 'd3'", lambda store: answers(store)),
        ("UPDATE documents SET text = 'other' WHERE id = 'd3'", lambda store: store.document("d3")),
        ("UPDATE documents SET title = 'other' WHERE id = 'd3'", lambda store: store.documents(limit=9)),
        ("UPDATE vectors SET embedding = zeroblob(128) WHERE rowid = 3", lambda store: answers(store)),
        ("UPDATE vectors SET embedding = 3 WHERE rowid = 3", lambda store: answers(store)),
        ("UPDATE vectors SET embedding = x'' WHERE rowid = 3", lambda store: list(store.passages(vectors=True))),
        ("UPDATE passages SET document = 'no number' WHERE rowid = 3", lambda store: answers(store)),
        ("UPDATE terms SET counts = 'no blob' WHERE passage = 3", lambda store: answers(store)),
        ("UPDATE terms SET length = 'no number' WHERE passage = 3", lambda store: answers(store)),
        ("UPDATE terms SET length = length + 1 WHERE passage = 3", lambda store: answers(store)),
        ("UPDATE terms SET words = zeroblob(length(words)) WHERE passage = 3", lambda store: answers(store)),
    ],
)  # fmt: skip
def test_a_damaged_row_is_an_error_with_the_next_command(
    tmp_path: Path, change_rows: str, ask: Callable[[SqliteStore], object]
) -> None:
    build(tmp_path, 10)
    damage(tmp_path, change_rows)
    with opened(tmp_path) as store:
        for _ in range(2):
            with pytest.raises(IndexCorrupt, match="search-index verify --repair"):
                ask(store)


def test_a_damaged_vector_is_not_reused(tmp_path: Path) -> None:
    build(tmp_path, 10)
    with closing(connect_reading(tmp_path / INDEX_FILE)) as db:
        sound, damaged = (db.execute("SELECT key FROM vectors WHERE rowid = ?", (row,)).get for row in (2, 3))
    damage(tmp_path, "UPDATE vectors SET embedding = zeroblob(128) WHERE rowid = 3")
    with SqliteWriter(tmp_path, MANIFEST, collection="c") as writer:
        assert list(writer.known_vectors([sound])) == [sound]
        with pytest.raises(IndexCorrupt, match="vector 3 of the index"):
            writer.known_vectors([sound, damaged])


def test_vectors_read_for_reranking_are_checked(with_cache: Path) -> None:
    damage(with_cache, "UPDATE vectors SET embedding = zeroblob(128) WHERE rowid = 3")
    with opened(with_cache, COMPRESSED) as store, pytest.raises(IndexCorrupt, match="vector 3 of the index"):
        store.search_dense(ENCODER.encode_queries([change(2).documents[0].text]), k=5)


def test_exact_vectors_are_returned_in_the_requested_order(tmp_path: Path) -> None:
    build(tmp_path, 20)
    with closing(connect_reading(tmp_path / INDEX_FILE)) as db:
        wanted = np.array([17, 3, 20, 1], dtype=np.int64)
        found = derived.exact_vectors(db, wanted, ENCODER.stamp.dim)
        texts = [db.execute("SELECT text FROM passages WHERE rowid = ?", (int(row),)).get for row in wanted]
        np.testing.assert_array_equal(found, ENCODER.encode_passages(texts))
        with pytest.raises(IndexCorrupt, match="missing"):
            derived.exact_vectors(db, np.array([1, 99], dtype=np.int64), ENCODER.stamp.dim)


def test_an_index_that_has_lost_commits_is_refused(tmp_path: Path) -> None:
    build(tmp_path, 5)
    with closing(connect_reading(tmp_path / INDEX_FILE)) as db:
        lineage, number = db.execute("SELECT lineage, generation FROM manifest").get
    generation.record(Files(), tmp_path, lineage, number + 1)
    with pytest.raises(IndexCorrupt, match=f"at generation {number} and was at {number + 1}"):
        SqliteStore.open(tmp_path, collection="c")


def test_a_running_reader_refuses_a_foreign_index(tmp_path: Path) -> None:
    build(tmp_path / "c", 5)
    build(tmp_path / "other", 7)
    write(tmp_path / "other", [change(8)])
    with opened(tmp_path / "c") as store:
        answers(store)
        for suffix in ("-wal", "-shm", ""):
            (tmp_path / "other" / f"{INDEX_FILE}{suffix}").replace(tmp_path / "c" / f"{INDEX_FILE}{suffix}")
        with pytest.raises(IndexCorrupt, match="is not the one that was written there"):
            answers(store)


def test_a_closed_store_keeps_no_file_open(tmp_path: Path) -> None:
    build(tmp_path, 5)
    before = len(list(Path("/proc/self/fd").iterdir()))
    store = SqliteStore.open(tmp_path, collection="c")
    threads = [threading.Thread(target=answers, args=(store,)) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
