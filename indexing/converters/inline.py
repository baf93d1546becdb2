"""Pieces of a line that are the same in every format: raised digits, addresses of links, paragraphs of a cell."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote

_RAISED = str.maketrans("0123456789+-−", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻")
_ENDS_A_PART = ")]%€$\"'”’»"


def raised(text: str) -> str:
    """Raised text, with digits as such: "m²" is not "m2"."""
    return text if re.search(r"[^\d\s+−-]", text) else text.strip().translate(_RAISED)


def missing_address(target: str, shown: str) -> str:
    """The e-mail address or phone number that a link leads to, "" if the text `shown` has it, or for a web address."""
    scheme, _, address = target.strip().partition(":")
    address = unquote(address.partition("?")[0]).strip()
    if scheme.lower() == "mailto" and "@" in address:
        return "" if address.lower() in shown.lower() else address
    if scheme.lower() == "tel" and (digits := re.sub(r"\D", "", address)):
        return "" if digits[-6:] in re.sub(r"\D", "", shown) else address
    return ""


def one_line(parts: Iterable[str], *, commas: bool = True) -> str:
    """The lines and paragraphs of a cell in one line, with ", " in between where a new part begins.

    Without `commas` a space, for the name of a column.
    """
    text = ""
    for part in filter(None, (" ".join(part.split()) for part in parts)):
        comma = commas and (part[0].isupper() or part[0].isdigit()) and _ends_a_part(text)
        text += f"{', ' if comma else ' '}{part}" if text else part
    return text


def _ends_a_part(text: str) -> bool:
    return text[-1:].isalnum() or text[-1:] in _ENDS_A_PART
