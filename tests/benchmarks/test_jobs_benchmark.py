from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks import process
from benchmarks.jobs import files, memory, resume, throughput
from benchmarks.kept import Kept
from indexing.converters import FORMATS, convert

STAGES = [
    {"name": "convert", "busy": 4.0, "waited_for_input": 0.0, "waited_for_room": 6.0, "processes": 2},
    {"name": "encode", "busy": 9.0, "waited_for_input": 1.0, "waited_for_room": 0.0, "processes": 1},
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """One file with three articles, and one without any."""
    folder = tmp_path / "texts"
    folder.mkdir()
    towns = [("Ely", 5), ("Ulm", 3), ("Metz", 1)]
    articles = [{"title": name, "paragraphs": [_paragraph(name, n) for n in range(count)]} for name, count in towns]
    (folder / "a.json").write_text(json.dumps({"data": articles}), encoding="utf-8")
    nameless = [{"title": "", "paragraphs": [_paragraph("Bari", n) for n in range(23)]}]
    (folder / "b.json").write_text(json.dumps({"data": nameless}), encoding="utf-8")
    return folder


def _paragraph(town: str, number: int) -> dict[str, Any]:
    text = f"House {number} of {town} – “the {town} house” – is old.  It has {number + 2} doors."
    answers = [{"text": "old", "answer_start": text.index("old")}]
    return {"context": text, "qas": [{"id": f"{town} {number}", "question": "How old?", "answers": answers}]}


def test_each_paragraph_is_in_one_text_and_no_text_mixes_articles(data: Path) -> None:
    found = files.writings(data, files=6)
    paragraphs = [text for writing in found for text in writing.paragraphs]
    assert len(paragraphs) == len(set(paragraphs))
    assert len(found) == 6
    assert max(len(writing.paragraphs) for writing in files.writings(data, files=4)) > 5, "as long as they can be"
    for writing in found:
        assert len({text.split()[3] for text in writing.paragraphs}) == 1
    assert found == files.writings(data, files=6)


def test_files_of_three_formats_contain_the_texts_and_are_reproducible(data: Path, tmp_path: Path) -> None:
    made = files.make_files(tmp_path / "once", files=6, data=data)
    again = files.make_files(tmp_path / "twice", files=6, data=data)
    paths = sorted(path for path in made.rglob("*") if path.is_file())
    assert [path.suffix for path in paths] == [".pdf", ".html", ".docx"] * 2
    for path, writing in zip(paths, files.writings(data, files=6), strict=True):
        assert path.read_bytes() == (again / path.relative_to(made)).read_bytes()
        (content,) = convert(path, FORMATS[path.suffix])
        text = " ".join(content.text.split())
        assert all(" ".join(paragraph.split()) in text for paragraph in writing.paragraphs)
        assert "All rights reserved" not in text
    assert files.make_files(tmp_path / "once", files=6, limit=2, data=data) != made


def test_no_sentence_is_repeated(data: Path, tmp_path: Path) -> None:
    folder = files.make_sentences(tmp_path, documents=150, data=data)
    texts = [path.read_text().strip() for path in sorted(folder.rglob("*.txt"))]
    assert len(set(texts)) == len(texts) == 150
    lines = files.make_sentence_lines(tmp_path, documents=150, data=data).read_text().splitlines()
    assert [json.loads(line)["text"] for line in lines] == texts


def test_the_big_file_has_the_requested_size(data: Path, tmp_path: Path) -> None:
    path = files.make_big_lines(tmp_path, megabytes=1, data=data)
    assert 1_000_000 <= path.stat().st_size < 1_020_000


def test_peak_memory_is_measured_for_the_process_and_for_its_children(tmp_path: Path) -> None:
    child = "import time; held = bytearray(120_000_000); time.sleep(1)"
    held = f"import subprocess, sys; block = bytearray(60_000_000); subprocess.run([sys.executable, '-c', {child!r}])"
    ran = process.run(["-c", held])
    assert 60e6 < ran.peak < 120e6
    assert ran.peak_tree > 180e6
    assert not ran.killed


def test_a_process_is_killed_on_the_given_condition() -> None:
    began = time.monotonic()
    ran = process.run(["-c", "import time; time.sleep(60)"], kill_when=lambda: time.monotonic() > began + 0.3)
    assert ran.killed
    assert ran.seconds < 30


def test_the_throughput_table_shows_ratios_per_round_and_the_encoders_share(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "rows.jsonl", {}, fresh=True)
    for number, factor in enumerate((2.0, 4.0, 8.0)):
        kept.add(
            system="ours", round=number, seconds=10.0, process_seconds=20.0, passages=100, tokens=1000, words=90.0,
            peak=1e9, stages=STAGES,
        )  # fmt: skip
        kept.add(
            system="haystack", round=number, version="3", seconds=10.0 * factor, process_seconds=20.0, passages=200,
            tokens=1000, words=80.0, peak=1e9, split_words=90,
        )  # fmt: skip
    text = throughput.section(kept, 5)
    assert "| passages/s | 10.0 | 5.0 | 2.00 |" in text
    assert "| tokens/s | 100.0 | 25.0 | 4.00 |" in text
    assert "computed 90.0% of the job's wall time of 10.0 s, and 45.0% of the 20.0 s" in text


def test_the_memory_table_compares_the_large_corpus_with_the_small_one(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "rows.jsonl", {}, fresh=True)
    row = {"passages": 9, "encoded": 9, "seconds": 1.0, "peak_tree": 600e6, "again_seconds": 1.0, "vectors": 5e6}
    for kind in memory.KINDS:
        kept.add(kind=kind, documents=10, peak=400e6, again_peak=300e6, **row)
        kept.add(kind=kind, documents=100, peak=500e6, again_peak=800e6, **row)
    for megabytes, peak in ((3, 400e6), (300, 440e6)):
        kept.add(kind="big", megabytes=megabytes, passages=9, encoded=9, seconds=1.0, peak=peak, peak_tree=600e6)
    text = memory.section(kept)
    assert "as files: the main process 1.25 times, with converters 1.00 times, with FAISS's vectors 2.00 times." in text
    assert "300 MB over one of 3 MB" in text
    assert "the main process 1.10 times, with converters 1.00 times" in text


def test_a_run_that_was_not_killed_does_not_count_as_resumed(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "rows.jsonl", {}, fresh=True)
    row = {
        "kind": "files", "documents": 10, "killed_after": 1.0, "there": 9, "seconds": 2.0, "converted": 1,
        "unchanged": 9, "encoded": 1, "nothing_to_do_seconds": 1.5,
    }  # fmt: skip
    kept.add(**row, killed=True, found=10)
    assert "| 10 as files | 1.0 | 9 | 2.0 | 1 of 10 files | 1 passages | 1.5 |" in resume.section(kept)
    kept.add(**row, killed=False, found=10)
    with pytest.raises(AssertionError, match="before it was killed"):
        resume.section(kept)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_a_killed_job_is_measured_until_it_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real command on a few documents."""
    if not files.TRAIN.is_dir():
        pytest.skip(f"no texts at {files.TRAIN}")
    monkeypatch.setattr(resume, "KINDS", ("lines",))
    kept = Kept(tmp_path / "rows.jsonl", {}, fresh=True)
    resume.measure(tmp_path, kept, documents=300)
    (row,) = kept.rows
    assert row["found"] == 300
    if row["killed"]:
        assert row["encoded"] < 300
