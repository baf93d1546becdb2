"""Every error that a user can meet. The message says what is wrong, `hint` what to do next.

SearchAppError                      exit 1
├── ConfigurationError              exit 2
├── InvalidQuery                    exit 2 · HTTP 422
├── IndexUnavailable                exit 3 · HTTP 503
│   ├── IndexNotFound
│   ├── IndexMismatch               manifest and settings disagree
│   ├── IndexCorrupt                damage on disk
│   └── IndexBusy                   another job writes
├── BackendUnavailable              exit 3 · HTTP 503
├── QueueUnavailable                exit 3 · HTTP 503, 507 where the disk is full
├── ModelUnavailable                exit 2 · HTTP 503
└── MissingExtra                    exit 2
"""

from __future__ import annotations

REPAIR_HINT = "run: search-index verify --repair, which reports what is lost and how to restore it"


class SearchAppError(Exception):
    """Base of all of them; `field` names the request field or setting at fault, where there is one."""

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
    """A setting or argument that cannot work."""

    exit_code = 2


class InvalidQuery(SearchAppError):
    """A question, filter or number outside of what is allowed."""

    exit_code = 2
    http_status = 422


class IndexUnavailable(SearchAppError):
    """No index that can be used."""

    exit_code = 3
    http_status = 503


class IndexNotFound(IndexUnavailable):
    """There is no such collection."""

    def __init__(self, collection: str) -> None:
        flag = "" if collection == "default" else f" --collection {collection}"
        super().__init__(f"no index for collection '{collection}'", hint=f"run: search-index apply{flag} PATH")


class IndexMismatch(IndexUnavailable):
    """The index was built with other settings than those in force."""


class IndexCorrupt(IndexUnavailable):
    """The data on disk is not what was written."""

    def __init__(self, message: str, *, hint: str = REPAIR_HINT, field: str = "") -> None:
        super().__init__(message, hint=hint, field=field)


class IndexBusy(IndexUnavailable):
    """Another process holds the collection's writer lock."""


class BackendUnavailable(SearchAppError):
    """A server that the store needs is down or refuses."""

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
    """Weights or tokenizer that cannot be loaded or used."""

    exit_code = 2
    http_status = 503


class MissingExtra(SearchAppError):
    """An optional dependency is not installed."""

    exit_code = 2

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed", hint=f"run: pip install 'search-app[{extra}]'")
