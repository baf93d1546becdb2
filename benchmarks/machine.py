"""Description of the machine and the code that a table was measured on."""

from __future__ import annotations

import hashlib
import subprocess
from datetime import date

from search_app.hardware import detect, set_threads


def measured_line(command: str) -> str:
    """The first line of a generated page or section."""
    hardware = detect()
    return (
        f"Generated on {date.today().isoformat()} by `{command}` on {hardware.processor}, {set_threads()} threads, "
        f"{hardware.precision}; not edited by hand."
    )


def code_digest() -> str:
    """A digest of the committed code and of uncommitted changes."""
    parts = ("search_app", "indexing", "benchmarks")

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=False).stdout

    code = git("rev-parse", *(f"HEAD:{part}" for part in parts)) + git("diff", "HEAD", "--", *parts)
    return hashlib.sha256(code.encode()).hexdigest()[:16]
