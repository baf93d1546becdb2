"""Build hook of the documentation site: add the root's pages and the settings, and point links into the site."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changes.md"}
TEXTS = {".env.example": "settings.md", "LICENSE": "license.md"}
"""Files that are not Markdown; each becomes a page that shows it as it is."""
_LINK = re.compile(r"(?<=\]\()(?!https?:|#|mailto:)([^)\s#]+)")


def on_files(files: Files, config: Any) -> Files:
    """Add pages for files that live outside of docs/."""
    for name, page in PAGES.items():
        files.append(File.generated(config, page, content=_linked((ROOT / name).read_text(), ROOT)))
    for name, page in TEXTS.items():
        text = f"# {name}\n\n```ini\n{(ROOT / name).read_text()}```\n"
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Rewrite links from a page in docs/ to files outside of it."""
    source = page.file.abs_src_path
    return _linked(markdown, Path(source).parent) if source else markdown


def _linked(markdown: str, folder: Path) -> str:
    """Links relative to `folder` that lead out of docs/ become links to their pages; other files become plain text."""

    def target(match: re.Match[str]) -> str:
        path = (folder / match[1]).resolve()
        docs = ROOT / "docs"
        depth = "" if folder == ROOT else "../" * len(folder.relative_to(docs).parts)
        page = {**PAGES, **TEXTS}.get(path.name) if path.parent == ROOT else None
        if page:
            return depth + page
        return path.relative_to(docs).as_posix() if folder == ROOT and path.is_relative_to(docs) else match[1]

    return _LINK.sub(target, markdown)
