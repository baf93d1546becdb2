"""Elements that the style sheets of a page itself hide, by tinycss2 and cssselect.

What the page can show again stays: by a rule for the same class or id, such as `.tab.active`, or by a script.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_HIDING = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_VALUES = {"display": "none", "visibility": "hidden"}
_NAME = re.compile(r"[.#]([\w-]+)")
_MAX_SHEET = 500_000
"""Characters of a style sheet that is read; tinycss2 takes about a second for a million."""
_MAX_SELECTORS = 1000


@dataclass(frozen=True, slots=True)
class _Rule:
    """`weight` orders rules as a browser does: importance, specificity, place."""

    selector: Any
    text: str
    name: str
    hides: bool
    weight: tuple[bool, tuple[int, int, int], int]


def hidden(tree: Any) -> list[Any]:
    """The elements that are hidden by rules of the tree's own `style` elements."""
    sheets = [style.text or "" for style in tree.iter("style") if _is_for_screens(style.get("media") or "")]
    if not any(map(_HIDING.search, sheets)):
        return []
    rules = [rule for sheet in sheets for rule in _rules(sheet[:_MAX_SHEET])][:_MAX_SELECTORS]
    fixed = [rule for rule in rules if not rule.hides or not _is_switched(rule, rules, tree)]
    won: dict[tuple[Any, str], _Rule] = {}
    for rule in fixed if any(rule.hides for rule in fixed) else ():
        for element in _matches(rule, tree):
            before = won.get((element, rule.name))
            if before is None or before.weight <= rule.weight:
                won[element, rule.name] = rule
    return [element for (element, name), rule in won.items() if rule.hides and name not in (element.get("style") or "")]


def _is_for_screens(media: str) -> bool:
    return media.strip().lower() in ("", "all", "screen")


def _rules(sheet: str) -> Iterator[_Rule]:
    import tinycss2

    yield from _read(tinycss2.parse_stylesheet(sheet, skip_comments=True, skip_whitespace=True))


def _read(nodes: list[Any]) -> Iterator[_Rule]:
    import tinycss2

    for place, node in enumerate(nodes):
        if node.type == "at-rule" and node.lower_at_keyword == "media" and node.content is not None:
            if _is_for_screens(tinycss2.serialize(node.prelude)):
                yield from _read(tinycss2.parse_rule_list(node.content, skip_comments=True, skip_whitespace=True))
        elif node.type == "qualified-rule":
            yield from _of(node, place)


def _of(node: Any, place: int) -> Iterator[_Rule]:
    import cssselect
    import tinycss2

    text = tinycss2.serialize(node.prelude).strip()
    for declared in tinycss2.parse_blocks_contents(node.content, skip_comments=True, skip_whitespace=True):
        if declared.type != "declaration" or declared.lower_name not in _VALUES:
            continue
        hides = tinycss2.serialize(declared.value).strip().lower() == _VALUES[declared.lower_name]
        try:
            selectors = cssselect.parse(text)
        except cssselect.SelectorError:
            continue
        for selector in selectors:
            weight = (declared.important, selector.specificity(), place)
            yield _Rule(selector, selector.canonical(), declared.lower_name, hides, weight)


def _is_switched(rule: _Rule, rules: list[_Rule], tree: Any) -> bool:
    """Whether the page can show what the rule hides: a stronger rule or a script names the same class or id."""
    names = {match[1] for match in _NAME.finditer(rule.text)}
    shown = {
        match[1]
        for other in rules
        if not other.hides and other.weight > rule.weight
        for match in _NAME.finditer(other.text)
    }
    if names & shown:
        return True
    scripts = "\n".join(script.text or "" for script in tree.iter("script"))
    return any(re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", scripts) for name in names)


def _matches(rule: _Rule, tree: Any) -> list[Any]:
    import cssselect

    try:
        found: list[Any] = tree.xpath(cssselect.HTMLTranslator().selector_to_xpath(rule.selector))
    except cssselect.SelectorError:  # a selector that a tree alone cannot answer
        return []
    return found
