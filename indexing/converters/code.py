"""Source code by its own lines: the text is the file's, and definitions of functions and classes are its headings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from indexing.converters.characters import clean
from indexing.converters.content import Content
from indexing.converters.decoding import read_text
from search_app.types import Heading

_WORDS = (
    r"(?:(?:public|private|protected|internal|static|final|abstract|sealed|partial|export|default|async|declare|"
    r"readonly|open|data|inline|virtual|override|pub(?:\([\w:]{1,40}\))?|unsafe|const|extern)[ \t]+){0,8}"
)
_TYPES = (
    rf"^(?P<indent>[ \t]*){_WORDS}"
    r"(?:class|interface|struct|enum|record|trait|namespace|module|mod|impl|type|object|protocol)[ \t]+"
    r"(?P<name>[A-Za-z_$][\w$.:<>, ]{0,100}?)[ \t]*"
    r"(?:[({:=;]|extends\b|implements\b|where\b|for\b|struct\b|interface\b|$)"
)
_FUNCTIONS = {
    "python": r"^(?P<indent>[ \t]*)(?:async\s+)?(?:def|class)\s+(?P<name>\w+)",
    "script": rf"^(?P<indent>[ \t]*){_WORDS}(?:function\*?\s+(?P<name>[\w$]+)|"
    r"(?:const|let|var)\s+(?P<name2>[\w$]+)\s*(?::[^=\n]{0,100})?=\s*(?:async\s*)?(?:function\b|\([^()\n]{0,300}\)[^=\n]{0,100}=>|\w+\s*=>))",
    "go": r"^(?P<indent>)func\s+(?:\([^()\n]{0,200}\)\s*)?(?P<name>\w+)",
    "rust": rf"^(?P<indent>[ \t]*){_WORDS}(?:fn\s+|macro_rules!\s+)(?P<name>\w+)",
    "ruby": r"^(?P<indent>[ \t]*)(?:def|class|module)\s+(?P<name>[\w.:?!]+)",
    "braces": r"^(?P<indent>[ \t]*)(?!(?:else|return|new|throw|await|case|goto|delete|using)\b)"
    r"(?:[\w<>\[\],.:?@$]{1,100}[ \t*&]{1,20}){1,6}(?P<name>~?[\w$:]{1,100})[ \t]*"
    r"\([^;{}()]{0,500}(?:\([^;{}()]{0,200}\)[^;{}()]{0,200})?\)[^;{}()=]{0,200}\{",
    "shell": r"^(?P<indent>[ \t]*)(?:function\s+(?P<name2>[\w:-]+)|(?P<name>[\w:-]+)\s*\(\))",
    "sql": r"^(?P<indent>[ \t]*)create\s+(?:or\s+(?:replace|alter)\s+)?(?:temp(?:orary)?\s+|unique\s+|materialized\s+)*"
    r"(?:table|view|function|procedure|trigger|index|type|schema|package)\s+(?:if\s+not\s+exists\s+)?(?P<name>[\w.\"`\[\]]+)",
    "keys": r"^(?P<indent>)(?P<name>[\w.-]+):",
    "sections": r"^(?P<indent>)\[{1,2}(?P<name>[^\[\]\n]{1,100})\]{1,2}\s*$",
    "subroutine": r"^(?P<indent>[ \t]*)(?:sub|package)\s+(?P<name>[\w:]+)",
    "function": rf"^(?P<indent>[ \t]*){_WORDS}(?:function|fun|func)\s+&?(?P<name>[\w.:]+)",
}
_LANGUAGES = {
    ("python",): (".py", ".pyi", ".pyw"),
    ("script", "types", "braces"): (".js", ".mjs", ".cjs", ".jsx", ".ts", ".tsx", ".vue", ".svelte"),
    ("types", "braces"): (".java", ".cs", ".c", ".h", ".cc", ".cpp", ".cxx", ".hpp", ".hh", ".m", ".groovy", ".dart"),
    ("types", "function"): (".kt", ".kts", ".scala", ".swift", ".php", ".lua", ".r", ".jl", ".ps1"),
    ("types", "go"): (".go",),
    ("types", "rust"): (".rs",),
    ("ruby",): (".rb", ".rake"),
    ("subroutine",): (".pl", ".pm"),
    ("shell",): (".sh", ".bash", ".zsh"),
    ("sql",): (".sql",),
    ("keys",): (".yaml", ".yml"),
    ("sections",): (".toml", ".ini", ".cfg", ".conf"),
}  # fmt: skip
_PATTERNS = {
    name: re.compile(pattern, re.MULTILINE | (re.IGNORECASE if name == "sql" else 0))
    for name, pattern in {**_FUNCTIONS, "types": _TYPES}.items()
}
_NO_NAMES = frozenset(
    ("if", "for", "while", "switch", "catch", "else", "do", "return", "function", "sizeof", "using", "lock")
)
_TAB = 4


def convert(path: Path, *, charset: str = "") -> Iterator[Content]:
    """Yield one document."""
    raw, warnings = read_text(path, declared=[charset])
    text = clean(raw)
    yield Content(text, headings=tuple(_headings(text, path.suffix.lower())), warnings=warnings)


def _headings(text: str, ending: str) -> list[Heading]:
    """A definition is below those that are indented less."""
    families = next((names for names, endings in _LANGUAGES.items() if ending in endings), ())
    found: dict[int, tuple[int, str, int]] = {}
    for family in families:
        for match in _PATTERNS[family].finditer(text):
            groups = match.groupdict()
            name = " ".join((groups.get("name") or groups.get("name2") or "").split())
            start = match.end("indent")
            if name and name not in _NO_NAMES:
                found.setdefault(start, (_width(groups["indent"]), name, _line_end(text, start)))
    return list(_levels(found))


def _levels(found: dict[int, tuple[int, str, int]]) -> Iterator[Heading]:
    outer: list[int] = []
    for start, (indent, name, end) in sorted(found.items()):
        while outer and outer[-1] >= indent:
            outer.pop()
        outer.append(indent)
        yield Heading(len(outer), name, start, end)


def _width(indent: str) -> int:
    return len(indent.expandtabs(_TAB))


def _line_end(text: str, start: int) -> int:
    end = text.find("\n", start)
    return len(text) if end < 0 else end
