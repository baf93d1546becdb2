"""Bulk requests that retry when a queue is full or a node is lost, and report rejected entries.

The client's own helper fails at the first broken connection. Entries have ids, so sending one twice changes nothing.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from search_app.errors import BackendUnavailable
from search_app.stores.elasticsearch.connection import BUSY_STATUSES, Connection, dumps, reason

_BYTES = 4 << 20
_ENTRIES = 2_000
_IN_FLIGHT = 3
_LONGEST_PAUSE = 5.0
_CONFLICT = 409


@dataclass(frozen=True, slots=True)
class Entry:
    """One line to index; `owner` identifies it in a rejection.

    With a `condition` such as `if_seq_no`, a conflict is not a rejection: the existing entry stays.
    """

    id: str
    line: bytes
    owner: Any = None
    condition: Mapping[str, Any] | None = None


Rejected = list[tuple[Entry, str]]


class BulkWriter:
    """Sends entries to one index, with at most three requests in flight."""

    def __init__(self, connection: Connection, index: str) -> None:
        self._connection = connection
        self._index = index
        self._pool = ThreadPoolExecutor(_IN_FLIGHT, thread_name_prefix="bulk")

    def send(self, entries: Iterable[Entry]) -> Rejected:
        """Returns when every entry is stored or rejected. Raises BackendUnavailable after the configured patience."""
        rejected: Rejected = []
        running: deque[Future[Rejected]] = deque()
        try:
            for batch in _batches(entries):
                if len(running) >= _IN_FLIGHT:
                    rejected += running.popleft().result()
                running.append(self._pool.submit(self._send, batch))
            while running:
                rejected += running.popleft().result()
        finally:
            for future in running:
                future.cancel()
        return rejected

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _send(self, batch: Sequence[Entry]) -> Rejected:
        rejected: Rejected = []
        patience = self._connection.settings.patience
        deadline = time.monotonic() + patience
        pause = 0.1
        while batch:
            lines: list[Any] = [part for entry in batch for part in (_action(entry), entry.line)]
            answer = self._connection.job(
                lambda client: client.bulk(  # the lambda runs before `lines` changes
                    index=self._index,
                    operations=lines,  # noqa: B023
                    filter_path="errors,items.*.status,items.*.error",
                )
            )
            if not answer["errors"]:
                break
            later: list[Entry] = []
            why = ""
            for entry, item in zip(batch, answer["items"], strict=True):
                (result,) = item.values()
                if result["status"] in BUSY_STATUSES:
                    later.append(entry)
                    why = reason(result)
                elif "error" in result and not (entry.condition and result["status"] == _CONFLICT):
                    rejected.append((entry, reason(result)))
            if len(later) < len(batch):
                deadline = time.monotonic() + patience  # progress
            if later:
                if time.monotonic() + pause > deadline:
                    raise BackendUnavailable(
                        f"Elasticsearch accepted nothing for {patience:g} seconds: {why}",
                        hint="run the same command again to continue",
                    )
                time.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(2 * pause, _LONGEST_PAUSE)
            batch = later
        return rejected


def _action(entry: Entry) -> bytes:
    return dumps({"index": {"_id": entry.id, **(entry.condition or {})}})


def _batches(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    batch: list[Entry] = []
    size = 0
    for entry in entries:
        if batch and (size + len(entry.line) > _BYTES or len(batch) >= _ENTRIES):
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += len(entry.line)
    if batch:
        yield batch
