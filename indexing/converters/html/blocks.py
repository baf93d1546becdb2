"""A page's elements in order, as headings, paragraphs, lists and tables of a `TextBuilder`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from lxml import etree

from indexing.converters.content import TextBuilder
from indexing.converters.html.tables import Run, runs
from indexing.converters.html.text import BREAK, after, before, formula
from search_app.types import Heading

_BLOCKS = frozenset(
    (
        "p", "div", "section", "article", "main", "header", "footer", "aside", "nav", "ul", "ol", "dl", "dt", "dd",
        "li", "blockquote", "table", "tr", "td", "th", "figure", "figcaption", "caption", "address", "details",
        "summary", "form", "fieldset", "legend", "hr", "body", "h1", "h2", "h3", "h4", "h5", "h6", "pre", "center",
        "button", "dialog", "menu",
    )
)  # fmt: skip


def append(root: Any, builder: TextBuilder, *, questions: dict[Any, Any] | None = None) -> None:
    """Append what `root` holds. `questions` are elements that name what folds out below, each with what folds out."""
    _Blocks(builder, questions or {}).read(root)


class _Blocks:
    """Goes through the tree without recursion, as it may be very deep."""

    def __init__(self, builder: TextBuilder, questions: dict[Any, Any]) -> None:
        self._builder, self._questions = builder, questions
        self._inline: list[str] = []
        self._lists: list[int | None] = []
        self._verbatim = 0
        self._marker = self._term = ""
        self._terms: list[str] = []
        self._defined = False
        self._rows: dict[Any, Run] = {}
        self._outer = (1, "")
        self._answers = set(questions.values())
        self._after_answer = False

    def read(self, root: Any) -> None:
        walk = etree.iterwalk(root, events=("start", "end"))
        for event, element in walk:
            if event == "end":
                self._end(element)
                self._inline.append("" if element is root else element.tail or "")
            elif self._is_read_at_once(element):
                walk.skip_subtree()
            else:
                self._start(element)
        self._flush()

    def _is_read_at_once(self, element: Any) -> bool:
        if element.tag == "math":
            self._inline.append(formula(element))
        elif element.tag == "tr" and element in self._rows:
            self._table(self._rows.pop(element))
        else:
            return False
        return True

    def _start(self, element: Any) -> None:
        if element.tag in _BLOCKS:
            self._end_term() if _is_term_left_open(element) else self._flush()
        if (action := _STARTS.get(element.tag)) is not None:
            action(self, element)
        self._inline.append(before(element))

    def _end(self, element: Any) -> None:
        self._inline.append(after(element))
        if element in self._questions:
            self._question()
        elif re.fullmatch("h[1-6]", str(element.tag)):
            self._heading(int(element.tag[1]))
        elif element.tag == "dt":
            self._end_term()
        elif element.tag in _BLOCKS:
            self._flush()
        if (action := _ENDS.get(element.tag)) is not None:
            action(self, element)
        self._after_answer |= element in self._answers

    def start_list(self, element: Any) -> None:
        first = element.get("start") or "1"
        number = int(first[:6]) if first.isdecimal() else 1
        self._lists.append(number if element.tag == "ol" else None)

    def start_item(self, element: Any) -> None:
        self._name()
        number = self._lists[-1] if self._lists else None
        indent = "  " * (len(self._lists) - 1)
        self._marker = indent + ("- " if number is None else f"{number}. ")
        if number is not None:
            self._lists[-1] = number + 1

    def start_term(self, element: Any) -> None:
        if self._defined:
            self._terms, self._defined = [], False

    def _end_term(self) -> None:
        self._terms += filter(None, [self._line()])

    def start_definition(self, element: Any) -> None:
        self._term, self._defined = ", ".join(self._terms), True

    def start_table(self, element: Any) -> None:
        self._name()
        self._rows.update(runs(element))

    def start_verbatim(self, element: Any) -> None:
        self._name()
        self._verbatim += 1

    def end_verbatim(self, element: Any) -> None:
        self._verbatim -= 1

    def end_list(self, element: Any) -> None:
        if self._lists:
            self._lists.pop()
        self._marker = ""

    def end_definition(self, element: Any) -> None:
        self._name()

    def end_terms(self, element: Any) -> None:
        self._term = "" if self._defined else ", ".join(self._terms)
        self._name()
        self._terms, self._defined = [], False

    def _name(self) -> None:
        """The term of a definition as a paragraph, if its definition is more than a text."""
        if self._term:
            self._paragraph(self._term)
            self._term = ""

    def _line(self) -> str:
        return folded(self._text().replace(BREAK, " "))

    def _text(self) -> str:
        text = "".join(self._inline)
        self._inline.clear()
        return text

    def _flush(self) -> None:
        raw = self._text()
        if not raw.strip(f" \t\n{BREAK}"):
            return
        if self._verbatim:
            self._paragraph(raw.replace(BREAK, "\n"))
            return
        lines = "\n".join(folded(line) for line in raw.split(BREAK)).strip("\n")
        for paragraph in re.split(r"\n{2,}", lines):
            if self._term and not re.search(r"[:?]$", self._term):
                self._term += ":"
            self._paragraph(f"{self._marker}{self._term}{' ' if self._term else ''}{paragraph}", item=self._marker)
            self._marker = self._term = ""

    def _paragraph(self, text: str, *, item: str = "") -> None:
        self._place(self._builder.block(text, group="list" if item else ""))

    def _table(self, run: Run) -> None:
        if not run.done:
            run.done = True
            number = len(self._builder.tables)
            self._builder.table(run.rows, header=run.header)
            for table in self._builder.tables[number:]:
                self._place(table.start)

    def _heading(self, level: int) -> None:
        title = self._line()
        if title:
            self._name()
            self._builder.heading(level, title)
            self._outer, self._after_answer = (level, title), False

    def _question(self) -> None:
        title = self._line()
        self._name()
        self._builder.heading(min(self._outer[0] + 1, 6), title)
        self._after_answer = False

    def _place(self, start: int) -> None:
        """What follows the answers to questions belongs to the heading above the questions again."""
        if self._after_answer:
            self._after_answer = False
            level, title = self._outer
            self._builder.headings.append(Heading(level, title, start, start))


def _is_term_left_open(element: Any) -> bool:
    """Whether the element before a term or a definition has no end tag, and so holds it."""
    parent = element.getparent()
    return element.tag in ("dt", "dd") and parent is not None and parent.tag == "dt"


def folded(text: str) -> str:
    """White space as single spaces."""
    return " ".join(text.split())


_Action = Callable[[_Blocks, Any], None]
_STARTS: dict[str, _Action] = {
    "ul": _Blocks.start_list, "ol": _Blocks.start_list, "menu": _Blocks.start_list, "li": _Blocks.start_item,
    "dt": _Blocks.start_term, "dd": _Blocks.start_definition, "table": _Blocks.start_table,
    "pre": _Blocks.start_verbatim,
}  # fmt: skip
_ENDS: dict[str, _Action] = {
    "ul": _Blocks.end_list, "ol": _Blocks.end_list, "menu": _Blocks.end_list, "dd": _Blocks.end_definition,
    "dl": _Blocks.end_terms, "pre": _Blocks.end_verbatim,
}  # fmt: skip
