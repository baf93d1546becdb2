"""A failing or full disk, or no more file descriptors: the old state stays readable, the error names the cause."""

from __future__ import annotations

import errno
import os
import random
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import disk_faults
import living_index
import pytest
from living_index import COLLECTION, Contents, Outcome, Report, Texts, forked, without_generation

from search_app.errors import IndexUnavailable, SearchAppError
from search_app.settings import Settings
from search_app.stores.embedded.catalog import EmbeddedCatalog

_NEVER = 1 << 60


@dataclass(frozen=True)
class Made:
    """An index, changed files, and `end`, the contents after the job."""

    folder: Path
    settings: Settings
    docs: Path
    before: Contents
    end: Contents

    def copy(self, name: str) -> Settings:
        home = self.folder / name
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(self.settings.home, home)
        return self.settings.model_copy(update={"home": home})

    def job(self, settings: Settings) -> None:
        living_index.apply(settings, self.docs, living_index.encoder_of(), lambda line: None)

    def check(self, settings: Settings, outcome: Outcome, where: str) -> None:
        """Check that no file is half changed, nothing is lost, our error names the file, and the job can run again."""
        if outcome.code:
            said = outcome.lines[-1] if outcome.lines else "nothing"
            assert any(line.startswith("refused") for line in outcome.lines), f"{where}: {outcome.error or said}"
            assert str(settings.home) in said, f"{where}: no path in {said!r}"
        now = contents(settings)
        for path in self.before.files.keys() | self.end.files.keys() | now.files.keys():
            ours = now.of_file(path)
            part = path in now.files and not now.files[path][1] and ours.items() <= self.end.of_file(path).items()
            whole = ours in (self.before.of_file(path), self.end.of_file(path))
            assert part or whole, f"{where}: {path} is neither what it was nor what it becomes"
        assert verified(settings) == [], where
        again = forked(lambda report: self.job(settings))
        assert again.code == 0, f"{where}, then run again: {again.error}"
        assert not contents(settings).differences(self.end), f"{where}, then run again"


def contents(settings: Settings) -> Contents:
    found = living_index.contents(settings.collection_folder(COLLECTION))
    assert found is not None
    return without_generation(found)


def verified(settings: Settings) -> list[str]:
    with closing(EmbeddedCatalog(settings)) as catalog:
        return catalog.verify(COLLECTION)


@pytest.fixture(scope="module")
def made() -> Iterator[Made]:
    with living_index.fast_folder() as folder:
        living_index.warm(folder)
        chance = random.Random(4)
        docs, encoder = folder / "docs", living_index.encoder_of()
        texts = Texts(docs, chance, count=8)
        settings = living_index.settings_of(folder / "home", compressed=False)
        settings.home.mkdir()
        made = forked(lambda report: living_index.apply(settings, docs, encoder, lambda line: None))
        assert made.code == 0, made.error
        before = contents(settings)
        texts.edit(chance)
        ended = settings.model_copy(update={"home": folder / "end"})
        shutil.copytree(settings.home, ended.home)
        done = forked(lambda report: living_index.apply(ended, docs, encoder, lambda line: None))
        assert done.code == 0, done.error
        yield Made(folder, settings, docs, before, contents(ended))


def refusing(made: Made, settings: Settings, report: Report) -> None:
    try:
        made.job(settings)
    except SearchAppError as error:
        report(f"refused {error}".replace("\n", " "))
        os._exit(3)


def faulty(made: Made, call: str, number: int, error: int, *, lasting: bool = False) -> tuple[Settings, Outcome]:
    settings = made.copy("faulty")

    def action(report: Report) -> None:
        fault = (
            disk_faults.FailingSyncs(number)
            if call == "fsync"
            else disk_faults.Counter(call, number, error, lasting=lasting)
        )
        refusing(made, settings, report)
        assert fault.seen >= 0  # it must live until here: SQLite calls it

    return settings, forked(action)


def calls(made: Made, call: str) -> int:
    """Number of calls of each kind that the job makes."""
    settings = made.copy("counted")

    def action(report: Report) -> None:
        counter = disk_faults.Counter("pwrite64" if call == "fsync" else call, _NEVER, 0)
        made.job(settings)
        report(str(counter.seen))

    outcome = forked(action)
    assert outcome.code == 0, outcome.error
    return int(outcome.lines[-1])


def at_each(made: Made, call: str, *, errors: tuple[str, ...], most: int) -> None:
    count = calls(made, call)
    print(f"{call}: {', '.join(errors)} at {min(most, count)} of {count} calls")
    for error in errors:
        for number in sorted({round(1 + place * (count - 1) / max(1, most - 1)) for place in range(min(most, count))}):
            settings, outcome = faulty(made, call, number, getattr(errno, error), lasting=error == "ENOSPC")
            made.check(settings, outcome, f"{error} at {call} {number} of {count}")


@pytest.mark.parametrize(
    ("call", "errors"), [("pwrite64", ("ENOSPC", "EIO")), ("ftruncate", ("EIO",)), ("pread64", ("EIO",))]
)
def test_a_failing_system_call_leaves_the_old_or_the_new_state(made: Made, call: str, errors: tuple[str, ...]) -> None:
    at_each(made, call, errors=errors, most=3)


@pytest.mark.slow
@pytest.mark.parametrize("call", disk_faults.CALLS)
def test_any_system_call_of_sqlite_may_fail(made: Made, call: str) -> None:
    at_each(made, call, errors=("ENOSPC", "EIO"), most=30)


@pytest.mark.skipif(not disk_faults.can_refuse_syncs(), reason="only Linux can be asked to refuse a sync")
def test_a_failing_sync_is_always_an_error(made: Made) -> None:
    at_each(made, "fsync", errors=("EIO",), most=4)


@pytest.mark.slow
@pytest.mark.skipif(not disk_faults.can_refuse_syncs(), reason="only Linux can be asked to refuse a sync")
def test_syncs_may_start_to_fail_at_any_time(made: Made) -> None:
    at_each(made, "fsync", errors=("EIO",), most=30)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", str(disk)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no disk of its own can be mounted here: {mounted.stderr.strip()}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_keeps_commits_and_the_job_resumes_when_there_is_room(made: Made, small_disk: Path) -> None:
    settings = made.settings.model_copy(update={"home": small_disk / "home"})
    shutil.copytree(made.settings.home, settings.home)
    room = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
    (small_disk / "filler").write_bytes(bytes(max(0, room - 40_000)))
    outcome = forked(lambda report: refusing(made, settings, report))
    assert outcome.code, "the disk was large enough"
    said = outcome.lines[-1]
    assert said.startswith("refused no space left for"), said
    assert str(small_disk) in said
    now = contents(settings)
    assert now.files.keys() >= made.before.files.keys() & made.end.files.keys()
    answered = living_index.answers(settings, living_index.encoder_of())
    assert answered[0], "the old state serves on a full disk"
    (small_disk / "filler").unlink()
    made.check(settings, outcome, "a full disk")


def test_a_process_out_of_file_descriptors_names_the_file(made: Made) -> None:
    settings = made.copy("crowded")

    def action(report: Report) -> None:
        lowest = os.dup(0)
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, lowest))
        with pytest.raises(IndexUnavailable) as caught:
            living_index.answers(settings, living_index.encoder_of())
        report(f"refused {caught.value}")

    outcome = forked(action)
    assert outcome.code == 0, outcome.error
    assert str(settings.home) in outcome.lines[-1]
    assert living_index.answers(settings, living_index.encoder_of())[0]
