"""The documentation is right: every command runs, every link leads to a file, .env.example has every setting."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import documentation
import httpx
import pytest
from ports import free_port
from pydantic import BaseModel

from indexing.cli import cli as search_index_cli
from search_app.cli import cli as search_app_cli
from search_app.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
SERVERS = {"search-app serve": "/health/ready", "python -m ui": "/_stcore/health"}

QUESTIONS = {
    "data": [
        {
            "title": "Leave",
            "paragraphs": [
                {
                    "context": f"Employees of the {name} office have {days} days of annual leave.",
                    "qas": [
                        {
                            "id": name,
                            "question": f"How many days of annual leave has the {name} office?",
                            "answers": [
                                {"text": str(days), "answer_start": len(f"Employees of the {name} office have ")}
                            ],
                        }
                    ],
                }
                for name, days in (("Bergen", 25), ("Kyoto", 20), ("Quito", 22), ("Tartu", 28))
            ],
        }
    ]
}


@dataclass
class Desk:
    """A folder with documents, where README's commands run; the servers get free ports."""

    folder: Path
    environment: dict[str, str]
    ports: dict[str, int]
    servers: list[subprocess.Popen[bytes]]

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", self._local(command)],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=240,
        )

    def run_all(self, commands: Iterable[str]) -> dict[str, str]:
        """What each command printed; SERVERS keep running."""
        printed = {}
        for command in commands:
            if command in SERVERS:
                self.serve(command, SERVERS[command])
            else:
                done = self.run(command)
                assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
                printed[command] = done.stdout
        return printed

    def serve(self, command: str, health: str) -> None:
        port = self.ports["8501" if command == "python -m ui" else "8000"]
        arguments = f" --port {port}" + (self._local(" --api-url http://127.0.0.1:8000") if "ui" in command else "")
        self.servers.append(
            subprocess.Popen(
                shlex.split(command + arguments),
                cwd=self.folder,
                env=self.environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )
        deadline = time.monotonic() + 120
        while True:
            assert self.servers[-1].poll() is None, f"{command} ended with {self.servers[-1].returncode}"
            assert time.monotonic() < deadline, f"{command} is not ready"
            try:
                if httpx.get(f"http://127.0.0.1:{port}{health}").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.2)

    def _local(self, command: str) -> str:
        for usual, port in self.ports.items():
            command = command.replace(f"127.0.0.1:{usual}", f"127.0.0.1:{port}")
        return command


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("desk")
    (folder / "handbook").mkdir()
    (folder / "handbook" / "leave.md").write_text(
        "---\nauthor: Ada Byron\n---\n# Leave\n\nEmployees have 27 days of annual leave.\n\n"
        "## Parental leave\n\nParental leave lasts up to fourteen months.\n"
    )
    (folder / "handbook" / "travel.txt").write_text("Trains are booked in second class.\n")
    (folder / "minutes").mkdir()
    (folder / "minutes" / "2026-01.txt").write_text("Grace Hopper was elected as the chair of the board.\n")
    (folder / "questions.json").write_text(json.dumps(QUESTIONS))
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "SEARCH_APP_HOME": str(folder / "home"),
    }
    desk = Desk(folder, environment, {"8000": free_port(), "8501": free_port()}, [])
    yield desk
    for server in desk.servers:
        server.terminate()
    for server in desk.servers:
        server.wait(30)


@pytest.mark.timeout(600)
def test_readme_runs_from_top_to_bottom(desk: Desk) -> None:
    printed = desk.run_all(command for command in readme() if not command.startswith(documentation.SLOW))
    assert len(printed) > 10
    from_python = next(output for command, output in printed.items() if command.startswith("python -c"))
    assert "handbook/leave.md" in from_python
    assert "Grace Hopper" in printed['search-app answer "Who was elected?" --collection minutes']
    assert "leave.md" in next(output for command, output in printed.items() if "Nobody" in command)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_readme_trains_and_measures_a_reader(desk: Desk) -> None:
    printed = desk.run_all(command for command in readme() if command.startswith(documentation.SLOW))
    assert any(re.search(r"^em +\d", output, re.MULTILINE) for output in printed.values())


def readme() -> Iterator[str]:
    """The commands that tests run; Python code as a command too."""
    for block in documentation.to_run("README.md"):
        for command in block.commands():
            yield f"python -c {shlex.quote(command)}" if block.language == "python" else command


@pytest.mark.parametrize("page", documentation.pages())
def test_every_command_is_run_by_a_test_or_has_a_reason_not_to(page: str) -> None:
    commands = [command for block in documentation.blocks(page) for command in block.commands()]
    unknown = [command for command in commands if documentation.runner(page, command) is None]
    assert not unknown, "name what runs them in tests/documentation.py"
    listed = [*documentation.ELSEWHERE.get(page, ()), *documentation.NOT_RUN.get(page, ())]
    stale = [start for start in listed if not any(command.startswith(start) for command in commands)]
    assert not stale, "tests/documentation.py lists commands that the page does not have"


def test_what_runs_a_command_is_there() -> None:
    for page, path in documentation.TOP_TO_BOTTOM.items():
        assert f'to_run("{page}")' in (ROOT / path).read_text(), path
    for places in documentation.ELSEWHERE.values():
        for path, text in places.values():
            assert text in (ROOT / path).read_text(), f"{path} has no {text}"


@pytest.mark.parametrize("page", documentation.pages())
def test_every_command_and_option_in_the_text_exists(page: str) -> None:
    text = (ROOT / page).read_text()
    for program, commands in (("search-app", search_app_cli), ("search-index", search_index_cli)):
        for rest in re.findall(rf"{program} ([a-z][^\n`|#;]*)", text):
            words = rest.split()
            command: Any = commands
            while words and words[0] in getattr(command, "commands", ()):
                command = command.commands[words.pop(0)]
            if command is not commands:
                known = {option for parameter in command.params for option in parameter.opts}
                unknown = [word for word in words if word.startswith("--") and word.partition("=")[0] not in known]
                assert not unknown, f"{program} {rest}"
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    unknown = [target for target in re.findall(r"`make ([a-z-]+)", text) if target not in targets]
    assert not unknown, "the Makefile has no such targets"


@pytest.mark.parametrize("page", documentation.pages())
def test_every_link_leads_to_a_file(page: str) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)\s#]+)", (ROOT / page).read_text())
    missing = [link for link in links if not (ROOT / page).parent.joinpath(link).exists()]
    assert not missing


def test_env_example_lists_every_setting_with_its_default() -> None:
    lines = re.findall(r"^(# )?(SEARCH_APP_\w+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert {name for _, name, _ in lines} == {name for name, _ in _descriptions(Settings, "SEARCH_APP_")}
    given = {name: value for commented, name, value in lines if not commented}
    code = "from search_app.settings import Settings; print(Settings(home='/').model_dump_json())"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SEARCH_APP_")}
    with_file, without = (
        subprocess.run(
            [sys.executable, "-c", code], env={**clean, **extra}, capture_output=True, text=True, check=True
        ).stdout
        for extra in (given, {})
    )
    assert json.loads(with_file) == json.loads(without)


def test_env_example_describes_each_setting_as_the_code_does() -> None:
    text = re.sub(r"\n# (?!SEARCH_APP_)", " ", (ROOT / ".env.example").read_text())
    for name, description in _descriptions(Settings, "SEARCH_APP_"):
        assert re.search(rf"{re.escape(description[1:])}\.\n(# )?{name}=", text), f"{name}: {description}"


def _descriptions(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str]]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _descriptions(field.annotation, f"{prefix}{name.upper()}__")
        else:
            yield prefix + name.upper(), str(field.description)
