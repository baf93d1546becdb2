from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from indexing import sources
from indexing.diff import Counts, IndexDiff, Outcome, Shard, diff
from indexing.sources import SourceFile, scan
from search_app.errors import ConfigurationError
from search_app.protocols import FileRecord


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "docs"
    for number in range(6):
        (root / f"part{number % 2}").mkdir(parents=True, exist_ok=True)
        (root / f"part{number % 2}" / f"{number}.txt").write_text(f"text {number}")
    return root


def records(root: Path) -> list[FileRecord]:
    """What an index of the folder knows, some time after its files were written."""
    settled = []
    for file in scan([root]).files():
        record = sources.record_of(file, sources.digest(file), 1)
        settled.append(FileRecord(record.path, record.source, record.digest, record.size, file.changed_ns, 1))
    return sorted(settled, key=lambda record: record.path)


def names(work: IndexDiff, outcome: Outcome) -> list[str]:
    return [os.path.basename(source) for source in work.sources(outcome)]


def test_files_are_sorted_by_outcome(folder: Path) -> None:
    known = records(folder)
    (folder / "part0" / "0.txt").unlink()
    (folder / "part0" / "2.txt").write_text("")
    (folder / "part0" / "4.txt").write_text("another text")
    (folder / "new.txt").write_text("new")
    (folder / "picture.bin").write_text("x")
    with diff(scan([folder]), known) as work:
        assert work.counts == Counts(added=1, changed=1, unchanged=3, removed=2, skipped=2)
        assert [os.path.basename(file.path) for file, _ in work.to_index()] == ["new.txt", "4.txt"]
        assert [digest for _, digest in work.to_index()] == [sources.digest(file) for file, _ in work.to_index()]
        assert work.bytes == len("new") + len("another text")
        assert names(work, Outcome.REMOVED) == ["0.txt", "2.txt"]
        assert names(work, Outcome.UNCHANGED) == ["1.txt", "3.txt", "5.txt"]
        assert [skip.reason for skip in work.reasons(Outcome.SKIPPED)] == ["unknown type .bin", "empty file"]


def test_an_unchanged_file_is_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = records(folder)
    monkeypatch.setattr(sources, "digest", lambda file: pytest.fail(f"{file.path} was read"))
    with diff(scan([folder]), known) as work:
        assert work.counts == Counts(unchanged=6)


def test_files_outside_the_paths_are_ignored(folder: Path) -> None:
    known = records(folder)
    for path in ("part0/0.txt", "part1/1.txt"):
        (folder / path).unlink()
    with diff(scan([folder / "part1"]), known) as work:
        assert names(work, Outcome.REMOVED) == ["1.txt"]


def test_a_file_that_fails_later_is_counted_as_failed(folder: Path) -> None:
    with diff(scan([folder]), ()) as work:
        for file, _ in work.to_index():  # it may be told while the files are gone through
            if file.path.endswith("3.txt"):
                work.mark(file.path, Outcome.FAILED, "broken")
        assert work.counts == Counts(added=5, failed=1)
        assert [(os.path.basename(skip.source), skip.reason) for skip in work.reasons(Outcome.FAILED)] == [
            ("3.txt", "broken")
        ]
        assert "3.txt" not in names(work, Outcome.ADDED)


def test_content_of_a_moved_file_is_found(folder: Path) -> None:
    known = records(folder)
    with diff(scan([folder]), known) as work:
        assert work.has_content(known[0].digest)
        assert not work.has_content("0" * 64)


def test_shards_partition_files_and_removals(folder: Path) -> None:
    for number in range(40):
        (folder / f"{number}.md").write_text(f"# {number}")
    known = records(folder)
    for number in range(20):
        (folder / f"{number}.md").unlink()
        (folder / f"new{number}.txt").write_text(f"new {number}")
    added: list[str] = []
    removed: list[str] = []
    unchanged = 0
    for index in (1, 2, 3):
        with diff(scan([folder]), known, shard=Shard(index, 3)) as work:
            assert 0 < work.counts.added < 20
            added += names(work, Outcome.ADDED)
            removed += names(work, Outcome.REMOVED)
            unchanged += work.counts.unchanged
    assert sorted(added) == sorted(f"new{number}.txt" for number in range(20))
    assert sorted(removed) == sorted(f"{number}.md" for number in range(20))
    assert unchanged == 26


def test_a_shard_is_the_same_on_every_machine() -> None:
    taken = [Shard(index, 4).contains("/srv/handbook/guide.pdf") for index in (1, 2, 3, 4)]
    assert taken == [True, False, False, False]
    assert Shard.parse(" 2/4 ") == Shard(2, 4)
    assert str(Shard(2, 4)) == "2/4"


@pytest.mark.parametrize("text", ["", "2", "0/3", "4/3", "1/0", "a/b", "-1/3", "1/3/3"])
def test_an_invalid_shard_names_the_option(text: str) -> None:
    with pytest.raises(ConfigurationError, match="--shard"):
        Shard.parse(text)


def test_the_temporary_database_leaves_no_file(folder: Path, tmp_path: Path) -> None:
    with diff(scan([folder]), (), folder=tmp_path / "spool") as work:
        assert list((tmp_path / "spool").iterdir()) == []
        assert len(list(work.to_index())) == 6


def test_many_files_come_in_order(tmp_path: Path) -> None:
    now = time.time_ns()
    files = [SourceFile(f"/x/{number:05}.txt", f"{number:05}.txt", "txt", 1, now, now) for number in range(2500)]
    with IndexDiff(tmp_path) as work:
        for file in files:
            work._add_file(file, Outcome.ADDED, "digest")
        assert [file for file, _ in work.to_index()] == files
