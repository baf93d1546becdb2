"""What a paragraph of Word or PowerPoint shows, with all changes accepted.

Whatever wraps text is walked through, known or not; what is known to be no text is left out (`xml.is_content`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from indexing.converters.inline import missing_address, raised
from indexing.converters.office.equations import linear
from indexing.converters.office.symbols import plain, symbol
from indexing.converters.office.xml import CX, DGM, WP, A, C, Element, M, O, R, V, W, is_content, is_on, value

ANCHORED = frozenset(
    {f"{W}{name}" for name in ("txbxContent", "footnoteReference", "endnoteReference", "commentReference")}
    | {f"{WP}docPr", f"{V}shape", f"{V}rect", f"{C}chart", f"{CX}chart", f"{DGM}relIds", f"{O}OLEObject"}
)
"""Things with a text of their own that a paragraph refers to or holds."""
_CHECKED = "☒", "☐"


@dataclass(slots=True)
class Paragraph:
    """`text` has tabs and line breaks. `anchored` are elements of `ANCHORED`, in order."""

    text: str = ""
    anchored: list[Element] = field(default_factory=list)


class Runs:
    """Reads the paragraphs of one part in order: a field may begin in one and end in another.

    `hides` tells whether text of a character style is hidden, `target` where a link with an id leads.
    """

    def __init__(
        self,
        root: Element,
        hides: Callable[[str], bool] = lambda style: False,
        target: Callable[[str], str] = lambda key: "",
    ) -> None:
        self._hides, self._target = hides, target
        self._fields = _whole_fields(root)
        self._open: list[bool] = []
        """For each open field, whether its result has begun."""
        self._hidden = False
        self._parts: list[str] = []
        self._anchored: list[Element] = []
        self._readings: list[str] = []

    def read(self, paragraph: Element, *, hidden: bool = False) -> Paragraph:
        """The paragraph, without the paragraphs of text boxes in it. `hidden`: its style hides the text."""
        self._parts, self._anchored, self._hidden = [], [], hidden
        self._walk(paragraph)
        self._end_ruby()
        return Paragraph("".join(self._parts), self._anchored)

    def _walk(self, element: Element) -> None:
        for child in element:
            handle = _HANDLERS.get(child.tag)
            if handle is not None:
                handle(self, child)
            elif is_content(child):
                self._walk(child)

    def _show(self, text: str) -> None:
        if text and not self._hidden and all(self._open):
            self._end_ruby()
            self._parts.append(text)

    def _run(self, run: Element) -> None:
        before, properties = self._hidden, run.find(f"{W}rPr")
        if properties is not None:
            stated = is_on(properties, "vanish")
            self._hidden = (before or self._hides(value(properties, "rStyle"))) if stated is None else stated
        self._walk(run)
        self._hidden = before

    def _text(self, element: Element) -> None:
        text = (element.text or "").replace("\n", " ")
        run = element.getparent()
        if not text.isascii():
            fonts = run.find(f"{W}rPr/{W}rFonts")
            text = plain("" if fonts is None else fonts.get(f"{W}ascii", ""), text)
        elif text[-1:].isdigit() and _is_raised(run):
            text = raised(text)
        self._show(text)

    def _link(self, element: Element) -> None:
        before = len(self._parts)
        self._walk(element)
        address = missing_address(self._target(element.get(f"{R}id", "")), "".join(self._parts[before:]))
        if address:
            self._show(f" ({address})")

    def _inner_paragraph(self, element: Element) -> None:
        """Of a shape inside a paragraph."""
        self._walk(element)
        self._show("\n")

    def _symbol(self, element: Element) -> None:
        self._show(symbol(element.get(f"{W}font", ""), element.get(f"{W}char", "")))

    def _field(self, element: Element) -> None:
        if element not in self._fields:
            return
        kind = element.get(f"{W}fldCharType")
        if kind == "begin":
            self._show(_form_value(element.find(f"{W}ffData")))
            self._open.append(False)
        elif self._open:
            self._open.pop()
            if kind == "separate":
                self._open.append(True)

    def _anchor(self, element: Element) -> None:
        if not self._hidden and all(self._open):
            self._anchored.append(element)
            if element.tag in (f"{V}shape", f"{V}rect"):
                self._walk(element)

    def _ruby(self, element: Element) -> None:
        """The reading of a word comes in brackets after it, also if each of its characters has its own."""
        readings, self._readings = self._readings, []
        for base in element.iterchildren(f"{W}rubyBase"):
            self._walk(base)
        shown, self._parts = self._parts, []
        for reading in element.iterchildren(f"{W}rt"):
            self._walk(reading)
        self._readings, self._parts = [*readings, *self._parts], shown

    def _end_ruby(self) -> None:
        readings, self._readings = "".join(self._readings), []
        if readings:
            self._parts.append(f" ({readings})")


def _is_raised(run: Element) -> bool:
    properties = run.find(f"{A}rPr")
    raised_by = "0" if properties is None else properties.get("baseline", "0")
    return value(run, "rPr/vertAlign") == "superscript" or not raised_by.startswith(("0", "-"))


def _whole_fields(root: Element) -> set[Element]:
    """The marks of the fields that begin and end: what follows a mark without its partner is text."""
    found: set[Element] = set()
    open_fields: list[list[Element]] = []
    for mark in root.iter(f"{W}fldChar"):
        if any(not is_content(parent) for parent in mark.iterancestors()):
            continue
        kind = mark.get(f"{W}fldCharType")
        if kind == "begin":
            open_fields.append([mark])
        elif open_fields:
            open_fields[-1].append(mark)
            if kind == "end":
                found.update(open_fields.pop())
    return found


def _form_value(form: Element | None) -> str:
    """What an old form field shows that is not in its result: the chosen item, or a box with or without a cross."""
    if form is None:
        return ""
    box = form.find(f"{W}checkBox")
    if box is not None:
        checked = is_on(box, "checked")
        return _CHECKED[not (bool(is_on(box, "default")) if checked is None else checked)]
    items = [item.get(f"{W}val", "") for item in form.iterfind(f"{W}ddList/{W}listEntry")]
    chosen = value(form, "ddList/result") or value(form, "ddList/default", "0")
    return items[int(chosen)] if chosen.isdigit() and int(chosen) < len(items) else ""


_HANDLERS: dict[str, Callable[[Runs, Element], None]] = {
    f"{W}r": Runs._run,
    f"{W}t": Runs._text,
    f"{A}t": Runs._text,
    f"{W}sym": Runs._symbol,
    f"{W}fldChar": Runs._field,
    f"{W}ruby": Runs._ruby,
    f"{W}hyperlink": Runs._link,
    f"{A}p": Runs._inner_paragraph,
    f"{M}oMath": lambda runs, element: runs._show(linear(element)),
    **dict.fromkeys(ANCHORED, Runs._anchor),
    **dict.fromkeys((f"{W}tab", f"{W}ptab"), lambda runs, _: runs._show("\t")),
    **dict.fromkeys((f"{W}br", f"{W}cr", f"{A}br"), lambda runs, _: runs._show("\n")),
    f"{W}noBreakHyphen": lambda runs, _: runs._show("-"),
}
