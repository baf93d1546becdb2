"""Atomic files, and caches that are used only if they are undamaged."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import apsw
import numpy as np
import pytest
from safetensors.numpy import load_file

from search_app.errors import ConfigurationError, IndexCorrupt, SearchAppError
from search_app.stores.embedded import caches, generation
from search_app.stores.embedded.connection import connect_writing
from search_app.stores.embedded.files import Files
from search_app.stores.embedded.schema import INDEX_FILE, TABLES

ARRAYS: Mapping[str, np.ndarray[Any, Any]] = {
    "codes": np.arange(7, dtype=np.uint8),
    "rows": np.arange(5, dtype=np.int64),
    "table": np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4),
    "none": np.empty((0, 4), dtype=np.uint16),
    "turned": np.arange(6, dtype=np.int32).reshape(2, 3).T,
}


class Failing(Files):
    """Fails at one kind of operation."""

    def __init__(self, operation: str, code: int) -> None:
        def fail(*arguments: object) -> Any:
            raise OSError(code, os.strerror(code))

        setattr(self, operation, fail)


@pytest.fixture
def db(tmp_path: Path) -> apsw.Connection:
    made = connect_writing(tmp_path / INDEX_FILE)
    made.execute(TABLES)
    return made


def save(tmp_path: Path, db: apsw.Connection, arrays: Any = ARRAYS, files: Files | None = None) -> Path:
    caches.save(files or Files(), db, tmp_path, "vectors", arrays, generation=3, newest=9)
    return tmp_path / str(db.execute("SELECT file FROM caches WHERE kind = 'vectors'").fetchall()[0][0])


def test_arrays_are_restored_with_their_generation(tmp_path: Path, db: apsw.Connection) -> None:
    save(tmp_path, db)
    found = caches.load(db, tmp_path, "vectors")
    assert found is not None
    assert (found.generation, found.newest) == (3, 9)
    assert set(found.arrays) == set(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found.arrays[name], array)
        assert found.arrays[name].dtype == array.dtype
        assert found.arrays[name].ctypes.data % array.itemsize == 0
        assert not found.arrays[name].flags.writeable


def test_safetensors_can_read_the_file(tmp_path: Path, db: apsw.Connection) -> None:
    for name, array in load_file(save(tmp_path, db)).items():
        np.testing.assert_array_equal(array, ARRAYS[name])


def test_a_new_cache_replaces_the_old_file(tmp_path: Path, db: apsw.Connection) -> None:
    old = save(tmp_path, db)
    held = caches.load(db, tmp_path, "vectors")
    new = save(tmp_path, db, {"rows": np.arange(3)})
    assert [path.name for path in tmp_path.glob("*.cache")] == [new.name] != [old.name]
    assert held is not None
    np.testing.assert_array_equal(held.arrays["rows"], ARRAYS["rows"])  # whoever has it open keeps it


@pytest.mark.parametrize("damage", ["flip", "cut", "longer", "gone", "swapped"])
def test_a_changed_cache_is_never_used(
    tmp_path: Path, db: apsw.Connection, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = save(tmp_path, db)
    sound = bytearray(path.read_bytes())
    if damage == "flip":
        sound[-3] ^= 1
        path.write_bytes(sound)
    elif damage == "cut":
        path.write_bytes(sound[:-1])
    elif damage == "longer":
        path.write_bytes(sound + b"\0")
    elif damage == "swapped":
        caches.save(Files(), db, tmp_path, "postings", {"rows": np.arange(2)}, generation=3, newest=9)
        path.write_bytes(next(tmp_path.glob("postings*")).read_bytes())
    else:
        path.unlink()
    with caplog.at_level(logging.WARNING):
        assert caches.load(db, tmp_path, "vectors") is None
    assert path.name in caplog.text
    assert "search-index verify --repair" in caplog.text


def test_a_missing_cache_gives_none_without_a_warning(
    tmp_path: Path, db: apsw.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    assert caches.load(db, tmp_path, "vectors") is None
    assert caplog.text == ""


@pytest.mark.parametrize("operation", ["create", "append", "sync_file", "rename", "sync_folder"])
def test_a_failed_write_keeps_the_old_cache(tmp_path: Path, db: apsw.Connection, operation: str) -> None:
    old = save(tmp_path, db)
    with pytest.raises(SearchAppError, match=str(tmp_path)):
        save(tmp_path, db, {"rows": np.arange(3)}, Failing(operation, errno.EIO))
    found = caches.load(db, tmp_path, "vectors")
    assert found is not None
    np.testing.assert_array_equal(found.arrays["rows"], ARRAYS["rows"])
    assert old.exists()
    assert not list(tmp_path.glob("*.new"))


def test_a_full_disk_is_reported_with_path_and_size(tmp_path: Path) -> None:
    with pytest.raises(SearchAppError, match=r"no space left for .*/name: 3 bytes were needed"):
        Failing("append", errno.ENOSPC).write(tmp_path / "name", [b"ab", b"c"])
    assert list(tmp_path.iterdir()) == []


def test_a_failed_sync_is_not_retried(tmp_path: Path) -> None:
    class Counting(Files):
        syncs = 0

        def sync_file(self, descriptor: int, path: Path) -> None:
            self.syncs += 1
            raise OSError(errno.EIO, "Input/output error")

    files = Counting()
    with pytest.raises(SearchAppError, match=r"name cannot be written: Input/output error"):
        files.write(tmp_path / "name", [b"ab"])
    assert files.syncs == 1
    assert list(tmp_path.iterdir()) == []


def test_a_write_protected_folder_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"name cannot be written; check the folder's permissions"):
        Failing("create", errno.EROFS).write(tmp_path / "name", [b"ab"])


def test_short_writes_are_completed(tmp_path: Path) -> None:
    class Short(Files):
        def append(self, descriptor: int, data: bytes | memoryview, path: Path) -> int:
            return super().append(descriptor, data[:3], path)

    Short().write(tmp_path / "name", [b"abcdefgh", b"ij"])
    assert (tmp_path / "name").read_bytes() == b"abcdefghij"


def test_only_files_of_killed_jobs_are_removed(tmp_path: Path) -> None:
    for name in ("vectors-1.cache.new", "index.db", "previous.db.new", "previous.db.new-journal", "a.cache"):
        (tmp_path / name).touch()
    Files().clear(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.cache", "index.db"]


def test_unregistered_caches_are_removed(tmp_path: Path, db: apsw.Connection) -> None:
    known = save(tmp_path, db)
    (tmp_path / "vectors-0000.cache").touch()
    caches.remove_orphans(Files(), db, tmp_path)
    assert list(tmp_path.glob("*.cache")) == [known]


def test_the_recorded_generation_reveals_lost_commits(tmp_path: Path) -> None:
    assert generation.read(tmp_path) is None
    generation.record(Files(), tmp_path, "abc", 7)
    recorded = generation.read(tmp_path)
    assert recorded == ("abc", 7, "")
    generation.require(recorded, tmp_path, "abc", 7)
    with pytest.raises(IndexCorrupt, match="is not the one that was written there"):
        generation.require(recorded, tmp_path, "new", 8)
    generation.announce(Files(), tmp_path, "new")
    generation.require(recorded, tmp_path, "new", 8)
    generation.require(generation.read(tmp_path), tmp_path, "abc", 7)
    for lineage, behind in (("abc", 6), ("older", 6), ("older", 7)):
        with pytest.raises(IndexCorrupt, match=rf"lost commits: it is at generation {behind} and was at 7"):
            generation.require(recorded, tmp_path, lineage, behind)


def test_every_flipped_bit_of_the_recorded_generation_is_found(tmp_path: Path) -> None:
    generation.record(Files(), tmp_path, "abc", 7)
    path = tmp_path / "generation"
    sound = path.read_bytes()
    for bit in range(len(sound) * 8):
        damaged = bytearray(sound)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(IndexCorrupt, match="generation is damaged"):
            generation.read(tmp_path)
