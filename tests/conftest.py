from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from servers import Address

# Set before any library reads them: no network, no telemetry, one compute thread per process.
os.environ.setdefault("HAYSTACK_TELEMETRY_ENABLED", "False")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent / "elasticsearch")]
pytest_plugins = ["tiers"]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of training and evaluation data next to the checkout."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no data folder at {folder}")
    return folder


@pytest.fixture(scope="session")
def elasticsearch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    """A real server without security, or the one at ELASTICSEARCH_URL; skips if neither is available."""
    from servers import Address, missing, shared_cluster

    if given := Address.given():
        yield given
        return
    if reason := missing():
        pytest.skip(reason)
    # All workers share the folder of the run.
    folder = tmp_path_factory.getbasetemp()
    with shared_cluster(folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) as address:
        yield address


@pytest.fixture(scope="session")
def elasticsearch_url(elasticsearch: Address) -> str:
    return elasticsearch.urls[0]


@pytest.fixture
def elasticsearch_prefix(elasticsearch: Address) -> Iterator[str]:
    """A prefix for the names of a test's indices, which are removed afterwards."""
    from servers import remove_indices

    prefix = f"test-{secrets.token_hex(4)}"
    yield prefix
    remove_indices(elasticsearch, prefix)
