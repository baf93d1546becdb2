"""Dropping and renaming a collection with its uploads and schedules, by command and by job, also after a kill."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from fakes import HashEncoder
from test_worker import counts, job_of, run, texts, upload

from indexing.cli import cli
from indexing.worker import collections
from indexing.worker.library import Library
from search_app.errors import ConfigurationError, IndexBusy, IndexNotFound
from search_app.queue.jobs import JobKind, JobState
from search_app.queue.queue import JobQueue
from search_app.queue.schedules import Schedules
from search_app.settings import Settings
from search_app.stores.catalog import open_catalog

FIRST, SECOND = b"The Danube crosses Vienna.", b"The Seine crosses Paris."


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


@pytest.fixture
def queue(settings: Settings) -> Iterator[JobQueue]:
    with closing(JobQueue.from_settings(settings)) as queue:
        upload(queue, {"rivers.txt": FIRST}, "old")
        Schedules(queue).set("old", "handbook", "0 2 * * *")
        run(settings, queue)
        yield queue


def names(settings: Settings) -> list[str]:
    with closing(open_catalog(settings)) as catalog:
        return catalog.names()


def done(settings: Settings, queue: JobQueue, kind: JobKind, **request: Any) -> Any:
    job = queue.enqueue("old", kind, request)
    run(settings, queue)
    return job_of(queue, job.id)


def test_a_rename_job_moves_documents_uploads_and_schedules(settings: Settings, queue: JobQueue) -> None:
    job = done(settings, queue, JobKind.RENAME, name="new")
    assert (job.state, job.title) == (JobState.DONE, "rename collection to new")
    assert names(settings) == ["new"]
    assert texts(settings, "new") == {"rivers.txt": FIRST.decode()}
    assert [schedule.collection for schedule in Schedules(queue).list()] == ["new"]

    changed = upload(queue, {"rivers.txt": SECOND}, "new")
    run(settings, queue)
    assert counts(queue, changed)["changed"] == 1, "the same file name is a new version, not a second document"
    assert texts(settings, "new") == {"rivers.txt": SECOND.decode()}


def test_a_new_collection_of_the_old_name_has_its_own_uploads(settings: Settings, queue: JobQueue) -> None:
    done(settings, queue, JobKind.RENAME, name="new")
    upload(queue, {"rivers.txt": SECOND}, "old")
    run(settings, queue)
    assert texts(settings, "new") == {"rivers.txt": FIRST.decode()}
    assert texts(settings, "old") == {"rivers.txt": SECOND.decode()}
    assert (Library(settings, "new").folder / "rivers.txt").read_bytes() == FIRST
    collections.drop(settings, "old")
    assert (Library(settings, "new").folder / "rivers.txt").read_bytes() == FIRST


def test_a_drop_job_deletes_documents_uploads_and_schedules(settings: Settings, queue: JobQueue) -> None:
    folder = Library(settings, "old").folder
    assert (folder / "rivers.txt").exists()
    job = done(settings, queue, JobKind.DROP)
    assert (job.state, job.title) == (JobState.DONE, "drop collection old")
    assert names(settings) == []
    assert not folder.exists()
    assert Schedules(queue).list() == []
    with pytest.raises(IndexNotFound):
        collections.drop(settings, "old")


def test_a_drop_that_was_killed_can_be_repeated(settings: Settings, queue: JobQueue) -> None:
    with closing(open_catalog(settings)) as catalog:
        catalog.drop("old")
    assert done(settings, queue, JobKind.DROP).state is JobState.DONE
    assert not Library(settings, "old").folder.exists()


@pytest.mark.parametrize("step", ["prepared", "index", "all"])
def test_a_rename_that_was_killed_can_be_repeated(settings: Settings, queue: JobQueue, step: str) -> None:
    if step == "all":
        collections.rename(settings, "old", "new")
    else:
        Library(settings, "old").prepare_rename("new")
    if step == "index":
        with closing(open_catalog(settings)) as catalog:
            catalog.rename("old", "new")
    collections.rename(settings, "old", "new")
    assert texts(settings, "new") == {"rivers.txt": FIRST.decode()}
    assert Library(settings, "new").folder.name == "old"
    assert Library(settings, "old").folder.name.startswith("old~")
    assert [schedule.collection for schedule in Schedules(queue).list()] == ["new"]


def test_a_rename_that_is_refused_leaves_the_new_name_its_own_uploads(settings: Settings, queue: JobQueue) -> None:
    with closing(open_catalog(settings)) as catalog:
        with closing(catalog.open("old")) as index:
            manifest = index.manifest
        with catalog.writer("old", manifest), pytest.raises(IndexBusy):
            collections.rename(settings, "old", "new")
    assert Library(settings, "new").folder.name.startswith("new~")
    assert Library(settings, "old").folder.name == "old"
    assert names(settings) == ["old"]


def test_a_missing_collection_cannot_be_renamed(settings: Settings, queue: JobQueue) -> None:
    for new in ("new", "old"):
        with pytest.raises(IndexNotFound):
            collections.rename(settings, "missing", new)


def test_a_taken_name_is_refused_and_nothing_changes(settings: Settings, queue: JobQueue) -> None:
    upload(queue, {"rivers.txt": SECOND}, "other")
    run(settings, queue, HashEncoder())
    job = done(settings, queue, JobKind.RENAME, name="other")
    assert job.state is JobState.FAILED
    assert "already exists" in job.error
    assert names(settings) == ["old", "other"]
    assert [schedule.collection for schedule in Schedules(queue).list()] == ["old"]
    with pytest.raises(ConfigurationError, match="invalid collection name"):
        collections.rename(settings, "old", "no/name")


def test_the_commands_rename_and_drop(settings: Settings, queue: JobQueue) -> None:
    def command(*arguments: str, answer: str = "") -> Any:
        return CliRunner().invoke(cli, [*arguments, "--home", str(settings.home)], input=answer)

    renamed = command("rename", "old", "new")
    assert (renamed.exit_code, renamed.output) == (0, "collection 'old' is now 'new'\n")
    asked = command("drop", "new", answer="n\n")
    assert asked.exit_code == 1
    assert "Delete collection 'new' with 1 document?" in asked.output
    assert names(settings) == ["new"]
    dropped = command("drop", "new", "--yes")
    assert (dropped.exit_code, dropped.output) == (0, "collection 'new' deleted\n")
    assert names(settings) == []
    missing = command("drop", "new", "--yes")
    assert missing.exit_code == 3
    assert "no index for collection 'new'" in missing.output
