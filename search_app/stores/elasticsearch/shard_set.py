"""The shared record of several `apply --shard i/n` jobs that fill one index version."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

from search_app.errors import IndexBusy
from search_app.stores.elasticsearch.connection import Connection
from search_app.stores.elasticsearch.indices import all_indices
from search_app.stores.elasticsearch.lease import Lease
from search_app.stores.elasticsearch.records import Content, Record

_THREADS = 32


@dataclass(frozen=True, slots=True)
class ShardSet:
    """`index`: the version they fill, which exists once `made`; `live`: the index that was live at the start.

    `publisher`: the shard that finished last.
    """

    index: str
    live: str
    manifest: str
    vectors: str
    rebuild: bool
    count: int
    made: bool = False
    done: tuple[int, ...] = ()
    publisher: int = 0

    @classmethod
    def of(cls, content: Content | None) -> ShardSet | None:
        return None if content is None else cls(**{**content, "done": tuple(content["done"])})

    def content(self) -> Content:
        return {**asdict(self), "done": sorted(self.done)}

    @property
    def missing(self) -> tuple[int, ...]:
        return tuple(number for number in range(1, self.count + 1) if number not in self.done)

    def busy(self, collection: str, why: str = "") -> IndexBusy:
        missing = ", ".join(f"{number}/{self.count}" for number in self.missing)
        last = f"{self.publisher}/{self.count}"
        state = f"missing: {missing}" if missing else f"but {last} ended before publishing"
        return IndexBusy(
            f"{len(self.done)} of {self.count} shards of collection '{collection}' are done, {state}{why}",
            hint=f"run --shard {missing or last}, or do the rest in one job: search-index apply --shard 1/1",
        )


def open_set(connection: Connection, collection: str) -> ShardSet | None:
    """The unfinished set, if it still applies: it is outdated once another index than its `live` is served."""
    found = ShardSet.of(record(connection, collection).read())
    if found is None:
        return None
    live = all_indices(connection, collection).live
    return found if found.live == (live.index if live else "") else None


def require_none(connection: Connection, collection: str) -> None:
    """Raises IndexBusy if a set is unfinished, running or not. The caller holds the collection's lease."""
    if found := open_set(connection, collection):
        raise found.busy(collection)
    record(connection, collection).delete()


def abandon(connection: Connection, collection: str) -> None:
    """Delete the set; its index version stays to be continued. Raises IndexBusy while one of its shards runs."""
    found = ShardSet.of(record(connection, collection).read())
    count = found.count if found else 0

    def claim(number: int) -> None:
        Lease(connection, collection, shard=f"{number}/{count}").release()

    with ThreadPoolExecutor(_THREADS, thread_name_prefix="shards") as pool:
        list(pool.map(claim, range(1, count + 1)))
    record(connection, collection).delete()


def record(connection: Connection, collection: str) -> Record:
    """The record of a collection's shards."""
    return Record(connection, f"{collection}.shards")
