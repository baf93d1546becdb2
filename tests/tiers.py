"""Pytest plugin for the three tiers of tests: how long each test takes, which tier it is in, and what a run did.

`make test-fast` leaves out tests marked `integration`, `make test` those marked `slow` or `docker`, and `make test-all`
none. The plugin marks a test `integration` if it is in one of FOLDERS, needs a server or a browser, or took more than
LIMIT_S when `make durations` last measured it.
"""

from __future__ import annotations

import functools
import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from search_app.hardware import cores

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("benchmarks", "docker", "documents", "elasticsearch", "integration", "quality", "reliability")
"""Below tests/: they start servers, browsers or other processes."""
MARKERS = ("browser", "docker", "elasticsearch", "slow")
LIMIT_S = 1.0
"""Limit for a test function with all of its cases; shared fixtures do not count."""
DURATIONS = Path(__file__).with_name("durations.json")
RECORDED_S = 0.2


@functools.cache
def _seconds() -> dict[str, float]:
    """By test function, without those below RECORDED_S."""
    durations: dict[str, float] = json.loads(DURATIONS.read_text())
    return durations


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("tiers")
    group.addoption("--record-durations", action="store_true", help=f"write {DURATIONS.name}")
    group.addoption("--summary", action="store_true", help="count what ran, folder by folder, at the end")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Outcomes(), "outcomes")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """More workers than cores if there are tests with servers and processes, which mostly wait."""
    is_fast = "not integration" in (config.option.markexpr or "")
    return cores() if is_fast else cores() * 3 // 2


def pytest_itemcollected(item: pytest.Item) -> None:
    in_folder = _file(item.nodeid).split("/")[1] in FOLDERS
    if in_folder or any(map(item.get_closest_marker, MARKERS)) or _seconds().get(_function(item.nodeid), 0) > LIMIT_S:
        item.add_marker("integration")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest tests first, so that all workers finish at the same time."""
    units: dict[str, float] = defaultdict(float)
    for name, duration in _seconds().items():
        units[name] += duration
        units[_file(name)] += duration
    items.sort(key=lambda item: -units[_group(_file(item.nodeid)) or _function(item.nodeid)])


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    config.option.loadscopereorder = False
    return Scheduler(config, log)


class Scheduler(LoadScopeScheduling):  # type: ignore[misc]
    """Gives each test to the next free worker; tests that share something go to the same worker."""

    def _split_scope(self, nodeid: str) -> str:
        return _group(_file(nodeid)) or nodeid


@functools.cache
def _group(file: str) -> str | None:
    """All tests with Docker share the engine; the tests of a module share its module fixtures."""
    if file.startswith("tests/docker/"):
        return "tests/docker"
    path = ROOT / file
    return file if path.is_file() and 'fixture(scope="module"' in path.read_text() else None


class Outcomes:
    """Collects the reports of all workers."""

    def __init__(self) -> None:
        self._shared_s = 0.0
        self._seconds: dict[str, float] = defaultdict(float)
        self._folders: dict[str, Counter[str]] = defaultdict(Counter)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Iterator[None]:
        started = time.perf_counter()
        try:
            return (yield)
        finally:
            if fixturedef.scope != "function":
                self._shared_s += time.perf_counter() - started

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Iterator[None]:
        report: Any = yield
        report.own_s = report.duration - self._shared_s
        self._shared_s = 0.0
        return report

    def pytest_runtest_logreport(self, report: Any) -> None:
        # Not the teardown, which may be that of a shared fixture. Reports of a crashed worker lack own_s.
        if report.when != "teardown":
            self._seconds[_function(report.nodeid)] += getattr(report, "own_s", 0.0)
        folder = self._folders[str(Path(_file(report.nodeid)).parent)]
        folder["seconds"] += report.duration
        if report.failed or report.skipped or report.when == "call":
            folder[report.outcome] += 1

    def pytest_terminal_summary(self, terminalreporter: Any, config: pytest.Config) -> None:
        if config.option.record_durations:
            kept = {name: round(took, 1) for name, took in sorted(self._seconds.items()) if took >= RECORDED_S}
            DURATIONS.write_text(json.dumps(kept, indent=0) + "\n")
            terminalreporter.write_line(f"{len(kept)} test functions recorded in {DURATIONS.name}")
        if config.option.summary:
            terminalreporter.section("by folder")
            terminalreporter.write_line(f"{'':40}passed  failed skipped seconds")
            for folder, counts in sorted(self._folders.items()):
                numbers = (f"{counts[key]:8.0f}" for key in ("passed", "failed", "skipped", "seconds"))
                terminalreporter.write_line(f"{folder:38}{''.join(numbers)}")


def _file(nodeid: str) -> str:
    return nodeid.partition("::")[0]


def _function(nodeid: str) -> str:
    return nodeid.partition("[")[0]
