"""The converter's process, from outside: started when needed, limited, and replaced when a file kills or hangs it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from indexing.converters.content import Content, ConversionError

_ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Limits:
    """For one file: bytes of address space, seconds of processor time plus some a megabyte; wall clock is double."""

    memory: int = 2 << 30
    seconds: float = 30
    seconds_per_megabyte: float = 3

    def for_size(self, size: int) -> float:
        return self.seconds + self.seconds_per_megabyte * size / (1 << 20)


DEFAULT_LIMITS = Limits()


class Sandbox:
    """Converts one file at a time. Documents wait in a spool file, so a file that fails leaves nothing half done."""

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="search-index-")
        self._count = 0

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def convert(self, path: Path, kind: str, size: int) -> Spool:
        """Raises ConversionError with the reason; FileNotFoundError where the file is gone."""
        self._count += 1
        spool = Path(self._folder.name, f"{self._count}.jsonl")
        seconds = self._limits.for_size(size)
        request = {"path": str(path.absolute()), "format": kind, "spool": str(spool), "seconds": int(seconds) or 1}
        try:
            reply = self._ask(request, wall=2 * seconds)
            if reply.get("exhausted"):
                self._stop()  # what is left of its memory may not do for the next file
            if reply.get("vanished"):
                raise FileNotFoundError(path)
            if "error" in reply:
                raise ConversionError(str(reply["error"]))
        except BaseException:
            spool.unlink(missing_ok=True)
            raise
        return Spool(spool, int(reply["documents"]), int(reply["characters"]))

    def close(self) -> None:
        self._stop()
        self._folder.cleanup()

    def _ask(self, request: dict[str, Any], *, wall: float) -> dict[str, Any]:
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
            line = _read_line(process.stdout.fileno(), time.monotonic() + wall)
        except TimeoutError:
            self._stop()
            raise ConversionError(f"converting it took longer than {wall:g} s") from None
        except BrokenPipeError:
            line = b""
        if not line:
            raise ConversionError(self._cause_of_death(request["seconds"]))
        reply: dict[str, Any] = json.loads(line)
        return reply

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:
            self._stop()
        if self._process is None:
            path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH", "")]))
            self._process = subprocess.Popen(
                # -P: a document folder's own lxml.py must not be imported because someone stands in that folder.
                [sys.executable, "-P", "-m", "indexing.converters", str(self._limits.memory)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": path, "PYTHONUTF8": "1"},
                start_new_session=True,  # Ctrl-C goes to the job, which then ends this process
            )
        return self._process

    def _cause_of_death(self, seconds: int) -> str:
        process, self._process = self._process, None
        assert process is not None
        code = process.wait()
        _close_pipes(process)
        if code == -signal.SIGXCPU:
            return f"converting it took more than {seconds} s of processor time"
        return f"the converter died of it ({signal.Signals(-code).name if code < 0 else f'exit code {code}'})"

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            _close_pipes(process)


@dataclass(frozen=True, slots=True)
class Spool:
    """A converted file: its documents wait on disk and are read one by one."""

    path: Path
    documents: int
    characters: int

    def __iter__(self) -> Iterator[Content]:
        with self.path.open(encoding="utf-8") as file:
            for line in file:
                yield Content.from_json(json.loads(line))

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)


def _read_line(descriptor: int, deadline: float) -> bytes:
    """A line, or b"" where the other end closed; TimeoutError at the deadline."""
    line = b""
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise TimeoutError
        block = os.read(descriptor, 1 << 16)
        if not block:
            return b""
        line += block
    return line


def _close_pipes(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):  # what was not flushed was meant for a process that is gone
                pipe.close()
