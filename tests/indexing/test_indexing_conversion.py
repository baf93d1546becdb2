"""Files through several processes: order, the passages of one thread, room on disk, and deaths."""

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
from indexing.conversion import Conversions, FileSplitter
from indexing.converters import convert
from indexing.diff import Outcome
from indexing.pipeline.parts import SplitPart
from indexing.sandbox import Limits
from indexing.sources import SourceFile
from indexing.split_config import SplitConfig
from indexing.spool import spool_folder
from search_app.errors import SearchAppError
from search_app.types import Passage

RECIPE = SplitConfig(
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
        opened.append(Conversions(found, RECIPE, folder=tmp_path, **options))
        return opened[-1]

    yield make
    for item in opened:
        item.close()


def parts(conversions: Conversions, characters: int = 20_000) -> list[SplitPart]:
    found: list[SplitPart] = []
    while not conversions.exhausted:
        found += conversions.take(characters).items
    return found


def test_passages_are_those_of_a_single_thread_in_the_order_of_the_files(
    docs: Path, through: Callable[..., Conversions]
) -> None:
    found = parts(through(files(docs), processes=3, part_characters=5_000))
    names = [name for name, _ in groupby(os.path.basename(part.record.path) for part in found)]
    assert names == sorted(path.name for path in docs.iterdir() if not path.name.endswith(".meta.json"))
    documents = [document for part in found for document in part.documents]
    passages = [passage for part in found for passage in part.passages]
    splitter = RECIPE.splitter()
    expected: list[Passage] = [passage for document in documents for passage in splitter.passages(document)]
    assert passages == expected
    assert len(passages) > 200
    read = [content.text for file, _ in files(docs) for content in convert(Path(file.path), file.format)]
    assert [document.text for document in documents] == read
    records = [document for document in documents if document.source.endswith(".jsonl")]
    assert {document.title for document in records} == {"Records"}
    assert {document.meta["team"] for document in records} == {"search"}
    assert {document.language for document in documents if document.source.endswith(".html")} == {"de"}
    assert sum(part.bytes for part in found) == sum(file.size for file, _ in files(docs))


def test_a_file_that_kills_its_process_costs_only_itself(docs: Path, through: Callable[..., Conversions]) -> None:
    (docs / "c2.json").write_text("[" + "[[],[]]," * 2_000_000 + "0]")
    (docs / "c3.pdf").write_bytes(b"no pdf")
    aside: list[tuple[str, Outcome]] = []
    conversions = through(
        files(docs),
        processes=2,
        limits=Limits(memory=300 << 20),
        set_aside=lambda path, outcome, reason: aside.append((os.path.basename(path), outcome)),
    )
    whole = {os.path.basename(part.record.path) for part in parts(conversions) if part.last}
    assert aside == [("c2.json", Outcome.FAILED), ("c3.pdf", Outcome.FAILED)]
    assert whole == {path.name for path in docs.iterdir()} - {"c2.json", "c3.pdf", "e.jsonl.meta.json"}


def test_what_waits_on_disk_is_bounded(tmp_path: Path, through: Callable[..., Conversions]) -> None:
    root = tmp_path / "many"
    root.mkdir()
    for number in range(60):
        (root / f"{number:02}.txt").write_text(TEXT * 6)  # some 100 KB
    conversions = through(files(root), processes=2, spool_bytes=500_000)
    conversions.take(1)
    deadline = time.monotonic() + 60
    while conversions.held_up == 0.0 and time.monotonic() < deadline:
        waiting = sum(path.stat().st_size for path in tmp_path.rglob("*.jsonl"))
        assert waiting < 1_500_000
        conversions.take(100_000)
    assert conversions.held_up > 0


def test_one_file_larger_than_the_room_goes_through_alone(tmp_path: Path, through: Callable[..., Conversions]) -> None:
    large = tmp_path / "large.jsonl"
    large.write_text("".join(json.dumps({"text": f"Record {n}. {TEXT[:500]}"}) + "\n" for n in range(600)))
    (tmp_path / "small.txt").write_text("small")
    found = [pair for path in (large, tmp_path / "small.txt") for pair in files(path)]
    conversions = through(found, spool_bytes=100_000, part_characters=20_000)
    assert sum(len(part.documents) for part in parts(conversions)) == 601


def test_an_error_of_whoever_names_the_files_comes_out_in_its_place(
    docs: Path, through: Callable[..., Conversions]
) -> None:
    def broken() -> Iterator[tuple[SourceFile, str]]:
        yield from files(docs)[:3]
        raise SearchAppError("the list is damaged")

    conversions = through(broken(), processes=2)
    seen = [part for _ in range(3) for part in conversions.take(1).items]
    with pytest.raises(SearchAppError, match="damaged"):
        conversions.take(1)
    assert [os.path.basename(part.record.path) for part in seen if part.last] == ["a.txt", "b.pdf", "c.md"]


def test_a_full_disk_is_the_jobs_error_and_not_the_files(
    docs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FileSplitter(RECIPE, folder=tmp_path) as splitter:
        (folder,) = (path for path in tmp_path.iterdir() if path.name.startswith("search-index-"))
        (folder / "1.jsonl").symlink_to("/dev/full")
        with pytest.raises(SearchAppError, match="no space left"):
            splitter.convert(*files(docs)[0])
        assert splitter.convert(*files(docs)[0]).record is not None


def test_folders_of_killed_jobs_go_and_those_of_living_ones_stay(tmp_path: Path) -> None:
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


def test_a_process_whose_job_was_killed_ends_in_the_middle_of_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")  # reading it takes for ever
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


def test_a_home_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    with pytest.raises(SearchAppError, match=r"home/spool: Not a directory"), spool_folder(tmp_path / "home"):
        pass
