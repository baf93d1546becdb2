"""The commands that look after an index as a whole, on real collections."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from fakes import HashEncoder

from indexing import job
from indexing.cli import cli
from search_app.settings import Settings
from search_app.stores.catalog import open_catalog


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(home=tmp_path / "home")
    for collection in ("default", "minutes"):
        folder = tmp_path / collection
        folder.mkdir()
        for number in range(3):
            (folder / f"{number}.txt").write_text(f"Text {number} of the collection {collection}.\n")
        job.apply([folder], settings=settings, encoder=HashEncoder(), collection=collection)
    return settings


def run(settings: Settings, *arguments: object) -> Result:
    return CliRunner().invoke(cli, [*map(str, arguments), "--home", str(settings.home)])


def said(settings: Settings, *arguments: object) -> dict[str, Any]:
    done = run(settings, *arguments, "--json")
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def texts(settings: Settings, collection: str = "default") -> list[tuple[str, float]]:
    """Everything in the collection with its score, so that a lost bit of a vector shows."""
    with closing(open_catalog(settings)) as catalog, closing(catalog.open(collection)) as index:
        (hits,) = index.search_dense(HashEncoder().encode_queries(["Text 1"]), k=100)
    return [(hit.passage.text, hit.score) for hit in hits]


def test_a_snapshot_is_restored_over_what_was_deleted_and_taken_back_again(settings: Settings, tmp_path: Path) -> None:
    before = texts(settings)
    assert said(settings, "snapshot", tmp_path / "copy") == {
        "collections": ["default"],
        "snapshot": str(tmp_path / "copy"),
    }
    run(settings, "delete", "--source", "*", "--yes")
    assert texts(settings) == []
    refused = run(settings, "restore", tmp_path / "copy")
    assert (refused.exit_code, "--replace" in refused.stderr) == (2, True)
    assert texts(settings) == []
    done = said(settings, "restore", tmp_path / "copy", "--replace")
    assert texts(settings) == before
    assert done["generations"]["default"] == said(settings, "info")["generation"]
    assert "restored the previous index of collection 'default'" in run(settings, "rollback").stdout
    assert texts(settings) == []


def test_a_snapshot_is_restored_under_another_name(settings: Settings, tmp_path: Path) -> None:
    run(settings, "snapshot", tmp_path / "copy", "--collection", "minutes")
    assert "restored collection 'third'" in run(settings, "restore", tmp_path / "copy", "--collection", "third").stdout
    assert texts(settings, "third") == texts(settings, "minutes")


def test_all_collections_go_into_one_folder_and_come_back(settings: Settings, tmp_path: Path) -> None:
    before = {name: texts(settings, name) for name in ("default", "minutes")}
    assert said(settings, "snapshot", tmp_path / "all", "--all")["collections"] == ["default", "minutes"]
    again = run(settings, "snapshot", tmp_path / "all", "--all")
    assert (again.exit_code, "is not empty" in again.stderr) == (2, True)
    elsewhere = settings.model_copy(update={"home": tmp_path / "elsewhere"})
    assert set(said(elsewhere, "restore", tmp_path / "all", "--all")["generations"]) == {"default", "minutes"}
    assert {name: texts(elsewhere, name) for name in before} == before


def test_restoring_all_touches_nothing_where_one_of_them_exists(settings: Settings, tmp_path: Path) -> None:
    run(settings, "snapshot", tmp_path / "all", "--all")
    elsewhere = settings.model_copy(update={"home": tmp_path / "elsewhere"})
    job.apply([tmp_path / "minutes"], settings=elsewhere, encoder=HashEncoder(), collection="minutes")
    refused = run(elsewhere, "restore", tmp_path / "all", "--all")
    assert (refused.exit_code, "collection 'minutes' exists" in refused.stderr) == (2, True)
    assert elsewhere.collections() == ["minutes"]


def test_a_folder_without_snapshots_is_refused(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for arguments in (["--replace"], ["--all"]):
        done = run(settings, "restore", tmp_path / "empty", *arguments)
        assert done.exit_code in (2, 3), done.output
        assert str(tmp_path / "empty") in done.stderr
        assert "Traceback" not in done.stderr
    assert len(texts(settings)) == 3


def test_compacting_changes_no_answer(settings: Settings) -> None:
    run(settings, "delete", "--source", "1.txt", "--yes")
    before = texts(settings)
    facts = said(settings, "compact")
    assert facts["collection"] == "default"
    assert facts["bytes"] > 0
    assert texts(settings) == before
    assert run(settings, "verify").exit_code == 0


def test_repairing_a_sound_index_changes_nothing(settings: Settings) -> None:
    before = texts(settings)
    assert said(settings, "verify", "--repair") == {
        "collection": "default", "sound": True, "repair": [], "problems": [],
    }  # fmt: skip
    assert texts(settings) == before


def test_info_is_readable_all_the_way_down(settings: Settings) -> None:
    shown = run(settings, "info").stdout
    assert "{" not in shown
    assert "encoder\n  model " in shown
    assert "passages      3\n" in shown
    assert "  size      number\n" in shown


def test_what_is_not_there_is_named(settings: Settings, tmp_path: Path) -> None:
    for arguments in (["compact"], ["snapshot", tmp_path / "copy"], ["rollback"], ["verify"], ["info"]):
        done = run(settings, *arguments, "--collection", "unknown")
        assert done.exit_code == 3, done.output
        assert "no index for collection 'unknown'" in done.stderr
    assert not (tmp_path / "copy").exists()
    first = run(settings, "rollback")
    assert first.exit_code == 2
    assert "default" in first.stderr


def test_help_lists_commands_in_the_order_of_their_use() -> None:
    listed = CliRunner().invoke(cli, ["--help"]).stdout.partition("Commands:")[2]
    names = [line.split()[0] for line in listed.splitlines() if line.strip()]
    assert names[:6] == ["preview", "plan", "apply", "worker", "delete", "rebuild"]
    maintenance = {"info", "verify", "compact", "snapshot", "restore", "rollback", "rename", "drop", "replicate"}
    assert set(names[6:]) == maintenance
