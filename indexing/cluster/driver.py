"""`apply` with the help of other processes or machines: Ray Data carries files to them, this process keeps the books.

The one door to ray. What the workers do is in `remote`; why Ray Data: docs/decisions/ray.md.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import itertools
import json
import logging
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from indexing import sources
from indexing.cluster import remote
from indexing.cluster.ledger import JobLedger
from indexing.cluster.remote import Assignment, Item, PartEncoder, ReadyBatch, Report
from indexing.diff import IndexDiff, compare
from indexing.job import Progress, Summary, manifest_of, split_config_of
from indexing.pipeline.stages import StageTime
from indexing.sandbox import DEFAULT_LIMITS, Limits
from indexing.sources import SourceFile
from indexing.spool import spool_folder
from search_app import hardware
from search_app.errors import BackendUnavailable, ConfigurationError, MissingExtra, install_command
from search_app.protocols import Encoder
from search_app.settings import Settings, check_collection_name
from search_app.stores.catalog import open_catalog
from search_app.stores.elasticsearch.writer import ElasticsearchWriter

# Before ray is imported: it is to report nothing, and to keep its advice off the terminal.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")

try:
    import numpy as np
    import pyarrow as pa
    import ray
    import ray.data
    from ray.data import ActorPoolStrategy, DataContext
    from ray.data.exceptions import ExecutionTimeoutError
    from ray.exceptions import RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
except ImportError as error:
    raise MissingExtra("ray", "ray") from error

_log = logging.getLogger(__name__)

_ATTEMPTS = 3
_FILES, _BYTES = 256, 32 << 20
"""A block of files, which one task converts, is no larger; with few files it is smaller, so that all machines work."""
_BLOCK_BYTES = 1 << 20
"""What is carried at once from a converter to an encoder: a batch or two."""
_SHARE = 4
"""Cores of one encoder, where there are more: its threads would wait for each other."""
_CONVERTER_CPUS, _ENCODER_CPUS = 0.9, 0.01
"""In Ray's accounts. An encoder uses all of its cores, and converters run beside it at low priority: were it counted,
an encoder that comes back on another machine than its own would find no room, or leave none for a converter."""
_STORE_BYTES = 512 << 20
_PATIENCE = 300.0


@dataclass(frozen=True, slots=True)
class _Machines:
    """`encoders` processes, with so many `threads` on the node of that id; `cpus` of all nodes."""

    encoders: int
    gpus: bool
    cpus: int
    threads: Mapping[str, int]


def apply(
    paths: Sequence[str | Path],
    *,
    settings: Settings,
    encoder: Encoder,
    workers: int = 0,
    address: str = "",
    collection: str = "default",
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    rebuild: bool = False,
    base: Path | None = None,
    limits: Limits = DEFAULT_LIMITS,
    start: Callable[[IndexDiff], None] = lambda work: None,
    progress: Progress = lambda size: None,
) -> Summary:
    """As `job.apply`, on the Ray cluster at `address`, or in so many `workers` that encode on this machine.

    What dies there costs the batches that it had; if this process dies, the files that were complete are kept.
    """
    began = time.perf_counter()
    check_collection_name(collection)
    check(settings, address=address)
    found = sources.scan(paths, include=include, exclude=exclude, base=base)
    with (
        closing(open_catalog(settings)) as catalog,
        catalog.writer(collection, manifest_of(settings, encoder), rebuild=rebuild) as writer,
        spool_folder(settings.home) as folder,
        compare(found, writer.files(), folder=folder) as work,
    ):
        assert isinstance(writer, ElasticsearchWriter)
        start(work)
        compared = time.perf_counter()
        books = JobLedger(writer, work, progress)
        encoders = cpus = 1
        if work.counts.added or work.counts.changed:
            with _connected(address, workers) as machines:
                precise = settings.encoder.model_copy(update={"precision": encoder.stamp.precision})
                assignment = Assignment(
                    settings.model_copy(update={"encoder": precise}),
                    encoder.stamp,
                    split_config_of(settings, encoder),
                    limits,
                    writer.part_writer_config(),
                )
                encoders, cpus = machines.encoders, machines.cpus
                _index(assignment, machines, books, work, workers)
        indexed = time.perf_counter()
        removed = work.removed()
        while some := list(itertools.islice(removed, 10_000)):
            writer.remove_files(some)
        writer.finish()
        ended = time.perf_counter()
        stages = [
            StageTime("compare", compared - began),
            StageTime("convert", books.busy["convert"], processes=cpus),
            *(StageTime(name, books.busy[name], processes=encoders) for name in ("tokenise", "encode", "write")),
            StageTime("finish", ended - indexed),
        ]
        share = books.busy["encode"] / ((ended - began) * encoders)
        return books.summary(ended - began, encoder_share=share, stages=stages)


def check(settings: Settings, *, address: str) -> None:
    """Raises ConfigurationError for what cannot work, before anything is begun."""
    if settings.store != "elasticsearch":
        raise ConfigurationError(
            "--workers and --ray write from several processes, and the embedded store has one writer",
            hint="leave the option out, or set SEARCH_APP_STORE=elasticsearch",
            field="store",
        )
    if address.startswith("ray://"):
        raise ConfigurationError(
            f"--ray {address}: Ray Data does not run over a Ray client",
            hint="run the command on a machine of the cluster, with --ray auto",
            field="ray",
        )


def _index(assignment: Assignment, machines: _Machines, books: JobLedger, work: IndexDiff, workers: int) -> None:
    """Until each file is complete or set aside. What is left when machines died is done again, by those that live."""
    blocks = {}
    largest = 0
    for items in _blocks(work, machines.cpus):
        blocks[items[0].block] = _put(items)
        books.expect(items[0].block, len(items))
        largest = max(largest, *(item.file.size for item in items))
    patience = max(_PATIENCE, 4 * assignment.limits.for_size(largest))
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            for report in _reports(list(blocks.values()), assignment, machines, patience):
                books.take(report)
        except (RayError, ExecutionTimeoutError) as error:
            _log.warning("Ray Data ended early: %s", error)
        books.settle()
        blocks = {number: ref for number, ref in blocks.items() if not books.is_done(number)}
        if not blocks:
            return
        left = [books.rest(_got(ref)) for ref in blocks.values()]
        if attempt < _ATTEMPTS:
            _log.warning("%d files were open where a machine died: they are done again", sum(map(len, left)))
            blocks = {items[0].block: _put(items) for items in left}
            machines = _machines(workers)
    for items in left:
        for item in items:
            books.give_up(item, f"the machines that worked on it died, {_ATTEMPTS} times")


def _blocks(work: IndexDiff, cpus: int) -> Iterator[list[Item]]:
    counts = work.counts
    most = max(1, min(_FILES, (counts.added + counts.changed) // (4 * cpus)))
    items: list[Item] = []
    size = block = 0
    for file, digest in work.to_index():
        if items and (len(items) >= most or size + file.size > _BYTES):
            yield items
            items, size, block = [], 0, block + 1
        items.append(Item(block, len(items), file, digest))
        size += file.size
    if items:
        yield items


def _put(items: Sequence[Item]) -> Any:
    """Into Ray's object store, which goes to disk where memory is short."""
    return ray.put(pa.table({"item": [json.dumps(asdict(item)) for item in items]}))


def _got(ref: Any) -> list[Item]:
    return _items(ray.get(ref)["item"].to_pylist())


def _items(lines: Sequence[str]) -> list[Item]:
    values = map(json.loads, lines)
    return [replace(Item(**value), file=SourceFile(**value["file"]), done=tuple(value["done"])) for value in values]


def _reports(blocks: Sequence[Any], assignment: Assignment, machines: _Machines, patience: float) -> Iterator[Report]:
    context = DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.target_max_block_size = _BLOCK_BYTES
    context.max_errored_blocks = -1  # what a dead machine had is missing in the books, and done again
    context.execution_no_progress_timeout_s = patience  # an encoder that waits for a GPU which never comes back
    context.max_consecutive_actor_init_deaths = _ATTEMPTS
    with DataContext.current(context):
        data = (
            ray.data.from_arrow_refs(list(blocks))
            .map_batches(partial(_convert, assignment=assignment), batch_size=None, num_cpus=_CONVERTER_CPUS)
            .map_batches(
                _Encoder,
                batch_size=1,
                fn_constructor_args=(assignment, dict(machines.threads)),
                compute=ActorPoolStrategy(
                    size=min(machines.encoders, len(blocks)),
                    max_concurrent_calls_per_actor=2,
                    enable_true_multi_threading=True,
                ),
                num_cpus=_ENCODER_CPUS,
                num_gpus=1 if machines.gpus else None,
            )
        )
        for batch in data.iter_batches(batch_size=None, prefetch_batches=0):
            yield from batch["report"]


def _convert(batch: Any, assignment: Assignment) -> Iterator[Any]:
    for ready in remote.convert(_items(batch["item"]), assignment):
        yield {"ready": _column(ready)}


class _Encoder:
    """An actor of the pool. An error that it begins with is told with the first batch, in its own words."""

    def __init__(self, assignment: Assignment, threads: Mapping[str, int]) -> None:
        node = ray.get_runtime_context().get_node_id()
        self._encoder: PartEncoder | None = None
        self._error: Exception | None = None
        try:
            self._encoder = PartEncoder(assignment, threads=threads.get(node, 1))
        except Exception as error:
            self._error = error

    def __call__(self, batch: dict[str, Any]) -> Iterator[dict[str, Any]]:
        for ready in batch["ready"]:
            yield {"report": _column(self._report(ready))}

    def _report(self, ready: ReadyBatch) -> Report:
        if self._encoder is None:
            assert self._error is not None
            return Report(error=remote.told(self._error))
        return self._encoder(ready)


def _column(value: object) -> Any:
    column = np.empty(1, dtype=object)
    column[0] = value
    return column


@contextlib.contextmanager
def _connected(address: str, workers: int) -> Iterator[_Machines]:
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    options: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
    if not address:
        # Else Ray would make a token, and leave it in the home folder for all clusters to come.
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        options |= {"num_cpus": workers, "include_dashboard": False, "object_store_memory": _STORE_BYTES}
    # Ray tells of its troubles on the standard output, which belongs to the command's own.
    with contextlib.redirect_stdout(_Debug()):
        try:
            host, _, port = address.rpartition(":")
            if port.isdecimal():  # Ray itself would try for minutes
                socket.create_connection((host, int(port)), timeout=10).close()
            ray.init(address or "local", **options)
        except (OSError, RuntimeError, ValueError) as error:
            raise BackendUnavailable(
                f"no Ray cluster at {address or 'this machine'}: {_first_line(error)}",
                hint="start one with: ray start --head, or use --workers N on this machine alone",
            ) from error
        try:
            yield _machines(workers)
        finally:
            ray.shutdown()


def _machines(workers: int) -> _Machines:
    """Raises ConfigurationError for a node that has no search-app, or another version of it."""
    nodes = {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}  # type: ignore[no-untyped-call]
    cpus = {id: int(node["Resources"].get("CPU", 0)) for id, node in nodes.items()}
    cpus = {id: count for id, count in cpus.items() if count >= 1}
    if not cpus:
        raise BackendUnavailable("the Ray cluster has no CPUs", hint="see: ray status")
    ours = _version()
    for id in cpus:
        strategy = NodeAffinitySchedulingStrategy(id, soft=False)
        try:
            theirs = ray.get(ray.remote(_version).options(num_cpus=0, scheduling_strategy=strategy).remote())
        except RayError as error:
            raise ConfigurationError(
                f"{nodes[id]['NodeManagerAddress']} cannot run search-app: {_first_line(error)}",
                hint=f"install search-app {ours} there, then {install_command('elasticsearch', 'ray')}",
            ) from error
        if theirs != ours:
            raise ConfigurationError(
                f"{nodes[id]['NodeManagerAddress']} has search-app {theirs}, this machine has {ours}",
                hint="install the same version everywhere",
            )
    gpus = int(sum(nodes[id]["Resources"].get("GPU", 0) for id in cpus))
    if workers:
        return _Machines(min(workers, gpus or workers), gpus > 0, workers, dict.fromkeys(cpus, _share(workers)))
    each = max(1, min(cpus.values()) // _SHARE)
    threads = {id: max(1, count // each) for id, count in cpus.items()}
    return _Machines(gpus or each * len(cpus), gpus > 0, sum(cpus.values()), threads)


def _share(workers: int) -> int:
    return max(1, hardware.cores() // workers)


def _version() -> str:
    return importlib.metadata.version("search-app")


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__


class _Debug(io.TextIOBase):
    """Lines that are printed become debug messages."""

    def write(self, text: str) -> int:
        if text.strip():
            _log.debug("%s", text.rstrip())
        return len(text)
