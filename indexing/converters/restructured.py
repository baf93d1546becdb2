"""reStructuredText by docutils: as it shows, with the roles and directives of Sphinx. No files are included.

Names that docutils does not have are found in the text, and their content is read as text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.core import publish_doctree
from docutils.parsers.rst import Directive, directives, languages, roles
from docutils.utils import new_reporter

from indexing.converters.characters import clean
from indexing.converters.content import Content, ConversionError, TextBuilder, only_title, plain_meta
from indexing.converters.decoding import read_text
from indexing.converters.text import plain

_SETTINGS = {
    "file_insertion_enabled": False,
    "raw_enabled": False,
    "_disable_config": True,
    "halt_level": 5,
    "report_level": 5,
    "warning_stream": "",
    "smart_quotes": False,
    "line_length_limit": 1_000_000,
}
_DIRECTIVE = re.compile(r"^[ \t]*\.\. (?:\|[^|\n]{1,100}\| )?([A-Za-z][\w:+.-]{0,60})::", re.MULTILINE)
_ROLE = re.compile(r":([A-Za-z][\w:+.-]{0,60}):`|`:([A-Za-z][\w:+.-]{0,60}):")
_TARGET = re.compile(r"\s*<[^<>]*>$", re.DOTALL)
_UNSEEN = frozenset(("toctree", "index", "currentmodule", "module", "highlight", "tabularcolumns", "contents", "meta"))
_SHOWN = {
    "versionadded": "Added in version ",
    "versionchanged": "Changed in version ",
    "deprecated": "Deprecated since version ",
    "seealso": "See also: ",
}
"""What Sphinx writes before the argument of a directive."""
_DISABLED = re.compile(r"\s*\.\. (?:include|raw|literalinclude)::")
_MAX_PARSED = 1_000_000
"""Characters: docutils takes some 15 s per million."""
_INCLUDES = re.compile(r"^[ \t]*\.\. (?:include|literalinclude)::", re.MULTILINE)


def convert(path: Path, *, charset: str = "") -> Iterator[Content]:
    """Yield one document."""
    raw, warnings = read_text(path, declared=[charset])
    text = clean(raw)
    if len(text) > _MAX_PARSED:
        yield plain(
            text, (*warnings, f"it has more than {_MAX_PARSED:,} characters, so its markup is part of the text")
        )
        return
    _register(text)
    try:
        tree = publish_doctree(text, settings_overrides=_SETTINGS)
    except (ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
        raise ConversionError(f"it cannot be read as reStructuredText: {error}") from error
    writer = _Writer()
    writer.read(tree)
    builder = writer.builder
    meta = plain_meta(writer.meta)
    if included := len(_INCLUDES.findall(text)):
        warnings = (*warnings, f"files that it includes are not read: {included}")
    yield Content(
        builder.text(),
        str(meta.get("title") or tree.get("title") or only_title(builder.headings)),
        meta,
        tuple(builder.headings),
        warnings=warnings,
        tables=tuple(builder.tables),
    )


def _register(text: str) -> None:
    """Make docutils read the content of directives and roles that it does not have."""
    document = nodes.document(None, new_reporter("", _settings()))
    for name in set(_DIRECTIVE.findall(text)):
        if directives.directive(name, languages.get_language("en"), document)[0] is None:
            directives.register_directive(name, _Unknown)
    for first, second in set(_ROLE.findall(text)):
        name = first or second
        if roles.role(name, languages.get_language("en"), 0, document.reporter)[0] is None:
            roles.register_local_role(name, _role)


def _settings() -> Any:
    from docutils.frontend import get_default_settings

    settings = get_default_settings()
    settings.report_level, settings.halt_level, settings.warning_stream = 5, 5, ""
    return settings


def _role(name: str, rawtext: str, text: str, *rest: Any, **options: Any) -> tuple[list[Any], list[Any]]:
    """What Sphinx shows of `:ref:`title <target>`` and `:func:`~package.name``."""
    shown = nodes.unescape(_TARGET.sub("", nodes.unescape(text, restore_backslashes=True)))
    if shown.startswith("~"):
        shown = shown.rpartition(".")[2].lstrip("~")
    return [nodes.inline(rawtext, shown.lstrip("!") or text)], []


class _AnyOption(dict[str, Callable[[str], str]]):
    def __bool__(self) -> bool:
        return True

    def __contains__(self, name: object) -> bool:
        return True

    def __getitem__(self, name: str) -> Callable[[str], str]:
        return str


class _Unknown(Directive):  # type: ignore[misc]
    """A directive of Sphinx or another extension: its arguments and its content."""

    optional_arguments = 1
    final_argument_whitespace = True
    has_content = True
    option_spec = _AnyOption()

    def run(self) -> list[Any]:
        """The arguments as a paragraph, then the content."""
        name = self.name.rpartition(":")[2]
        if name in _UNSEEN:
            return []
        found: list[Any] = []
        if self.arguments or name in _SHOWN:
            inline, _ = self.state.inline_text(" ".join(self.arguments), self.lineno)
            found.append(nodes.paragraph("", "", nodes.inline("", _SHOWN.get(name, "")), *inline))
        inside = nodes.container()
        self.state.nested_parse(self.content, self.content_offset, inside)
        return [*found, *inside.children]


class _Writer:
    """Goes through the tree of docutils and appends what it shows."""

    def __init__(self) -> None:
        self.builder = TextBuilder()
        self.meta: dict[str, object] = {}
        self._level = 1
        self._prefix = ""
        self._indent = ""

    def read(self, node: Any) -> None:
        """Append what the node holds."""
        for child in node.children:
            self._node(child)

    def _node(self, node: Any) -> None:
        handler: Callable[[_Writer, Any], None] | None = _HANDLERS.get(node.tagname)
        if handler is not None:
            handler(self, node)
        elif isinstance(node, nodes.Admonition):
            self._prefix = f"{node.tagname.capitalize()}: "
            self.read(node)
            self._prefix = ""
        elif isinstance(node, nodes.TextElement):
            self._block(_text(node))
        else:
            self.read(node)

    def _block(self, text: str, *, group: str = "") -> None:
        self.builder.block(self._prefix + text, group=group)
        if text.strip():
            self._prefix = ""

    def section(self, node: Any) -> None:
        self._level += 1
        self.read(node)
        self._level -= 1

    def title(self, node: Any) -> None:
        self.builder.heading(min(self._level, 6), _text(node))

    def subtitle(self, node: Any) -> None:
        self._block(_text(node))

    def verbatim(self, node: Any) -> None:
        self._block(node.astext())

    def bullets(self, node: Any) -> None:
        self._list([self._indent + "- "] * len(node.children), node)

    def numbers(self, node: Any) -> None:
        first = node.get("start", 1)
        self._list([f"{self._indent}{first + index}. " for index in range(len(node.children))], node)

    def _list(self, markers: Sequence[str], node: Any) -> None:
        before, self._indent = self._indent, self._indent + "  "
        for marker, item in zip(markers, node.children, strict=True):
            for index, child in enumerate(item.children):
                if index == 0 and isinstance(child, nodes.paragraph):
                    self.builder.block(marker + _text(child), group="list")
                else:
                    self._node(child)
        self._indent = before

    def definition(self, node: Any) -> None:
        terms = [
            _text(child)
            for child in node.children
            if child.tagname in ("term", "classifier", "field_name", "option_group")
        ]
        bodies = [child for child in node.children if child.tagname in ("definition", "field_body", "description")]
        self._prefix = ", ".join(terms) + ": "
        for body in bodies:
            self.read(body)
        if self._prefix:
            self._prefix = ""
            self._block(", ".join(terms))

    def docinfo(self, node: Any) -> None:
        for child in node.children:
            name, value = child.tagname, _text(child)
            if name == "field":
                name, value = (_text(inner) for inner in child.children[:2])
            self.meta[name.lower()] = value
            self.builder.block(f"{name.capitalize()}: {value}", group="docinfo")

    def note(self, node: Any) -> None:
        label = next((_text(child) for child in node.children if child.tagname == "label"), "")
        self._prefix = f"[{label}] "
        for child in node.children:
            if child.tagname != "label":
                self._node(child)
        self._prefix = ""

    def image(self, node: Any) -> None:
        self._block(str(node.get("alt", "")))

    def problem(self, node: Any) -> None:
        """What docutils cannot read: its source is text, its message is not."""
        for child in node.children:
            if isinstance(child, nodes.literal_block) and not _DISABLED.match(child.astext()):
                self._block(child.astext())

    def nothing(self, node: Any) -> None:
        """Comments, targets and the like show nothing."""

    def table(self, node: Any) -> None:
        rows: list[list[str | None]] = []
        header = 0
        for child in node.children:
            if child.tagname == "title":
                self._block(_text(child))
        for group in (child for child in node.children if child.tagname == "tgroup"):
            for part in group.children:
                if part.tagname in ("thead", "tbody"):
                    found = list(_rows(part))
                    header += len(found) if part.tagname == "thead" else 0
                    rows += found
        self.builder.table(rows, header=header or None)


def _rows(part: Any) -> Iterator[list[str | None]]:
    """Rows with merged cells: repeated in each row, and None for what they cover on their right."""
    spans: dict[int, tuple[int, str | None]] = {}
    for row in part.children:
        cells: list[str | None] = []
        for entry in row.children:
            _fill(cells, spans)
            text = _text(entry)
            width, height = entry.get("morecols", 0) + 1, entry.get("morerows", 0)
            for column in range(len(cells), len(cells) + width):
                value = text if column == len(cells) else None
                if height:
                    spans[column] = height, value
                cells.append(value)
        _fill(cells, spans)
        yield cells


def _fill(cells: list[str | None], spans: dict[int, tuple[int, str | None]]) -> None:
    while len(cells) in spans:
        left, value = spans.pop(len(cells))
        if left > 1:
            spans[len(cells)] = left - 1, value
        cells.append(value)
        if len(cells) > 10_000:
            return


def _text(node: Any) -> str:
    return " ".join(_plain(node).split())


def _plain(node: Any) -> str:
    if isinstance(node, nodes.Text):
        return str(node.astext())  # without the marks of its backslashes
    if isinstance(node, nodes.image):
        return str(node.get("alt", ""))
    if isinstance(node, nodes.footnote_reference | nodes.citation_reference):
        return f"[{node.astext()}]"
    if isinstance(node, nodes.problematic):
        return re.sub(r"^:[\w:+.-]+:|[`|*]", "", node.astext())
    inside = "" if isinstance(node, nodes.TextElement) else " "
    return inside.join(_plain(child) for child in node.children)


_HANDLERS: dict[str, Callable[[_Writer, Any], None]] = {
    "section": _Writer.section, "title": _Writer.title, "subtitle": _Writer.subtitle, "rubric": _Writer.subtitle,
    "literal_block": _Writer.verbatim, "doctest_block": _Writer.verbatim, "math_block": _Writer.verbatim,
    "line_block": _Writer.verbatim, "bullet_list": _Writer.bullets, "enumerated_list": _Writer.numbers,
    "definition_list_item": _Writer.definition, "field": _Writer.definition, "option_list_item": _Writer.definition,
    "docinfo": _Writer.docinfo, "footnote": _Writer.note, "citation": _Writer.note, "image": _Writer.image,
    "system_message": _Writer.problem, "comment": _Writer.nothing, "target": _Writer.nothing,
    "substitution_definition": _Writer.nothing, "raw": _Writer.nothing, "pending": _Writer.nothing,
    "decoration": _Writer.nothing, "meta": _Writer.nothing, "table": _Writer.table,
}  # fmt: skip
