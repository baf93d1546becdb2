"""Where paragraphs, items of lists, lines and sentences end."""

from __future__ import annotations

import re

_ABBREVIATIONS = r"Mr|Ms|Dr|St|Sr|Jr|vs|cf|al|No|pp|Fig|Mrs|Prof|etc|bzw|Nr|e\.g|i\.e|z\.B|[A-Z]"
_NO_END = "".join(rf"(?<!\b{word}\.)" for word in _ABBREVIATIONS.split("|"))
_WIDE = "。！？｡．؟۔।॥։።။។"
MARKER = r"(?:[-*•‣–]|\d{1,3}[.)]|[a-z]\))[ \t]"
"""What an item of a list begins with, after white space."""
_BREAK = rf"\n(?![^\S\n]*(?:\n|{MARKER}))"
# One set of characters in front makes the search as fast as a scan.
BOUNDARY = re.compile(
    rf"[\n.!?…{_WIDE}](?:"
    rf"(?<=\n)(?:(?P<paragraph>[^\S\n]*\n\s*)|(?P<item>(?=[ \t]*{MARKER}))|(?P<line>))"
    rf"|{_NO_END}(?P<sentence>"
    rf"(?<=[.!?…])[.!?…]*[\"'”’»)\]]*(?:[^\S\n]++(?!\n)|[^\S\n]*+{_BREAK})(?![a-z])"
    rf"|(?<=[{_WIDE}])[{_WIDE}]*[」』）”’»)]*[^\S\n]*+(?:{_BREAK})?)"
    r")"
)
"""What is before its end belongs together; the name of the group that matched says what ended there."""
