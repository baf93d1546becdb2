from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import HashEncoder

from indexing import job
from indexing.verification import differences
from search_app.protocols import FileChange
from search_app.settings import Settings
from search_app.stores.catalog import open_catalog
from search_app.types import PassageBatch


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(home=tmp_path / "home")
    docs = tmp_path / "docs"
    docs.mkdir()
    for number in range(4):
        (docs / f"{number}.md").write_text(f"# Heading\n\nThe text of number {number}.\n")
    job.apply([docs], settings=settings, encoder=HashEncoder())
    return settings


def found(settings: Settings, sample: int = 10) -> list[str]:
    with closing(open_catalog(settings)) as catalog, closing(catalog.open("default")) as index:
        return differences(index, sample=sample)


def rewritten(settings: Settings, name: str, **changes: Any) -> None:
    """The document of a file as an older version of this program may have read it."""
    with closing(open_catalog(settings)) as catalog, closing(catalog.open("default")) as index:
        (record,) = (record for record in index.files() if record.source.endswith(name))
        (listed,) = (item for item in index.documents(limit=10) if item.source == record.source)
        document = index.document(listed.id)
        assert document is not None
        nothing = PassageBatch((), np.zeros((0, index.manifest.encoder.dim), dtype=np.float32))
        with catalog.writer("default", index.manifest) as writer:
            writer.write([FileChange(record, (replace(document, **changes),), nothing)])


def test_an_index_that_matches_its_files_has_no_differences(settings: Settings, tmp_path: Path) -> None:
    assert found(settings) == []
    (tmp_path / "docs" / "1.md").write_text("changed since")
    (tmp_path / "docs" / "2.md").unlink()
    assert found(settings) == []


def test_a_document_that_differs_from_its_file_is_reported(settings: Settings) -> None:
    rewritten(settings, "3.md", text="another")
    (problem,) = found(settings)
    assert "3.md differs from the index: document 'Heading' has another text" in problem


def test_a_missing_document_is_reported(settings: Settings) -> None:
    rewritten(settings, "0.md", id="elsewhere")
    (problem,) = found(settings)
    assert "0.md" in problem
    assert "is missing" in problem


def test_the_sample_limits_the_files_compared(settings: Settings) -> None:
    for number in range(4):
        rewritten(settings, f"{number}.md", text="another")
    assert len(found(settings, sample=2)) == 2
