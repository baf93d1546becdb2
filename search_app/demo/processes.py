"""Processes that end with the program: each leads a process group, which ends with the `with` block."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Self

import httpx

from search_app.errors import ConfigurationError, SearchAppError

HOST = "127.0.0.1"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_POLL_S = 0.1
_GRACE_S = 8.0


class Interrupted(Exception):
    """The user pressed Ctrl-C, or the program got a signal to end."""


@dataclass(frozen=True, slots=True)
class StartedProcess:
    """A started process. Its output goes to `log`, or to the terminal if `log` is None."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path | None

    def died(self) -> SearchAppError:
        lines = self.log.read_text(errors="replace").split("\n") if self.log else []
        last = next((line.strip() for line in reversed(lines) if line.strip()), "no output")
        return SearchAppError(
            f"{self.name} stopped with exit code {self.process.returncode}: {last.removeprefix('error: ')}",
            hint=f"see {self.log}" if self.log else "",
        )


class ProcessGroup:
    """Starts processes, waits for them and ends them. After a signal, the next wait raises Interrupted."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)
        self._children: list[StartedProcess] = []
        self._stop = threading.Event()
        self._handlers: dict[signal.Signals, object] = {}

    def __enter__(self) -> Self:
        for number in _SIGNALS:
            # nohup ignores SIGHUP; keep it so.
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                self._handlers[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Keep the handlers until all children have ended, so that a second Ctrl-C leaves none behind.
        for child in self._children:
            _signal(child, signal.SIGTERM)
        deadline = time.monotonic() + _GRACE_S
        for child in self._children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.process.wait(max(0.0, deadline - time.monotonic()))
            _signal(child, signal.SIGKILL)
            child.process.wait()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def start(
        self, name: str, module: str, *arguments: str, log: Path | None = None, stdout: IO[str] | None = None
    ) -> StartedProcess:
        """Run `python -m module` in its own session, so that Ctrl-C reaches only this one. `log` gets its output."""
        with contextlib.ExitStack() as stack:
            output = stack.enter_context(log.open("wb")) if log else None
            process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output or stdout,
                stderr=output,
                start_new_session=True,
            )
        child = StartedProcess(name, process, log)
        self._children.append(child)
        return child

    def finish(self, child: StartedProcess) -> int:
        """Wait for the process to end and return its exit code."""
        while child.process.poll() is None:
            self._pause()
        _signal(child, signal.SIGKILL)  # its own children
        self._children.remove(child)
        return child.process.returncode

    def until_ready(self, child: StartedProcess, url: str, *, timeout: float) -> None:
        """Wait until `url` answers 200. Raises SearchAppError if the process ends or `timeout` seconds pass."""
        deadline = time.monotonic() + timeout
        with httpx.Client(timeout=2.0, trust_env=False) as client:
            while True:
                if child.process.poll() is not None:
                    raise child.died()
                with contextlib.suppress(httpx.HTTPError):
                    if client.get(url).status_code == httpx.codes.OK:
                        return
                if time.monotonic() > deadline:
                    raise SearchAppError(f"{child.name} was not ready after {timeout:.0f} s", hint=f"see {child.log}")
                self._pause()

    def until_stopped(self) -> None:
        """Wait for a signal, which raises Interrupted. Raises SearchAppError if a process ends by itself."""
        while True:
            for child in self._children:
                if child.process.poll() is not None:
                    raise child.died()
            self._pause()

    def _pause(self) -> None:
        if self._stop.wait(_POLL_S):
            raise Interrupted

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._stop.set()


def require_free(port: int, *, option: str) -> None:
    """Raises ConfigurationError if the port is in use."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            problem = "is in use" if error.errno == errno.EADDRINUSE else f"is not available ({error.strerror})"
            raise ConfigurationError(
                f"port {port} {problem}", hint=f"stop the program that uses it, or choose another with {option}"
            ) from error


def _signal(child: StartedProcess, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.process.pid, number)
