"""Hides the package that HIDDEN_PACKAGE names, as if it were not installed."""

from __future__ import annotations

import importlib.util
import os
from importlib.machinery import ModuleSpec

_find_spec = importlib.util.find_spec


def _find_other(name: str, package: str | None = None) -> ModuleSpec | None:
    return None if name == os.environ.get("HIDDEN_PACKAGE") else _find_spec(name, package)


importlib.util.find_spec = _find_other
