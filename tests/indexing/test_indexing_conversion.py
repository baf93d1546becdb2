"""Converting in several processes: order, the same passages as one thread, bounded spool, killed processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import samples
from fakes import HashEncoder

from indexing import sources
from indexing.batches import FileChunk, FileFailure
from indexing.conversion import Conversions, FileSplitter
from indexing.converters import convert
from indexing.diff import Outcome
from indexing.sandbox import Limits
from indexing.sources import SourceFile
from indexing.splitter import SplitConfig
from indexing.spool import spool_folder
from search_app.errors import SearchAppError
from search_app.types import Passage

CONFIG = SplitConfig(
    HashEncoder().tokenizer_json(), passage_tokens=48, overlap_tokens=8, max_tokens=94, language="auto"
)
TEXT = "\n\n".join(
    " ".join(f"Sentence {number} of part {part} speaks about topic {part * 7 + number}." for number in range(6))
    for part in range(40)
)


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    root = tmp_path / "docs"
    root.mkdir()
    (root / "a.txt").write_text(TEXT * 4)
    samples.pdf(root / "b.pdf", [["First page.", *[f"Line {n} of it." for n in range(30)]], ["Second page."]])
    (root / "c.md").write_text("# Title\n\nShort.\n\n## More\n\n" + TEXT)
    (root / "d.html").write_text(f'<html lang="de"><title>Seite</title><body><h1>Seite</h1><p>{TEXT}</p></body></html>')
    (root / "e.jsonl").write_text("".join(json.dumps({"text": f"Record {n}. {TEXT[:300]}"}) + "\n" for n in range(50)))
    (root / "e.jsonl.meta.json").write_text('{"title": "Records", "team": "search"}')
    samples.docx(root / "f.docx")
    for number in range(20):
        (root / f"g{number:02}.txt").write_text(f"Note {number}. {TEXT[: 200 * number]}")
    return root


def files(root: Path) -> list[tuple[SourceFile, str]]:
    return [(file, sources.digest(file)) for file in sources.scan([root]).files()]


@pytest.fixture
def through(tmp_path: Path) -> Iterator[Callable[..., Conversions]]:
    opened: list[Conversions] = []

    def make(found: Any, **options: Any) -> Conversions:
        opened.append(Conversions(found, CONFIG, folder=tmp_path, **options))
        return opened[-1]

    yield make
    for item in opened:
        item.close()


def chunks(conversions: Conversions) -> list[FileChunk]:
    return [item for item in conversions if isinstance(item, FileChunk)]


def test_passages_are_those_of_a_single_thread_in_file_order(docs: Path, through: Callable[..., Conversions]) -> None:
    found = chunks(through(files(docs), processes=3, chunk_characters=5_000))
    names = [name for name, _ in groupby(os.path.basename(chunk.record.path) for chunk in found)]
    assert names == sorted(path.name for path in docs.iterdir() if not path.name.endswith(".meta.json"))
    documents = [document for chunk in found for document in chunk.documents]
    passages = [passage for chunk in found for passage in chunk.passages]
    splitter = CONFIG.splitter()
    expected: list[Passage] = [passage for document in documents for passage in splitter.passages(document)]
    assert passages == expected
    assert len(passages) > 200
    read = [content.text for file, _ in files(docs) for content in convert(Path(file.path), file.format)]
    assert [document.text for document in documents] == read
    records = [document for document in documents if document.source.endswith(".jsonl")]
    assert {document.title for document in records} == {"Records"}
    assert {document.meta["team"] for document in records} == {"search"}
    assert {document.language for document in documents if document.source.endswith(".html")} == {"de"}
    assert sum(chunk.bytes for chunk in found) == sum(file.size for file, _ in files(docs))


def test_a_file_that_kills_its_process_is_the_only_one_to_fail(docs: Path, through: Callable[..., Conversions]) -> None:
    (docs / "c2.json").write_text("[" + "[[],[]]," * 2_000_000 + "0]")
    (docs / "c3.pdf").write_bytes(b"no pdf")
    found = list(through(files(docs), processes=2, limits=Limits(memory=300 << 20)))
    whole = {os.path.basename(item.record.path) for item in found if isinstance(item, FileChunk) and item.last}
    failures = [(os.path.basename(item.path), item.outcome) for item in found if isinstance(item, FileFailure)]
    assert failures == [("c2.json", Outcome.FAILED), ("c3.pdf", Outcome.FAILED)]
    assert whole == {path.name for path in docs.iterdir()} - {"c2.json", "c3.pdf", "e.jsonl.meta.json"}


def test_spool_files_on_disk_are_bounded(tmp_path: Path, through: Callable[..., Conversions]) -> None:
    root = tmp_path / "many"
    root.mkdir()
    for number in range(60):
        (root / f"{number:02}.txt").write_text(TEXT * 6)  # some 100 KB
    conversions = through(files(root), processes=2, spool_bytes=500_000)
    count = 0
    for chunk in conversions:
        count += isinstance(chunk, FileChunk) and chunk.last
        time.sleep(0.02)
        assert sum(path.stat().st_size for path in tmp_path.rglob("*.jsonl")) < 1_500_000
    assert count == 60
    assert conversions.waited_for_room > 0


def test_a_file_larger_than_the_spool_limit_is_converted(tmp_path: Path, through: Callable[..., Conversions]) -> None:
    large = tmp_path / "large.jsonl"
    large.write_text("".join(json.dumps({"text": f"Record {n}. {TEXT[:500]}"}) + "\n" for n in range(600)))
    (tmp_path / "small.txt").write_text("small")
    found = [pair for path in (large, tmp_path / "small.txt") for pair in files(path)]
    conversions = through(found, spool_bytes=100_000, chunk_characters=20_000)
    assert sum(len(chunk.documents) for chunk in chunks(conversions)) == 601


def test_an_error_of_the_file_list_is_raised_after_the_files_before_it(
    docs: Path, through: Callable[..., Conversions]
) -> None:
    def broken() -> Iterator[tuple[SourceFile, str]]:
        yield from files(docs)[:3]
        raise SearchAppError("the list is damaged")

    found: list[FileChunk | FileFailure] = []
    with pytest.raises(SearchAppError, match="damaged"):
        found.extend(through(broken(), processes=2))
    whole = [os.path.basename(item.record.path) for item in found if isinstance(item, FileChunk) and item.last]
    assert whole == [
        "a.txt",
        "b.pdf",
        "c.md",
    ]


def test_a_full_disk_fails_the_job_and_not_the_file(
    docs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FileSplitter(CONFIG, folder=tmp_path) as splitter:
        (folder,) = (path for path in tmp_path.iterdir() if path.name.startswith("search-index-"))
        (folder / "1.spool").symlink_to("/dev/full")
        with pytest.raises(SearchAppError, match="no space left"):
            splitter.convert(*files(docs)[0])
        assert splitter.convert(*files(docs)[0]).record is not None


def test_spool_folders_of_killed_jobs_are_deleted_and_those_of_running_jobs_kept(tmp_path: Path) -> None:
    left = tmp_path / "home" / "spool" / "left"
    left.mkdir(parents=True)
    (left / "1.jsonl").write_text("{}")
    with spool_folder(tmp_path / "home") as first:
        assert not left.exists()
        (first / "1.jsonl").write_text("{}")
        with spool_folder(tmp_path / "home") as second:
            assert (first / "1.jsonl").exists()
            assert first != second
    assert not (tmp_path / "home" / "spool").exists()


def test_a_converter_ends_in_the_middle_of_a_file_when_its_job_is_killed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")  # reading it never ends
    code = textwrap.dedent(f"""
        import threading
        from pathlib import Path
        from indexing.sandbox import Sandbox
        sandbox = Sandbox(folder=Path({str(tmp_path)!r}))
        sandbox._running()
        print(sandbox._process.pid, flush=True)
        sandbox.convert(Path({str(tmp_path / "pipe.txt")!r}), "txt", 1)
    """)
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": root}) as job:
        assert job.stdout is not None
        converter = int(job.stdout.readline())
        time.sleep(1)
        job.send_signal(signal.SIGKILL)
    for _ in range(200):
        state = Path(f"/proc/{converter}/stat")
        if not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.05)
    os.kill(converter, signal.SIGKILL)
    pytest.fail("it lives on")


def test_an_unwritable_home_is_named_in_the_error(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    with pytest.raises(SearchAppError, match=r"home/spool: Not a directory"), spool_folder(tmp_path / "home"):
        pass
