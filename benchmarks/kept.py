"""Measurements in a file of JSON lines, saved one by one; the first line describes machine and code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click


class Kept:
    """Measurements as rows; any fields of a row identify it."""

    def __init__(self, path: Path, about: dict[str, Any], *, fresh: bool) -> None:
        self._path = path
        self.rows: list[dict[str, Any]] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not fresh:
            first, *lines = path.read_text(encoding="utf-8").splitlines()
            if json.loads(first) != about:
                raise click.ClickException(f"{path} was measured in another state of code or machine; add --fresh")
            self.rows = [json.loads(line) for line in lines]
        else:
            path.write_text(json.dumps(about) + "\n", encoding="utf-8")

    def has(self, **key: Any) -> bool:
        return bool(self.of(**key))

    def add(self, **row: Any) -> None:
        self.rows.append(row)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def of(self, **key: Any) -> list[dict[str, Any]]:
        return [row for row in self.rows if all(row.get(name) == value for name, value in key.items())]
