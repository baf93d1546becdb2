"""The records of the queue. Times are seconds since 1970."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from search_app.errors import SearchAppError
from search_app.leases import ProcessIdentity, this_process

MAX_REPORTED = 1000
"""Problems, skips, warnings and formats stored with a job, of each."""


class LeaseLost(SearchAppError):
    """The job has ended or another worker has it. Nothing was changed."""


class JobState(StrEnum):
    """Where a job is between the queue and its end."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        return self not in (JobState.QUEUED, JobState.RUNNING)


class JobKind(StrEnum):
    """What a job does with its collection."""

    UPLOAD = "upload"
    FOLDER = "folder"
    DELETE = "delete"
    DROP = "drop"
    RENAME = "rename"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as it was when it was read.

    `request` by kind:
    upload: {"files": [{"name", "stored", "size"}]}, `stored` below the job's staging folder, "charset" if stated;
    folder: {"folder": NAME};
    delete: {"documents": [...], "sources": [...], "where": {...} | None};
    drop: {};
    rename: {"name": NEW}.

    `result` has counts by name, and `formats`, a list of counts for each format.

    `stage` is the step of a running job, or what a queued job waits for. `eta_seconds` is None if unknown.
    """

    id: str
    collection: str
    kind: JobKind
    request: Mapping[str, Any]
    state: JobState
    created: float
    started: float | None
    ended: float | None
    attempts: int
    stage: str
    bytes_done: int
    bytes_total: int | None
    eta_seconds: float | None
    plan: Mapping[str, int] | None
    result: Mapping[str, Any] | None
    problems: Sequence[Mapping[str, str]]
    skips: Sequence[Mapping[str, str]]
    warnings: Sequence[str]
    error: str | None
    hint: str | None
    cancel_requested: bool
    not_before: float
    worker: str | None
    lease: str | None = field(repr=False)

    @property
    def title(self) -> str:
        """Such as "folder handbook", "guide.pdf", "3 files" or "delete 2 sources, by filter"."""
        if self.kind is JobKind.FOLDER:
            return f"folder {self.request['folder']}"
        if self.kind is JobKind.DROP:
            return f"drop collection {self.collection}"
        if self.kind is JobKind.RENAME:
            return f"rename collection to {self.request['name']}"
        if self.kind is JobKind.UPLOAD:
            files = self.request["files"]
            return str(files[0]["name"]) if len(files) == 1 else f"{len(files)} files"
        parts = [
            f"{len(names)} {kind[:-1] if len(names) == 1 else kind}"
            for kind in ("documents", "sources")
            if (names := self.request.get(kind))
        ]
        return "delete " + ", ".join([*parts, *(["by filter"] if self.request.get("where") else [])])


@dataclass(frozen=True, slots=True)
class Schedule:
    """A folder that is indexed at the times of `cron`, in this machine's time zone. `last_job` is a job's id."""

    id: str
    collection: str
    folder: str
    cron: str
    next: float
    last_job: str


@dataclass(frozen=True, slots=True)
class WorkerIdentity:
    """A worker by its unique name, which begins with its host's name, and its process."""

    name: str
    process: ProcessIdentity

    @classmethod
    def of_this_process(cls) -> WorkerIdentity:
        process = this_process()
        host = process.machine.partition("/")[0]
        return cls(f"{host}-{process.pid}-{secrets.token_hex(3)}", process)


def new_id() -> str:
    """A random id for a job or schedule: 24 hex digits."""
    return secrets.token_hex(12)
