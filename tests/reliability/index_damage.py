"""Damage to the files of an index, which must give the same answers as before, or an error."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import living_index
from living_index import COLLECTION, Answers, Contents, Report, Texts, forked

from search_app.errors import IndexUnavailable, SearchAppError
from search_app.settings import Settings
from search_app.stores.embedded import generation
from search_app.stores.embedded.catalog import EmbeddedCatalog
from search_app.stores.embedded.connection import connect_writing
from search_app.stores.embedded.files import Files
from search_app.stores.embedded.schema import INDEX_FILE, PREVIOUS_FILE

PAGE = 4096
KINDS = {
    "flipped bit": 12, "truncated": 3, "extended": 1, "zeroed page": 3, "older file": 2, "another collection's file": 2,
}  # fmt: skip
"""Kind of damage → weight in the random choice."""
CRASHED = "ended with"
_UNTOUCHED = ("writer.lock", "writer.pid")


@dataclass(frozen=True, slots=True)
class Verdict:
    """`answers`: "same", "refused" or "SILENT"; `matters`: whether the damage changed anything that the index holds.

    `problems` are broken promises.
    """

    file: str
    kind: str
    answers: str
    verify: str
    matters: bool
    repaired: str
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sound:
    """A sound index: closed cleanly, or with commits that are only in the log."""

    name: str
    settings: Settings
    answers: Answers
    contents: Contents
    previous: Contents | None
    older: Path
    other: Path

    @property
    def folder(self) -> Path:
        return self.settings.collection_folder(COLLECTION)


class Patients:
    """Two sound indexes; tests damage copies of them. No file is open between calls."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self._folder = folder
        self.encoder = living_index.encoder_of()
        living_index.warm(folder)
        docs = folder / "docs"
        texts = Texts(docs, chance)
        home = living_index.settings_of(folder / "made")
        home.home.mkdir()
        self._run(lambda report: living_index.apply(home, docs, self.encoder, report))
        texts.edit(chance)
        self._run(lambda report: living_index.apply(home, docs, self.encoder, report, rebuild=True))
        self._run(lambda report: _compact(home))
        older = living_index.copied(home.collection_folder(COLLECTION), folder / "older")
        texts.edit(chance)
        self._run(lambda report: living_index.apply(home, docs, self.encoder, report))
        self._run(lambda report: _compact(home))
        other_home = living_index.settings_of(folder / "other")
        other_home.home.mkdir()
        other_docs = folder / "other-docs"
        Texts(other_docs, chance)
        self._run(lambda report: living_index.apply(other_home, other_docs, self.encoder, report))
        self._run(lambda report: _compact(other_home))
        other = other_home.collection_folder(COLLECTION)
        self._run(lambda report: _many_commits(other))
        self.sound = [self._sound("at rest", home, older, other)]
        texts.edit(chance)
        logged = self._copy_home(home, "logged")
        self._run(lambda report: _apply_and_die(logged, docs, self.encoder, report))
        self.sound.append(self._sound("with a log", logged, older, other))

    def examine(self, chance: random.Random, sound: Sound | None = None) -> Verdict:
        sound = sound or chance.choice(self.sound)
        damaged = self._copy(sound, "damaged")
        file, kind = self._damage(damaged, sound, chance)
        name = "index.db" if file == INDEX_FILE else file.split("-")[0] if file.endswith(".cache") else file
        problems = []
        answered, error = self._answered(self._copy_of(damaged, "asked"), sound)
        if answered == "SILENT":
            problems.append(f"{kind} of {file} ({sound.name}): other answers than the sound index's, without an error")
        elif answered == "refused" and not isinstance(error, IndexUnavailable):
            problems.append(f"{kind} of {file} ({sound.name}): {type(error).__name__} instead of IndexCorrupt: {error}")
        # An older record of the generation is what a job leaves that is killed before it writes the newer one.
        matters = self._matters(damaged, sound, file) and (file, kind) != ("generation", "older file")
        found = self._verified(self._copy_of(damaged, "verified"))
        if matters and not found:
            problems.append(f"{kind} of {file} ({sound.name}): verify finds nothing")
        repaired = self._repaired(self._copy_of(damaged, "repaired"), sound) if found else ""
        derived = file.endswith(".cache") or file == "generation" or file.startswith(PREVIOUS_FILE)
        if derived and found and repaired != "sound":
            problems.append(f"{kind} of {file} ({sound.name}): after repair {repaired}")
        problems += [f"{kind} of {file} ({sound.name}): verify {text}" for text in found if text.startswith(CRASHED)]
        if repaired.startswith(CRASHED):
            problems.append(f"{kind} of {file} ({sound.name}): repair {repaired}")
        if repaired == "SILENT":
            problems.append(f"{kind} of {file} ({sound.name}): other answers after the repair")
        return Verdict(name, kind, answered, "found" if found else "nothing", matters, repaired, tuple(problems))

    def _damage(self, settings: Settings, sound: Sound, chance: random.Random) -> tuple[str, str]:
        folder = settings.collection_folder(COLLECTION)
        files = sorted(p.name for p in folder.iterdir() if p.name not in _UNTOUCHED and p.stat().st_size)
        while True:
            file = chance.choice(files)
            kind = chance.choices(list(KINDS), list(KINDS.values()))[0]
            path = folder / file
            before = path.read_bytes()
            after = _DAMAGES[kind](before, chance, _namesake(sound.older, file), _namesake(sound.other, file))
            if after is not None and after != before:
                path.write_bytes(after)
                return file, kind

    def _answered(self, settings: Settings, sound: Sound) -> tuple[str, Exception | None]:
        try:
            found = living_index.answers(settings, self.encoder)
        except Exception as error:
            return "refused", error
        return ("same" if living_index.same_answers(found, sound.answers) else "SILENT"), None

    def _matters(self, settings: Settings, sound: Sound, file: str) -> bool:
        """Whether reading everything without checks gives something other than what was written."""
        if file.endswith(".cache") or file == "generation":
            return True
        try:
            if file.startswith(PREVIOUS_FILE):
                folder = self._copy_of(settings, "read").collection_folder(COLLECTION)
                return living_index.contents(folder, file=PREVIOUS_FILE, checked=False) != sound.previous
            folder = self._copy_of(settings, "read").collection_folder(COLLECTION)
            return living_index.contents(folder, checked=False) != sound.contents
        except Exception:
            return True

    def _verified(self, settings: Settings) -> list[str]:
        with closing(EmbeddedCatalog(settings)) as catalog:
            try:
                return catalog.verify(COLLECTION)
            except SearchAppError as error:
                return [str(error)]
            except Exception as error:
                return [f"{CRASHED} {type(error).__name__}: {error}"]

    def _repaired(self, settings: Settings, sound: Sound) -> str:
        with closing(EmbeddedCatalog(settings)) as catalog:
            try:
                said = catalog.repair(COLLECTION)
            except SearchAppError:
                return "refused"
            except Exception as error:
                return f"{CRASHED} {type(error).__name__}: {error}"
        if self._verified(settings):
            return "still damaged"
        answered, _ = self._answered(settings, sound)
        if answered != "same" and any("lost" in line and "search-index" in line for line in said):
            return "without what it says is lost"
        return "sound" if answered == "same" else answered

    def _sound(self, name: str, settings: Settings, older: Path, other: Path) -> Sound:
        copy = self._copy_home(settings, "looked-at")
        folder = copy.collection_folder(COLLECTION)
        contents = living_index.contents(folder)
        assert contents is not None
        previous = living_index.contents(folder, file=PREVIOUS_FILE, checked=False)
        assert previous is not None
        assert len(living_index.caches(folder / INDEX_FILE)) == 2
        problems = self._verified(copy)
        assert problems == [], problems
        return Sound(name, settings, living_index.answers(copy, self.encoder), contents, previous, older, other)

    def _copy(self, sound: Sound, name: str) -> Settings:
        return self._copy_of(sound.settings, name)

    def _copy_of(self, settings: Settings, name: str) -> Settings:
        return self._copy_home(settings, name)

    def _copy_home(self, settings: Settings, name: str) -> Settings:
        made = settings.model_copy(update={"home": self._folder / name})
        shutil.rmtree(made.home, ignore_errors=True)
        folder = made.collection_folder(COLLECTION)
        folder.parent.mkdir(parents=True)
        shutil.copytree(settings.collection_folder(COLLECTION), folder)
        return made

    def _run(self, action: Callable[[Report], None]) -> None:
        outcome = forked(action)
        assert outcome.code == 0, outcome.error


def _many_commits(folder: Path) -> None:
    """Raises the generation above that of the index it replaces."""
    with closing(connect_writing(folder / INDEX_FILE)) as db:
        db.execute("UPDATE manifest SET generation = 1000")
        (lineage,) = db.execute("SELECT lineage FROM manifest").fetchone()
        db.pragma("wal_checkpoint(TRUNCATE)")
    generation.record(Files(), folder, lineage, 1000)


def _compact(settings: Settings) -> None:
    with closing(EmbeddedCatalog(settings)) as catalog:
        catalog.compact(COLLECTION)


def _apply_and_die(settings: Settings, docs: Path, encoder: living_index.Encoder, report: Report) -> None:
    """Stop after the last batch, before the log is merged into the index."""
    from search_app.stores.embedded.writer import SqliteWriter

    SqliteWriter.finish = lambda self: os._exit(0)  # type: ignore[method-assign]
    living_index.apply(settings, docs, encoder, report)


def _namesake(folder: Path, file: str) -> bytes | None:
    """The same file in another folder; for caches, whose names differ, the one of the same kind."""
    path = folder / file
    if file.endswith(".cache"):
        path = next(iter(folder.glob(f"{file.split('-')[0]}-*.cache")), path)
    return path.read_bytes() if path.exists() else None


def _flipped(data: bytes, chance: random.Random, older: bytes | None, other: bytes | None) -> bytes:
    place = chance.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << chance.randrange(8)]) + data[place + 1 :]


def _truncated(data: bytes, chance: random.Random, older: bytes | None, other: bytes | None) -> bytes:
    return data[: chance.choice([0, 1, len(data) // 2, len(data) - 1])]


def _extended(data: bytes, chance: random.Random, older: bytes | None, other: bytes | None) -> bytes:
    return data + chance.randbytes(chance.choice([1, PAGE]))


def _zeroed(data: bytes, chance: random.Random, older: bytes | None, other: bytes | None) -> bytes:
    start = PAGE * chance.randrange(-(-len(data) // PAGE))
    return data[:start] + bytes(len(data[start : start + PAGE])) + data[start + PAGE :]


_DAMAGES: dict[str, Callable[[bytes, random.Random, bytes | None, bytes | None], bytes | None]] = {
    "flipped bit": _flipped,
    "truncated": _truncated,
    "extended": _extended,
    "zeroed page": _zeroed,
    "older file": lambda data, chance, older, other: older,
    "another collection's file": lambda data, chance, older, other: other,
}
