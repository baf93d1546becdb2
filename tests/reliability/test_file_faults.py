"""A fault at each of our file operations leaves the old or the new state; the next job cleans up."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import file_faults
import living_index
import pytest
from living_index import COLLECTION, Contents, Texts, forked, without_generation

from search_app.errors import SearchAppError
from search_app.settings import Settings
from search_app.stores.embedded.catalog import EmbeddedCatalog
from search_app.stores.embedded.files import TEMPORARY, Files

JOBS = ("compact", "snapshot", "restore", "rollback", "delete")


@dataclass(frozen=True)
class Made:
    """A collection with a previous index and a snapshot of another state."""

    folder: Path
    settings: Settings
    snapshot: Path
    removed: tuple[str, ...]

    def copy(self, name: str) -> Made:
        home = self.folder / name
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(self.settings.home, home)
        shutil.rmtree(self.folder / f"{name}-taken", ignore_errors=True)
        return Made(self.folder, self.settings.model_copy(update={"home": home}), self.snapshot, self.removed)

    @property
    def index(self) -> Path:
        return self.settings.collection_folder(COLLECTION)

    @property
    def taken(self) -> Path:
        """The folder for snapshots."""
        return self.folder / f"{self.settings.home.name}-taken"

    def contents(self) -> Contents:
        found = living_index.contents(self.index)
        assert found is not None
        return without_generation(found)

    def do(self, job: str, files: Files) -> None:
        with closing(EmbeddedCatalog(self.settings, files)) as catalog:
            if job == "compact":
                catalog.compact(COLLECTION)
            elif job == "snapshot":
                catalog.snapshot(COLLECTION, self.taken)
            elif job == "restore":
                catalog.restore(COLLECTION, self.snapshot, replace=True)
            elif job == "rollback":
                catalog.rollback(COLLECTION)
            elif job == "delete":
                with closing(catalog.open(COLLECTION)) as store:
                    manifest = store.manifest
                with catalog.writer(COLLECTION, manifest) as writer:
                    writer.remove_documents(self.removed)
                    writer.finish()

    def verified(self) -> list[str]:
        with closing(EmbeddedCatalog(self.settings)) as catalog:
            return catalog.verify(COLLECTION)

    def start(self) -> None:
        """Open the index like the next job."""
        with closing(EmbeddedCatalog(self.settings)) as catalog:
            with closing(catalog.open(COLLECTION)) as store:
                manifest = store.manifest
            catalog.writer(COLLECTION, manifest).close()

    def stray(self) -> list[str]:
        """Files that the start of a job must remove."""
        known = living_index.caches(self.index / "index.db")
        return [
            path.name
            for path in self.index.iterdir()
            if TEMPORARY in path.name
            or path.name.startswith(("rebuild.db", "restore.db", "set-aside.db"))
            or (path.suffix == ".cache" and path.name not in known)
        ]


@pytest.fixture(scope="module")
def made() -> Iterator[Made]:
    with living_index.fast_folder() as folder:
        living_index.warm(folder)
        chance = random.Random(3)
        docs, encoder = folder / "docs", living_index.encoder_of()
        texts = Texts(docs, chance, count=12)
        settings = living_index.settings_of(folder / "home")
        settings.home.mkdir()
        made = Made(folder, settings, folder / "snapshot", ())

        def run(action: Callable[[], None]) -> None:
            outcome = forked(lambda report: action())
            assert outcome.code == 0, outcome.error

        run(lambda: living_index.apply(settings, docs, encoder, lambda line: None))
        run(lambda: EmbeddedCatalog(settings).snapshot(COLLECTION, made.snapshot))
        texts.edit(chance)
        run(lambda: living_index.apply(settings, docs, encoder, lambda line: None, rebuild=True))
        run(lambda: made.do("compact", Files()))
        removed = tuple(sorted(made.contents().documents)[:2])
        yield Made(folder, settings, made.snapshot, removed)


@pytest.fixture(scope="module")
def ends(made: Made) -> dict[str, tuple[int, Contents]]:
    """Number of operations of each job and its resulting contents."""
    found = {}
    for job in JOBS:
        copy = made.copy("whole")

        def count(report: living_index.Report, job: str = job, copy: Made = copy) -> None:
            counted = file_faults.AtOperation(0, lambda name, path: None)
            copy.do(job, file_faults.WatchedFiles(counted))
            report(str(len(counted.seen)))

        outcome = forked(count)
        assert outcome.code == 0, outcome.error
        found[job] = (int(outcome.lines[-1]), copy.contents())
    return found


def is_one_of(now: Contents, *states: Contents) -> bool:
    return any(not now.differences(state) for state in states)


def check(made: Made, job: str, copy: Made, end: Contents, where: str) -> None:
    now = copy.contents()
    assert not now.differences(made.contents()) or not now.differences(end), (
        f"{where}: neither the old nor the new state"
    )
    assert copy.verified() == [], where
    copy.start()
    assert copy.stray() == [], where
    if job == "snapshot" and copy.taken.exists():
        assert living_index.contents(copy.taken) is not None, where
    elif job != "rollback" or not now.differences(made.contents()):  # twice is back again
        copy.do(job, Files())
        assert not copy.contents().differences(end), f"{where}, then run again"
        assert copy.verified() == [], f"{where}, then run again"


def points(count: int, every: int) -> range:
    return range(1, count + 1, every)


def fail_everywhere(made: Made, ends: dict[str, tuple[int, Contents]], job: str, error: str, every: int = 1) -> None:
    count, end = ends[job]
    for number in points(count, every):
        copy = made.copy("faulty")
        try:
            copy.do(job, file_faults.failing(number, file_faults.ERRORS[error]))
        except SearchAppError as caught:
            message = caught.message
        else:
            message = str(made.folder)  # what could be done without
        assert str(made.folder) in message, f"{job}, {error} at {number}: no path in {message!r}"
        check(made, job, copy, end, f"{job}, {error} at operation {number} of {count}")
    print(f"{job}: {error} at {len(points(count, every))} of {count} operations")


def kill_everywhere(made: Made, ends: dict[str, tuple[int, Contents]], job: str, every: int = 1) -> None:
    count, end = ends[job]
    for number in points(count, every):
        copy = made.copy("killed")
        outcome = forked(lambda report: copy.do(job, file_faults.killing(number)))  # noqa: B023
        assert outcome.killed, outcome.error
        check(made, job, copy, end, f"{job}, killed at operation {number} of {count}")
    print(f"{job}: killed at {len(points(count, every))} of {count} operations")


@pytest.mark.parametrize("job", JOBS)
def test_an_error_at_every_25th_operation_leaves_the_old_or_the_new_state(
    made: Made, ends: dict[str, tuple[int, Contents]], job: str
) -> None:
    fail_everywhere(made, ends, job, "ENOSPC", every=25)


@pytest.mark.parametrize("job", JOBS)
def test_a_kill_at_every_25th_operation_leaves_the_old_or_the_new_state(
    made: Made, ends: dict[str, tuple[int, Contents]], job: str
) -> None:
    kill_everywhere(made, ends, job, every=25)


@pytest.mark.slow
@pytest.mark.parametrize("error", file_faults.ERRORS)
@pytest.mark.parametrize("job", JOBS)
def test_an_error_at_every_operation_leaves_the_old_or_the_new_state(
    made: Made, ends: dict[str, tuple[int, Contents]], job: str, error: str
) -> None:
    fail_everywhere(made, ends, job, error)


@pytest.mark.slow
@pytest.mark.parametrize("job", JOBS)
def test_a_kill_at_every_operation_leaves_the_old_or_the_new_state(
    made: Made, ends: dict[str, tuple[int, Contents]], job: str
) -> None:
    kill_everywhere(made, ends, job)


def lose_power(made: Made, ends: dict[str, tuple[int, Contents]], job: str, *, variants: int, every: int = 1) -> int:
    """Returns the number of states checked."""
    copy, crashes = made.copy("powered"), made.folder / "crashes"
    shutil.rmtree(crashes, ignore_errors=True)
    crashes.mkdir()
    power = file_faults.PowerLoss(copy.settings.home, crashes, random.Random(5), variants=variants, every=every)
    copy.do(job, file_faults.WatchedFiles(power))
    for state in power.states:
        crashed = Made(made.folder, made.settings.model_copy(update={"home": state}), made.snapshot, made.removed)
        now = crashed.contents()
        where = f"{job}, power lost before {state.name}"
        assert is_one_of(now, made.contents(), ends[job][1]), f"{where}: neither the old nor the new state"
        assert crashed.verified() == [], where
        crashed.start()
        assert crashed.stray() == [], where
    print(f"{job}: {len(power.states)} states after a loss of power")
    return len(power.states)


@pytest.mark.parametrize("job", ["compact"])
def test_a_power_failure_leaves_the_old_or_the_new_state(
    made: Made, ends: dict[str, tuple[int, Contents]], job: str
) -> None:
    assert lose_power(made, ends, job, variants=1, every=12) > 0


@pytest.mark.slow
@pytest.mark.parametrize("job", ["compact", "restore", "rollback", "delete"])
def test_a_power_failure_before_any_operation_leaves_the_old_or_the_new_state(
    made: Made, ends: dict[str, tuple[int, Contents]], job: str
) -> None:
    assert lose_power(made, ends, job, variants=10) > 0
