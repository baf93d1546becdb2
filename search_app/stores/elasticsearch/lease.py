"""Leases in Elasticsearch: one writer per collection, or per shard of it, over all machines."""

from __future__ import annotations

import contextlib
import secrets
import socket
import time
from typing import Any

from search_app.errors import IndexBusy, SearchAppError
from search_app.leases import Heartbeat, ProcessIdentity, this_process
from search_app.stores.elasticsearch import schema
from search_app.stores.elasticsearch.connection import Connection, ExpectedStatus

RENEW_SECONDS = 3.0
EXPIRY_SECONDS = 15.0


class LeaseTaken(IndexBusy):
    """Another process has the lease. `step` names what it does if that takes only a moment."""

    def __init__(self, message: str, *, step: str) -> None:
        super().__init__(message, hint="wait until it ends")
        self.step = step


class Lease:
    """Taken by the constructor, then renewed until `release`. A `shard`, such as "2/3", has a lease of its own.

    Raises LeaseTaken, naming the holder, if another process renews it. Clocks of different machines are never
    compared: a lease expires when it was seen unchanged for EXPIRY_SECONDS, or when its process is gone.
    """

    def __init__(self, connection: Connection, collection: str, *, shard: str = "", step: str = "") -> None:
        self._connection = connection
        self._collection = collection
        self._shard = shard
        self._step = step
        self._index = schema.leases(connection.settings.prefix)
        self.id = shard_lease(collection, shard) if shard else collection
        self.token = secrets.token_hex(8)
        self._lost = False
        self._version = self._take()
        self._heartbeat = Heartbeat(self._renew, seconds=RENEW_SECONDS)

    def require(self) -> None:
        """Raises IndexBusy if the lease was lost, for instance while this machine was suspended."""
        if self._lost:
            raise IndexBusy(
                f"another job took over collection '{self._collection}' while this one had no connection",
                hint="run the same command again",
            )

    def release(self) -> None:
        self._heartbeat.stop()
        if self._lost:
            return
        seq_no, term = self._version
        with contextlib.suppress(SearchAppError):  # it expires
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
            version = (found["_seq_no"], found["_primary_term"])
            holder = found["_source"]
            if holder.get("token") == self.token:
                return version  # the response was lost: this lease has it already
            if seen is not None and version != seen:
                raise self._taken(holder)
            seen = version
            if time.monotonic() - since > EXPIRY_SECONDS or _process(holder).is_gone():
                try:
                    return self._put(if_seq_no=version[0], if_primary_term=version[1])
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
        process = this_process()
        holder = {
            "token": self.token,
            "step": self._step,
            "host": socket.gethostname(),
            "machine": process.machine,
            "process": process.pid,
            "started": process.started,
            "renewed": time.time(),
        }
        found = self._connection.job(
            lambda client: client.index(index=self._index, id=self.id, document=holder, **condition), patience=patience
        )
        return found["_seq_no"], found["_primary_term"]

    def _renew(self) -> bool:
        seq_no, term = self._version
        try:
            self._version = self._put(patience=RENEW_SECONDS, if_seq_no=seq_no, if_primary_term=term)
        except ExpectedStatus:
            found = self._read_quietly()
            if found is None or found["_source"].get("token") != self.token:
                self._lost = True
                return False
            self._version = (found["_seq_no"], found["_primary_term"])  # renewed, but the response was lost
        except SearchAppError:
            pass  # no connection: nobody else can take it either
        return True

    def _read_quietly(self) -> Any:
        try:
            return self._read(patience=RENEW_SECONDS)
        except SearchAppError:
            return None

    def _taken(self, holder: Any) -> LeaseTaken:
        what = f"doing shard {self._shard} of" if self._shard else "writing to"
        return LeaseTaken(
            f"another job (process {holder['process']} on {holder['host']}) is {what} collection '{self._collection}'",
            step=holder.get("step", ""),
        )


def shard_lease(collection: str, shard: str) -> str:
    """The id of a shard's lease. No collection has it as its name, which has no dot."""
    return f"{collection}.shard-{shard.replace('/', '-of-')}"


def require_lease(connection: Connection, id: str, token: str) -> None:
    """For helpers of the lease's holder: raises IndexBusy unless the lease has this token."""
    index = schema.leases(connection.settings.prefix)
    try:
        found = connection.job(lambda client: client.get(index=index, id=id))["_source"]
    except ExpectedStatus:
        found = {}
    if found.get("token") != token:
        raise IndexBusy("the job that this process works for has ended", hint="run the same command again")


def _process(holder: dict[str, Any]) -> ProcessIdentity:
    """Records of earlier versions have no start time."""
    return ProcessIdentity(holder.get("machine", ""), int(holder["process"]), holder.get("started", ""))
