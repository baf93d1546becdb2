"""Pages that OCR did not read are counted in a file's digest: once a library may read them, so is the file.

`SHA-256[+SHA-256 of the metadata file]+ocr@VERSION=PAGES`: pages that the installed version could not read, or, with no
VERSION, that were not read because the extra `ocr` was not installed.
"""

from __future__ import annotations

import re

from indexing.converters import ocr

_MARK = re.compile(r"\+ocr@([^=]*)=(\d+)$")


def marked(digest: str, pages: int) -> str:
    """The digest of a file of which `pages` were not read."""
    return f"{digest}+ocr@{ocr.version()}={pages}" if pages else digest


def unmarked(digest: str) -> str:
    """The digest of the file's bytes, and of its metadata file if it has one."""
    return _MARK.sub("", digest)


def is_outdated(digest: str) -> bool:
    """Whether the file has pages that the library installed since may read."""
    mark = _MARK.search(digest)
    return mark is not None and ocr.is_installed() and mark[1] != ocr.version()


def pages(digest: str) -> int:
    """Pages that were not read because the extra was not installed."""
    mark = _MARK.search(digest)
    return int(mark[2]) if mark is not None and not mark[1] else 0
