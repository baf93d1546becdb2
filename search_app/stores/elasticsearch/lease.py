"""One writer a collection, or a shard of it, on however many machines: a lease that its holder keeps renewing."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import threading
import time
from typing import Any

from search_app.errors import IndexBusy, SearchAppError
from search_app.stores.elasticsearch import schema
from search_app.stores.elasticsearch.connection import Connection, ExpectedStatus

RENEW_SECONDS = 3.0
EXPIRY_SECONDS = 15.0


class Held(IndexBusy):
    """Somebody else has the lease; `step` is what for, where that takes only a moment."""

    def __init__(self, message: str, *, step: str) -> None:
        super().__init__(message, hint="wait until it ends")
        self.step = step


class Lease:
    """Raises Held, naming the holder, where another one renews it. `shard`, as in "2/3", has one of its own.

    Clocks of different machines are never compared: a lease is over when one who watches has seen it unchanged for
    EXPIRY_SECONDS, or when its process is gone from this machine.
    """

    def __init__(self, connection: Connection, collection: str, *, shard: str = "", step: str = "") -> None:
        self._connection = connection
        self._collection = collection
        self._shard = shard
        self._step = step
        self._index = schema.leases(connection.settings.prefix)
        self.id = shard_lease(collection, shard) if shard else collection
        self.token = secrets.token_hex(8)
        self._stop = threading.Event()
        self._lost = False
        self._place = self._take()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)
        self._thread.start()

    def require(self) -> None:
        """Raises IndexBusy where the lease was lost, as after a long sleep of this machine."""
        if self._lost:
            raise IndexBusy(
                f"another job took over collection '{self._collection}' while this one was out of reach",
                hint="run the same command again",
            )

    def release(self) -> None:
        self._stop.set()
        self._thread.join()
        if self._lost:
            return
        seq_no, term = self._place
        with contextlib.suppress(SearchAppError):  # it runs out by itself
            self._connection.job(
                lambda client: client.delete(index=self._index, id=self.id, if_seq_no=seq_no, if_primary_term=term),
                patience=5.0,
            )

    def _take(self) -> tuple[int, int]:
        self._ensure_index()
        seen: tuple[int, int] | None = None
        since = time.monotonic()
        while True:
            try:
                return self._put(op_type="create")
            except ExpectedStatus:
                pass
            found = self._read()
            if found is None:
                continue
            place = (found["_seq_no"], found["_primary_term"])
            holder = found["_source"]
            if holder.get("token") == self.token:
                return place  # an answer got lost: it is ours already
            if seen is not None and place != seen:
                raise self._busy(holder)
            seen = place
            if time.monotonic() - since > EXPIRY_SECONDS or _is_gone(holder):
                try:
                    return self._put(if_seq_no=place[0], if_primary_term=place[1])
                except ExpectedStatus:
                    continue
            time.sleep(0.5)

    def _ensure_index(self) -> None:
        job = self._connection.job
        if job(lambda client: client.indices.get(index=self._index, ignore_unavailable=True, features="aliases")):
            return
        settings = {"number_of_shards": 1, **schema.replicas(self._connection.settings)}
        try:
            job(lambda client: client.indices.create(index=self._index, settings=settings, mappings={"dynamic": False}))
        except SearchAppError as error:
            if "already exists" not in error.message:
                raise

    def _read(self, *, patience: float | None = None) -> Any:
        try:
            return self._connection.job(lambda client: client.get(index=self._index, id=self.id), patience=patience)
        except ExpectedStatus:
            return None

    def _put(self, *, patience: float | None = None, **condition: Any) -> tuple[int, int]:
        holder = {
            "token": self.token,
            "step": self._step,
            "host": socket.gethostname(),
            "machine": _machine(),
            "process": os.getpid(),
            "renewed": time.time(),
        }
        found = self._connection.job(
            lambda client: client.index(index=self._index, id=self.id, document=holder, **condition), patience=patience
        )
        return found["_seq_no"], found["_primary_term"]

    def _renew(self) -> None:
        while not self._stop.wait(RENEW_SECONDS):
            try:
                self._place = self._put(
                    patience=RENEW_SECONDS, if_seq_no=self._place[0], if_primary_term=self._place[1]
                )
            except ExpectedStatus:
                found = self._read_quietly()
                if found is not None and found["_source"].get("token") == self.token:
                    # An answer got lost: the renewal itself arrived.
                    self._place = (found["_seq_no"], found["_primary_term"])
                    continue
                self._lost = True
                return
            except SearchAppError:
                continue  # out of reach: nobody else can take it either

    def _read_quietly(self) -> Any:
        try:
            return self._read(patience=RENEW_SECONDS)
        except SearchAppError:
            return None

    def _busy(self, holder: Any) -> Held:
        what = f"doing shard {self._shard} of" if self._shard else "writing to"
        return Held(
            f"another job (process {holder['process']} on {holder['host']}) is {what} collection '{self._collection}'",
            step=holder.get("step", ""),
        )


def shard_lease(collection: str, shard: str) -> str:
    """Its id: names of collections have no dot."""
    return f"{collection}.shard-{shard.replace('/', '-of-')}"


def require_held(connection: Connection, id: str, token: str) -> None:
    """Raises IndexBusy where the lease is no longer what it was with that token: for those who work for its holder."""
    index = schema.leases(connection.settings.prefix)
    try:
        found = connection.job(lambda client: client.get(index=index, id=id))["_source"]
    except ExpectedStatus:
        found = {}
    if found.get("token") != token:
        raise IndexBusy("the job that this is a part of is over", hint="run the same command again")


def _is_gone(holder: Any) -> bool:
    if holder.get("machine") != _machine():
        return False
    try:
        os.kill(int(holder["process"]), 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    return False


def _machine() -> str:
    """Where a process number means the same: this boot, and this container's numbering of processes."""
    parts = [socket.gethostname()]
    for path, read in (("/proc/sys/kernel/random/boot_id", True), ("/proc/self/ns/pid", False)):
        try:
            if read:
                with open(path, encoding="ascii") as file:
                    parts.append(file.read().strip())
            else:
                parts.append(os.readlink(path))
        except OSError:
            continue
    return "/".join(parts)
