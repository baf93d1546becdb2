"""The image of the pages has every module that the pages import; the Dockerfile copies only a part of the program."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_IMPORTS = """
import importlib, pkgutil, sys, ui
for module in pkgutil.walk_packages(ui.__path__, "ui."):
    if ".views" not in module.name and module.name not in ("ui.__main__", "ui.app"):
        importlib.import_module(module.name)
for name in {names!r}:
    importlib.import_module(name)
assert sys.modules["search_app"].__file__.startswith({folder!r})
"""


def test_the_image_has_what_the_pages_import(tmp_path: Path) -> None:
    stage = (ROOT / "Dockerfile").read_text().partition("FROM base AS ui\n")[2].partition("\nFROM ")[0]
    copied = re.findall(r"^COPY --from=program (.+) (/opt/search-app/\S+)$", stage, re.MULTILINE)
    assert copied
    for sources, target in copied:
        for source in sources.split():
            _copy(source.removeprefix("/opt/search-app/"), tmp_path / target.removeprefix("/opt/search-app/"))
    views = [path.read_text() for path in (ROOT / "ui").rglob("*.py")]
    names = sorted(
        {name for text in views for name in re.findall(r"^from ((?:search_app|indexing)[\w.]*) ", text, re.M)}
    )
    done = subprocess.run(
        [sys.executable, "-c", _IMPORTS.format(names=names, folder=str(tmp_path))],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def _copy(pattern: str, target: Path) -> None:
    for source in ROOT.glob(pattern):
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
