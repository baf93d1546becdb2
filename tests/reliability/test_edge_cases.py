"""Unusual corpora and clocks have defined results."""

from __future__ import annotations

import json
import os
import time
import unicodedata
import zlib
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from fakes import HashEncoder

from indexing import job
from indexing.job import Summary
from search_app.settings import Settings
from search_app.stores.embedded.catalog import EmbeddedCatalog
from search_app.types import Document, Hit, Matrix


class QuickEncoder(HashEncoder):
    """A cheap vector for each text, for tests that encode ten megabytes."""

    def _vectors(self, texts: Sequence[str]) -> Matrix:
        vectors = np.array(
            [np.random.default_rng(zlib.crc32(text.encode())).standard_normal(self.stamp.dim) for text in texts],
            dtype=np.float32,
        ).reshape(len(texts), self.stamp.dim)
        result: Matrix = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return result


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    return folder


def apply(settings: Settings, *paths: Path) -> Summary:
    return job.apply(paths, settings=settings, encoder=QuickEncoder())


def verified(settings: Settings) -> list[str]:
    with closing(EmbeddedCatalog(settings)) as catalog:
        return catalog.verify("default")


def listed(settings: Settings) -> list[Document]:
    with closing(EmbeddedCatalog(settings)) as catalog, closing(catalog.open("default")) as store:
        whole = [store.document(item.id) for item in store.documents(limit=1000)]
    return [item for item in whole if item is not None]


def found(settings: Settings, question: str) -> list[Hit]:
    with closing(EmbeddedCatalog(settings)) as catalog, closing(catalog.open("default")) as store:
        (dense,) = store.search_dense(QuickEncoder().encode_queries([question]), k=5)
        (keyword,) = store.search_keyword([question], k=5)
    assert len(dense) == min(5, len(dense))
    return keyword


def test_one_document_answers_every_question(docs: Path, settings: Settings) -> None:
    (docs / "only.txt").write_text("A glacier is a river of ice.")
    assert apply(settings, docs).added == 1
    assert [hit.passage.text for hit in found(settings, "glacier")] == ["A glacier is a river of ice."]
    assert found(settings, "volcano") == []
    assert verified(settings) == []


def test_empty_and_blank_files_are_never_found(docs: Path, settings: Settings) -> None:
    (docs / "nothing.txt").write_bytes(b"")
    (docs / "blank.txt").write_text("  \n\n \n")
    (docs / "words.txt").write_text("Words.")
    summary = apply(settings, docs)
    assert (summary.failed, summary.passages) == (0, 1)
    assert [hit.passage.text for hit in found(settings, "words")] == ["Words."]
    assert verified(settings) == []


def test_two_documents_with_the_same_text_share_one_vector(docs: Path, settings: Settings) -> None:
    (docs / "one.txt").write_text("The same words.")
    (docs / "two.txt").write_text("The same words.")
    (docs / "rows.jsonl").write_text(2 * (json.dumps({"text": "The same row.", "id": "r"}) + "\n"))
    assert apply(settings, docs).failed == 0
    documents = listed(settings)
    assert len(documents) == len({item.id for item in documents}) == 4
    assert [hit.passage.text for hit in found(settings, "same words")][:2] == ["The same words."] * 2
    assert verified(settings) == []


def test_a_file_given_twice_is_indexed_once(docs: Path, settings: Settings) -> None:
    (docs / "one.txt").write_text("Words.")
    assert apply(settings, docs, docs / "one.txt", docs / ".." / "docs").added == 1
    assert len(listed(settings)) == 1


def test_names_in_two_unicode_forms_are_two_files_with_unchanged_texts(docs: Path, settings: Settings) -> None:
    composed, decomposed = (unicodedata.normalize(form, "Zoë müßig") for form in ("NFC", "NFD"))
    for text in (composed, decomposed):
        (docs / f"{text}.txt").write_text(f"{text} am Ufer.", encoding="utf-8")
    if len(list(docs.iterdir())) == 1:
        pytest.skip("this file system takes both forms for one name")
    assert apply(settings, docs).added == 2
    assert {item.text for item in listed(settings)} == {f"{composed} am Ufer.", f"{decomposed} am Ufer."}
    assert len({item.id for item in listed(settings)}) == 2
    for question in (composed, decomposed):
        assert len(found(settings, question)) == 2, "both forms are found by either"
    assert apply(settings, docs).unchanged == 2
    assert verified(settings) == []


@pytest.mark.parametrize("year", [1901, 1970, 2199])
def test_a_wrong_modification_time_changes_nothing(docs: Path, settings: Settings, year: int) -> None:
    path = docs / "one.txt"
    path.write_text("Words of then.")
    moment = int((year - 1970) * 31_556_952)
    os.utime(path, (moment, moment))
    assert apply(settings, docs).added == 1
    assert apply(settings, docs).unchanged == 1
    path.write_text("Words of now.")
    os.utime(path, (moment, moment))
    assert apply(settings, docs).changed == 1
    assert [item.text for item in listed(settings)] == ["Words of now."]


def test_a_clock_set_back_between_jobs_loses_no_change(
    docs: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    (docs / "one.txt").write_text("First words.")
    real = time.time
    real_ns = time.time_ns
    monkeypatch.setattr(time, "time", lambda: real() + 10 * 365 * 86_400)
    monkeypatch.setattr(time, "time_ns", lambda: real_ns() + 10 * 365 * 86_400 * 10**9)
    assert apply(settings, docs).added == 1
    monkeypatch.setattr(time, "time", real)
    monkeypatch.setattr(time, "time_ns", real_ns)
    (docs / "one.txt").write_text("Other words.")
    (docs / "two.txt").write_text("More words.")
    summary = apply(settings, docs)
    assert (summary.added, summary.changed) == (1, 1)
    assert {item.text for item in listed(settings)} == {"Other words.", "More words."}
    assert verified(settings) == []


@pytest.mark.slow
def test_a_line_of_ten_megabytes_is_indexed_completely(docs: Path, settings: Settings) -> None:
    line = "The river crosses the valley and the town. " * 244_000 + "Xanthippe waits."
    assert len(line) > 10 << 20
    (docs / "line.txt").write_text(line)
    summary = apply(settings, docs)
    assert (summary.added, summary.failed) == (1, 0)
    (hit,) = found(settings, "Xanthippe")
    assert hit.passage.end == len(line)
    assert verified(settings) == []
