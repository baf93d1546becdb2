"""TeX by pylatexenc: sections, lists, tables, notes, formulas as text. Macros are not expanded, files not included."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pylatexenc.latex2text import LatexNodes2Text
from pylatexenc.latexwalker import LatexWalker, LatexWalkerError

from indexing.converters.characters import clean
from indexing.converters.content import Content, ConversionError, TextBuilder, only_title, plain_meta
from indexing.converters.decoding import read_text
from indexing.converters.tables import Line
from indexing.converters.text import plain

_SECTIONS = {"part": 1, "chapter": 1, "section": 2, "subsection": 3, "subsubsection": 4, "paragraph": 5,
             "subparagraph": 6, "frametitle": 2}  # fmt: skip
_LISTS = frozenset(("itemize", "enumerate", "description"))
_TABLES = {"tabular": 1, "tabular*": 2, "tabularx": 2, "tabulary": 2, "longtable": 1, "supertabular": 1, "array": 1}
"""Environments with rows, and how many arguments in braces they have."""
_VERBATIM = frozenset(("verbatim", "verbatim*", "lstlisting", "minted", "Verbatim", "alltt"))
_UNSEEN = frozenset(
    ("label", "vspace", "hspace", "pagestyle", "thispagestyle", "usepackage", "documentclass", "bibliographystyle",
     "includegraphics", "newcommand", "renewcommand", "def", "setlength", "input", "include", "centering", "maketitle",
     "tableofcontents", "newpage", "clearpage", "noindent", "hline", "toprule", "midrule", "bottomrule", "cline",
     "cmidrule", "graphicspath", "bibliography", "title", "author", "date", "index", "hypersetup", "geometry")
)  # fmt: skip
_NAMED = frozenset(("title", "author", "date"))
_INCLUDES = re.compile(r"^[^%\n]*\\(?:input|include)\b", re.MULTILINE)
_RULES = re.compile(
    r"\\(?:hline|toprule|midrule|bottomrule|(?:cline|cmidrule)(?:\([^)]*\))?\s*\{[^}]*\})(?:\[[^\]]*\])?"
)
_MERGED = re.compile(r"^\s*\\multi(column|row)\s*\{\s*(\d{1,3})\s*\}")
_ROW_ENDS = re.compile(r"\\\\(?:\[[^\]]*\])?|\\tabularnewline\b|\\end(?:first|last)?(?:head|foot)\b")
_MAX_PARSED = 1_000_000
"""Characters: pylatexenc takes some 10 s per million."""


def convert(path: Path, *, charset: str = "") -> Iterator[Content]:
    """Yield one document."""
    raw, warnings = read_text(path, declared=[charset])
    text = clean(raw)
    if len(text) > _MAX_PARSED:
        yield plain(
            text, (*warnings, f"it has more than {_MAX_PARSED:,} characters, so its markup is part of the text")
        )
        return
    begin = text.find("\\begin{document}")
    end = text.rfind("\\end{document}")
    preamble = text[: max(begin, 0)]
    body = text[begin + len("\\begin{document}") if begin >= 0 else 0 : end if end > begin else len(text)]
    writer = _Writer(body)
    try:
        meta = plain_meta(_named(preamble) | _named(body))
        writer.read(_nodes(body))
    except (LatexWalkerError, ValueError, IndexError, TypeError, AttributeError) as error:
        raise ConversionError(f"it cannot be read as TeX: {error}") from error
    writer.end_paragraph()
    if included := len(_INCLUDES.findall(body)):
        warnings = (*warnings, f"files that it includes are not read: {included}")
    builder = writer.builder
    title = str(meta.get("title") or only_title(builder.headings))
    yield Content(builder.text(), title, meta, tuple(builder.headings), warnings=warnings, tables=tuple(builder.tables))


def _nodes(text: str) -> Sequence[Any]:
    nodes: Sequence[Any] = LatexWalker(text, tolerant_parsing=True).get_latex_nodes()[0]
    return nodes


def _named(text: str) -> dict[str, str]:
    """Title, author and date, as they are stated."""
    found: dict[str, str] = {}
    for match in re.finditer(r"\\(title|author|date)\s*(?:\[[^\]]*\]\s*)?\{", text):
        nodes = _nodes(text[match.end() - 1 : match.end() + 2000])
        shown = " ".join(_shown(nodes[:1]).split())
        if shown and shown != "\\today":
            found.setdefault(match[1], shown)
    return found


def _shown(nodes: Sequence[Any]) -> str:
    """Text of nodes without structure; accents and formulas as Unicode."""
    text: str = LatexNodes2Text(math_mode="text", strict_latex_spaces=False).nodelist_to_text([n for n in nodes if n])
    return text.replace("\u00a0", " ")


class _Writer:
    """Collects the text of a paragraph until a blank line or a structure ends it."""

    def __init__(self, source: str) -> None:
        self.builder = TextBuilder()
        self._source = source
        self._inline: list[str] = []
        self._notes: list[str] = []
        self._lists: list[tuple[str, int]] = []
        self._marker = ""

    def read(self, nodes: Sequence[Any]) -> None:
        """Append what the nodes hold."""
        for node in nodes or ():
            if node is not None:
                self._node(node)

    def end_paragraph(self) -> None:
        """Append what has been collected, then its notes."""
        text = " ".join("".join(self._inline).split())
        self._inline = []
        if text:
            self.builder.block(self._marker + text, group="list" if self._lists else "")
            self._marker = "  " * len(self._lists)
        notes, self._notes = self._notes, []
        for note in notes:
            self.builder.block(f"Footnote: {note}")

    def _node(self, node: Any) -> None:
        kind = type(node).__name__
        if kind == "LatexCharsNode":
            self._characters(node.chars)
        elif kind == "LatexMacroNode":
            self._macro(node)
        elif kind == "LatexEnvironmentNode":
            self._environment(node)
        elif kind == "LatexGroupNode":
            self.read(node.nodelist)
        elif kind == "LatexSpecialsNode" and node.specials_chars == "\n\n":
            self.end_paragraph()
        elif kind != "LatexCommentNode":
            self._inline.append(_shown([node]))

    def _characters(self, text: str) -> None:
        first, *rest = re.split(r"\n[ \t]*\n\s*", text)
        self._inline.append(first)
        for part in rest:
            self.end_paragraph()
            self._inline.append(part)

    def _macro(self, node: Any) -> None:
        name = node.macroname.rstrip("*")
        if name in _SECTIONS:
            self.end_paragraph()
            self.builder.heading(_SECTIONS[name], _argument(node))
        elif name == "item":
            self._item(node)
        elif name in ("footnote", "footnotetext", "thanks"):
            self._notes.append(" ".join(_argument(node).split()))
        elif name == "caption":
            self.end_paragraph()
            self.builder.block(_argument(node))
        elif name == "par":
            self.end_paragraph()
        elif name in ("ref", "eqref", "cite", "citep", "citet", "autoref", "cref"):
            self._inline.append(f"[{_argument(node)}]")
        elif name == "href":
            self._inline.append(_argument(node))
        elif name not in _UNSEEN:
            self._inline.append(_shown([node]))

    def _item(self, node: Any) -> None:
        self.end_paragraph()
        if not self._lists:
            return
        kind, number = self._lists[-1]
        self._lists[-1] = kind, number + 1
        indent = "  " * (len(self._lists) - 1)
        label = " ".join(_argument(node).split())
        self._marker = indent + (f"{label}: " if label else f"{number + 1}. " if kind == "enumerate" else "- ")

    def _environment(self, node: Any) -> None:
        name = node.environmentname
        if name in _LISTS:
            self.end_paragraph()
            self._lists.append((name, 0))
            self.read(node.nodelist)
            self.end_paragraph()
            self._lists.pop()
            self._marker = "  " * len(self._lists)
        elif name in _TABLES:
            self.end_paragraph()
            self.builder.table(_rows(self._inside(node), _TABLES[name]))
        elif name in _VERBATIM:
            self.end_paragraph()
            self.builder.block(re.sub(r"\A(?:\[[^\]]*\])?(?:\{[^}]*\})?\n", "", self._inside(node)))
        elif "math" in name or name.rstrip("*") in (
            "equation",
            "align",
            "gather",
            "eqnarray",
            "multline",
            "tikzpicture",
        ):
            if name != "tikzpicture":
                self._inline.append(f" {_shown(node.nodelist)} ")
        else:
            self.end_paragraph()
            self.read(node.nodelist)
            self.end_paragraph()

    def _inside(self, node: Any) -> str:
        source = self._source[node.pos : node.pos + node.len]
        inside = re.sub(rf"\A\\begin\s*\{{{re.escape(node.environmentname)}\}}", "", source)
        return re.sub(rf"\\end\s*\{{{re.escape(node.environmentname)}\}}\Z", "", inside)


def _argument(node: Any) -> str:
    """The last argument of a macro that is there, as text."""
    arguments = [item for item in (node.nodeargd.argnlist if node.nodeargd else ()) if item is not None]
    return _shown(arguments[-1:]) if arguments and not isinstance(arguments[-1], str) else ""


def _rows(source: str, arguments: int) -> list[Line]:
    """Cells are parted by `&`, rows by two backslashes. `arguments` in braces come before the first row."""
    source = _without_arguments(re.sub(r"(?<!\\)%[^\n]*\n?", "", source), arguments)
    return [
        [cell for part in re.split(r"(?<!\\)&", line) for cell in _cell(part)]
        for line in _ROW_ENDS.split(_RULES.sub("", source))
        if line.strip()
    ]


def _without_arguments(source: str, count: int) -> str:
    """Without `[t]{5cm}{lr@{ }c}` at the start."""
    depth = 0
    for match in re.finditer(r"(?<!\\)[{}]", source):
        depth += 1 if match[0] == "{" else -1
        count -= depth == 0
        if count == 0:
            return source[match.end() :]
    return source


def _cell(part: str) -> Line:
    merged = _MERGED.match(part)
    text = " ".join(_shown(_last_argument(part) if merged else _nodes(part)).split())
    width = int(merged[2]) if merged and merged[1] == "column" else 1
    return [text, *([None] * (width - 1))]


def _last_argument(part: str) -> Sequence[Any]:
    groups = [node for node in _nodes(part) if type(node).__name__ == "LatexGroupNode"]
    if groups:
        return groups[-1:]
    macro = _nodes(part.strip())[0]
    return (macro.nodeargd.argnlist if macro.nodeargd else ())[-1:]
