"""An index that is made anew from itself: what serves meanwhile, what a kill leaves, and the way back."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from fakes import HashEncoder

from indexing import job
from indexing.cli import cli
from indexing.deletion import delete
from indexing.rebuild import RebuildPlan, RebuildResult, rebuild
from search_app.errors import IndexMismatch, IndexNotFound
from search_app.protocols import FileRecord
from search_app.settings import Settings
from search_app.stores.catalog import open_catalog
from search_app.stores.index import Catalog, Index
from search_app.types import Document, Passage

OTHER = {"dim": 48, "digest": "other", "max_tokens": 96}


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    root = tmp_path / "docs"
    root.mkdir()
    for number in range(12):
        paragraphs = [f"Part {part} of file {number} tells of subject {number * 7 + part}. " * 8 for part in range(9)]
        (root / f"{number:02}.md").write_text(f"# File {number}\n\n" + "\n\n".join(paragraphs))
    (root / "rows.csv").write_text("name,price\n" + "".join(f"part {number},{number}\n" for number in range(30)))
    return root


@pytest.fixture
def settings(tmp_path: Path, docs: Path) -> Settings:
    settings = Settings(home=tmp_path / "home", splitter={"passage_tokens": 64, "overlap_tokens": 8})  # type: ignore[arg-type]
    job.apply([docs], settings=settings, encoder=HashEncoder(max_tokens=96))
    return settings


@pytest.fixture
def catalog(settings: Settings) -> Iterator[Catalog]:
    with closing(open_catalog(settings)) as catalog:
        yield catalog


def opened(catalog: Catalog, name: str = "default") -> Any:
    return closing(catalog.open(name))


def contents(index: Index) -> tuple[list[FileRecord], list[Document | None], dict[str, Passage]]:
    found = (passage for batch in index.passages() for passage in batch.passages)
    documents = [index.document(document.id) for document in index.documents(limit=1000)]
    # Whether a file had settled when it was indexed depends on how long ago it was written.
    files = [replace(record, modified_ns=0) for record in index.files()]
    return files, documents, {passage.id: passage for passage in found}


def test_a_rebuild_equals_an_index_built_from_the_files(settings: Settings, catalog: Catalog, docs: Path) -> None:
    encoder = HashEncoder(**OTHER)
    done = rebuild(settings, encoder=encoder)
    assert done.passages == done.passages_encoded == len(encoder.encoded)
    job.apply([docs], settings=settings, encoder=HashEncoder(**OTHER), collection="straight")
    question = encoder.encode_queries(["subject 40"])
    with opened(catalog) as index, opened(catalog, "straight") as straight:
        assert contents(index) == contents(straight)
        assert index.manifest == straight.manifest
        ours, theirs = (store.search_both(["subject 40"], question, k=50)[0] for store in (index, straight))
        for mine, other in ((ours.dense, theirs.dense), (ours.keyword, theirs.keyword)):
            assert {(hit.passage.id, hit.score) for hit in mine} == {(hit.passage.id, hit.score) for hit in other}
        assert index.generation == done.generation
    assert catalog.verify("default") == []


def test_progress_is_reported(settings: Settings) -> None:
    began: list[RebuildPlan] = []
    sizes: list[int] = []
    encoder = HashEncoder(**OTHER)
    rebuild(settings, encoder=encoder, batch_characters=4000, start=began.append, progress=sizes.append)
    assert (began[0].files, began[0].done) == (13, 0)
    assert len(sizes) > 3
    assert sum(sizes) == began[0].bytes > 0


def test_a_rebuild_needs_no_file_and_the_next_job_changes_nothing(
    settings: Settings, catalog: Catalog, docs: Path
) -> None:
    away = docs.rename(docs.with_name("away"))
    with opened(catalog) as index:
        before = contents(index)
    rebuild(settings, encoder=HashEncoder(**OTHER))
    with opened(catalog) as index:
        after = contents(index)
    assert after[:2] == before[:2]
    away.rename(docs)
    summary = job.apply([docs], settings=settings, encoder=HashEncoder(**OTHER))
    assert (summary.unchanged, summary.added, summary.changed, summary.removed) == (13, 0, 0, 0)


def test_another_splitter_reuses_known_vectors(settings: Settings, catalog: Catalog) -> None:
    same = rebuild(settings, encoder=HashEncoder(max_tokens=96))
    assert (same.passages_encoded, same.documents) == (0, 42)
    other = settings.model_copy(update={"splitter": settings.splitter.model_copy(update={"passage_tokens": 32})})
    done = rebuild(other, encoder=HashEncoder(max_tokens=96))
    assert 0 < done.passages_encoded < done.passages
    assert catalog.verify("default") == []
    with opened(catalog) as index:
        assert index.manifest.splitter == "v1 32/8"


def test_the_old_index_serves_until_the_new_one_is_complete(settings: Settings, catalog: Catalog) -> None:
    question = HashEncoder().encode_queries(["subject 40"])
    with opened(catalog) as index:
        before = index.search_both(["subject 40"], question, k=20)
        seen = []

        class Watched(HashEncoder):
            def encode_passages(self, texts: Sequence[str]) -> Any:
                seen.append(index.search_both(["subject 40"], question, k=20) == before)
                return super().encode_passages(texts)

        rebuild(settings, encoder=Watched(**OTHER))
        assert seen
        assert all(seen)
        with pytest.raises(IndexMismatch, match="encoder"):  # it has vectors that this reader cannot compare
            index.search_dense(question, k=1)


def test_rollback_brings_the_earlier_index_back_and_a_second_one_undoes_it(
    settings: Settings, catalog: Catalog
) -> None:
    question = HashEncoder().encode_queries(["subject 40"])
    with opened(catalog) as index:
        before, scores = contents(index), index.search_dense(question, k=50)
    done = rebuild(settings, encoder=HashEncoder(**OTHER))
    assert catalog.rollback("default") > done.generation
    with opened(catalog) as index:
        assert contents(index) == before
        assert index.search_dense(question, k=50) == scores
    catalog.rollback("default")
    with opened(catalog) as index:
        assert index.manifest.encoder.dim == 48


def test_deleted_documents_stay_deleted(settings: Settings, catalog: Catalog, docs: Path) -> None:
    delete(settings, sources=["03.md"])
    done = rebuild(settings, encoder=HashEncoder(**OTHER))
    assert (done.files, done.documents) == (13, 41)
    summary = job.apply([docs], settings=settings, encoder=HashEncoder(**OTHER))
    assert (summary.unchanged, summary.changed) == (13, 0)


def test_files_of_one_source_name_keep_their_own_documents(
    tmp_path: Path, catalog: Catalog, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "note.txt").write_text(f"This is the note of {name}.")
        monkeypatch.chdir(tmp_path / name)
        job.apply(["note.txt"], settings=settings, encoder=HashEncoder(max_tokens=96), collection="twins")
    with opened(catalog, "twins") as index:
        before = contents(index)
        owners = {document.id: index.file_of(document.id) for document in index.documents(limit=9)}
    rebuild(settings, encoder=HashEncoder(**OTHER), collection="twins")
    with opened(catalog, "twins") as index:
        assert contents(index)[:2] == before[:2]
        assert {document.id: index.file_of(document.id) for document in index.documents(limit=9)} == owners


def test_a_rebuild_needs_an_index(settings: Settings) -> None:
    with pytest.raises(IndexNotFound):
        rebuild(settings, encoder=HashEncoder(), collection="other")
    assert not settings.collection_folder("other").exists()


KILLED = """
import sys
sys.path.insert(0, {tests!r})
from fakes import HashEncoder
from indexing.rebuild import rebuild
from search_app.settings import Settings
settings = Settings(home={home!r}, splitter={{"passage_tokens": 64, "overlap_tokens": 8}})
def progress(size):
    print(size, flush=True)
    sys.stdin.readline()
encoder = HashEncoder(dim=48, digest="other", max_tokens=96)
rebuild(settings, encoder=encoder, batch_characters=4000, progress=progress)
"""


@pytest.fixture
def killed(settings: Settings) -> Settings:
    """Left by a rebuild that got kill -9 in its third batch."""
    code = KILLED.format(tests=str(Path(__file__).parents[1]), home=str(settings.home))
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(3):
            assert process.stdout.readline()
            process.stdin.write("\n")
            process.stdin.flush()
        process.send_signal(signal.SIGKILL)
    return settings


class Stopping(HashEncoder):
    """Fails at the third batch, as a machine without memory does."""

    def encode_passages(self, texts: Sequence[str]) -> Any:
        if len(self.encoded) > 60:
            raise MemoryError
        return super().encode_passages(texts)


@pytest.fixture
def stopped(settings: Settings) -> Settings:
    with pytest.raises(MemoryError):
        rebuild(settings, encoder=Stopping(**OTHER), batch_characters=4000)
    return settings


def resumed(settings: Settings, encoder: HashEncoder) -> tuple[RebuildResult, RebuildPlan]:
    began: list[RebuildPlan] = []
    return rebuild(settings, encoder=encoder, start=began.append), began[0]


def test_kill_9_leaves_the_old_index_and_the_next_rebuild_continues(
    killed: Settings, catalog: Catalog, docs: Path
) -> None:
    question = HashEncoder().encode_queries(["subject 40"])
    with opened(catalog) as index:
        assert index.manifest.encoder.dim == 64
        assert len(index.search_dense(question, k=5)[0]) == 5
    encoder = HashEncoder(**OTHER)
    done, rest = resumed(killed, encoder)
    assert 0 < rest.done < 13
    assert rest.files == 13 - rest.done
    assert 0 < done.passages_encoded < done.passages
    job.apply([docs], settings=killed, encoder=HashEncoder(**OTHER), collection="straight")
    with opened(catalog) as index, opened(catalog, "straight") as straight:
        assert contents(index) == contents(straight)
    assert catalog.verify("default") == []


def test_changes_since_an_interrupted_rebuild_are_in_the_new_index(
    stopped: Settings, catalog: Catalog, docs: Path
) -> None:
    delete(stopped, sources=["00.md"])
    (docs / "01.md").write_text("# File 1\n\nWritten anew.\n")
    (docs / "02.md").unlink()
    (docs / "new.md").write_text("# New\n\nA new file.\n")
    job.apply([docs], settings=stopped, encoder=HashEncoder(max_tokens=96))
    _, rest = resumed(stopped, HashEncoder(**OTHER))
    assert rest.done > 0
    with opened(catalog) as index:
        _, documents, passages = contents(index)
    texts = {document.source.rsplit("/", 1)[-1]: document.text for document in documents if document is not None}
    assert {"00.md", "02.md"}.isdisjoint(texts)
    assert "Written anew." in texts["01.md"]
    assert "new.md" in texts
    assert {passage.document_id for passage in passages.values()} == {item.id for item in documents if item is not None}


def test_a_rebuild_with_another_encoder_starts_over(stopped: Settings, catalog: Catalog) -> None:
    done, rest = resumed(stopped, HashEncoder(dim=32, digest="third", max_tokens=96))
    assert (rest.done, done.passages_encoded) == (0, done.passages)
    with opened(catalog) as index:
        vectors = np.concatenate([batch.embeddings for batch in index.passages(vectors=True)])
    assert vectors.shape == (done.passages, 32)


def test_the_command_rebuilds_with_a_model_and_names_its_setting(tmp_path: Path, docs: Path) -> None:
    from search_app.settings import EncoderSettings

    home = tmp_path / "real"
    short = ["--include", "0[01].md"]

    def run(*arguments: str) -> Any:
        done = CliRunner().invoke(cli, [*arguments, "--home", str(home)])
        assert done.exit_code == 0, done.output
        return done

    assert EncoderSettings().model == "bundled"
    run("apply", str(docs), *short)
    shutil.rmtree(docs)
    said = run("rebuild", "--encoder", "bundled").stdout
    assert "2 documents" in said
    assert "0 encoded" in said
    assert "search-index rollback" in said
    assert "SEARCH_APP_ENCODER__MODEL=bundled" in said
    assert "restored the previous index of collection" in run("rollback").stdout
