"""Jobs on a Ray cluster whose nodes are processes of their own: they index what one process indexes, whoever dies.

The real encoder's turn is `slow`.
"""

from __future__ import annotations

import importlib.util
import json
import os
import random
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import make_checkpoint
from click.testing import CliRunner
from collections_on import settings_for
from numpy.typing import NDArray
from ports import free_port
from servers import Address

from indexing import job
from indexing.cli import cli
from search_app.encoders.sentence_transformer import SentenceTransformerEncoder
from search_app.hardware import Hardware
from search_app.settings import BUNDLED, EncoderSettings, Settings, SplitterSettings
from search_app.stores.catalog import open_catalog

pytestmark = [
    pytest.mark.elasticsearch,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra ray"),
    pytest.mark.timeout(900),
]

SPLITTER = {"passage_tokens": 100, "overlap_tokens": 10}
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
MEMBER = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
QUICK = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_failure_threshold": "4",
}
"""Detect a dead node within seconds."""
WORDS = [
    "river",
    "crosses",
    "Vienna",
    "treaty",
    "glacier",
    "engine",
    "measures",
    "Osaka",
    "names",
    "global",
    "statement",
]

Contents = dict[str, tuple[str, str, NDArray[np.float32]]]
"""Passages by id: source, text, vector."""


class Nodes:
    """A Ray cluster of single-core nodes on this machine; a context manager."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="ray-"))
        self._processes: list[subprocess.Popen[bytes]] = []
        self.address = ""

    def __enter__(self) -> Nodes:
        return self

    def __exit__(self, *error: object) -> None:
        for number in reversed(range(len(self._processes))):
            self.kill(number)
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> int:
        """Returns when the node has joined the cluster."""
        number = len(self._processes)
        head = ["--head", f"--port={free_port()}", "--include-dashboard=false", f"--temp-dir={self._folder}"]
        command = [str(Path(sys.executable).with_name("ray")), "start", "--block"]
        command += [f"--address={self.address}"] if number else head
        command += ["--num-cpus=1", f"--object-store-memory={100 << 20}"]
        log = self._folder.with_name(f"{self._folder.name}-{number}.log")
        bound = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*bound, *command], stdout=output, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True,
                env={**os.environ, **QUIET, **QUICK, **MEMBER},
            )  # fmt: skip
        self._processes.append(process)
        wait(lambda: "Ray runtime started" in log.read_text(errors="replace") or process.poll() is not None, seconds=90)
        told = log.read_text(errors="replace")
        log.unlink()
        assert process.poll() is None, told
        if not number:
            self.address = re.findall(r"--address='([^']+)'", told)[0]
        return number

    def kill(self, number: int) -> None:
        """Kill all processes of the node, as if the machine died."""
        process = self._processes[number]
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@dataclass
class Bench:
    """The command, its folder, and the result of a single process."""

    elasticsearch: Address
    prefix: str
    folder: Path
    model: Path
    expected: Contents = field(default_factory=dict)

    @property
    def docs(self) -> Path:
        return self.folder / "docs"

    def write(self, files: int, rows: int = 1200) -> None:
        self.docs.mkdir()
        chance = random.Random(0)
        for number in range(files):
            paragraphs = [" ".join(chance.choices(WORDS, k=90)) + f" {number} {line}." for line in range(8)]
            (self.docs / f"{number:03}.txt").write_text("\n\n".join(paragraphs))
        # Larger than a part: its passages come from several batches, and so from several encoders.
        lines = [{"title": f"row {row}", "text": " ".join(chance.choices(WORDS, k=60))} for row in range(rows)]
        (self.docs / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)))
        (self.docs / "broken.pdf").write_bytes(b"%PDF-1.4 and no more")

    def apply(self, *options: str) -> subprocess.Popen[str]:
        own = {
            "HOME": str(self.folder / "home"), "STORE": "elasticsearch",
            "ELASTICSEARCH__URLS": self.elasticsearch.urls[0], "ELASTICSEARCH__PREFIX": self.prefix,
            "ELASTICSEARCH__VECTORS": "flat", "ENCODER__MODEL": str(self.model), "ENCODER__PRECISION": "float32",
            **{f"SPLITTER__{name.upper()}": str(value) for name, value in SPLITTER.items()},
        }  # fmt: skip
        member = MEMBER if "--ray" in options else {}
        return subprocess.Popen(
            [sys.executable, "-m", "indexing.cli", "apply", str(self.docs), "--json", *options],
            env={**os.environ, **QUIET, **member, **{f"SEARCH_APP_{name}": value for name, value in own.items()}},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def finished(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        out, err = process.communicate(timeout=600)
        assert process.returncode == 1, err  # of the broken file
        summary: dict[str, Any] = json.loads(out)
        assert [problem["source"] for problem in summary["problems"]] == [str(self.docs / "broken.pdf")], err
        return summary

    def one_process(self) -> Contents:
        settings = Settings(home=self.folder / "one", splitter=SplitterSettings(**SPLITTER))
        encoder = SentenceTransformerEncoder(
            EncoderSettings(model=str(self.model)), Hardware("test", 1, frozenset(), "cpu", "float32")
        )
        job.apply([self.docs], settings=settings, encoder=encoder)
        return contents(settings)

    def indexed(self) -> Contents:
        return contents(settings_for(self.elasticsearch, self.prefix))

    def entries_sent(self) -> int:
        """Entries in all versions of the collection, published or not."""
        with self.elasticsearch.http() as http:
            found = http.get(f"/{self.prefix}.*/_stats/indexing", params={"expand_wildcards": "all"}).json()
        return int(found["_all"].get("primaries", {}).get("indexing", {}).get("index_total", 0))

    def interrupt(self, process: subprocess.Popen[str], share: float, act: Callable[[], None]) -> None:
        """Wait for this share of the passages."""
        wait(lambda: self.entries_sent() >= share * len(self.expected) or process.poll() is not None, seconds=400)
        assert process.poll() is None, f"it had ended before: {process.communicate()}"
        act()

    def is_right(self) -> None:
        found = self.indexed()
        assert {id: row[:2] for id, row in found.items()} == {id: row[:2] for id, row in self.expected.items()}
        assert max(float(np.abs(found[id][2] - row[2]).max()) for id, row in self.expected.items()) <= 1e-5


def wait(condition: Callable[[], bool], *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def contents(settings: Settings) -> Contents:
    with closing(open_catalog(settings)) as catalog, closing(catalog.open("default")) as index:
        found: Contents = {}
        for batch in index.passages(vectors=True):
            for passage, vector in zip(batch.passages, batch.embeddings, strict=True):
                assert passage.id not in found
                found[passage.id] = (passage.source, passage.text, vector)
        assert index.counts()["passages"] == len(found)
        return found


@pytest.fixture
def bench(elasticsearch: Address, elasticsearch_prefix: str, tmp_path: Path) -> Bench:
    bench = Bench(elasticsearch, elasticsearch_prefix, tmp_path, make_checkpoint("bert", tmp_path / "m", reader=False))
    bench.write(files=60)
    bench.expected = bench.one_process()
    return bench


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    with Nodes() as nodes:
        nodes.start()
        yield nodes


def test_a_node_that_is_killed_half_way_changes_nothing_in_the_index(bench: Bench, nodes: Nodes) -> None:
    second = nodes.start()
    process = bench.apply("--ray", nodes.address)
    bench.interrupt(process, 0.5, lambda: nodes.kill(second))
    summary = bench.finished(process)
    bench.is_right()
    assert (summary["added"], summary["failed"]) == (61, 1)
    assert summary["passages"] == len(bench.expected)


@pytest.mark.slow
def test_after_a_killed_driver_the_next_job_does_what_is_left(bench: Bench, nodes: Nodes) -> None:
    process = bench.apply("--ray", nodes.address)
    bench.interrupt(process, 0.6, process.kill)
    process.communicate()
    summary = bench.finished(bench.apply("--ray", nodes.address))
    bench.is_right()
    assert summary["passages_encoded"] < 0.7 * len(bench.expected)
    (bench.docs / "007.txt").unlink()
    (bench.docs / "008.txt").write_text("a river of ice")
    bench.expected = bench.one_process()
    summary = bench.finished(bench.apply("--workers", "1"))
    bench.is_right()
    assert (summary["added"], summary["changed"], summary["removed"], summary["unchanged"]) == (0, 1, 1, 59)


@pytest.mark.slow
def test_the_bundled_encoder_gives_the_same_vectors_in_two_processes(
    elasticsearch: Address, elasticsearch_prefix: str, tmp_path: Path
) -> None:
    bench = Bench(elasticsearch, elasticsearch_prefix, tmp_path, Path(BUNDLED))
    bench.write(files=12, rows=60)
    bench.expected = bench.one_process()
    summary = bench.finished(bench.apply("--workers", "2"))
    bench.is_right()
    assert summary["passages"] == len(bench.expected)


@pytest.mark.parametrize(
    ("options", "environment", "words"),
    [
        (["--workers", "2"], {}, "leave the option out, or set SEARCH_APP_STORE=elasticsearch"),
        (["--ray", "ray://host:10001"], {"SEARCH_APP_STORE": "elasticsearch"}, "with --ray auto"),
        (["--ray", "auto", "--workers", "2"], {}, "cannot be used together"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_begun(
    tmp_path: Path, options: list[str], environment: dict[str, str], words: str
) -> None:
    (tmp_path / "a.txt").write_text("a text")
    home = ["--home", str(tmp_path / "home")]
    result = CliRunner().invoke(cli, ["apply", str(tmp_path), *options, *home], env=environment)
    assert result.exit_code == 2
    assert words in result.stderr
    assert not (tmp_path / "home").exists()
