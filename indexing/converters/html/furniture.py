"""What a page holds beside its content: elements that are not shown, menus, cookie banners, footers."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

from lxml import etree

from indexing.converters.html import stylesheet

_NOT_TEXT = (
    "script", "style", "noscript", "template", "head", "iframe", "object", "embed", "svg", "canvas", "audio", "video",
    "select", "datalist", "input", "textarea", "rp",
)  # fmt: skip
_NOT_SHOWN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_MARK = re.compile(r"[¶#§🔗]?$|(?:skip|jump) to |zum inhalt|direkt zum|aller au|saltar al", re.IGNORECASE)
"""The text of a link that leads to its own place, or over the menu."""
_QUESTION_CLASS = re.compile(r"accordion|collaps|faq|question|toggle", re.IGNORECASE)
_BOXES = ("div", "section", "ul", "ol", "aside", "header", "footer", "form", "nav", "p", "table", "dialog")
_LISTS = ("ul", "ol", "table")
_WORD = re.compile(r"[A-Za-z][a-z]*")
_ROLES = frozenset(("navigation", "contentinfo", "search", "menu", "menubar", "toolbar"))
_SURELY = frozenset(
    ("nav", "navbar", "navigation", "breadcrumb", "breadcrumbs", "cookie", "cookies", "consent", "gdpr", "pagination",
     "pager", "copyright", "colophon", "skip", "footer")
)  # fmt: skip
_OF_LINKS = frozenset(
    ("sidebar", "menu", "toc", "aside", "header", "banner", "topbar", "masthead", "modal", "popup", "toolbar")
)
_PERHAPS = frozenset(
    ("related", "share", "sharing", "social", "newsletter", "subscribe", "advert", "ads", "promo", "legal", "imprint",
     "disclaimer", "login")
)  # fmt: skip
_COPYRIGHT = re.compile(r"(?:©|\(c\)|copyright\s+(?:©|\(c\)|(?:19|20)\d\d))", re.IGNORECASE)
_MAIN = './/main | .//*[@role="main"]'
_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
_TITLES = (*_HEADINGS, "dt", "summary")
_LINKS = 0.6
"""Share of a box's text in links that makes it a menu."""
_ONLY_LINKS = 0.8
_FEW_LINKS, _MANY_LINKS = 3, 6
_SHORT_LINK = 30
"""Characters of a menu's entry."""
_SHORT_BOX = 1000
"""Characters of a question about cookies."""
_MAX_TREE = 100_000


def tidy(tree: Any, *, whole: bool = False) -> dict[Any, Any]:
    """Remove what is not shown and, unless `whole`, what is the same on every page of a site.

    Returns the elements that name what folds out below them, as in lists of questions, each with what folds out.
    """
    folding = _questions(tree)
    _remove_hidden(tree, set(folding.values()))
    if not whole:
        _Furniture(tree).remove()
    left = set(tree.iter())
    folding = {name: panel for name, panel in folding.items() if name in left and panel in left}
    _drop_all(item for item in list(tree.iter("button")) if item not in folding and not _is_a_title(item))
    return folding


def _is_a_title(button: Any) -> bool:
    return any(outer.tag in _TITLES and _size(outer) == _size(button) for outer in button.iterancestors())


def _questions(tree: Any) -> dict[Any, Any]:
    ids = {element.get("id"): element for element in tree.iter() if element.get("id")}
    found = {element: _panel(element, ids) for element in tree.iter("button", "summary", "a", "div", "span", "p")}
    return {name: panel for name, panel in found.items() if panel is not None and _size(name) and _size(panel)}


def _panel(element: Any, ids: dict[str, Any]) -> Any | None:
    """What an element folds out, None if it is no question."""
    if element.tag == "summary":
        return element.getparent()
    button = element.tag == "button" or element.get("role") == "button"
    if not button or _is_in(element, "nav", "form"):
        return None
    if element.get("aria-expanded") is None and not _asks(element):
        return None
    named = ids.get(element.get("aria-controls") or (element.get("data-bs-target") or "").removeprefix("#"))
    return _following(element) if named is None else named


def _following(element: Any) -> Any | None:
    """The next element, also after the heading that holds this one."""
    while element.getnext() is None and element.getparent() is not None and element.getparent().tag in _TITLES:
        element = element.getparent()
    return element.getnext()


def _asks(element: Any) -> bool:
    return bool(_QUESTION_CLASS.search(element.get("class") or "")) or _text(element).endswith("?")


def _remove_hidden(tree: Any, kept: set[Any]) -> None:
    unseen = [item for item in stylesheet.hidden(tree) if item not in kept and 2 * _size(item) <= _size(tree)]
    _drop_all([*tree.iter(*_NOT_TEXT), *unseen])
    _drop_all(item for item in list(tree.iter(etree.Element)) if item not in kept and _is_hidden(item))


def _is_hidden(element: Any) -> bool:
    if element.get("hidden", "until-found") != "until-found" or element.get("aria-hidden") == "true":
        return True
    mark = element.tag == "a" and (element.get("href") or "").startswith("#") and _MARK.match(_text(element))
    return bool(mark or _NOT_SHOWN.search(element.get("style") or ""))


class _Furniture:
    """Parts of a page that are told by their element, role or name, and what is beside the main element.

    Where a name or a list of links only hints, trafilatura decides.
    """

    def __init__(self, tree: Any) -> None:
        self._tree = tree
        self._most = _size(tree) / 2
        self._main = next((main for main in tree.xpath(_MAIN) if _size(main) >= _size(tree) / 2), None)
        found = tree if self._main is None else self._main
        self._content = {found, *found.iter("article"), *(list(found.iter("h1")) or tree.iter("h1"))}

    def remove(self) -> None:
        boxes = list(self._tree.iter(*_BOXES))
        _drop_all([box for box in boxes if self._is_furniture(box)])
        _drop_all([box for word in list(self._tree.iter()) if (box := self._cookie_box(word)) is not None])
        _drop_all(self._first_menus())
        _drop_all(self._last_lines())

    def _is_furniture(self, box: Any) -> bool:
        names = {word.lower() for name in ("id", "class") for word in _WORD.findall(box.get(name) or "")}
        names |= {str(box.tag), "nav" if box.get("role") in _ROLES else ""}
        if _is_in(box, "main", "article", "blockquote"):
            names -= {"footer", "header"}
        if box.tag in names & {"nav", "footer"}:
            return True
        outside = self._main is not None and not self._is_in_main(box)
        hinted = names & (_SURELY | _OF_LINKS | _PERHAPS)
        if not (outside or hinted or box.tag in _LISTS) or not self._may_go(box):
            return False
        if names & _SURELY or (hinted and _share_of_links(box) > _LINKS) or (outside and not _is_in_aside(box)):
            return True
        listed = box.tag in _LISTS and _is_menu(box, least=_MANY_LINKS) and not _is_in(box, "main", "article")
        return bool(names & _PERHAPS or listed) and self._is_lost(box)

    def _may_go(self, box: Any) -> bool:
        return _size(box) <= self._most and self._content.isdisjoint(box.iter())

    def _is_in_main(self, box: Any) -> bool:
        return any(outer is self._main for outer in (box, *box.iterancestors()))

    def _is_lost(self, box: Any) -> bool:
        return self._main_content is not None and _squeezed(box)[:200] not in self._main_content

    @cached_property
    def _main_content(self) -> str | None:
        if sum(1 for _ in self._tree.iter()) > _MAX_TREE:
            return None
        from trafilatura.core import bare_extraction

        tree = copy.deepcopy(self._tree)
        try:
            found = bare_extraction(tree, favor_recall=True, with_metadata=False, date_extraction_params={})
            body = getattr(found, "body", None)
        except (ValueError, TypeError, AttributeError, KeyError, IndexError, RecursionError, etree.LxmlError):
            return None
        return None if body is None else _squeezed(body)

    def _cookie_box(self, element: Any) -> Any | None:
        """The smallest box with a button around a text about cookies."""
        if "cookie" not in (element.text or "").lower():
            return None
        for box in (element, *element.iterancestors()):
            if not _is_short(box):
                return None
            if box.tag in _BOXES and box.find(".//button") is not None:
                return box if self._may_go(box) else None
        return None

    def _first_menus(self) -> Iterator[Any]:
        """Lists of links before the first heading."""
        for element in list(self._tree.iter(*_BOXES, *_HEADINGS)):
            if element.tag in _HEADINGS:
                return
            if self._may_go(element) and _is_menu(element):
                yield element

    def _last_lines(self) -> Iterator[Any]:
        """Lists of links and copyright lines after the last text."""
        for box in reversed(list(self._tree.iter(*_BOXES, "td", "center", "small", *_HEADINGS))):
            goes = self._may_go(box) and (_is_menu(box) or _COPYRIGHT.match(_text(box)) is not None)
            if goes:
                yield box
            elif _size(box) and (box.tag in _HEADINGS or _share_of_links(box) < _ONLY_LINKS):
                return


def _is_short(box: Any) -> bool:
    """Whether a box has the text of a banner, without a look at the whole of a long one."""
    size = 0
    for text in box.itertext():
        size += len(text)
        if size > _SHORT_BOX:
            return False
    return True


def _is_in_aside(box: Any) -> bool:
    return any(outer.tag == "aside" for outer in (box, *box.iterancestors()))


def _is_menu(box: Any, *, least: int = _FEW_LINKS) -> bool:
    links = [_text(link) for link in box.iter("a")]
    short = sum(map(len, links)) < _SHORT_LINK * len(links)
    return len(links) >= least and short and _share_of_links(box) > _ONLY_LINKS


def _share_of_links(box: Any) -> float:
    return sum(_size(link) for link in box.iter("a")) / max(1, _size(box))


def _is_in(element: Any, *tags: str) -> bool:
    return any(outer.tag in tags for outer in element.iterancestors())


def _text(element: Any) -> str:
    return "".join(element.itertext()).strip()


def _squeezed(element: Any) -> str:
    return "".join("".join(element.itertext()).split())


def _size(element: Any) -> int:
    return len(_squeezed(element))


def _drop_all(elements: Iterable[Any]) -> None:
    for element in elements:
        if element.getparent() is not None:
            element.drop_tree()
