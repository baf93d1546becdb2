"""`plan` and `apply` report per format what was read, skipped, failed and warned of."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import samples
from click.testing import CliRunner
from fakes import HashEncoder

from indexing.batches import Batch, FileChunk
from indexing.cli import cli, options
from indexing.converters import ocr
from indexing.reports import FormatReport, completed
from indexing.sources import Skip
from search_app.protocols import FileRecord
from search_app.types import Box, Document, Page

EXPECTED = {
    "txt": {"read": 2, "unchanged": 0, "skipped": 1, "failed": 0, "warnings": 0, "ocr_pages": 0},
    "pdf": {"read": 1, "unchanged": 0, "skipped": 0, "failed": 1, "warnings": 1, "ocr_pages": 0},
    ".doc": {"read": 0, "unchanged": 0, "skipped": 2, "failed": 0, "warnings": 0, "ocr_pages": 0},
    "": {"read": 0, "unchanged": 0, "skipped": 1, "failed": 0, "warnings": 0, "ocr_pages": 0},
}


@pytest.fixture
def docs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(options, "load_encoder", lambda settings: HashEncoder(max_tokens=96))
    monkeypatch.setenv("SEARCH_APP_HOME", str(tmp_path / "home"))
    folder = tmp_path / "docs"
    folder.mkdir()
    samples.pdf(folder / "scan.pdf", [["The valve opens at 3 bar."], []])
    (folder / "broken.pdf").write_bytes(b"no PDF")
    (folder / "a.txt").write_text("Trains are booked in second class.")
    (folder / "b.txt").write_text("Hotels are booked by the office.")
    (folder / "empty.txt").touch()
    (folder / "old.doc").write_text("x")
    (folder / "older.DOC").write_text("x")
    (folder / "LICENCE").write_text("x")
    return folder


def formats(command: str, folder: Path) -> dict[str, dict[str, int]]:
    done = CliRunner().invoke(cli, [command, str(folder), "--json"])
    found = json.loads(done.stdout)["formats"]
    return {item.pop("format"): item for item in found}


def test_plan_and_apply_report_the_same(docs: Path) -> None:
    counted = EXPECTED["pdf"] | {"warnings": 0, "ocr_pages": 1}  # a plan does not look at the picture
    assert formats("plan", docs) == EXPECTED | {"pdf": counted}
    assert formats("apply", docs) == EXPECTED
    later = formats("apply", docs)
    assert later["txt"] == {"read": 0, "unchanged": 2, "skipped": 1, "failed": 0, "warnings": 0, "ocr_pages": 0}
    assert later["pdf"] == {"read": 0, "unchanged": 1, "skipped": 0, "failed": 1, "warnings": 0, "ocr_pages": 0}


def test_the_terminal_shows_a_table_without_columns_of_zeros(docs: Path) -> None:
    shown = CliRunner().invoke(cli, ["apply", str(docs)]).stdout
    assert [line.split() for line in shown.splitlines()[-6:-1]] == [
        ["format", "read", "skipped", "failed", "warnings"],
        ["txt", "2", "1"],
        [".doc", "2"],
        ["pdf", "1", "1", "1"],
        ["no", "ending", "1"],
    ]


def test_one_format_needs_no_table(docs: Path) -> None:
    shown = CliRunner().invoke(cli, ["apply", str(docs), "--include", "a.txt"]).stdout
    assert "format" not in shown


def test_pages_read_by_ocr_are_counted_by_file() -> None:
    scanned = Page(1, 0, 4, boxes=(Box(0, 4, 0.1, 0.1, 0.5, 0.2),))
    document = Document("1", "", "text and more", "a.PDF", pages=(scanned, Page(2, 4, 13)))
    chunk = FileChunk(FileRecord("/a.PDF", "a.PDF", "", 9, 0, 1), (document, document), (), 0, True, 9, 26)
    assert dict(Batch([chunk]).report(()).ocr_pages) == {"a.PDF": 2}


@pytest.fixture
def extra(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bool], None]]:
    """Has the extra `ocr` installed or not, here and in the processes that convert."""

    def install(installed: bool) -> None:
        ocr.version.cache_clear()
        hidden = "" if installed else "rapidocr"
        monkeypatch.setenv("HIDDEN_PACKAGE", hidden)
        monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "hidden_package"))
        monkeypatch.setattr(ocr, "is_installed", lambda: installed)

    yield install
    ocr.version.cache_clear()


def test_a_scan_is_read_again_once_the_extra_is_installed(docs: Path, extra: Callable[[bool], None]) -> None:
    (docs / "broken.pdf").unlink()
    extra(False)
    planned = CliRunner().invoke(cli, ["plan", str(docs)]).stdout
    assert "1 scanned page in 1 file; install search-app[ocr] to read them in about" in planned
    assert formats("apply", docs)["pdf"] == EXPECTED["pdf"] | {"failed": 0}
    assert formats("apply", docs)["pdf"]["unchanged"] == 1
    assert "1 scanned page in 1 file; install" in CliRunner().invoke(cli, ["plan", str(docs)]).stdout
    extra(True)
    again = CliRunner().invoke(cli, ["plan", str(docs)]).stdout
    assert "1 scanned page in 1 file to read by OCR in about" in again
    assert "1 to change, 2 unchanged" in again
    assert {kind: item["read"] for kind, item in formats("apply", docs).items() if item["read"]} == {"pdf": 1}
    assert "to change" not in CliRunner().invoke(cli, ["plan", str(docs)]).stdout


def test_files_that_did_not_reach_the_job_count_by_their_ending() -> None:
    reports = [FormatReport("pdf", read=2, warnings=1), FormatReport("txt", read=1)]
    skipped = [Skip("in/photo.PDF", "empty"), Skip("a.xyz", "unknown type"), Skip("b.xyz", "unknown type")]
    assert completed(reports, skipped=skipped, failed=[Skip("evil.zip", "a bomb")]) == (
        FormatReport("pdf", read=2, skipped=1, warnings=1),
        FormatReport(".xyz", skipped=2),
        FormatReport(".zip", failed=1),
        FormatReport("txt", read=1),
    )
    assert completed((), skipped=(), failed=()) == ()
