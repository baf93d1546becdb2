"""Documents are taken out of a real index, by the job's API and by the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from fakes import HashEncoder

from indexing import job
from indexing.cli import cli
from indexing.deletion import delete, select
from indexing.verification import differences
from search_app.errors import ConfigurationError, IndexNotFound, InvalidQuery
from search_app.settings import Settings
from search_app.stores.catalog import open_catalog
from search_app.stores.filters import parse_where
from search_app.stores.index import Index


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    root = tmp_path / "docs"
    (root / "minutes").mkdir(parents=True)
    (root / "leave.md").write_text("---\nauthor: Ada\n---\n# Leave\n\nEmployees have thirty days of leave.\n")
    (root / "travel.txt").write_text("Trains are booked in second class.\n")
    for year in (2024, 2025, 2026):
        (root / "minutes" / f"{year}.txt").write_text(f"The board of {year} elected a chair.\n")
    (root / "parts.csv").write_text("name,price\nvalve,12\npump,30\ngasket,1\n")
    return root


@pytest.fixture
def settings(tmp_path: Path, docs: Path) -> Settings:
    settings = Settings(home=tmp_path / "home")
    index(settings, docs)
    return settings


def index(settings: Settings, docs: Path, *, rebuild: bool = False) -> job.Summary:
    return job.apply([docs], settings=settings, encoder=HashEncoder(), rebuild=rebuild)


@pytest.fixture
def reader(settings: Settings) -> Iterator[Index]:
    with closing(open_catalog(settings)) as catalog, closing(catalog.open("default")) as store:
        yield store


def names(store: Index) -> set[str]:
    return {
        document.source.rsplit("/", 1)[-1] + (f":{document.meta['row']}" if "row" in document.meta else "")
        for document in store.documents(limit=100)
    }


ALL = {"leave.md", "travel.txt", "2024.txt", "2025.txt", "2026.txt", "parts.csv:2", "parts.csv:3", "parts.csv:4"}


def run(settings: Settings, *arguments: str, answer: str | None = None) -> Result:
    return CliRunner().invoke(cli, [*arguments, "--home", str(settings.home)], input=answer)


@pytest.mark.parametrize(
    ("selection", "gone"),
    [
        ({"sources": ["*/minutes/*"]}, {"2024.txt", "2025.txt", "2026.txt"}),
        ({"sources": ["travel.txt", "leave.md"]}, {"travel.txt", "leave.md"}),
        ({"where": parse_where("author = Ada")}, {"leave.md"}),
        ({"where": parse_where("author exists or row = 3")}, {"leave.md", "parts.csv:3"}),
        ({"sources": ["*.csv"], "where": parse_where("row < 4")}, {"parts.csv:2", "parts.csv:3"}),
        ({"sources": ["nothing.*"]}, set()),
    ],
)
def test_only_selected_documents_are_deleted(
    settings: Settings, reader: Index, selection: dict[str, Any], gone: set[str]
) -> None:
    assert names(reader) == ALL
    before = reader.generation
    done = delete(settings, **selection)
    assert (done.deleted, done.missing) == (len(gone), ())
    assert names(reader) == ALL - gone
    assert done.generation == reader.generation == before + bool(gone)


def test_an_unknown_id_is_reported_as_missing(settings: Settings, reader: Index) -> None:
    known = next(document for document in reader.documents(limit=100) if document.title == "Leave")
    done = delete(settings, documents=[known.id, "nobody", known.id])
    assert (done.deleted, done.missing) == (1, ("nobody",))
    assert names(reader) == ALL - {"leave.md"}
    assert delete(settings, documents=[known.id]).missing == (known.id,)


def test_an_empty_selection_is_an_error(settings: Settings, reader: Index) -> None:
    with pytest.raises(ConfigurationError, match="no documents selected"):
        delete(settings)
    with pytest.raises(InvalidQuery, match="no document has the field 'authr'"):
        delete(settings, where=parse_where("authr = Ada"))
    with pytest.raises(IndexNotFound):
        delete(settings, collection="other", sources=["*"])
    assert names(reader) == ALL


def test_deleted_documents_stay_deleted_until_their_file_changes(settings: Settings, reader: Index, docs: Path) -> None:
    delete(settings, sources=["travel.txt"])
    delete(settings, where=parse_where("row = 3"))
    summary = index(settings, docs)
    assert (summary.added, summary.changed, summary.unchanged) == (0, 0, 6)
    assert names(reader) == ALL - {"travel.txt", "parts.csv:3"}
    (docs / "travel.txt").write_text("Trains are booked in first class.\n")
    assert index(settings, docs).changed == 1
    assert names(reader) == ALL - {"parts.csv:3"}
    index(settings, docs, rebuild=True)
    assert names(reader) == ALL


def test_verify_tells_a_deletion_from_a_loss(settings: Settings, reader: Index) -> None:
    delete(settings, sources=["travel.txt"])
    delete(settings, where=parse_where("row = 3"))
    assert differences(reader, sample=100) == []
    assert run(settings, "verify").stdout == "collection 'default' is sound\n"


def test_an_open_reader_no_longer_finds_deleted_documents(settings: Settings, reader: Index) -> None:
    encoder = HashEncoder()
    question = ["Who elected a chair?"]
    vectors = encoder.encode_queries(question)
    (before,) = reader.search_both(question, vectors, k=100)
    assert any("2025" in hit.passage.text for hit in before.keyword)
    done = delete(settings, sources=["2025.txt"])
    (after,) = reader.search_both(question, vectors, k=100)
    assert after.generation == done.generation
    for hits in (after.dense, after.keyword, *reader.search_dense(vectors, k=100, where=parse_where("size > 0"))):
        assert not any("2025" in hit.passage.text for hit in hits)
    assert len(after.dense) == len(before.dense) - 1


def test_the_command_lists_documents_and_asks(settings: Settings, reader: Index) -> None:
    refused = run(settings, "delete", "--source", "*/minutes/*", answer="n\n")
    assert refused.exit_code == 1
    assert refused.stdout.count("minutes/") == 3
    assert "Delete 3 documents of collection 'default'? [y/N]" in refused.stdout
    unanswered = run(settings, "delete", "--source", "*/minutes/*")
    assert unanswered.exit_code == 1
    dry = run(settings, "delete", "--source", "*/minutes/*", "--dry-run")
    assert dry.exit_code == 0
    assert "3 documents would be deleted" in dry.stdout
    assert names(reader) == ALL
    done = run(settings, "delete", "--source", "*/minutes/*", "--where", "size>0", answer="y\n")
    assert done.exit_code == 0
    assert f"3 deleted; generation {reader.generation}" in done.stdout
    assert names(reader) == {name for name in ALL if not name.startswith("20")}


def test_the_command_prints_json(settings: Settings, reader: Index) -> None:
    assert run(settings, "delete", "--source", "*", "--json").exit_code == 2
    dry = json.loads(run(settings, "delete", "--where", "author exists", "--json", "--dry-run").stdout)
    assert (dry["deleted"], dry["generation"], len(dry["documents"])) == (0, None, 1)
    arguments = ["--document", dry["documents"][0]["id"], "--document", "nobody"]
    done = json.loads(run(settings, "delete", *arguments, "--yes", "--json").stdout)
    assert (done["deleted"], done["missing"], done["generation"]) == (1, ["nobody"], reader.generation)
    assert done["documents"][0]["title"] == "Leave"
    assert names(reader) == ALL - {"leave.md"}


def test_the_command_without_a_selection_deletes_nothing(settings: Settings, reader: Index) -> None:
    done = run(settings, "delete", "--yes")
    assert (done.exit_code, "give an id, a source or a filter" in done.stderr) == (2, True)
    assert run(settings, "delete", "--where", "author ~ Ada", "--yes").exit_code == 2
    assert "0 deleted" in run(settings, "delete", "--source", "nothing", "--yes").stdout
    assert names(reader) == ALL


def test_a_selection_has_no_texts(settings: Settings) -> None:
    found = select(settings, sources=["leave.md"]).documents
    assert [(document.title, document.text) for document in found] == [("Leave", "")]


def test_compaction_erases_deleted_text(settings: Settings) -> None:
    def kept() -> bool:
        folder = settings.collection_folder("default")
        return any(b"second class" in path.read_bytes() for path in folder.iterdir() if path.is_file())

    delete(settings, sources=["travel.txt"])
    assert kept()
    assert run(settings, "compact").exit_code == 0
    assert not kept()
