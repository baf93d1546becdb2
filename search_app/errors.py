"""Every error that a user can meet. The message states the problem, `hint` the next step.

SearchAppError                      exit 1
├── ConfigurationError              exit 2
├── InvalidQuery                    exit 2 · HTTP 422
├── IndexUnavailable                exit 3 · HTTP 503
│   ├── IndexNotFound               HTTP 404
│   ├── IndexMismatch               manifest and settings disagree
│   ├── IndexCorrupt                damage on disk
│   └── IndexBusy                   another job writes
├── BackendUnavailable              exit 3 · HTTP 503
├── QueueUnavailable                exit 3 · HTTP 503, 507 if the disk is full
├── ModelUnavailable                exit 2 · HTTP 503
├── TooBusy                         exit 1 · HTTP 503 with Retry-After
├── TrainingInterrupted             exit 1
└── MissingExtra                    exit 2
"""

from __future__ import annotations

import shlex

REPAIR_HINT = "run: search-index verify --repair"


class SearchAppError(Exception):
    """Base class. `field` names the request field or setting at fault, if there is one."""

    exit_code = 1
    http_status = 500

    def __init__(self, message: str, *, hint: str = "", field: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.field = field

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class ConfigurationError(SearchAppError):
    """A setting or argument is invalid."""

    exit_code = 2


class InvalidQuery(SearchAppError):
    """A question, filter or number is outside the limits."""

    exit_code = 2
    http_status = 422


class IndexUnavailable(SearchAppError):
    """No usable index."""

    exit_code = 3
    http_status = 503


class IndexNotFound(IndexUnavailable):
    """The collection does not exist."""

    http_status = 404

    def __init__(self, collection: str) -> None:
        flag = "" if collection == "default" else f" --collection {collection}"
        super().__init__(f"no index for collection '{collection}'", hint=f"run: search-index apply{flag} PATH")


class IndexMismatch(IndexUnavailable):
    """The index was built with different settings."""


class IndexCorrupt(IndexUnavailable):
    """The data on disk is damaged."""

    def __init__(self, message: str, *, hint: str = REPAIR_HINT, field: str = "") -> None:
        super().__init__(message, hint=hint, field=field)


class IndexBusy(IndexUnavailable):
    """Another process holds the collection's writer lock."""


class BackendUnavailable(SearchAppError):
    """A server that the store needs is down or refuses the request."""

    exit_code = 3
    http_status = 503


class QueueUnavailable(SearchAppError):
    """The folder of jobs cannot be read or written."""

    exit_code = 3
    http_status = 503

    def __init__(self, message: str, *, hint: str = "", full: bool = False) -> None:
        super().__init__(message, hint=hint, field="jobs.folder")
        if full:
            self.http_status = 507


class ModelUnavailable(SearchAppError):
    """A model's weights or tokenizer cannot be loaded or used."""

    exit_code = 2
    http_status = 503


class TooBusy(SearchAppError):
    """More questions are waiting than can be answered in time. Try again after `retry_after` seconds."""

    http_status = 503

    def __init__(self, waiting: int, retry_after: int) -> None:
        questions = "1 question is" if waiting == 1 else f"{waiting} questions are"
        seconds = "1 second" if retry_after == 1 else f"{retry_after} seconds"
        super().__init__(f"the server is busy: {questions} waiting", hint=f"try again in {seconds}")
        self.retry_after = retry_after


class TrainingInterrupted(SearchAppError):
    """A training run cannot go on; the same command resumes it."""

    def __init__(self, message: str) -> None:
        super().__init__(message, hint="free some space and run the same command again: it resumes")


class MissingExtra(SearchAppError):
    """An optional dependency is not installed."""

    exit_code = 2

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed", hint=f"run: {install_command(extra)}")


def install_command(*extras: str) -> str:
    """The pip command that installs the packages of our extras.

    It lists the packages, because search-app itself is on no package index. So it works for a checkout and a wheel.
    """
    from importlib import metadata  # 15 ms, which --help need not spend

    try:
        requirements = metadata.requires("search-app") or []
    except metadata.PackageNotFoundError:  # a checkout on PYTHONPATH
        return f"pip install '.[{','.join(extras)}]' in the folder of pyproject.toml"
    markers = {f'extra == "{extra}"' for extra in extras}
    split = (requirement.partition(";") for requirement in requirements)
    packages = [package.strip() for package, _, marker in split if marker.strip() in markers]
    return shlex.join(["pip", "install", *packages])
