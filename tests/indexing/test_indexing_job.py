from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import samples
from fakes import HashEncoder

from indexing import job
from indexing.job import Summary
from indexing.runner import LocalRunner
from indexing.sandbox import Limits
from search_app.errors import ConfigurationError, IndexBusy, IndexMismatch
from search_app.manifest import encoded_text
from search_app.settings import Settings
from search_app.stores.embedded.store import SqliteStore
from search_app.stores.embedded.verify import verify
from search_app.types import Document, Passage

Apply = Callable[..., Summary]

PARAGRAPHS = [
    " ".join(f"Sentence {number} of part {part} speaks about topic {part * 7 + number}." for number in range(6))
    for part in range(12)
]


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    """Five files that are indexed and one that is not."""
    root = tmp_path / "docs"
    (root / "guide").mkdir(parents=True)
    (root / "guide" / "long.txt").write_text("\n\n".join(PARAGRAPHS))
    (root / "guide" / "page.html").write_text(
        "<html><title>Page</title><body><h1>Page</h1><p>Some words here.</p></body></html>"
    )
    (root / "note.md").write_text("---\nauthor: Ada\ndate: 2024-05-01\n---\n# Note\n\nShort.\n\n## More\n\nAnd more.\n")
    (root / "rows.csv").write_text("name,price\nvalve,12\npump,30\n")
    samples.pdf(root / "two.pdf", [["First page."], ["Second page."]])
    (root / "picture.bin").write_bytes(b"\x89PNG")
    return root


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", splitter={"passage_tokens": 64, "overlap_tokens": 8})  # type: ignore[arg-type]


@pytest.fixture
def encoder() -> HashEncoder:
    return HashEncoder(max_tokens=96)


@pytest.fixture
def apply(settings: Settings, encoder: HashEncoder) -> Apply:
    def run(*paths: Path | str, **options: Any) -> Summary:
        return job.apply(paths, settings=settings, encoder=encoder, **options)

    return run


@pytest.fixture
def store(settings: Settings) -> Iterator[Callable[[], SqliteStore]]:
    opened: list[SqliteStore] = []

    def reader(collection: str = "default") -> SqliteStore:
        opened.append(SqliteStore.open(settings.collection_folder(collection), collection=collection))
        return opened[-1]

    yield reader
    for item in opened:
        item.close()


def counted(summary: Summary) -> tuple[int, int, int, int, int, int]:
    return summary.added, summary.changed, summary.unchanged, summary.removed, summary.skipped, summary.failed


def documents(store: SqliteStore) -> dict[str, Document]:
    listed = store.documents(limit=10_000)
    whole = [store.document(document.id) for document in listed]
    return {f"{os.path.basename(item.source)}:{item.meta.get('row', '')}": item for item in whole if item is not None}


def passages(store: SqliteStore, encoder: HashEncoder) -> list[Passage]:
    hits = store.search_dense(np.full((1, encoder.stamp.dim), 0.1, dtype=np.float32), k=10_000)[0]
    return [hit.passage for hit in hits]


def test_every_format_is_indexed_with_offsets_and_metadata(
    docs: Path, apply: Apply, store: Callable[[], SqliteStore], encoder: HashEncoder, settings: Settings
) -> None:
    (docs / "note.md.meta.json").write_text('{"reviewer": "Grace", "priority": 2}')
    samples.docx(docs / "manual.docx")
    samples.pptx(docs / "talk.pptx")
    (docs / "dev.json").write_text(json.dumps(samples.SQUAD))
    (docs / "items.jsonl").write_text('{"text": "An item.", "title": "Item"}\n')
    summary = apply(docs)
    assert counted(summary) == (9, 0, 0, 0, 1, 0)
    assert summary.skips[0].reason == "unknown type .bin"
    assert summary.truncated_tokens == 0
    assert summary.passages == summary.passages_encoded == len(encoder.encoded)
    index = store()
    found = documents(index)
    for passage in passages(index, encoder):
        whole = index.document(passage.document_id)
        assert whole is not None
        assert whole.text[passage.start : passage.end] == passage.text
    note = found["note.md:"]
    assert note.meta["modified"].endswith("Z")  # type: ignore[union-attr]
    assert {key: note.meta[key] for key in ("author", "date", "reviewer", "priority", "format", "size")} == {
        "author": "Ada", "date": "2024-05-01", "reviewer": "Grace", "priority": 2, "format": "markdown",
        "size": (docs / "note.md").stat().st_size,
    }  # fmt: skip
    assert note.source == str(docs / "note.md")
    assert [page.number for page in found["two.pdf:"].pages] == [1, 2]
    assert found["rows.csv:3"].text == "name: pump\nprice: 30"
    assert {passage.page for passage in passages(index, encoder) if passage.source.endswith("talk.pptx")} == {1, 2}
    assert "Note › More" in {passage.title for passage in passages(index, encoder)}
    assert verify(settings.collection_folder("default"), collection="default") == []


def test_language_is_the_stated_one_or_the_detected_one(
    tmp_path: Path, apply: Apply, store: Callable[[], SqliteStore]
) -> None:
    german = "Die Brücke führt über den Fluss und verbindet die alte Stadt mit den neuen Vierteln am Ufer."
    (tmp_path / "german.txt").write_text(german)
    (tmp_path / "stated.html").write_text(f'<html lang="fr-CA"><body><p>{german}</p></body></html>')
    (tmp_path / "short.txt").write_text("42")
    apply(tmp_path, exclude=["home"])
    assert {name: item.language for name, item in documents(store()).items()} == {
        "german.txt:": "de", "stated.html:": "fr", "short.txt:": "",
    }  # fmt: skip


def test_a_second_run_writes_nothing(
    docs: Path, apply: Apply, store: Callable[[], SqliteStore], encoder: HashEncoder
) -> None:
    apply(docs)
    generation = store().generation
    encoder.encoded.clear()
    summary = apply(docs)
    assert counted(summary) == (0, 0, 5, 0, 1, 0)
    assert (summary.passages, summary.passages_encoded) == (0, 0)
    assert encoder.encoded == []
    assert store().generation == generation


def test_a_touched_file_is_unchanged_and_a_rewritten_one_is_not(docs: Path, apply: Apply) -> None:
    apply(docs)
    (docs / "note.md").touch()
    assert counted(apply(docs))[:3] == (0, 0, 5)
    times = (docs / "rows.csv").stat()
    (docs / "rows.csv").write_text("name,price\nvalve,12\npump,31\n")
    os.utime(docs / "rows.csv", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert counted(apply(docs))[:3] == (0, 1, 4)


def test_an_edited_paragraph_encodes_only_its_own_passages(
    docs: Path, apply: Apply, store: Callable[[], SqliteStore], encoder: HashEncoder
) -> None:
    apply(docs)
    before = {passage.text for passage in passages(store(), encoder)}
    edited = [*PARAGRAPHS]
    edited[5] = edited[5].replace("Sentence 3 of part 5", "The third line of the sixth part")
    (docs / "guide" / "long.txt").write_text("\n\n".join(edited))
    encoder.encoded.clear()
    summary = apply(docs)
    assert counted(summary)[:3] == (0, 1, 4)
    assert summary.passages_encoded == 1 < summary.passages
    assert "third line" in encoder.encoded[0]
    after = {passage.text for passage in passages(store(), encoder)}
    assert len(after - before) == len(before - after) == 1
    assert all("Sentence 3 of part 5 " not in text for text in after)


def test_a_renamed_folder_needs_no_forward_pass(
    docs: Path, apply: Apply, store: Callable[[], SqliteStore], encoder: HashEncoder
) -> None:
    first = apply(docs)
    (docs / "guide").rename(docs / "handbook")
    encoder.encoded.clear()
    summary = apply(docs)
    assert counted(summary) == (2, 0, 3, 2, 1, 0)
    assert (summary.passages_encoded, encoder.encoded) == (0, [])
    assert len(passages(store(), encoder)) == first.passages
    assert {document.source for document in documents(store()).values()} >= {str(docs / "handbook" / "long.txt")}


def test_only_files_under_the_given_paths_are_removed(
    docs: Path, tmp_path: Path, apply: Apply, store: Callable[[], SqliteStore]
) -> None:
    other = tmp_path / "docs2"  # its name begins with the other's
    other.mkdir()
    (other / "a.txt").write_text("Here.")
    (other / "b.txt").write_text("There.")
    apply(docs, other)
    (docs / "note.md").unlink()
    (other / "a.txt").unlink()
    assert counted(apply(docs))[2:4] == (4, 1)
    assert "a.txt:" in documents(store())
    assert counted(apply(other))[2:4] == (1, 1)
    assert {"a.txt:", "note.md:"}.isdisjoint(documents(store()))


def test_a_narrower_run_removes_no_existing_file(docs: Path, apply: Apply, store: Callable[[], SqliteStore]) -> None:
    apply(docs)
    everything = set(documents(store()))
    assert counted(apply(docs, include=["*.md"]))[3] == 0
    assert counted(apply(docs, exclude=["*.md", "guide"]))[3] == 0
    assert set(documents(store())) == everything


def test_a_path_that_does_not_exist_removes_nothing(docs: Path, apply: Apply, store: Callable[[], SqliteStore]) -> None:
    apply(docs)
    generation = store().generation
    shutil.rmtree(docs / "guide")
    with pytest.raises(ConfigurationError, match="no such file"):
        apply(docs, docs / "guide")
    assert store().generation == generation


def test_an_emptied_file_is_removed_from_the_index(docs: Path, apply: Apply, store: Callable[[], SqliteStore]) -> None:
    apply(docs)
    (docs / "note.md").write_text("")
    assert counted(apply(docs)) == (0, 0, 4, 1, 2, 0)
    assert "note.md:" not in documents(store())


def test_an_empty_folder_makes_an_empty_index(tmp_path: Path, apply: Apply, store: Callable[[], SqliteStore]) -> None:
    (tmp_path / "none").mkdir()
    summary = apply(tmp_path / "none")
    assert counted(summary) == (0, 0, 0, 0, 0, 0)
    assert store().counts()["passages"] == 0
    assert store().search_keyword(["anything"], k=10) == [[]]


def test_a_failed_file_keeps_its_old_passages_and_the_job_continues(
    docs: Path, apply: Apply, store: Callable[[], SqliteStore]
) -> None:
    apply(docs)
    good = documents(store())["two.pdf:"].text
    (docs / "two.pdf").write_bytes(b"no longer a pdf")
    (docs / "note.md").write_text("# Note\n\nRewritten.\n")
    (docs / "bad.docx").write_bytes(b"no zip")
    summary = apply(docs)
    assert counted(summary) == (0, 1, 3, 0, 1, 2)
    assert {os.path.basename(problem.source): problem.reason[:20] for problem in summary.problems} == {
        "bad.docx": "it is not a docx fil", "two.pdf": "it is not a PDF",
    }  # fmt: skip
    found = documents(store())
    assert found["two.pdf:"].text == good
    assert "Rewritten" in found["note.md:"].text
    assert counted(apply(docs))[5] == 2  # it is tried again each time


def test_a_file_that_fails_late_keeps_its_old_passages_too(
    tmp_path: Path, apply: Apply, store: Callable[[], SqliteStore]
) -> None:
    path = tmp_path / "items.json"
    path.write_text(json.dumps({"data": [{"title": "", "paragraphs": [{"context": "old"}]}]}))
    apply(path)
    paragraphs: list[object] = [{"context": "new"}] * 5000
    path.write_text(json.dumps({"data": [{"title": "", "paragraphs": [*paragraphs, {}]}]}))
    summary = apply(path)
    assert (summary.failed, summary.passages) == (1, 0)
    assert [document.text for document in documents(store()).values()] == ["old"]


def test_a_broken_sidecar_fails_its_file_and_no_other(docs: Path, apply: Apply) -> None:
    (docs / "note.md.meta.json").write_text("{oops")
    summary = apply(docs)
    assert counted(summary) == (4, 0, 0, 0, 1, 1)
    assert "note.md.meta.json is not JSON" in summary.problems[0].reason


def test_a_changed_sidecar_changes_its_file_without_encoding(
    docs: Path, apply: Apply, store: Callable[[], SqliteStore]
) -> None:
    apply(docs)
    (docs / "note.md.meta.json").write_text('{"author": "Grace"}')
    summary = apply(docs)
    assert (summary.changed, summary.passages_encoded) == (1, 0)
    assert documents(store())["note.md:"].meta["author"] == "Grace"
    (docs / "note.md.meta.json").unlink()
    assert apply(docs).changed == 1
    assert documents(store())["note.md:"].meta["author"] == "Ada"


def test_a_file_deleted_during_the_job_is_reported(docs: Path, apply: Apply) -> None:
    apply(docs)

    def vanish(work: job.IndexDiff) -> None:
        (docs / "note.md").unlink()

    (docs / "note.md").write_text("changed")
    summary = apply(docs, start=vanish)
    assert counted(summary) == (0, 0, 4, 0, 2, 0)
    assert "it was deleted while the job ran" in [skip.reason for skip in summary.skips]
    assert counted(apply(docs))[3] == 1


def test_a_file_that_changes_during_the_job_is_indexed_in_its_last_state(
    docs: Path, apply: Apply, store: Callable[[], SqliteStore]
) -> None:
    def rewrite(work: job.IndexDiff) -> None:
        (docs / "note.md").write_text("# Later\n\nvery different")

    assert apply(docs, start=rewrite).added == 5
    assert documents(store())["note.md:"].title == "Later"
    assert counted(apply(docs))[:3] == (0, 0, 5)


def test_a_scanned_page_is_reported_and_its_file_is_indexed(tmp_path: Path, apply: Apply) -> None:
    samples.pdf(tmp_path / "a.pdf", [["words"], []])
    summary = apply(tmp_path / "a.pdf")
    assert (summary.added, summary.failed, len(summary.warnings)) == (1, 0, 1)
    assert "page 2 of 2" in summary.warnings[0].reason


def test_hostile_files_fail_without_ending_the_job(docs: Path, apply: Apply) -> None:
    (docs / "hungry.json").write_text("[" + "[[],[]]," * 3_000_000 + "0]")
    samples.zip_bomb(docs / "bomb.docx", 210)
    summary = apply(docs, limits=Limits(memory=300 << 20))
    assert (summary.added, summary.failed) == (5, 2)
    reasons = {os.path.basename(problem.source): problem.reason for problem in summary.problems}
    assert "zip bomb" in reasons["bomb.docx"]
    assert "memory" in reasons["hungry.json"] or "died" in reasons["hungry.json"]


def test_a_large_file_is_indexed_in_chunks(
    tmp_path: Path, apply: Apply, store: Callable[[], SqliteStore], encoder: HashEncoder
) -> None:
    text = "\n\n".join(f"Paragraph {number}. " + PARAGRAPHS[number % 12] for number in range(2500))
    (tmp_path / "large.txt").write_text(text)
    with (tmp_path / "many.jsonl").open("w") as file:
        file.writelines(json.dumps({"text": f"record {number}"}) + "\n" for number in range(3000))
    sizes: list[int] = []
    summary = apply(tmp_path / "large.txt", tmp_path / "many.jsonl", progress=sizes.append)
    index = store()
    assert summary.added == 2
    assert index.generation > 3
    assert index.counts()["documents"] == 3001
    assert len(sizes) > 3
    assert abs(sum(sizes) - sum((tmp_path / name).stat().st_size for name in ("large.txt", "many.jsonl"))) < 20
    [large] = [document for document in documents(index).values() if document.source.endswith("large.txt")]
    assert large.text == text
    covered = sum(
        passage.end - passage.start for passage in passages(index, encoder) if passage.document_id == large.id
    )
    assert covered > 0.98 * len(text)
    assert counted(apply(tmp_path / "large.txt", tmp_path / "many.jsonl"))[:3] == (0, 0, 2)


class Stopping(HashEncoder):
    """Fails at the n-th batch, as a machine that loses power does."""

    def __init__(self, batches: int) -> None:
        super().__init__(max_tokens=96)
        self.left = batches

    def encode_passages(self, texts: Sequence[str]) -> Any:
        self.left -= 1
        if self.left < 0:
            raise OSError("no space left on device")
        return super().encode_passages(texts)


def test_an_interrupted_job_is_resumed(
    tmp_path: Path, settings: Settings, apply: Apply, store: Callable[[], SqliteStore], encoder: HashEncoder
) -> None:
    root = tmp_path / "many"
    root.mkdir()
    for number in range(30):
        (root / f"{number:02}.txt").write_text("\n\n".join(f"File {number}. {text}" for text in PARAGRAPHS * 8))
    with pytest.raises(OSError, match="no space"):
        job.apply([root], settings=settings, encoder=Stopping(2))
    committed = store().counts()["files"]
    assert 0 < committed < 30
    summary = apply(root)
    assert counted(summary)[:3] == (30 - committed, 0, committed)
    resumed = {(passage.id, passage.text) for passage in passages(store(), encoder)}
    job.apply([root], settings=settings, encoder=HashEncoder(max_tokens=96), collection="straight")
    straight = SqliteStore.open(settings.collection_folder("straight"), collection="straight")
    assert resumed == {(passage.id, passage.text) for passage in passages(straight, encoder)}
    straight.close()


class Slow(HashEncoder):
    """So slow that the next batches are tokenised before the first one is written."""

    def encode_passages(self, texts: Sequence[str]) -> Any:
        time.sleep(0.05)
        return super().encode_passages(texts)


def test_a_repeated_text_in_flight_is_encoded_once(
    tmp_path: Path, settings: Settings, store: Callable[[], SqliteStore]
) -> None:
    root = tmp_path / "alike"
    root.mkdir()
    for number in range(60):
        (root / f"{number:02}.txt").write_text(f"{PARAGRAPHS[number % 12]}\n\n{PARAGRAPHS[(number * 5) % 12]}")
    (root / "settings.json").write_text(json.dumps({"text": PARAGRAPHS[3], "title": "00"}))
    encoder = Slow(max_tokens=96)
    batches: list[int] = []
    runner = LocalRunner(batch_characters=4000)
    summary = job.apply([root], settings=settings, encoder=encoder, runner=runner, progress=batches.append)
    assert len(batches) > 5
    assert summary.added == 61
    assert len(encoder.encoded) == len(set(encoder.encoded)) == summary.passages_encoded < summary.passages
    assert verify(settings.collection_folder("default"), collection="default") == []
    [hit, *_] = store().search_dense(encoder.encode_queries([encoded_text(passages(store(), encoder)[0])]), k=1)[0]
    assert hit.score == pytest.approx(1)


class Broken(HashEncoder):
    def tokenize_passages(self, texts: Sequence[str]) -> Any:
        raise ValueError("no such token")


def test_an_error_in_any_stage_leaves_no_thread_or_process(docs: Path, settings: Settings) -> None:
    def begun() -> tuple[set[threading.Thread], str]:
        tasks = Path("/proc/self/task")
        children = "".join((task / "children").read_text() for task in tasks.iterdir()) if tasks.exists() else ""
        return set(threading.enumerate()), children

    before = begun()
    with pytest.raises(ValueError, match="no such token"):
        job.apply([docs], settings=settings, encoder=Broken(max_tokens=96))
    assert begun() == before
    with pytest.raises(OSError, match="no space"):
        job.apply([docs], settings=settings, encoder=Stopping(0))
    assert begun() == before

    def leave(size: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        job.apply([docs], settings=settings, encoder=HashEncoder(max_tokens=96), progress=leave)
    assert begun() == before
    assert not (settings.home / "spool").exists()


def test_the_summary_times_each_stage(docs: Path, settings: Settings, apply: Apply) -> None:
    summary = job.apply([docs], settings=settings, encoder=Slow(max_tokens=96))
    names = ["compare", "convert", "read", "tokenise", "encode", "write", "finish"]
    assert [stage.name for stage in summary.stages] == names
    times = {stage.name: stage for stage in summary.stages}
    assert times["encode"].busy + times["encode"].waited_for_input <= summary.seconds
    assert 0 < summary.encoder_share < 1
    assert summary.tokens > summary.passages
    assert apply(docs).tokens == 0


def test_collections_are_separate(docs: Path, apply: Apply, store: Callable[..., SqliteStore]) -> None:
    apply(docs / "note.md", collection="one")
    apply(docs / "rows.csv", collection="two")
    assert set(documents(store("one"))) == {"note.md:"}
    assert set(documents(store("two"))) == {"rows.csv:2", "rows.csv:3"}
    with pytest.raises(ConfigurationError, match="collection name"):
        apply(docs, collection="../x")


def test_other_settings_need_a_rebuild(docs: Path, settings: Settings, apply: Apply) -> None:
    apply(docs)
    other = settings.model_copy(update={"splitter": settings.splitter.model_copy(update={"passage_tokens": 32})})
    with pytest.raises(IndexMismatch, match=r"v1 64/8.*v1 32/8.*--rebuild"):
        job.apply([docs], settings=other, encoder=HashEncoder(max_tokens=96))
    with pytest.raises(IndexMismatch, match="encoder"):
        job.plan([docs], settings=settings, encoder=HashEncoder(max_tokens=96, digest="another"))
    summary = job.apply([docs], settings=other, encoder=HashEncoder(max_tokens=96), rebuild=True)
    assert summary.added == 5
    assert counted(job.apply([docs], settings=other, encoder=HashEncoder(max_tokens=96)))[:3] == (0, 0, 5)


def test_a_second_job_on_the_collection_is_rejected(docs: Path, apply: Apply) -> None:
    refused: list[str] = []

    def meanwhile(work: job.IndexDiff) -> None:
        code = textwrap.dedent(f"""
            import sys
            sys.path.insert(0, {str(Path(__file__).parents[1])!r})
            from fakes import HashEncoder
            from indexing import job
            from search_app.settings import Settings
            splitter = {{"passage_tokens": 64, "overlap_tokens": 8}}
            settings = Settings(home={str(docs.parent / "home")!r}, splitter=splitter)
            job.apply([{str(docs)!r}], settings=settings, encoder=HashEncoder(max_tokens=96))
        """)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        refused.append(done.stderr)

    apply(docs, start=meanwhile)
    assert IndexBusy.__name__ in refused[0]
    assert f"process {os.getpid()}" in refused[0]


def test_the_plan_matches_apply(
    docs: Path, settings: Settings, apply: Apply, encoder: HashEncoder, store: Callable[[], SqliteStore]
) -> None:
    first = job.plan([docs], settings=settings, encoder=encoder).to_dict()
    assert not settings.collection_folder("default").exists()
    summary = apply(docs)
    assert (first["added"], first["skipped"], first["passages"]) == (5, 1, summary.passages)
    assert first["tokens"] > first["passages"] == first["passages_to_encode"]
    assert first["files"]["skipped"] == [{"source": str(docs / "picture.bin"), "reason": "unknown type .bin"}]

    (docs / "guide").rename(docs / "handbook")
    (docs / "note.md").write_text("# Changed\n")
    (docs / "rows.csv").unlink()
    (docs / "bad.pdf").write_bytes(b"x")
    generation = store().generation
    second = job.plan([docs], settings=settings, encoder=encoder).to_dict()
    assert store().generation == generation
    counts = {name: second[name] for name in ("added", "changed", "unchanged", "removed", "skipped", "failed")}
    assert counts == {"added": 2, "changed": 1, "unchanged": 1, "removed": 3, "skipped": 1, "failed": 1}
    assert second["passages_to_encode"] == 1
    assert counted(apply(docs)) == tuple(counts.values())


def unprivileged(command: list[str]) -> subprocess.CompletedProcess[str]:
    """As nobody; where nobody may not even start this Python, as root without root's power over files."""
    try:
        return subprocess.run(
            command, user=65534, group=65534, extra_groups=[], capture_output=True, text=True, check=False
        )
    except PermissionError:
        dropped = "-dac_override,-dac_read_search"
        prefix = ["setpriv", f"--bounding-set={dropped}", f"--inh-caps={dropped}"]
        return subprocess.run([*prefix, *command], capture_output=True, text=True, check=False)


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="only root can become somebody else")
def test_an_unreadable_file_is_reported_and_stays_in_the_index() -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to other users
        root = Path(name)
        root.chmod(0o777)
        docs = root / "docs"
        (docs / "closed").mkdir(parents=True)
        for path in (docs / "open.txt", docs / "secret.txt", docs / "closed" / "inside.txt"):
            path.write_text(f"Words of {path.name}.")
        code = textwrap.dedent(f"""
            import json, sys
            sys.path.insert(0, {str(Path(__file__).parents[1])!r})
            from fakes import HashEncoder
            from indexing import job
            from search_app.settings import Settings
            summary = job.apply([{str(docs)!r}], settings=Settings(home={str(root / "home")!r}), encoder=HashEncoder())
            print(json.dumps(summary.to_dict()))
        """)

        def run() -> dict[str, Any]:
            done = unprivileged([sys.executable, "-c", code])
            assert done.returncode == 0, done.stderr
            result: dict[str, Any] = json.loads(done.stdout)
            return result

        assert run()["added"] == 3
        (docs / "secret.txt").write_text("New words.")
        (docs / "secret.txt").chmod(0)
        (docs / "closed").chmod(0)
        summary = run()
        assert (summary["unchanged"], summary["removed"], summary["failed"]) == (1, 0, 2)
        reasons = {os.path.basename(item["source"]): item["reason"] for item in summary["problems"]}
        assert reasons == {
            "secret.txt": "no permission to read it",
            "closed": "the folder cannot be listed: Permission denied",
        }
        (docs / "closed").chmod(0o755)


def test_a_document_keeps_its_id_when_it_is_edited(docs: Path, apply: Apply, store: Callable[[], SqliteStore]) -> None:
    apply(docs)
    before = documents(store())["note.md:"]
    (docs / "note.md").write_text("# Note\n\nEdited.\n")
    apply(docs)
    after = documents(store())["note.md:"]
    assert (after.id, after.text == before.text) == (before.id, False)
