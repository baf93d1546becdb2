from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from search_app.leases import Heartbeat, ProcessIdentity, this_process


@pytest.fixture
def other() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


def test_a_running_process_is_not_gone(other: subprocess.Popen[bytes]) -> None:
    assert not this_process().is_gone()
    assert not replace(this_process(), pid=other.pid, started="").is_gone()


def test_a_killed_process_is_gone_even_before_its_parent_waits_for_it(other: subprocess.Popen[bytes]) -> None:
    identity = replace(this_process(), pid=other.pid, started="")
    other.kill()
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
    assert identity.is_gone()
    other.wait()
    assert identity.is_gone()


def test_a_process_is_gone_if_another_one_has_its_pid() -> None:
    here = this_process()
    assert here.started
    assert replace(here, started="1").is_gone()
    assert not replace(here, started="").is_gone(), "a record without a start time is compared by pid alone"


def test_a_process_of_another_machine_never_counts_as_gone(other: subprocess.Popen[bytes]) -> None:
    other.kill()
    other.wait()
    assert not ProcessIdentity("another machine", other.pid, "1").is_gone()


def test_a_heartbeat_renews_until_it_is_stopped() -> None:
    renewed = threading.Semaphore(0)

    def renew() -> bool:
        renewed.release()
        return True

    heartbeat = Heartbeat(renew, seconds=0.01)
    for _ in range(3):
        assert renewed.acquire(timeout=10)
    heartbeat.stop()
    while renewed.acquire(blocking=False):
        pass
    assert not renewed.acquire(timeout=0.1)


def test_a_heartbeat_ends_when_the_lease_is_lost() -> None:
    calls: list[None] = []

    def renew() -> bool:
        calls.append(None)
        return len(calls) < 2

    heartbeat = Heartbeat(renew, seconds=0.01)
    heartbeat._thread.join(10)
    assert len(calls) == 2
    heartbeat.stop()
