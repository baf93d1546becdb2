"""Characters that no store keeps."""

from __future__ import annotations

import re

_UNUSABLE = re.compile("[\0\ud800-\udfff]")


def clean(text: str) -> str:
    """Normalise line ends, and replace NULs and lone surrogates, which no store keeps, by U+FFFD."""
    return _UNUSABLE.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))
