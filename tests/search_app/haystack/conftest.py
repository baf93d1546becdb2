"""Haystack's own tests are marked for pytest-asyncio; here anyio runs them, which is there anyway."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "asyncio: Haystack's mark of its asynchronous tests")
