from __future__ import annotations

import tempfile
from collections.abc import Iterator

import pytest

from search_app.stores.embedded import maintenance
from search_app.stores.vectors import plan


@pytest.fixture(autouse=True, scope="module")
def limits_as_they_were() -> Iterator[None]:
    """Restore the limits that the changing index lowers so that little text counts as much."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(maintenance, "_MIN_PASSAGES", maintenance._MIN_PASSAGES)
        patch.setattr(maintenance, "_MAX_POSTINGS", maintenance._MAX_POSTINGS)
        patch.setattr(plan, "_MIN_TO_TRAIN", plan._MIN_TO_TRAIN)
        patch.setattr(tempfile, "tempdir", tempfile.tempdir)
        yield
