"""Characters of the fonts Symbol and Wingdings, which have codes of their own."""

from __future__ import annotations

_SYMBOL = {
    0x20: " !∀#∃%&∋()∗+,−./0123456789:;<=>?",
    0x40: "≅ΑΒΧΔΕΦΓΗΙϑΚΛΜΝΟΠΘΡΣΤΥςΩΞΨΖ[∴]⊥_",
    0x61: "αβχδεφγηιϕκλμνοπθρστυϖωξψζ{|}∼",
    0xA0: "€ϒ′≤⁄∞ƒ♣♦♥♠↔←↑→↓°±″≥×∝∂•÷≠≡≈…",
    0xC0: "ℵℑℜ℘⊗⊕∅∩∪⊃⊇⊄⊂⊆∈∉∠∇®©™∏√⋅¬∧∨⇔⇐⇑⇒⇓◊",
    0xE5: "∑",
    0xF2: "∫",
}
_WINGDINGS = {
    0x28: "☎", 0x2A: "✉", 0x4A: "☺", 0x4C: "☹", 0x6C: "●", 0x6E: "■", 0x6F: "□", 0x71: "❑", 0x75: "◆", 0x76: "❖",
    0x9F: "•", 0xA7: "▪", 0xA8: "◻", 0xD8: "➢", 0xDF: "←", 0xE0: "→", 0xE1: "↑", 0xE2: "↓", 0xE8: "➔", 0xF0: "⇨",
    0xFB: "✗", 0xFC: "✓", 0xFD: "☒", 0xFE: "☑",
}  # fmt: skip
_PRIVATE = 0xF000
"""Word adds it to the codes of such fonts."""
_FONTS = {
    "symbol": {start + i: letter for start, letters in _SYMBOL.items() for i, letter in enumerate(letters)},
    "wingdings": _WINGDINGS,
}


def symbol(font: str, code: str) -> str:
    """The character with a hexadecimal code in a font; "" if the font has pictures that no character shows."""
    try:
        number = int(code, 16)
    except ValueError:
        return ""
    own = number - _PRIVATE if _PRIVATE <= number <= _PRIVATE + 0xFF else number
    letters = _FONTS.get(font.lower())
    if letters is not None:
        return letters.get(own, "")
    return chr(number) if own == number and 0x20 <= number <= 0x10FFFF else ""


def plain(font: str, text: str) -> str:
    """Text with the characters of such a font replaced; others are kept."""
    if not any(_PRIVATE <= ord(letter) <= _PRIVATE + 0xFF for letter in text):
        return text
    return "".join(
        symbol(font, f"{ord(letter):x}") if _PRIVATE <= ord(letter) <= _PRIVATE + 0xFF else letter for letter in text
    )
