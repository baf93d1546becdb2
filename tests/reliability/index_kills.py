"""Rounds of kill -9: a job on an index in use is killed at a random moment, checked, and repeated until it is done.

Beside it lives a twin, on which the same jobs run without a kill.
"""

from __future__ import annotations

import random
import shutil
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import living_index
from living_index import COLLECTION, Contents, Kill, Outcome, Report, Texts, forked

from search_app.settings import Settings
from search_app.stores.embedded.catalog import EmbeddedCatalog
from search_app.stores.embedded.schema import INDEX_FILE, PREVIOUS_FILE

WEIGHTS = {
    "apply": 8, "rebuild": 2, "reencode": 2, "compact": 2, "delete": 2, "snapshot": 2, "restore": 2, "rollback": 1,
}  # fmt: skip
_AGAIN = 0.3
_KEPT = {
    "index.db", "index.db-wal", "index.db-shm", "previous.db", "previous.db-wal", "previous.db-shm", "generation",
    "writer.lock", "writer.pid",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Round:
    """`kills` counts processes killed before they ended; `problems` lists broken guarantees."""

    job: str
    kills: int
    seconds: float
    passages: int
    problems: tuple[str, ...]


@dataclass
class Bench:
    """Jobs on `index` are killed, the same jobs on `twin` are not."""

    folder: Path
    chance: random.Random
    has_previous: bool = False

    def __post_init__(self) -> None:
        living_index.warm(self.folder)
        self.docs = self.folder / "docs"
        self.texts = Texts(self.docs, self.chance)
        self.index = living_index.settings_of(self.folder / "index")
        self.twin = living_index.settings_of(self.folder / "twin")
        self.digest = "hash"
        for settings in (self.index, self.twin):
            settings.home.mkdir()
            self._run("apply", settings)
            self._run("compact", settings)
        self.newest = self.contents(self.index).generation

    def contents(self, settings: Settings) -> Contents:
        found = living_index.contents(settings.collection_folder(COLLECTION))
        assert found is not None
        return found

    def play(self, job: str) -> Round:
        """Run one job: on the index with one kill or more, on the twin without."""
        chance = self.chance
        if (job == "rollback" and not self.has_previous) or (
            job == "restore" and not self._snapshot(self.index).exists()
        ):
            job = "apply"
        if job == "apply":
            self.texts.edit(chance)
        elif job == "rebuild":
            self.texts.edit(chance)
            self.digest = f"hash-{chance.randrange(10**9)}"
        elif job == "reencode":
            self.digest = f"hash-{chance.randrange(10**9)}"
        elif job == "snapshot":
            for settings in (self.index, self.twin):
                shutil.rmtree(self._snapshot(settings), ignore_errors=True)
        before = self.contents(self.index)
        removed = self._removed(before) if job == "delete" else ()
        whole = self._run(job, self.twin, removed)
        after = self.contents(self.twin)
        if job == "rollback":  # a rebuild that was killed after its end and run again has replaced that index too
            previous = living_index.contents(self.index.collection_folder(COLLECTION), file=PREVIOUS_FILE)
            assert previous is not None
            after = previous
        problems: list[str] = []
        kills, seconds, done = 0, 0.0, False
        while not done:
            kill = Kill.within(whole, chance) if kills == 0 or chance.random() < _AGAIN else None
            outcome = forked(lambda report: self._do(job, self.index, removed, report), kill=kill)
            seconds += outcome.seconds
            if not outcome.killed:
                done = True
                if outcome.code:
                    problems.append(outcome.error)
                break
            kills += 1
            now = self.contents(self.index)
            problems += self._broken(job, before, now, after, outcome.lines)
            problems += [f"verify after the kill: {problem}" for problem in self._verified(self.index)]
            if job in ("rollback", "restore") and not without(now).differences(without(after)):
                break  # a second time would undo the first
        problems += self._ended(job, after)
        if job in ("rebuild", "reencode", "restore"):
            self.has_previous = True
        return Round(job, kills, seconds, len(after.passages), tuple(dict.fromkeys(problems)))

    def _run(self, job: str, settings: Settings, removed: tuple[str, ...] = ()) -> Outcome:
        outcome = forked(lambda report: self._do(job, settings, removed, report))
        assert outcome.code == 0, outcome.error
        return outcome

    def _do(self, job: str, settings: Settings, removed: tuple[str, ...], report: Report) -> None:
        encoder = living_index.encoder_of(digest=self.digest)
        if job in ("apply", "rebuild"):
            living_index.apply(settings, self.docs, encoder, report, rebuild=job == "rebuild")
            return
        if job == "reencode":
            living_index.reencode(settings, encoder, report)
            return
        with closing(EmbeddedCatalog(settings)) as catalog:
            if job == "compact":
                catalog.compact(COLLECTION)
            elif job == "snapshot":
                if not self._snapshot(settings).exists():
                    catalog.snapshot(COLLECTION, self._snapshot(settings))
            elif job == "restore":
                catalog.restore(COLLECTION, self._snapshot(settings), replace=True)
            elif job == "rollback":
                catalog.rollback(COLLECTION)
            elif job in ("delete", "start"):
                with closing(catalog.open(COLLECTION)) as store:
                    manifest = store.manifest
                with catalog.writer(COLLECTION, manifest) as writer:
                    if job == "delete":
                        writer.remove_documents(removed)
                        writer.finish()

    def _removed(self, before: Contents) -> tuple[str, ...]:
        return tuple(self.chance.sample(sorted(before.documents), min(3, len(before.documents))))

    def _snapshot(self, settings: Settings) -> Path:
        return settings.home / "snapshot"

    def _broken(self, job: str, before: Contents, now: Contents, after: Contents, lines: tuple[str, ...]) -> list[str]:
        problems = []
        if now.generation < self.newest:
            problems.append(f"generation fell from {self.newest} to {now.generation}")
        self.newest = max(self.newest, now.generation)
        if job == "apply":
            if now.generation < before.generation + sum(line == "committed" for line in lines) - 1:
                problems.append(f"{len(lines)} commits were reported, the generation is {now.generation}")
            return problems + [
                f"{path} is neither what it was nor what it becomes"
                for path in before.files.keys() | now.files.keys() | after.files.keys()
                if not _file_is_between(path, before, now, after)
            ]
        elif without(now).differences(without(before)) and (found := without(now).differences(without(after))):
            problems.append(f"neither the old nor the new state after {job}: {found[0]}")
        return problems

    def _ended(self, job: str, after: Contents) -> list[str]:
        """Check the guarantees after the job is done, however often it was killed."""
        now = self.contents(self.index)
        problems = [f"after {job}: {problem}" for problem in without(now).differences(without(after))]
        if now.generation < self.newest:
            problems.append(f"generation fell from {self.newest} to {now.generation}")
        self.newest = now.generation
        problems += [f"verify after {job}: {problem}" for problem in self._verified(self.index)]
        encoder = living_index.encoder_of(digest=self._digest_in_use())
        if job == "rollback":
            living_index.copied(self.index.collection_folder(COLLECTION), self.twin.collection_folder(COLLECTION))
        ours, theirs = (living_index.answers(settings, encoder) for settings in (self.index, self.twin))
        if not living_index.same_answers(ours, theirs):
            problems.append(f"other answers than the twin's after {job}")
        self._run("start", self.index)
        known = {*_KEPT, *self._caches()}
        stray = [path.name for path in self.index.collection_folder(COLLECTION).iterdir() if path.name not in known]
        if stray:
            problems.append(f"left behind after {job}: {', '.join(stray)}")
        if job == "snapshot":
            copy = living_index.contents(self._snapshot(self.index), checked=True)
            if copy is None or (found := without(copy).differences(without(after))):
                problems.append(f"the snapshot is not the index: {found[:1] if copy else 'nothing there'}")
        return problems

    def _digest_in_use(self) -> str:
        """The encoder named in the index, which a rollback or restore may have changed."""
        with closing(EmbeddedCatalog(self.index)) as catalog, closing(catalog.open(COLLECTION)) as store:
            self.digest = store.manifest.encoder.digest
        return self.digest

    def _caches(self) -> list[str]:
        return living_index.caches(self.index.collection_folder(COLLECTION) / INDEX_FILE)

    def _verified(self, settings: Settings) -> list[str]:
        with closing(EmbeddedCatalog(settings)) as catalog:
            return catalog.verify(COLLECTION)


without = living_index.without_generation


def _file_is_between(path: str, before: Contents, now: Contents, after: Contents) -> bool:
    ours = now.of_file(path)
    if path in now.files and not now.files[path][1]:  # its digest is empty: only a part of it has come yet
        return ours.items() <= after.of_file(path).items()
    return any(
        ours == other.of_file(path) and (path in now.files) == (path in other.files) for other in (before, after)
    )


def rounds(folder: Path, seed: int, numbers: range) -> list[Round]:
    """Jobs in random order; each kind comes at least once in ten."""
    made = Bench(folder, random.Random(seed))
    return [made.play(pick(random.Random(f"{seed}:{number}"), number)) for number in numbers]


def pick(chance: random.Random, number: int) -> str:
    kinds = list(WEIGHTS)
    if number % 10 < len(kinds):
        return kinds[number % 10]
    return chance.choices(kinds, list(WEIGHTS.values()))[0]
