"""How each kind of job is done: uploads, folders, deletes, drops, renames."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from indexing import deletion, job, sources, unread
from indexing.diff import IndexDiff
from indexing.reports import FormatReport, completed
from indexing.sources import Skip, SourceFile
from indexing.worker import collections
from indexing.worker.lease import JobLease
from indexing.worker.library import Library, Upload, write_json
from search_app.errors import ConfigurationError, IndexNotFound, SearchAppError
from search_app.protocols import Encoder, FileRecord
from search_app.queue.jobs import Job, JobKind, LeaseLost
from search_app.settings import Settings
from search_app.stores.catalog import open_catalog

_log = logging.getLogger(__name__)

_DELETION = "deletion.json"
_PLANNED = ("added", "changed", "unchanged", "removed", "skipped", "failed")


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a job. `error` is set if the job failed as a whole."""

    counts: Mapping[str, float]
    problems: Sequence[Skip] = ()
    skips: Sequence[Skip] = ()
    warnings: Sequence[Skip] = ()
    error: SearchAppError | None = None
    formats: Sequence[FormatReport] = ()


class JobHandlers:
    """Runs jobs. A killed job can be repeated, with the same result. The first that needs the encoder loads it."""

    def __init__(self, settings: Settings, staging: Path, load_encoder: Callable[[Settings], Encoder]) -> None:
        self._settings = settings
        self._staging = staging
        self._load_encoder = load_encoder
        self._encoder: Encoder | None = None

    def run(self, lease: JobLease) -> Outcome:
        handlers = {
            JobKind.UPLOAD: self._upload,
            JobKind.FOLDER: self._folder,
            JobKind.DELETE: self._delete,
            JobKind.DROP: self._drop,
            JobKind.RENAME: self._rename,
        }
        return handlers[lease.job.kind](lease)

    def complete(self, upload: Upload, collection: str) -> None:
        """Keep the files that were indexed and restore the others, so that library and index agree."""
        if not upload.has_journal():
            return
        known = self._records(collection, [str(path) for path in upload.indexed_paths()])

        def is_indexed(path: Path) -> bool:
            record = known.get(str(path))
            if record is None:
                return False
            # Without a digest, indexing was interrupted within this file.
            return not record.digest or unread.unmarked(record.digest) == _digest(path)

        upload.complete(is_indexed)

    def _records(self, collection: str, paths: Sequence[str]) -> dict[str, FileRecord]:
        wanted = set(paths)
        with closing(open_catalog(self._settings)) as catalog:
            try:
                index = catalog.open(collection)
            except IndexNotFound:
                return {}
            with closing(index):
                return {record.path: record for record in index.files() if record.path in wanted}

    def _upload(self, lease: JobLease) -> Outcome:
        library = Library(self._settings, lease.job.collection)
        upload = Upload(self._staging / lease.job.id, library)
        lease.set_stage("reading")
        try:
            upload.prepare(lease.job.request["files"], self._settings.jobs)
            paths = upload.place()
            lease.check()
            summary = self._apply(lease, paths, base=library.folder) if paths else None
        except LeaseLost:
            raise
        except Exception:
            try:
                self.complete(upload, lease.job.collection)
            except SearchAppError as fault:  # its journal is left: the worker retries
                _log.error("job=%s cannot clean up its uploaded files: %s", lease.job.id, fault)
            raise
        self.complete(upload, lease.job.collection)
        journal = upload.journal
        counts = _counts(summary)
        counts["skipped"] += len(journal.skips)
        counts["failed"] += len(journal.problems)
        problems = [*journal.problems, *(summary.problems if summary else ())]
        error = None
        if problems and not counts["added"] + counts["changed"] + counts["unchanged"]:
            first = f"{problems[0].source}: {problems[0].reason}"
            error = SearchAppError(
                f"no file of this upload could be indexed: {first}",
                hint="fix the files and upload them again; the index is unchanged",
            )
        return Outcome(
            counts,
            problems,
            [*journal.skips, *(summary.skips if summary else ())],
            summary.warnings if summary else (),
            error,
            completed(summary.formats if summary else (), skipped=journal.skips, failed=journal.problems),
        )

    def _folder(self, lease: JobLease) -> Outcome:
        name = str(lease.job.request["folder"])
        path = self._settings.jobs.folders.get(name)
        if path is None:
            raise ConfigurationError(
                f"no folder is named '{name}'", hint="add it to SEARCH_APP_JOBS__FOLDERS of API and worker"
            )
        if "://" not in path:
            path = os.path.abspath(path)
            if not os.path.isdir(path):
                raise SearchAppError(
                    f"folder '{name}' does not exist: {path}", hint="mount it, then queue the job again"
                )

        def guard(diff: IndexDiff) -> None:
            counts = diff.counts
            if counts.removed and not counts.added + counts.changed + counts.unchanged:
                raise SearchAppError(
                    f"folder '{name}' ({path}) has none of the files indexed from it; is it mounted?",
                    hint="nothing was removed; to remove their documents, run"
                    f" search-index apply --collection {lease.job.collection} {path}",
                )

        lease.set_stage("reading")
        summary = self._apply(lease, [path], guard=guard)
        return Outcome(_counts(summary), summary.problems, summary.skips, summary.warnings, formats=summary.formats)

    def _delete(self, lease: JobLease) -> Outcome:
        """Selects the documents once: after a kill, documents added since then stay."""
        settings, collection = self._settings, lease.job.collection
        journal = self._staging / lease.job.id / _DELETION
        lease.set_stage("reading")
        if not journal.exists():
            write_json(journal, self._to_delete(lease.job))
        chosen = json.loads(journal.read_bytes())
        lease.set_plan(dict.fromkeys(_PLANNED, 0) | {"removed": len(chosen["documents"])}, total=None)
        lease.set_stage("removing")
        began = time.monotonic()
        if chosen["documents"]:
            selected = deletion.select(settings, collection=collection, documents=chosen["documents"])
            deletion.remove(settings, selected, collection=collection)
            self._remove_originals(collection, chosen["files"])
        counts = _counts(None) | {"deleted": len(chosen["documents"]), "seconds": round(time.monotonic() - began, 3)}
        return Outcome(counts, [Skip(id, "no such document") for id in chosen["missing"]])

    def _to_delete(self, leased: Job) -> dict[str, list[str]]:
        request, library = leased.request, Library(self._settings, leased.collection)
        found = deletion.select(
            self._settings,
            collection=leased.collection,
            documents=request.get("documents") or (),
            sources=request.get("sources") or (),
            where=request.get("where"),
        )
        with closing(open_catalog(self._settings)) as catalog, closing(catalog.open(leased.collection)) as index:
            records = (index.file_of(document.id) for document in found.documents)
            files = {record.path for record in records if record is not None and library.contains(record.path)}
        return {
            "documents": [document.id for document in found.documents],
            "missing": list(found.missing),
            "files": sorted(files),
        }

    def _remove_originals(self, collection: str, files: Sequence[str]) -> None:
        """Remove uploaded files that have no document left, so that the same file can be uploaded again."""
        known = self._records(collection, files)
        empty = [path for path in files if path not in known or not known[path].documents]
        if recorded := [path for path in empty if path in known]:
            with closing(open_catalog(self._settings)) as catalog:
                with closing(catalog.open(collection)) as index:
                    manifest = index.manifest
                with catalog.writer(collection, manifest) as writer:
                    writer.remove_files(recorded)
                    writer.finish()
        Library(self._settings, collection).remove(empty)

    def _drop(self, lease: JobLease) -> Outcome:
        lease.set_stage("removing")
        collections.drop(self._settings, lease.job.collection)
        return Outcome(_counts(None))

    def _rename(self, lease: JobLease) -> Outcome:
        collections.rename(self._settings, lease.job.collection, str(lease.job.request["name"]))
        return Outcome(_counts(None))

    def _apply(
        self,
        lease: JobLease,
        paths: Sequence[str | Path],
        *,
        base: Path | None = None,
        guard: Callable[[IndexDiff], None] = lambda work: None,
    ) -> job.Summary:
        removals = 0

        def start(work: IndexDiff) -> None:
            nonlocal removals
            guard(work)
            removals = work.counts.removed
            lease.set_plan(asdict(work.counts), total=work.bytes)
            lease.set_stage("indexing")

        def progress(size: int) -> None:
            if removals and lease.total is not None and lease.done + size >= lease.total:
                lease.done += size
                lease.set_stage("removing")
            else:
                lease.advance(size)

        encoder = self._loaded()
        lease.check()
        return job.apply(
            paths,
            settings=self._settings,
            encoder=encoder,
            collection=lease.job.collection,
            base=base,
            start=start,
            progress=progress,
        )

    def _loaded(self) -> Encoder:
        if self._encoder is None:
            self._encoder = self._load_encoder(self._settings)
        return self._encoder


def _counts(summary: job.Summary | None) -> dict[str, float]:
    names = (*_PLANNED, "passages", "passages_encoded", "seconds")
    return {name: getattr(summary, name) if summary else 0 for name in names} | {"deleted": 0}


def _digest(path: Path) -> str | None:
    try:
        return sources.digest(sources.refreshed(SourceFile(str(path), "", "", 0, 0, 0)))
    except OSError:
        return None
