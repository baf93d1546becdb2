"""`search-index preview` shows what `apply` would index, without an index."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest
import samples
from click.testing import CliRunner, Result
from fakes import HashEncoder

from indexing import job
from indexing.cli import cli, options
from indexing.cli.preview import drawn
from indexing.converters.content import TextBuilder
from indexing.preview import find, grid, preview
from search_app.manifest import encoded_text
from search_app.settings import Settings
from search_app.stores.embedded.store import SqliteStore


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch) -> HashEncoder:
    encoder = HashEncoder(max_tokens=96)
    monkeypatch.setattr(options, "load_encoder", lambda settings: encoder)
    return encoder


def run(*arguments: object, home: Path) -> Result:
    return CliRunner().invoke(cli, ["preview", *map(str, arguments), "--home", str(home)])


def test_a_preview_shows_title_metadata_headings_and_passages(tmp_path: Path, home: Path, encoder: HashEncoder) -> None:
    path = tmp_path / "leave.md"
    path.write_text("---\nauthor: Ada\n---\n# Leave\n\nTwenty days.\n\n## Parental leave\n\nFourteen months.\n")
    shown = run(path, home=home)
    assert shown.exit_code == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert lines[0].startswith(f"{path} (markdown): 1 document, 2 passages, ")
    assert "title    Leave" in lines
    assert "metadata author: Ada" in lines
    assert "heading    Parental leave" in lines
    place = lines.index("  Leave › Parental leave")
    assert lines[place - 1].startswith("passage 2 of 2, ")
    assert "  │ Fourteen months." in lines[place:]
    assert not home.exists()


def test_pages_without_text_and_warnings_are_shown(tmp_path: Path, home: Path, encoder: HashEncoder) -> None:
    path = samples.pdf(tmp_path / "a.pdf", [["The valve opens at 3 bar."], []])
    shown = run(path, home=home).stdout
    assert "pages    2; without text: 2" in shown
    assert "warning  no text on page 2 of 2" in shown
    assert "passage 1 of 1, page 1, " in shown


def test_a_preview_has_the_passages_that_apply_indexes(tmp_path: Path, home: Path, encoder: HashEncoder) -> None:
    path = samples.docx(tmp_path / "manual.docx")
    settings = Settings(home=home)
    job.apply([path], settings=settings, encoder=encoder)
    with closing(SqliteStore.open(settings.collection_folder("default"), collection="default")) as store:
        batches = list(store.passages())
    indexed = [item for batch in batches for item in batch.passages]
    found = preview(find(str(path)), settings=settings, encoder=encoder)
    [shown] = found.documents
    assert len(indexed) > 1
    assert [item.passage for item in shown.passages] == indexed
    assert [item.tokens for item in shown.passages] == list(
        map(len, encoder.token_spans(list(map(encoded_text, indexed))))
    )


def test_json_has_offsets_and_all_documents(tmp_path: Path, home: Path, encoder: HashEncoder) -> None:
    path = tmp_path / "items.jsonl"
    path.write_text("".join(json.dumps({"title": f"Item {n}", "text": f"It weighs {n} kg."}) + "\n" for n in range(30)))
    found = json.loads(run(path, "--json", home=home).stdout)
    assert (found["count"], found["passages"], len(found["documents"])) == (30, 30, 30)
    for document in found["documents"]:
        for passage in document["passages"]:
            assert document["text"][passage["start"] : passage["end"]] == passage["text"]
    assert "… and 10 documents more (--json shows all)" in run(path, home=home).stdout


def test_a_damaged_file_is_named_with_the_reason(tmp_path: Path, home: Path, encoder: HashEncoder) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(b"no PDF")
    shown = run(path, home=home)
    assert shown.exit_code == 1
    assert shown.stdout == f"failed   {path}: it is not a PDF\n"


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("a.doc", "a.doc is not read: unknown type .doc: save it as .docx"),
        ("empty.txt", "empty.txt is not read: empty file"),
        ("folder", "folder is a folder; give one file"),
        ("missing.txt", "no such file or folder"),
    ],
)
def test_what_cannot_be_previewed_is_an_error(tmp_path: Path, home: Path, name: str, error: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.doc").write_text("old")
    (tmp_path / "empty.txt").touch()
    shown = run(tmp_path / name, home=home)
    assert shown.exit_code == 2
    assert error in shown.stderr


def test_a_table_is_drawn_with_its_header_and_covered_cells_empty() -> None:
    builder = TextBuilder()
    builder.table([["Country", "Day rate", None], ["", "Hotel", "Meals"], ["Portugal", "EUR 46", "EUR 12"]])
    [table] = builder.tables
    assert list(drawn(grid(builder.text(), table), table.header)) == [
        "  Country  │ Day rate │",
        "           │ Hotel    │ Meals",
        "  ─────────┼──────────┼───────",
        "  Portugal │ EUR 46   │ EUR 12",
    ]


def test_a_table_is_drawn_and_read_with_the_names_of_its_columns(
    tmp_path: Path, home: Path, encoder: HashEncoder
) -> None:
    lines = run(samples.docx(tmp_path / "manual.docx"), home=home).stdout.splitlines()
    place = lines.index("  part  │ price")
    assert lines[place + 1 : place + 3] == ["  ──────┼──────", "  valve │ 12"]
    assert lines[place - 1].startswith("table 1 of 1, characters ")
    assert "  │ part: valve; price: 12" in lines
    [document] = json.loads(run(tmp_path / "manual.docx", "--json", home=home).stdout)["documents"]
    [table] = document["tables"]
    assert (table["columns"], table["header"], table["rows"]) == (
        ["part", "price"],
        1,
        [["part", "price"], ["valve", "12"]],
    )
    assert document["text"][table["start"] : table["end"]] == "part | price\nvalve | 12"
