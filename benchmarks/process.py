"""Run a command as a process and measure its wall time and memory, children included."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import psutil  # type: ignore[import-untyped]

_EVERY_S = 0.05


@dataclass(frozen=True, slots=True)
class Ran:
    """Wall time in seconds; memory in bytes.

    `peak` is the peak memory of the main process (VmHWM), `peak_tree` that of it and its children, sampled twenty times
    a second, with shared pages counted for each process.
    """

    seconds: float
    peak: int
    peak_tree: int
    output: str
    killed: bool

    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.output)
        return found


def apply(
    path: Path,
    home: Path,
    *options: str,
    environment: Mapping[str, str] | None = None,
    kill_when: Callable[[], bool] | None = None,
) -> Ran:
    """`search-index apply PATH --json`."""
    command = ["-m", "indexing.cli", "apply", str(path), "--json", *options]
    return run(command, environment={"SEARCH_APP_HOME": str(home), **(environment or {})}, kill_when=kill_when)


def run(
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    kill_when: Callable[[], bool] | None = None,
) -> Ran:
    """Run this Python with the arguments; send SIGKILL as soon as `kill_when` returns true."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SEARCH_APP_")}
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            env={**clean, "HF_HUB_OFFLINE": "1", "HAYSTACK_TELEMETRY_ENABLED": "False", **(environment or {})},
            stdout=said,
        )
        watched = psutil.Process(process.pid)
        peak = peak_tree = 0
        killed = False
        while process.poll() is None:
            peak, peak_tree = max(peak, _high_water(process.pid)), max(peak_tree, _resident(watched))
            if kill_when is not None and kill_when():
                process.kill()
                killed = True
                break
            time.sleep(_EVERY_S)
        process.wait()
        seconds = time.perf_counter() - began
        said.seek(0)
        output = said.read()
    if not killed and process.returncode:
        raise click.ClickException(f"{' '.join(arguments)} ended with {process.returncode}\n{output[-3000:]}")
    return Ran(seconds, peak, peak_tree, output, killed)


def _high_water(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def _resident(process: psutil.Process) -> int:
    total = 0
    with suppress(psutil.Error):
        for item in [process, *process.children(recursive=True)]:
            with suppress(psutil.Error):
                total += item.memory_info().rss
    return total
