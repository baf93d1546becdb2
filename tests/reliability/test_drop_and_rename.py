"""A drop or rename that fails or is killed at any file operation leaves the old state or the new one."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import file_faults
import living_index
import pytest
from living_index import COLLECTION, Contents, forked

from search_app.errors import IndexNotFound, SearchAppError
from search_app.settings import Settings
from search_app.stores.embedded.catalog import EmbeddedCatalog
from search_app.stores.embedded.files import Files
from search_app.stores.embedded.schema import PREVIOUS_FILE

Job = Callable[[EmbeddedCatalog], None]
JOBS: dict[str, Job] = {
    "drop": lambda catalog: catalog.drop(COLLECTION),
    "rename": lambda catalog: catalog.rename(COLLECTION, "new"),
}


@pytest.fixture(scope="module")
def made() -> Iterator[Settings]:
    """A collection with caches and a previous index."""
    with living_index.fast_folder() as folder:
        living_index.warm(folder)
        settings = living_index.settings_of(folder / "home")
        settings.home.mkdir()
        docs, encoder = folder / "docs", living_index.encoder_of()
        docs.mkdir()
        for number in range(12):
            (docs / f"{number}.txt").write_text("\n\n".join(living_index.PARAGRAPHS[4 * number : 4 * number + 4]))
        for rebuild in (False, True):
            outcome = forked(
                lambda report, rebuild=rebuild: living_index.apply(settings, docs, encoder, report, rebuild=rebuild)
            )
            assert outcome.code == 0, outcome.error
        assert living_index.caches(settings.collection_folder(COLLECTION) / "index.db")
        assert (settings.collection_folder(COLLECTION) / PREVIOUS_FILE).exists()
        yield settings


def copy_of(made: Settings) -> Settings:
    home = made.home.with_name("copy")
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(made.home, home)
    return made.model_copy(update={"home": home})


def do(settings: Settings, job: str, files: Files) -> None:
    with closing(EmbeddedCatalog(settings, files)) as catalog:
        JOBS[job](catalog)


def states(settings: Settings) -> dict[str, Contents | None]:
    with closing(EmbeddedCatalog(settings)) as catalog:
        assert [catalog.verify(name) for name in catalog.names()] in ([[]], [])
        return {name: living_index.contents(settings.collection_folder(name)) for name in catalog.names()}


def folders(settings: Settings) -> list[Path]:
    return sorted((settings.home / "collections").iterdir())


@pytest.mark.parametrize("job", JOBS)
def test_a_fault_at_any_operation_leaves_the_old_or_the_new_state(made: Settings, job: str) -> None:
    before = states(made)
    whole = copy_of(made)
    counted = file_faults.AtOperation(0, lambda name, path: None)
    do(whole, job, file_faults.WatchedFiles(counted))
    after = {} if job == "drop" else {"new": before[COLLECTION]}
    assert states(whole) == after
    assert len(folders(whole)) == len(after)
    seen = set()
    for number in range(1, len(counted.seen) + 1):
        for fault in ("kill", "EIO"):
            copy = copy_of(made)
            if fault == "kill":
                outcome = forked(lambda report: do(copy, job, file_faults.killing(number)))  # noqa: B023
                assert outcome.killed, outcome.error
            else:
                with suppress(SearchAppError):
                    do(copy, job, file_faults.failing(number, file_faults.ERRORS[fault]))
            now = states(copy)
            where = f"{job}, {fault} at operation {number}: {counted.seen[number - 1]}"
            assert now in (before, after), where
            seen.add(now == after)
            with suppress(IndexNotFound):
                do(copy, job, Files())
            assert states(copy) == after, where
            assert len(folders(copy)) == len(after), f"{where}: files are left after the next run"
    assert seen == {False, True}
