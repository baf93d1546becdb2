"""The connection to a cluster: every call has a deadline, and every failure becomes a SearchAppError."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from search_app.errors import BackendUnavailable, ConfigurationError, MissingExtra, SearchAppError
from search_app.settings import ElasticsearchSettings, KeywordSettings
from search_app.stores.breaker import CircuitBreaker

try:
    import elasticsearch
    import orjson
    from elastic_transport import ConnectionError, ConnectionTimeout, ObjectApiResponse, TlsError, TransportError
    from elasticsearch import ApiError, Elasticsearch
except ImportError as error:
    raise MissingExtra(str(error.name).partition(".")[0], "elasticsearch") from error

Request = Callable[[Elasticsearch], ObjectApiResponse[Any]]

OLDEST = (8, 18)
BUSY_STATUSES = frozenset({429, 502, 503, 504})
_CONNECTIONS = 64
"""More than the API has threads (40), since the client waits for a free connection without a deadline."""
_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)
_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 5.0
_ROLE = "give it the role that docs/elasticsearch.md describes"


class Busy(Exception):
    """Part of a response has status 429 or 503, so the request is retried."""


class Connection:
    """One client for all threads. `question` is for users who wait, `job` for batch work that survives a lost node.

    Both raise BackendUnavailable at their deadline; `question` also while the circuit breaker is open.
    """

    def __init__(
        self,
        settings: ElasticsearchSettings,
        *,
        keyword: KeywordSettings | None = None,
        breaker: CircuitBreaker | None = None,
    ) -> None:
        self.settings = settings
        self.keyword = keyword or KeywordSettings()
        self.where = ", ".join(settings.urls)
        self.breaker = breaker or CircuitBreaker(f"Elasticsearch at {self.where}")
        self._client = _client(settings)
        self._lock = threading.Lock()
        self._checked = False

    def question(self, request: Request) -> Any:
        """The body of the response. Hosts that fail at once are skipped; busy or slow ones are waited for."""
        seconds = self.settings.timeout
        hosts = len(self.settings.urls)
        deadline = _deadline.get() or time.monotonic() + seconds
        # With several hosts, a slow one gets half of the time.
        attempt = seconds if hosts == 1 else seconds / 2
        with self.breaker.guard():
            try:
                return self._call(request, seconds, deadline=deadline, attempt=attempt, refusals=hosts + 1)
            except ExpectedStatus as error:  # the server works, so it is no failure for the breaker
                expected = error
        raise expected

    def job(self, request: Request, *, patience: float | None = None) -> Any:
        seconds = self.settings.patience if patience is None else patience
        return self._call(request, seconds, deadline=time.monotonic() + seconds, attempt=seconds, refusals=None)

    @contextmanager
    def one_deadline(self) -> Iterator[None]:
        """All calls of `question` in this thread inside the block share one deadline."""
        token = _deadline.set(_deadline.get() or time.monotonic() + self.settings.timeout)
        try:
            yield
        finally:
            _deadline.reset(token)

    def refused(self, why: str) -> SearchAppError:
        return SearchAppError(f"Elasticsearch at {self.where} refused a request: {why}")

    def close(self) -> None:
        self._client.close()

    def _call(self, request: Request, seconds: float, *, deadline: float, attempt: float, refusals: int | None) -> Any:
        def timed() -> Elasticsearch:
            left = max(0.01, deadline - time.monotonic())
            return self._client.options(request_timeout=min(left, attempt))

        pause = _FIRST_PAUSE
        while True:
            try:
                if not self._checked:
                    self._require_version(timed())
                return request(timed()).body
            except (ApiError, TransportError, Busy) as error:
                if not _is_transient(error):
                    raise self._translated(error, seconds) from error
                if isinstance(error, ConnectionError) and refusals is not None:
                    refusals -= 1
                    if refusals <= 0:
                        raise self._translated(error, seconds) from error
                if time.monotonic() + pause >= deadline:
                    raise self._translated(error, seconds) from error
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _require_version(self, client: Elasticsearch) -> None:
        number = str(client.info()["version"]["number"])
        with self._lock:
            major, minor = (int(part) for part in number.split(".")[:2])
            if not OLDEST <= (major, minor) < (OLDEST[0] + 1, 0):
                raise ConfigurationError(
                    f"Elasticsearch at {self.where} has version {number}",
                    hint=f"use {OLDEST[0]}.{OLDEST[1]} or a newer {OLDEST[0]}.x",
                    field="elasticsearch.urls",
                )
            self._checked = True

    def _translated(self, error: Exception, seconds: float) -> SearchAppError:
        match error:
            case elasticsearch.NotFoundError() | elasticsearch.ConflictError():
                return ExpectedStatus(error)
            case elasticsearch.AuthenticationException():
                return BackendUnavailable(
                    f"Elasticsearch at {self.where} refuses the credentials",
                    hint="check SEARCH_APP_ELASTICSEARCH__API_KEY, or __USERNAME and __PASSWORD",
                )
            case elasticsearch.AuthorizationException():
                return BackendUnavailable(
                    f"Elasticsearch at {self.where} forbids this: {reason(error)}", hint=f"if it is the key, {_ROLE}"
                )
            case elasticsearch.UnsupportedProductError():
                return BackendUnavailable(
                    f"the server at {self.where} is not Elasticsearch", hint="check SEARCH_APP_ELASTICSEARCH__URLS"
                )
            case TlsError():
                return BackendUnavailable(
                    f"no TLS connection to Elasticsearch at {self.where}: {_tls(error)}",
                    hint="check the server's certificate and SEARCH_APP_ELASTICSEARCH__CA",
                )
            case ConnectionTimeout():
                return BackendUnavailable(
                    f"Elasticsearch at {self.where} did not answer within {seconds:g} seconds", hint="try again"
                )
            case TransportError():
                return BackendUnavailable(
                    f"Elasticsearch at {self.where} cannot be reached", hint="check that it runs, then try again"
                )
            case ApiError() if error.status_code not in BUSY_STATUSES:
                return self.refused(reason(error))
            case _:
                return BackendUnavailable(
                    f"Elasticsearch at {self.where} is too busy or not complete: {reason(error)}", hint="try again"
                )


class ExpectedStatus(SearchAppError):
    """404 or 409, which callers in this package handle."""

    def __init__(self, error: ApiError) -> None:
        super().__init__(reason(error))
        self.status = error.status_code
        self.is_missing_index = error.error == "index_not_found_exception"


def dumps(value: object) -> bytes:
    """JSON; numpy's float32 get the shortest exact representation."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


def reason(error: object) -> str:
    """The reason that Elasticsearch gives, in one line."""
    body = error.body if isinstance(error, ApiError) else error
    if isinstance(body, Mapping):
        found: Any = body.get("error", body)
        if isinstance(found, Mapping):
            cause = found.get("caused_by")
            roots = found.get("root_cause")
            if found.get("type") == "search_phase_execution_exception" and roots:
                found = roots[0]  # the outer reason only says that all shards failed
            text = str(found.get("reason") or found.get("type") or "")
            if isinstance(cause, Mapping) and cause.get("reason") and str(cause["reason"]) not in text:
                text += f" ({cause['reason']})"
            return text
        return str(found)
    return str(body)


def _is_transient(error: Exception) -> bool:
    """Whether a retry may succeed."""
    if isinstance(error, ApiError):
        return error.status_code in BUSY_STATUSES
    return not isinstance(error, TlsError)


def _tls(error: TlsError) -> str:
    text = str(error.message)
    for phrase in ("certificate has expired", "self-signed certificate", "unable to get local issuer certificate"):
        if phrase in text:
            return phrase
    return text


def _client(settings: ElasticsearchSettings) -> Elasticsearch:
    options: dict[str, Any] = {}
    if settings.api_key is not None:
        options["api_key"] = settings.api_key.get_secret_value()
    elif settings.username is not None:
        password = settings.password.get_secret_value() if settings.password else ""
        options["basic_auth"] = (settings.username, password)
    if settings.ca is not None:
        if not settings.ca.is_file():
            raise ConfigurationError(
                f"{settings.ca} is not a file", hint="give the certificate authority as PEM", field="elasticsearch.ca"
            )
        options["ca_certs"] = str(settings.ca)
    try:
        return Elasticsearch(
            list(settings.urls), max_retries=0, retry_on_timeout=False, connections_per_node=_CONNECTIONS, **options
        )
    except ValueError as error:
        raise ConfigurationError(
            f"elasticsearch.urls: {error}", hint="write them as https://HOST:9200", field="elasticsearch.urls"
        ) from error
