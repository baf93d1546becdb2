"""Postings built one range of hashes at a time are identical."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_embedded import INDEX_FILE, build
from test_following import answers, opened

from search_app.errors import SearchAppError
from search_app.settings import VectorSettings
from search_app.stores.embedded import caches, maintenance, ranges
from search_app.stores.embedded.connection import connect_writing
from search_app.stores.embedded.files import Files
from search_app.stores.embedded.postings import Postings


def terms(bags: list[list[int]], *, at_once: int) -> Iterator[ranges.Terms]:
    """Words that are their own hashes, spread over all 64 bits."""
    for start in range(0, len(bags), at_once):
        some = bags[start : start + at_once]
        words = [np.array(sorted(set(bag)), dtype=np.uint64) * np.uint64(2**64 // 97) for bag in some]
        counts = [np.array([bag.count(word) for word in sorted(set(bag))], dtype=np.uint16) for bag in some]
        yield (
            np.arange(start + 1, start + 1 + len(some), dtype=np.int64),
            np.array([len(bag) for bag in some], dtype=np.int64),
            np.array([len(found) for found in words], dtype=np.int64),
            np.concatenate(words),
            np.concatenate(counts),
        )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 96), max_size=9), min_size=1, max_size=30), st.integers(1, 9))
def test_any_number_of_ranges_gives_the_same_arrays(bags: list[list[int]], count: int) -> None:
    at_once = Postings()
    for batch in terms(bags, at_once=7):
        at_once.add(*batch)
    with_files = Memory()
    found = ranges.postings_by_range(lambda: terms(bags, at_once=7), count, with_files, Path())
    for name, expected in at_once.to_arrays().items():
        array = found[name]
        if isinstance(array, caches.FileArray):
            array = np.frombuffer(b"".join(array.blocks()), array.dtype)
        np.testing.assert_array_equal(array, expected, err_msg=name)
        assert array.dtype == expected.dtype, name


class Memory(Files):
    """Files in memory."""

    def __init__(self) -> None:
        self._held: dict[Path, bytes] = {}

    def write(self, path: Path, parts: object) -> None:
        self._held[path] = b"".join(parts)  # type: ignore[arg-type]

    def blocks(self, path: Path) -> Iterator[bytes]:
        yield self._held[path]


def refreshed(folder: Path, files: Files | None = None) -> list[Path]:
    with closing(connect_writing(folder / INDEX_FILE)) as db:
        maintenance.refresh_caches(db, folder, files or Files(), VectorSettings(), fresh=True)
    return sorted(folder.glob("*.cache"))


def test_the_cache_file_is_the_same_and_no_temporary_file_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(tmp_path, 60)
    monkeypatch.setattr(maintenance, "_MIN_PASSAGES", 0)
    [whole] = refreshed(tmp_path)
    content = whole.read_bytes()
    whole.unlink()
    monkeypatch.setattr(maintenance, "_MAX_POSTINGS", 100)
    assert refreshed(tmp_path) == [whole]
    assert whole.read_bytes() == content
    with opened(tmp_path) as store:
        assert answers(store)


def test_temporary_files_are_deleted_when_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(tmp_path, 60)
    monkeypatch.setattr(maintenance, "_MIN_PASSAGES", 0)
    monkeypatch.setattr(maintenance, "_MAX_POSTINGS", 100)
    [whole] = refreshed(tmp_path)
    size = whole.stat().st_size
    whole.unlink()
    for room in random.Random(1).sample(range(1, size), 12):
        with pytest.raises(SearchAppError, match="no space left"):
            refreshed(tmp_path, Full(room))
        assert list(tmp_path.glob("*.cache")) == []
    assert len(refreshed(tmp_path)) == 1


class Full(Files):
    """A disk with limited space."""

    def __init__(self, room: int) -> None:
        self._room = room

    def append(self, descriptor: int, data: bytes | memoryview, path: Path) -> int:
        self._room -= len(data)
        if self._room < 0:
            raise OSError(28, "No space left on device")
        return super().append(descriptor, data, path)
