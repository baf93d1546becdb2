"""A small index of real text that changes, and its contents read from the tables without the store's code."""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import apsw
import numpy as np
from fakes import HashEncoder

from indexing import job, rebuild
from indexing.runner import LocalRunner
from search_app.protocols import Encoder
from search_app.settings import Settings
from search_app.stores.embedded import connection, maintenance
from search_app.stores.embedded.catalog import EmbeddedCatalog
from search_app.stores.embedded.schema import INDEX_FILE
from search_app.stores.vectors import plan
from search_app.types import Matrix

COLLECTION = "default"
TOLERANCE = 1e-5
PARAGRAPHS = [text for topic in topics.values() for text in topic.split("\n\n") if 200 < len(text) < 1200]
"""Topics of Python's language reference."""
QUESTIONS = ["What does the global statement do?", "how are exceptions raised and caught", "class attribute lookup"]
NOTE = "\n".join(PARAGRAPHS[:12])
FILTERS: list[dict[str, object]] = [
    {"field": "meta.size", "operator": ">", "value": 1500},
    {"field": "meta.note", "operator": "==", "value": NOTE},
]
_BATCH_CHARACTERS = 6_000


def settings_of(home: Path, *, compressed: bool = True) -> Settings:
    """Passages of few words, so that little text makes many; vectors and words in caches, as of a large index, of which
    the words are made in more than one pass."""
    maintenance._MIN_PASSAGES = 0
    maintenance._MAX_POSTINGS = 2_500
    plan._MIN_TO_TRAIN = 50
    splitter = {"passage_tokens": 64, "overlap_tokens": 8}
    vectors = {"index": "compressed", "lists": 4, "probes": 4, "oversample": 100} if compressed else {"index": "flat"}
    return Settings(home=home, splitter=splitter, vectors=vectors)  # type: ignore[arg-type,call-arg]


def encoder_of(*, digest: str = "hash") -> HashEncoder:
    return HashEncoder(dim=32, max_tokens=96, digest=digest)


class Texts:
    """Text files in a folder, edited at random."""

    def __init__(self, folder: Path, chance: random.Random, *, count: int = 24) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            self.write(f"{number:03}.txt", chance)

    def write(self, name: str, chance: random.Random) -> None:
        text = "\n\n".join(chance.sample(PARAGRAPHS, chance.randint(1, 6)))
        (self._folder / name).write_text(text, encoding="utf-8")
        if chance.random() < 0.2:  # metadata beyond a page of the index
            stated = {
                "note": NOTE if chance.random() < 0.5 else chance.choice(PARAGRAPHS),
                "stars": chance.randrange(5),
            }
            (self._folder / f"{name}.meta.json").write_text(json.dumps(stated), encoding="utf-8")

    def edit(self, chance: random.Random) -> None:
        """Change some files, remove one or two, add one or two."""
        names = sorted(path.name for path in self._folder.glob("*.txt"))
        for name in chance.sample(names, min(len(names), chance.randint(1, 6))):
            self.write(name, chance)
        if len(names) > 16:
            for name in chance.sample(names, chance.randint(1, 2)):
                (self._folder / name).unlink()
                (self._folder / f"{name}.meta.json").unlink(missing_ok=True)
        for _ in range(chance.randint(0, 3)):
            self.write(f"{chance.randrange(10**6):06}.txt", chance)


@dataclass(frozen=True, slots=True)
class Contents:
    """The contents of an index by ids that survive a rebuild; `files` by path."""

    lineage: str
    generation: int
    files: Mapping[str, tuple[Any, ...]]
    documents: Mapping[str, tuple[Any, ...]]
    passages: Mapping[str, tuple[Any, ...]]
    vectors: Mapping[str, bytes]
    attributes: frozenset[tuple[Any, ...]]
    paths: Mapping[str, str] = field(default_factory=dict)
    """Passage id → path of its file."""

    def of_file(self, path: str) -> dict[str, tuple[Any, ...]]:
        return {id: values for id, values in self.passages.items() if self.paths[id] == path}

    def differences(self, other: Contents) -> list[str]:
        """Differences to an index that should have the same contents; vectors may differ by the tolerance."""
        found = []
        for name in ("files", "documents", "passages"):
            ours, theirs = getattr(self, name), getattr(other, name)
            if lost := theirs.keys() - ours.keys():
                found.append(f"{len(lost)} {name} lost, such as {min(lost)}")
            if extra := ours.keys() - theirs.keys():
                found.append(f"{len(extra)} {name} too many, such as {min(extra)}")
            if other_values := [key for key in ours.keys() & theirs.keys() if ours[key] != theirs[key]]:
                key = min(other_values)
                found.append(f"{len(other_values)} {name} differ, such as {key}: {ours[key]!r} is not {theirs[key]!r}")
        if self.attributes != other.attributes:
            found.append(f"attributes differ: {sorted(map(str, self.attributes ^ other.attributes))[:3]}")
        for id in self.vectors.keys() & other.vectors.keys():
            far = np.abs(np.frombuffer(self.vectors[id], "<f4") - np.frombuffer(other.vectors[id], "<f4")).max()
            if not far <= TOLERANCE:
                found.append(f"the vector of {id} is off by {far}")
                break
        if self.vectors.keys() != other.vectors.keys():
            found.append("not the same passages have vectors")
        return found


def contents(folder: Path, *, file: str = INDEX_FILE, checked: bool = True) -> Contents | None:
    """The contents, or None without an index. Reads without checksums, like a plain SQLite."""
    path = folder / file
    if not path.exists():
        return None
    connection._load_checksums()
    db = apsw.Connection(str(path), vfs="cksmvfs" if checked else "unix", flags=apsw.SQLITE_OPEN_READWRITE)
    on_exit = contextlib.closing(db)
    with on_exit:
        connection._keep_log(db)
        with db:
            if not db.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'manifest'").get:
                return None
            return _contents(db)


def _contents(db: apsw.Connection) -> Contents | None:
    known = db.execute("SELECT lineage, generation FROM manifest").fetchall()
    if not known:
        return None
    files = db.execute("SELECT path, source, digest, size, documents FROM files").fetchall()
    documents = db.execute(
        "SELECT d.id, f.path, d.title, d.source, d.language, d.meta, d.headings, d.pages, d.text"
        " FROM documents d JOIN files f ON f.id = d.file"
    ).fetchall()
    passages = db.execute(
        "SELECT p.id, f.path, d.id, p.title, p.start, p.end, p.page, p.text, t.length, t.words, t.counts, v.key"
        " FROM passages p LEFT JOIN documents d ON d.rowid = p.document LEFT JOIN files f ON f.id = d.file"
        " LEFT JOIN terms t ON t.passage = p.rowid LEFT JOIN vectors v ON v.rowid = p.vector"
    ).fetchall()
    vectors = db.execute("SELECT p.id, v.embedding FROM passages p JOIN vectors v ON v.rowid = p.vector").fetchall()
    attributes = db.execute(
        "SELECT d.id, f.name, a.kind, a.value FROM attributes a JOIN fields f ON f.id = a.field"
        " LEFT JOIN documents d ON d.rowid = a.document"
    ).fetchall()
    assert len(passages) == len({row[0] for row in passages}), "a passage is there twice"
    return Contents(
        *known[0],
        {row[0]: row[1:] for row in files},
        {row[0]: row[1:] for row in documents},
        {row[0]: row[2:] for row in passages},
        dict(vectors),
        frozenset(attributes),
        {row[0]: row[1] for row in passages},
    )


Answers = list[list[tuple[str, str, float]]]


def answers(settings: Settings, encoder: Encoder, *, k: int = 10) -> Answers:
    """Answers of a store to fixed questions: dense, BM25, both with a filter, and texts of the documents found."""
    vectors = encoder.encode_queries(QUESTIONS)
    with closing(EmbeddedCatalog(settings)) as catalog, closing(catalog.open(COLLECTION)) as store:
        rankings = [
            *store.search_dense(vectors, k=k),
            *store.search_keyword(QUESTIONS, k=k),
        ]
        for where in FILTERS:
            # A field that no document has any more is known until a repair: both find nothing.
            known = str(where["field"]).removeprefix("meta.") in store.fields()
            rankings += store.search_dense(vectors, k=k, where=where) if known else [[] for _ in QUESTIONS]
            rankings += store.search_keyword(QUESTIONS, k=k, where=where) if known else [[] for _ in QUESTIONS]
        for both in store.search_both(QUESTIONS, vectors, k=k):
            rankings += [both.dense, both.keyword]
        found = [[(hit.passage.id, hit.passage.text, hit.score) for hit in hits] for hits in rankings]
        texts = []
        for id in sorted({hit.passage.document_id for hits in rankings for hit in hits}):
            document = store.document(id)
            texts.append((id, "" if document is None else document.text, 0.0))
        listed = [(item.id, item.title, 0.0) for item in store.documents(limit=10_000)]
        return [*found, texts, listed]


def same_answers(ours: Answers, theirs: Answers) -> bool:
    """Equality up to rounding of scores and ties at the cut."""
    return len(ours) == len(theirs) and all(map(_same_ranking, ours, theirs))


def _same_ranking(ours: list[tuple[str, str, float]], theirs: list[tuple[str, str, float]]) -> bool:
    if len(ours) != len(theirs) or any(abs(a[2] - b[2]) > TOLERANCE for a, b in zip(ours, theirs, strict=True)):
        return False
    last = ours[-1][2] if ours else 0.0
    texts = {id: text for id, text, _ in theirs}
    clear = {id for id, _, score in theirs if score > last + TOLERANCE}
    return clear <= {id for id, _, _ in ours} and all(texts.get(id, text) == text for id, text, _ in ours)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of an action in its own process: the `lines` it reported, and `moments`, their times in seconds."""

    killed: bool
    code: int
    seconds: float
    lines: tuple[str, ...]
    moments: tuple[float, ...]

    @property
    def error(self) -> str:
        return "\n".join(line for line in self.lines if line.startswith("!"))


@dataclass(frozen=True, slots=True)
class Kill:
    """Kill the process some seconds after it reported a number of lines; 0 lines means after its start."""

    lines: int
    seconds: float

    @classmethod
    def within(cls, outcome: Outcome, chance: random.Random) -> Kill:
        """A random moment of a job that runs like this one, or one soon after a reported line.

        Most of a job's time goes by waiting for converters and encoders; much of what matters is done between two
        reports in a few milliseconds.
        """
        if chance.random() < 0.4 or not outcome.moments:
            return cls(0, chance.uniform(0, 1.05 * outcome.seconds))
        number = chance.randrange(len(outcome.moments))
        end = [*outcome.moments[1:], outcome.seconds][number]
        return cls(number + 1, chance.uniform(0, 1.2 * (end - outcome.moments[number])))


Report = Callable[[str], None]


def forked(action: Callable[[Report], None], *, kill: Kill | None = None) -> Outcome:
    """Run an action in a fork of this process, which is killed at that moment. Close all connections first."""
    read, write = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    began = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        _child(action, write)
    os.close(write)
    said = bytearray()
    moments: list[float] = []
    deadline = began + kill.seconds if kill is not None and not kill.lines else None
    while True:
        left = None if deadline is None else max(0.0, deadline - time.perf_counter())
        ready, _, _ = select.select([read], [], [], left)
        if not ready:
            os.kill(pid, signal.SIGKILL)
            deadline, kill = None, None
            continue
        block = os.read(read, 1 << 16)
        if not block:
            break
        said += block
        now = time.perf_counter()
        moments += [now - began] * block.count(b"\n")
        if kill is not None and deadline is None and len(moments) >= kill.lines:
            deadline = now + kill.seconds
    os.close(read)
    _, status = os.waitpid(pid, 0)
    lines = tuple(said.decode("utf-8", "replace").splitlines())
    seconds = time.perf_counter() - began
    return Outcome(os.WIFSIGNALED(status), os.waitstatus_to_exitcode(status), seconds, lines, tuple(moments))


def _child(action: Callable[[Report], None], write: int) -> None:
    code = 1
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, 0)  # a timer of the test runner's is not this process's
        action(lambda line: os.write(write, f"{line}\n".encode()) and None)
        code = 0
    except BaseException as error:
        text = "".join(f"! {line}\n" for line in traceback.format_exc().splitlines())
        with contextlib.suppress(OSError):
            os.write(write, f"! {type(error).__name__}: {error}\n{text}".encode()[:60_000])
    finally:
        os._exit(code)


class Reporting:
    """An encoder that reports when it is done and the index is about to be written."""

    def __init__(self, encoder: Encoder, report: Report) -> None:
        self._encoder, self._report = encoder, report

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)

    def encode_tokenized(self, tokenized: Any) -> Matrix:
        vectors = self._encoder.encode_tokenized(tokenized)
        self._report("encoded")
        return vectors


def apply(settings: Settings, docs: Path, encoder: Encoder, report: Report, **options: Any) -> None:
    """The real job with smaller transactions; reports before and after each."""
    encoder = Reporting(encoder, report)
    tempfile.tempdir = str(settings.home)

    def progress(size: int) -> None:
        report("committed")

    summary = job.apply(
        [docs], settings=settings, encoder=encoder, collection=COLLECTION, progress=progress,
        runner=LocalRunner(batch_characters=_BATCH_CHARACTERS), **options,
    )  # fmt: skip
    assert summary.failed == 0, summary.problems


def reencode(settings: Settings, encoder: Encoder, report: Report) -> None:
    """Rebuild the index from itself."""
    rebuild.rebuild(
        settings, encoder=Reporting(encoder, report), collection=COLLECTION, progress=lambda size: report("built")
    )


def warm(folder: Path) -> None:
    """Load languages and libraries once, before forking."""
    (folder / "one").mkdir()
    (folder / "one" / "a.txt").write_text(PARAGRAPHS[0], encoding="utf-8")
    settings = settings_of(folder / "warm")
    settings.home.mkdir()
    apply(settings, folder / "one", encoder_of(), lambda line: None)
    answers(settings, encoder_of())
    with closing(EmbeddedCatalog(settings)) as catalog:
        catalog.compact(COLLECTION)
        catalog.snapshot(COLLECTION, folder / "warm-snapshot")
        catalog.restore(COLLECTION, folder / "warm-snapshot", replace=True)
        catalog.rollback(COLLECTION)
        assert catalog.verify(COLLECTION) == []
        assert catalog.repair(COLLECTION) == []
    tempfile.tempdir = None


def copied(folder: Path, destination: Path) -> Path:
    """Copy an index with its log; nothing may write to the folder."""
    shutil.rmtree(destination, ignore_errors=True)
    shutil.copytree(folder, destination)
    return destination


@contextlib.contextmanager
def fast_folder() -> Iterator[Path]:
    """A folder in memory if possible; a killed process loses nothing there that a disk would keep."""
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place, prefix="search-app-") as name:
        yield Path(name)


def without_generation(state: Contents) -> Contents:
    return replace(state, lineage="", generation=0)


def caches(index: Path) -> list[str]:
    """Names of the cache files recorded in the index."""
    connection._load_checksums()
    with contextlib.closing(apsw.Connection(str(index), vfs="cksmvfs", flags=apsw.SQLITE_OPEN_READWRITE)) as db:
        connection._keep_log(db)
        return [name for (name,) in db.execute("SELECT file FROM caches").fetchall()]
