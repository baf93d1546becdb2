"""The first commands of docs/elasticsearch.md, run with another address."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from servers import Address

pytestmark = [pytest.mark.elasticsearch]

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "elasticsearch.md").read_text()


@pytest.mark.slow
def test_the_first_commands_work(elasticsearch: Address, elasticsearch_prefix: str, tmp_path: Path) -> None:
    block = re.search(r"^```sh\n(pip install .*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert block is not None
    install, *commands = block.group(1).splitlines()
    assert install == "pip install -c requirements.lock '.[cpu,elasticsearch]'"
    (tmp_path / "handbook").mkdir()
    (tmp_path / "handbook" / "leave.md").write_text("# Leave\n\nEvery employee has 25 days of annual leave.\n")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "SEARCH_APP_HOME": str(tmp_path / "home"),
        "SEARCH_APP_ELASTICSEARCH__PREFIX": elasticsearch_prefix,
    }
    if elasticsearch.username:
        environment["SEARCH_APP_ELASTICSEARCH__USERNAME"] = elasticsearch.username
        environment["SEARCH_APP_ELASTICSEARCH__PASSWORD"] = elasticsearch.password or ""
    if elasticsearch.ca:
        environment["SEARCH_APP_ELASTICSEARCH__CA"] = str(elasticsearch.ca)
    more = [
        "search-index verify",
        "search-index info",
        "search-index apply handbook --rebuild",
        "search-index rollback",
        "SEARCH_APP_ELASTICSEARCH__FALLBACK=true search-index replicate",
        "SEARCH_APP_STORE=embedded search-index verify",
    ]
    script = "\n".join(["set -e", *commands, *more]).replace("http://127.0.0.1:9200", elasticsearch.urls[0])
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    assert "1 added" in done.stdout
    assert "[25] days of annual leave" in done.stdout
    assert done.stdout.count("collection 'default' is sound") == 2
    assert "restored the previous index of collection 'default', generation 3" in done.stdout
    assert "to the replica: 1 passage" in done.stdout
