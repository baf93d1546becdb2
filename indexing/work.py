"""What a job has to do: the files that were found, against what the index knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from indexing import sources
from indexing.sources import Scan, Skip, SourceFile
from search_app.protocols import FileRecord


@dataclass(slots=True)
class Work:
    """Files by what is to be done with them, each with the digest of its bytes; `removed` are absolute paths."""

    added: list[tuple[SourceFile, str]] = field(default_factory=list)
    changed: list[tuple[SourceFile, str]] = field(default_factory=list)
    unchanged: list[SourceFile] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    skipped: list[Skip] = field(default_factory=list)
    failed: list[Skip] = field(default_factory=list)

    @property
    def to_index(self) -> list[tuple[SourceFile, str]]:
        return self.added + self.changed

    @property
    def bytes(self) -> int:
        return sum(file.size for file, _ in self.to_index)


def compare(found: Scan, known: Mapping[str, FileRecord]) -> Work:
    """The scan against what the index knows. A file counts as removed only where it is clearly gone, or empty now."""
    work = Work(skipped=list(found.skipped), failed=list(found.failed))
    present = set()
    for file in found.files:
        present.add(file.path)
        record = known.get(file.path)
        try:
            if record is not None and sources.surely_unchanged(file, record):
                work.unchanged.append(file)
                continue
            digest = sources.digest(file)
        except FileNotFoundError:
            work.skipped.append(Skip(file.source, "it vanished while the job ran"))
            continue
        except OSError as error:
            work.failed.append(Skip(file.source, sources.in_words(error)))
            continue
        if record is None:
            work.added.append((file, digest))
        elif record.digest != digest:
            work.changed.append((file, digest))
        else:
            work.unchanged.append(file)
    emptied = set(found.empty)
    for path in known:
        if path not in present and found.covers(path) and (path in emptied or sources.has_vanished(path)):
            work.removed.append(path)
    return work
