"""Words that differ from a word by one typing mistake (Damerau 1964), for a vocabulary that can only be asked."""

from __future__ import annotations

from collections.abc import Iterator

SHORTEST = 5
"""Letters of a word from which a mistake is looked for: shorter words have too many neighbours."""
_ALPHABETS = ("abcdefghijklmnopqrstuvwxyz", "абвгдежзийклмнопрстуфхцчшщъыьэюя", "αβγδεζηθικλμνξοπρστυφχψω")


def near(word: str) -> list[str]:
    """All words with one letter left out, put in, replaced or swapped; none for a word of another script."""
    alphabet = next((letters for letters in _ALPHABETS if set(word) <= set(letters)), "")
    return sorted(set(_changed(word, alphabet)) - {word}) if alphabet else []


def _changed(word: str, alphabet: str) -> Iterator[str]:
    for place in range(len(word) + 1):
        before, after = word[:place], word[place:]
        yield from (before + letter + after for letter in alphabet)
        if after:
            yield before + after[1:]
            yield from (before + letter + after[1:] for letter in alphabet)
        if len(after) > 1:
            yield before + after[1] + after[0] + after[2:]
