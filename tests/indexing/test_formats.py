"""The registry of formats: every entry works, and what is taken from it is current."""

from __future__ import annotations

import contextlib
import dataclasses
import runpy
from pathlib import Path

import pytest
from click.testing import CliRunner

from indexing import formats
from indexing.cli import cli
from indexing.converters import convert
from indexing.converters.content import ConversionError
from indexing.sources import SkippedFile, scan

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_of_formats_is_current() -> None:
    script = runpy.run_path(str(ROOT / "docs" / "formats.py"))
    assert script["PAGE"].read_text(encoding="utf-8") == script["page"](), "run: PYTHONPATH=. python docs/formats.py"


def test_names_and_endings_are_unique_and_in_lower_case() -> None:
    endings = [ending for item in formats.REGISTRY for ending in item.endings]
    assert len(set(endings)) == len(endings) == len(formats.FORMATS)
    assert len(formats.BY_NAME) == len(formats.REGISTRY)
    assert all(ending == ending.lower() and ending.startswith(".") for ending in endings)


@pytest.mark.parametrize("name", formats.BY_NAME)
def test_every_converter_reads_a_file(name: str, tmp_path: Path) -> None:
    """A file of another format gives documents or a reason, never another error."""
    path = tmp_path / f"a{formats.BY_NAME[name].endings[0]}"
    path.write_bytes(b"name,price\nlamp,4\n")
    with contextlib.suppress(ConversionError):
        assert all(item.text for item in convert(path, name))


def test_a_format_without_its_extra_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(b"%PDF-1.4")
    missing = dataclasses.replace(formats.BY_NAME["pdf"], converter="no_such_module:convert", extra="train")
    monkeypatch.setattr(formats, "BY_NAME", {"pdf": missing})
    with pytest.raises(ConversionError, match=r"PDF needs .*no_such_module; run: pip install .*scikit-learn"):
        list(convert(path, "pdf"))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("old.DOC", "unknown type .DOC: save it as .docx"),
        ("notes.pages", "unknown type .pages: save it as .docx"),
        ("talk.key", "unknown type .key: save it as .pptx"),
        ("letter.wpd", "unknown type .wpd: save it as .docx"),
        ("all.tar.gz", "unknown type .gz: unpack it"),
        ("program.bin", "unknown type .bin"),
        ("LICENCE", "unknown type: no file extension"),
    ],
)
def test_files_without_a_format_are_named_with_what_helps(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / name).write_text("text")
    [skipped] = scan([tmp_path])
    assert isinstance(skipped, SkippedFile)
    assert skipped.reason == reason


def test_advice_is_for_endings_without_a_format_and_leads_to_one_that_has_it() -> None:
    assert [ending for ending in formats.ADVICE if ending in formats.FORMATS] == []
    targets = {word for advice in formats.ADVICE.values() for word in advice.split() if word.startswith(".")}
    assert sorted(targets - set(formats.FORMATS)) == []


def test_the_help_lists_the_formats() -> None:
    shown = " ".join(CliRunner().invoke(cli, ["apply", "--help"]).output.split())
    assert all(item.title in shown for item in formats.REGISTRY)
