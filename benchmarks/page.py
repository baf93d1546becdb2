"""Pages of benchmarks: each command replaces its own section and keeps the others."""

from __future__ import annotations

import re
from pathlib import Path


def put_section(page: Path, title: str, text: str, *, top: str = "# Benchmarks") -> None:
    """Replace the section with that title, or append it; a new page begins with `top`."""
    before = page.read_text(encoding="utf-8") if page.exists() else f"{top}\n\n"
    top, *sections = re.split(r"^## ", before, flags=re.MULTILINE)
    kept = {section.split("\n", 1)[0]: section for section in sections}
    kept[title] = f"{title}\n\n{text.strip()}\n\n"
    page.write_text((top + "".join(f"## {section}" for section in kept.values())).rstrip() + "\n", encoding="utf-8")
