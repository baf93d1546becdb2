"""`RayRunner`: an indexing job on a Ray cluster or in processes of this machine, over Ray Data.

The one module that imports ray. What the workers do is in `remote`; why Ray Data: docs/decisions/ray.md.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import json
import logging
import os
import secrets
import socket
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from indexing.batches import BatchReport
from indexing.cluster import remote
from indexing.cluster.ledger import JobLedger
from indexing.cluster.remote import Assignment, RemoteBatch, RemoteEncoder, RemoteFile, RemoteReport
from indexing.diff import IndexDiff
from indexing.runner import IndexingTask
from indexing.sources import SourceFile
from indexing.stages import StageTime
from search_app import hardware
from search_app.errors import BackendUnavailable, ConfigurationError, MissingExtra, install_command
from search_app.settings import Settings
from search_app.stores.elasticsearch.writer import ElasticsearchWriter

# Set before ray is imported: no usage reports, and no advice on the terminal.
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
_BLOCK_FILES, _BLOCK_FILE_BYTES = 256, 32 << 20
"""Limits of a block of files, which one task converts; few files make smaller blocks, so that all machines work."""
_BLOCK_BYTES = 1 << 20
"""Bytes sent at once from a converter to an encoder: a batch or two."""
_ENCODER_CORES = 4
"""Cores per encoder; the threads of a larger one would wait for each other."""
_CONVERTER_CPUS, _ENCODER_CPUS = 0.9, 0.01
"""For Ray's scheduler. An encoder uses all of its cores, with converters beside it at low priority. If it counted in
full, one that restarts on another machine would find no room, or leave none for a converter."""
_STORE_BYTES = 512 << 20
_PATIENCE_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class _Cluster:
    """`encoders` processes with `threads` each, by node id; `cpus` of all nodes."""

    encoders: int
    gpus: bool
    cpus: int
    threads: Mapping[str, int]


class RayRunner:
    """Runs a job on the Ray cluster at `address`, or with `workers` encoding processes on this machine.

    A worker that dies costs the batches it had. If this process dies, the next job keeps the files that were complete.
    """

    def __init__(self, *, workers: int = 0, address: str = "") -> None:
        self._workers, self._address = workers, address
        self.stage_times: Sequence[StageTime] = ()

    def check(self, settings: Settings) -> None:
        """Raise ConfigurationError for the embedded store or a Ray client's address."""
        if settings.store != "elasticsearch":
            raise ConfigurationError(
                "--workers and --ray write from several processes, and the embedded store has one writer",
                hint="leave the option out, or set SEARCH_APP_STORE=elasticsearch",
                field="store",
            )
        if self._address.startswith("ray://"):
            raise ConfigurationError(
                f"--ray {self._address}: Ray Data does not run over a Ray client",
                hint="run the command on a machine of the cluster, with --ray auto",
                field="ray",
            )

    def run(self, task: IndexingTask) -> Generator[BatchReport]:
        """Raises BackendUnavailable if the cluster cannot be reached."""
        assert isinstance(task.writer, ElasticsearchWriter)
        ledger = JobLedger(task.writer)
        encoders = cpus = 1
        if task.diff.counts.added or task.diff.counts.changed:
            with _connected(self._address, self._workers) as cluster:
                encoders, cpus = cluster.encoders, cluster.cpus
                yield from self._index(task, task.writer, ledger, cluster)
        self.stage_times = (
            StageTime("convert", ledger.busy["convert"], processes=cpus),
            *(StageTime(name, ledger.busy[name], processes=encoders) for name in ("tokenise", "encode", "write")),
        )

    def _index(
        self, task: IndexingTask, writer: ElasticsearchWriter, ledger: JobLedger, cluster: _Cluster
    ) -> Iterator[BatchReport]:
        """Until every file is complete or has failed. What is left when machines die, the others do."""
        encoder = task.settings.encoder.model_copy(update={"precision": task.encoder.stamp.precision})
        settings = task.settings.model_copy(update={"encoder": encoder})
        config = writer.part_writer_config()
        assignment = Assignment(settings, task.encoder.stamp, task.split_config, task.limits, config)
        blocks = {}
        largest = 0
        for files in _blocks(task.diff, cluster.cpus):
            blocks[files[0].block] = _put(files)
            ledger.expect(files[0].block, len(files))
            largest = max(largest, *(file.file.size for file in files))
        patience = max(_PATIENCE_SECONDS, 4 * task.limits.for_size(largest))
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                for report in _reports(list(blocks.values()), assignment, cluster, patience):
                    yield ledger.add(report)
            except (RayError, ExecutionTimeoutError) as error:
                _log.warning("Ray Data ended early: %s", error)
            yield ledger.flush()
            blocks = {number: block for number, block in blocks.items() if not ledger.is_done(number)}
            if not blocks:
                return
            left = [ledger.remaining(_got(block)) for block in blocks.values()]
            if attempt < _ATTEMPTS:
                _log.warning("%d files are repeated: a machine that worked on them died", sum(map(len, left)))
                blocks = {files[0].block: _put(files) for files in left}
                cluster = _inspect(self._workers)
        for files in left:
            yield ledger.fail(files, f"the machines that worked on it died, {_ATTEMPTS} times")


def _blocks(diff: IndexDiff, cpus: int) -> Iterator[list[RemoteFile]]:
    counts = diff.counts
    most = max(1, min(_BLOCK_FILES, (counts.added + counts.changed) // (4 * cpus)))
    files: list[RemoteFile] = []
    size = block = 0
    for file, digest in diff.to_index():
        if files and (len(files) >= most or size + file.size > _BLOCK_FILE_BYTES):
            yield files
            files, size, block = [], 0, block + 1
        files.append(RemoteFile(block, len(files), file, digest))
        size += file.size
    if files:
        yield files


def _put(files: Sequence[RemoteFile]) -> Any:
    """Store a block in Ray's object store, which spills to disk when memory is short."""
    return ray.put(pa.table({"file": [json.dumps(asdict(file)) for file in files]}))


def _got(block: Any) -> list[RemoteFile]:
    return _files(ray.get(block)["file"].to_pylist())


def _files(lines: Sequence[str]) -> list[RemoteFile]:
    values = map(json.loads, lines)
    return [
        replace(RemoteFile(**value), file=SourceFile(**value["file"]), done=tuple(value["done"])) for value in values
    ]


def _reports(
    blocks: Sequence[Any], assignment: Assignment, cluster: _Cluster, patience: float
) -> Iterator[RemoteReport]:
    context = DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.target_max_block_size = _BLOCK_BYTES
    context.max_errored_blocks = -1  # the ledger finds what a dead machine had, and the job repeats it
    context.execution_no_progress_timeout_s = patience  # an encoder may wait for a GPU that never comes back
    context.max_consecutive_actor_init_deaths = _ATTEMPTS
    with DataContext.current(context):
        data = (
            ray.data.from_arrow_refs(list(blocks))
            .map_batches(partial(_convert, assignment=assignment), batch_size=None, num_cpus=_CONVERTER_CPUS)
            .map_batches(
                _Encoder,
                batch_size=1,
                fn_constructor_args=(assignment, dict(cluster.threads)),
                compute=ActorPoolStrategy(
                    size=min(cluster.encoders, len(blocks)),
                    max_concurrent_calls_per_actor=2,
                    enable_true_multi_threading=True,
                ),
                num_cpus=_ENCODER_CPUS,
                num_gpus=1 if cluster.gpus else None,
            )
        )
        for batch in data.iter_batches(batch_size=None, prefetch_batches=0):
            yield from batch["report"]


def _convert(batch: Any, assignment: Assignment) -> Iterator[Any]:
    for converted in remote.convert(_files(batch["file"]), assignment):
        yield {"batch": _column(converted)}


class _Encoder:
    """An actor of the pool. An error in its constructor is reported with the first batch."""

    def __init__(self, assignment: Assignment, threads: Mapping[str, int]) -> None:
        node = ray.get_runtime_context().get_node_id()
        self._encoder: RemoteEncoder | None = None
        self._error: Exception | None = None
        try:
            self._encoder = RemoteEncoder(assignment, threads=threads.get(node, 1))
        except Exception as error:
            self._error = error

    def __call__(self, batch: dict[str, Any]) -> Iterator[dict[str, Any]]:
        for converted in batch["batch"]:
            yield {"report": _column(self._report(converted))}

    def _report(self, batch: RemoteBatch) -> RemoteReport:
        if self._encoder is None:
            assert self._error is not None
            return RemoteReport(error=remote.as_search_app_error(self._error))
        return self._encoder(batch)


def _column(value: object) -> Any:
    column = np.empty(1, dtype=object)
    column[0] = value
    return column


@contextlib.contextmanager
def _connected(address: str, workers: int) -> Iterator[_Cluster]:
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    options: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
    if not address:
        # Or Ray would create a token and leave it in the home folder, for all later clusters.
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        options |= {"num_cpus": workers, "include_dashboard": False, "object_store_memory": _STORE_BYTES}
    # Ray logs to the standard output, which is for the command's own.
    with contextlib.redirect_stdout(_Debug()):
        try:
            host, _, port = address.rpartition(":")
            if port.isdecimal():  # Ray would retry for minutes
                socket.create_connection((host, int(port)), timeout=10).close()
            ray.init(address or "local", **options)
        except (OSError, RuntimeError, ValueError) as error:
            raise BackendUnavailable(
                f"no Ray cluster at {address or 'this machine'}: {_first_line(error)}",
                hint="start one with: ray start --head, or use --workers N on this machine alone",
            ) from error
        try:
            yield _inspect(workers)
        finally:
            ray.shutdown()


def _inspect(workers: int) -> _Cluster:
    """Raise ConfigurationError for a node without search-app, or with another version of it."""
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
        return _Cluster(min(workers, gpus or workers), gpus > 0, workers, dict.fromkeys(cpus, _threads(workers)))
    each = max(1, min(cpus.values()) // _ENCODER_CORES)
    threads = {id: max(1, count // each) for id, count in cpus.items()}
    return _Cluster(gpus or each * len(cpus), gpus > 0, sum(cpus.values()), threads)


def _threads(workers: int) -> int:
    return max(1, hardware.cores() // workers)


def _version() -> str:
    return importlib.metadata.version("search-app")


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__


class _Debug(io.TextIOBase):
    """A text stream that logs its lines as debug messages."""

    def write(self, text: str) -> int:
        if text.strip():
            _log.debug("%s", text.rstrip())
        return len(text)
