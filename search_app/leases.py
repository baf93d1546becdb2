"""What every lease needs: the identity of the process that holds it, and a thread that renews it."""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process on one machine. `started`, in clock ticks since boot, tells it from a later process with its pid.

    `started` is "" if unknown: on systems without /proc, and in records written by earlier versions.
    """

    machine: str
    pid: int
    started: str = ""

    def is_gone(self) -> bool:
        """True only if certain; a process on another machine never counts as gone."""
        if self.machine != _machine():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:  # it runs as another user
            pass
        started, state = _stat(self.pid)
        return state in ("Z", "X") or bool(started and self.started and started != self.started)


def this_process() -> ProcessIdentity:
    """The identity of the calling process."""
    pid = os.getpid()
    return ProcessIdentity(_machine(), pid, _stat(pid)[0])


class Heartbeat:
    """Calls `renew` every `seconds` on a thread, until `stop` is called or `renew` returns False."""

    def __init__(self, renew: Callable[[], bool], *, seconds: float) -> None:
        self._renew = renew
        self._seconds = seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Return when no call is running any more."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(self._seconds) and self._renew():
            pass


@functools.cache
def _machine() -> str:
    """The scope in which a pid is unique: this host, this boot, this pid namespace (a container has its own)."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
    with contextlib.suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return "/".join(parts)


def _stat(pid: int) -> tuple[str, str]:
    """Start time in clock ticks since boot, and state; "" if the system has no /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return "", ""
    return fields[19], fields[0]
