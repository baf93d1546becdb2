"""Run converters in a separate process with limits, and replace it when a file kills or hangs it."""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from indexing.converters.content import ConversionError
from indexing.spool import Spool
from search_app.errors import SearchAppError

if TYPE_CHECKING:
    from indexing.converters.drawing import Marks
    from indexing.splitter import SplitConfig
    from search_app.types import MetaValue

_ROOT = Path(__file__).resolve().parents[1]
_IDLE = 0.02
"""A process with a smaller share of processor time hangs; one with more is only slowed by a busy machine."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits per file: `memory` in bytes of address space; processor time in seconds, plus more per megabyte.

    Megabytes of the file count, and those of the text that it turns out to have.

    A process that hangs is stopped after twice that time on the clock. Without `ocr`, pages that need it are only
    counted: each has a box that covers it.
    """

    memory: int = 2 << 30
    seconds: float = 30
    seconds_per_megabyte: float = 3
    ocr: bool = True

    def for_size(self, size: int) -> float:
        """Seconds of processor time for a file of `size` bytes."""
        return self.seconds + self.seconds_per_megabyte * size / (1 << 20)


DEFAULT_LIMITS = Limits()


class Sandbox:
    """Converts one file at a time into a spool file, and with a `config` splits it into passages too; draws pages.

    Spool files go to `folder`, or to a temporary one. A context manager.
    """

    def __init__(
        self, limits: Limits = DEFAULT_LIMITS, *, config: SplitConfig | None = None, folder: Path | None = None
    ) -> None:
        self._limits = limits
        self._config = config
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="search-index-", dir=folder)
        self._count = 0
        self._closed = False

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def convert(
        self,
        path: Path,
        kind: str,
        size: int,
        *,
        stem: str = "",
        overrides: Mapping[str, MetaValue] | None = None,
        charset: str = "",
    ) -> Spool:
        """Convert the file of format `kind` and `size` bytes, which a server may have declared as `charset`.

        When it is split, `stem` is the fallback for its title and `overrides` replaces metadata. Raises ConversionError
        with the reason, FileNotFoundError if the file has been deleted, SearchAppError if the disk is full.
        """
        options = {"stem": stem, "overrides": dict(overrides or {}), "charset": charset}
        spool, reply = self._work(path, kind, size, options)
        warnings = tuple(map(str, reply["warnings"]))
        return Spool(spool, int(reply["documents"]), int(reply["characters"]), warnings, int(reply["unread"]))

    def draw(self, path: Path, kind: str, size: int, *, page: int, width: int, marks: Marks) -> bytes:
        """Page `page` (from 1) of the file as a PNG, at most `width` pixels wide. Raises as `convert` does."""
        picture, _ = self._work(path, kind, size, {"draw": {"page": page, "width": width, **asdict(marks)}})
        try:
            return picture.read_bytes()
        finally:
            picture.unlink()

    def _work(self, path: Path, kind: str, size: int, options: Mapping[str, Any]) -> tuple[Path, dict[str, Any]]:
        """The file that the process wrote, and its reply."""
        self._count += 1
        spool = Path(self._folder.name, f"{self._count}.spool")
        seconds = self._limits.for_size(size)
        request = {
            "path": str(path.absolute()), "format": kind, "spool": str(spool), "seconds": int(seconds) or 1,
            "more": math.ceil(self._limits.seconds_per_megabyte), **options,
        }  # fmt: skip
        try:
            reply = self._ask(request, wall=2 * seconds)
            if reply.get("exhausted"):
                self._stop()  # its remaining memory may not be enough for the next file
            if reply.get("full"):
                raise SearchAppError(
                    f"no space left for converted files in {spool.parent.parent}",
                    hint="free some space or lower indexing.spool_mb, then run the same command again",
                )
            if reply.get("vanished"):
                raise FileNotFoundError(path)
            if "error" in reply:
                raise ConversionError(str(reply["error"]))
        except BaseException:
            spool.unlink(missing_ok=True)
            raise
        return spool, reply

    def interrupt(self) -> None:
        """From another thread: make the current file fail, and start no other."""
        self._closed = True
        if (process := self._process) is not None:
            process.kill()

    def processor_seconds(self) -> float:
        """Processor time of its process so far; 0 before the first file."""
        return _processor_seconds(self._process.pid) if self._process is not None else 0.0

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
            line = _read_line(process.stdout.fileno(), wall=wall, pid=process.pid)
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
            # One thread each: more would slow down the encoder and use up the limited address space.
            ocr = {} if self._limits.ocr else {"SEARCH_INDEX_OCR": "count"}
            single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"), "1")
            self._process = process = subprocess.Popen(
                # -P: do not import an lxml.py from the current folder.
                [sys.executable, "-P", "-m", "indexing.converters", str(self._limits.memory)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={
                    **os.environ, **single, **ocr, "TOKENIZERS_PARALLELISM": "false", "MALLOC_ARENA_MAX": "1",
                    "PYTHONPATH": path, "PYTHONUTF8": "1",
                },
                process_group=0,  # Ctrl-C goes to the job only, which then ends this process
            )  # fmt: skip
            if self._closed:
                process.kill()
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                config = asdict(self._config) if self._config is not None else None
                process.stdin.write(json.dumps(config).encode() + b"\n")
                process.stdin.flush()
        return self._process

    def _cause_of_death(self, seconds: int) -> str:
        process, self._process = self._process, None
        assert process is not None
        code = process.wait()
        _close_pipes(process)
        if code == -signal.SIGXCPU:
            return f"converting it took more than {seconds} s of processor time"
        return f"the converter died ({signal.Signals(-code).name if code < 0 else f'exit code {code}'})"

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            _close_pipes(process)


def _read_line(descriptor: int, *, wall: float, pid: int) -> bytes:
    """Read a line, or b"" at the end. Raises TimeoutError if the process is idle for `wall` seconds."""
    line = b""
    deadline = time.monotonic() + wall
    worked = _processor_seconds(pid)
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            now = _processor_seconds(pid)
            if now - worked < _IDLE * wall:
                raise TimeoutError
            deadline, worked = time.monotonic() + wall, now
            continue
        block = os.read(descriptor, 1 << 16)
        if not block:
            return b""
        line += block
    return line


def _processor_seconds(pid: int) -> float:
    """Processor time of a process; 0 if unknown."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _close_pipes(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):  # unflushed data was for a process that has ended
                pipe.close()
