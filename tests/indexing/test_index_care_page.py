"""docs/index-care.md runs from top to bottom, and says what happens."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import documentation
import pytest
from click.testing import CliRunner

from indexing.cli import cli

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "index-care.md").read_text()


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_page_runs_from_top_to_bottom(tmp_path: Path) -> None:
    (tmp_path / "handbook").mkdir()
    (tmp_path / "handbook" / "leave.md").write_text("---\nauthor: Ada Byron\n---\n# Leave\n\nThirty days of leave.\n")
    (tmp_path / "handbook" / "travel.txt").write_text("Trains are booked in second class.\n")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "SEARCH_APP_HOME": str(tmp_path / "home"),
    }
    said: dict[str, str] = {}
    for block in documentation.to_run("docs/index-care.md"):
        for line in block.commands():
            command = [sys.executable, "-c", line] if block.language == "python" else ["bash", "-c", line]
            done = subprocess.run(
                command, cwd=tmp_path, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
            )
            assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
            said[line] = done.stdout
    assert "1 document would be deleted" in said["search-index delete --source 'travel.*' --dry-run"]
    assert "1 deleted" in said["search-index delete --source 'travel.*' --yes"]
    assert "1 document, " in said["search-index rebuild --encoder bundled"]
    assert re.search(r"^splitter +v1 224/32$", said["search-index info"], re.MULTILINE)
    assert "is sound" in said["search-index verify --repair"]
    assert "restored collection 'restored'" in said["search-index restore backup --collection restored"]


def test_every_command_stands_in_the_page_or_in_its_neighbours() -> None:
    pages = PAGE + (ROOT / "README.md").read_text() + (ROOT / "docs" / "elasticsearch.md").read_text()
    for name in cli.list_commands(None):  # type: ignore[arg-type]
        assert f"search-index {name}" in pages, name


def test_its_options_are_those_of_the_commands() -> None:
    mentioned = re.findall(r"search-index (\w+)((?: [^\n]*)?)$", PAGE, re.MULTILINE)
    for name, rest in mentioned:
        shown = CliRunner().invoke(cli, [name, "--help"]).stdout
        for option in re.findall(r"--[a-z-]+", rest):
            assert option in shown, f"{name} {option}"
