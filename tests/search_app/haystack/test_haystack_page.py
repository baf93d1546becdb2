"""docs/haystack.md says what is so."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path

import documentation
import pytest
from haystack.testing import document_store as sync_tests
from haystack.testing import document_store_async as async_tests

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "haystack.md").read_text()


@pytest.mark.slow
def test_the_page_runs_from_top_to_bottom(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "SEARCH_APP_HOME": str(tmp_path / "home"),
    }
    said = []
    for block in documentation.to_run("docs/haystack.md"):
        command = [sys.executable, "-c", block.text] if block.language == "python" else ["bash", "-ec", block.text]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
    printed, answered = said
    assert printed.strip() == "Parental leave lasts up to fourteen months."
    assert "fourteen months" in answered
    assert "type: search_app.haystack.retrievers.SearchAppHybridRetriever" in (tmp_path / "asking.yaml").read_text()


def test_the_page_names_each_of_haystacks_test_classes() -> None:
    table = PAGE.split("## Haystack's own tests")[1]
    for module, suffix in ((sync_tests, "Test"), (async_tests, "AsyncTest")):
        names = [
            name.removesuffix(suffix)
            for name, found in vars(module).items()
            if inspect.isclass(found) and found.__module__ == module.__name__ and name.endswith((suffix, "Tests"))
        ]
        assert len(names) >= 12
        for name in names:
            assert f"`{name}`" in table or f"`{name}Test`" in table, name
