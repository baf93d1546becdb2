"""A real Elasticsearch server: a new one from ../shared/elasticsearch, or the one at a given URL."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import click
import httpx

RUN = Path(__file__).resolve().parents[3] / "shared" / "elasticsearch" / "run"


class Server:
    """A context manager; without `url` it starts a node, and at the end stops it and removes its data under `folder`.

    `patience` is the limit for the start, in seconds.
    """

    def __init__(self, folder: Path, *, url: str | None = None, heap: str = "1g", patience: float = 120) -> None:
        self.url = url.rstrip("/") if url else ""
        self._folder = folder
        self._heap = heap
        self._patience = patience
        self._process: subprocess.Popen[bytes] | None = None
        self._http: httpx.Client | None = None
        self._data: Path | None = None

    def __enter__(self) -> Self:
        try:
            if not self.url:
                self._start()
            self._http = httpx.Client(base_url=self.url, timeout=600, trust_env=False)
            self._wait(self._http)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def get(self, path: str, **parameters: Any) -> Any:
        return self._ask("GET", path, parameters)

    def post(self, path: str, **parameters: Any) -> Any:
        return self._ask("POST", path, parameters)

    def remove(self, prefix: str) -> None:
        """Remove every index whose name begins with the prefix."""
        for name in self.get(f"/{prefix}*/_alias", expand_wildcards="all"):
            self._ask("DELETE", f"/{name}", {})

    def settle(self) -> None:
        """Wait until no merge is running."""
        while any(
            node["indices"]["merges"]["current"] for node in self.get("/_nodes/stats/indices/merge")["nodes"].values()
        ):
            time.sleep(0.2)

    def cpu_seconds(self) -> float:
        """CPU seconds that the nodes have used since their start."""
        nodes = self.get("/_nodes/stats/process")["nodes"].values()
        return float(sum(node["process"]["cpu"]["total_in_millis"] for node in nodes)) / 1000

    def heap_bytes(self) -> int:
        """Heap in use on all nodes, garbage included, in bytes."""
        nodes = self.get("/_nodes/stats/jvm")["nodes"].values()
        return int(sum(node["jvm"]["mem"]["heap_used_in_bytes"] for node in nodes))

    def describe(self) -> str:
        """Version, nodes and heap."""
        nodes = list(self.get("/_nodes/stats/jvm")["nodes"].values())
        heap = sum(node["jvm"]["mem"]["heap_max_in_bytes"] for node in nodes)
        count = "one node" if len(nodes) == 1 else f"{len(nodes)} nodes"
        return f"Elasticsearch {self.get('/')['version']['number']}, {count}, {heap / 2**30:.2g} GiB of heap"

    def close(self) -> None:
        if self._http is not None:
            self._http.close()
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._data is not None:
            shutil.rmtree(self._data, ignore_errors=True)

    def _ask(self, method: str, path: str, parameters: dict[str, Any]) -> Any:
        assert self._http is not None
        answer = self._http.request(method, path, params=parameters)
        answer.raise_for_status()
        return answer.json()

    def _start(self) -> None:
        if not RUN.is_file():
            raise click.ClickException(f"no Elasticsearch to measure on: give --url, or provide {RUN.parent.name}/run")
        self._folder.mkdir(parents=True, exist_ok=True)
        self._data = Path(tempfile.mkdtemp(prefix="server-", dir=self._folder))
        port = _free_port()
        bound = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        command = [sys.executable, str(RUN), "--port", str(port), "--data", str(self._data), "--heap", self._heap]
        with (self._data / "output").open("wb") as output:
            self._process = subprocess.Popen(
                [*bound, *command], stdout=output, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True
            )
        self.url = f"http://127.0.0.1:{port}"

    def _wait(self, http: httpx.Client) -> None:
        deadline = time.monotonic() + self._patience
        while True:
            try:
                if http.get("/_cluster/health", params={"wait_for_status": "yellow"}).status_code == 200:
                    return
            except httpx.TransportError as error:
                if time.monotonic() > deadline:
                    raise click.ClickException(f"Elasticsearch at {self.url} does not answer: {error}") from None
            if self._process is not None and self._process.poll() is not None:
                assert self._data is not None
                output = (self._data / "output").read_text(errors="replace")
                raise click.ClickException(f"Elasticsearch ended: {output[-2000:]}")
            time.sleep(0.2)


def _free_port() -> int:
    """A free port; the port 100 above, for transport, is free too."""
    for port in range(21_000, 32_000, 7):
        if all(_is_free(port + offset) for offset in (0, 100)):
            return port
    raise click.ClickException("no free port on 127.0.0.1")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
