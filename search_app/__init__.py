"""Semantic search and extractive question answering over your own documents: `from search_app import open_service`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search_app.bootstrap import open_service as open_service

__all__ = ["open_service"]


def __getattr__(name: str) -> Any:
    # Late, so that `from search_app import …` costs nothing until the service is asked for.
    if name == "open_service":
        return importlib.import_module("search_app.bootstrap").open_service
    raise AttributeError(f"module 'search_app' has no attribute {name!r}")
