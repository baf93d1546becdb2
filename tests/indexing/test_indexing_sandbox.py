from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import samples

from indexing.converters.content import ConversionError
from indexing.sandbox import Limits, Sandbox


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.txt"
    path.write_text("all is well")
    return path


def text(sandbox: Sandbox, path: Path) -> str:
    [content] = sandbox.convert(path, "txt", path.stat().st_size)
    return content.text


def test_one_process_serves_many_files(good: Path) -> None:
    with Sandbox() as sandbox:
        assert text(sandbox, good) == "all is well"
        process = sandbox._process
        assert text(sandbox, good) == "all is well"
        assert sandbox._process is process
    assert process is not None
    assert process.poll() is not None


def test_a_file_that_needs_too_much_memory_fails_and_the_next_one_is_converted(tmp_path: Path, good: Path) -> None:
    hungry = tmp_path / "hungry.json"
    hungry.write_text("[" + "[[],[]]," * 4_000_000 + "0]")
    with Sandbox(Limits(memory=300 << 20)) as sandbox:
        with pytest.raises(ConversionError, match=r"more than 300 MB of memory|died"):
            sandbox.convert(hungry, "json", 1)
        assert text(sandbox, good) == "all is well"


def test_a_file_that_takes_too_long_fails_and_the_next_one_is_converted(tmp_path: Path, good: Path) -> None:
    slow = tmp_path / "slow.md"
    slow.write_text("*a **b " * 400_000)
    with Sandbox(Limits(seconds=1, seconds_per_megabyte=0)) as sandbox:
        began = time.monotonic()
        with pytest.raises(ConversionError, match=r"took (more|longer) than"):
            sandbox.convert(slow, "markdown", 1)
        assert time.monotonic() - began < 10
        assert text(sandbox, good) == "all is well"


def test_a_converter_that_sleeps_is_stopped_by_the_clock(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")  # opening it waits for ever and takes no processor time
    limits = Limits(seconds=0.3, seconds_per_megabyte=0)
    with Sandbox(limits) as sandbox, pytest.raises(ConversionError, match=r"longer than 0\.6 s"):
        sandbox.convert(tmp_path / "pipe.txt", "txt", 1)


def test_a_converter_that_dies_is_replaced(good: Path) -> None:
    with Sandbox() as sandbox:
        text(sandbox, good)
        assert sandbox._process is not None
        os.kill(sandbox._process.pid, signal.SIGSTOP)
        os.kill(sandbox._process.pid, signal.SIGSEGV)
        os.kill(sandbox._process.pid, signal.SIGCONT)
        sandbox._process.wait()
        assert text(sandbox, good) == "all is well"


def test_a_killed_converter_names_the_signal(tmp_path: Path, good: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    with Sandbox() as sandbox:
        text(sandbox, good)
        assert sandbox._process is not None
        pid = sandbox._process.pid
        code = f"import os, time; time.sleep(0.3); os.kill({pid}, {int(signal.SIGKILL)})"
        with subprocess.Popen([sys.executable, "-c", code]), pytest.raises(ConversionError, match="SIGKILL"):
            sandbox.convert(tmp_path / "pipe.txt", "txt", 1)
        assert text(sandbox, good) == "all is well"


def test_a_failed_file_leaves_no_spool_behind(tmp_path: Path, good: Path) -> None:
    broken = tmp_path / "broken.json"
    paragraphs: list[object] = [{"context": "fine"}] * 1000
    broken.write_text(json.dumps({"data": [{"title": "x", "paragraphs": [*paragraphs, {}]}]}))
    with Sandbox() as sandbox:
        with pytest.raises(ConversionError, match="paragraph 1000"):
            sandbox.convert(broken, "json", 1)
        assert list(Path(sandbox._folder.name).iterdir()) == []
        spool = sandbox.convert(good, "txt", 1)
        spool.discard()
        folder = Path(sandbox._folder.name)
        assert list(folder.iterdir()) == []
    assert not folder.exists()


def test_a_deleted_file_is_not_reported_as_broken(tmp_path: Path) -> None:
    with Sandbox() as sandbox, pytest.raises(FileNotFoundError):
        sandbox.convert(tmp_path / "gone.txt", "txt", 1)


def test_modules_in_the_current_folder_are_not_imported(
    tmp_path: Path, good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("lxml", "json", "indexing", "trafilatura"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('taken over')")
    monkeypatch.chdir(tmp_path)
    with Sandbox() as sandbox:
        assert text(sandbox, good) == "all is well"
        page = tmp_path / "a.html"
        page.write_text("<p>words in a page</p>")
        [content] = sandbox.convert(page, "html", 1)
        assert content.text == "words in a page"


def test_pages_and_their_maps_survive_the_spool(tmp_path: Path) -> None:
    from indexing.converters import convert

    path = samples.pdf(tmp_path / "a.pdf", [["one", "two"], [], ["three"]], outline=True)
    with Sandbox() as sandbox:
        assert list(sandbox.convert(path, "pdf", 1)) == list(convert(path, "pdf"))


def test_jsonl_is_converted_in_bounded_memory(tmp_path: Path) -> None:
    large = tmp_path / "large.jsonl"
    with large.open("w") as file:
        for number in range(30_000):
            file.write(json.dumps({"text": f"record {number} " + "x" * 5_000}) + "\n")
    assert large.stat().st_size > 130 << 20
    with Sandbox(Limits(memory=130 << 20)) as sandbox:
        spool = sandbox.convert(large, "jsonl", large.stat().st_size)
        assert spool.documents == 30_000
        assert next(iter(spool)).text.startswith("record 0 ")


def test_a_thousand_damaged_pdfs_end_no_job(tmp_path: Path, good: Path) -> None:
    whole = samples.pdf(tmp_path / "whole.pdf", [["one", "two"], ["three"]], outline=True).read_bytes()
    rng = random.Random(4)
    path = tmp_path / "damaged.pdf"
    outcomes = {"text": 0, "reason": 0}
    with Sandbox(Limits(memory=1 << 30, seconds=10)) as sandbox:
        for _ in range(1000):
            data = bytearray(whole)
            for _ in range(rng.choice([1, 5, 50])):
                data[rng.randrange(len(data))] = rng.randrange(256)
            path.write_bytes(data[: rng.choice([len(data), rng.randrange(len(data))])])
            try:
                spool = sandbox.convert(path, "pdf", len(data))
            except ConversionError as error:
                outcomes["reason"] += bool(str(error))
            else:
                outcomes["text"] += all(isinstance(content.text, str) for content in spool)
                spool.discard()
        assert text(sandbox, good) == "all is well"
    assert sum(outcomes.values()) == 1000
    assert min(outcomes.values()) > 50


@pytest.mark.parametrize(
    "objects",
    [
        [b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [2 0 R] /Count 1 >>"],
        [b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
         b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] /Contents 4 0 R >>",
         b"<< /Length 1000000000 >>\nstream\nBT ET\nendstream"],
        [b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [3 0 R] /Count 2147483647 >>",
         b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] >>"],
    ],
    ids=["a page tree that is its own child", "a stream of a declared gigabyte", "two billion declared pages"],
)  # fmt: skip
def test_a_hostile_pdf_ends_in_text_or_a_reason(tmp_path: Path, good: Path, objects: list[bytes]) -> None:
    path = samples.raw_pdf(tmp_path / "hostile.pdf", objects)
    with Sandbox(Limits(memory=1 << 30, seconds=3)) as sandbox:
        try:
            spool = sandbox.convert(path, "pdf", 1)
        except ConversionError as error:
            reason = str(error)
        else:
            reason = "".join(warning for content in spool for warning in content.warnings)
        assert reason
        assert text(sandbox, good) == "all is well"
