"""Text to search terms, the same for passages and questions, and for every engine that ranks them.

Terms are Unicode words, folded, and stemmed by Snowball (Porter for English). Scripts that write without spaces become
overlapping pairs of characters, as in Lucene's CJK analysis. Identifiers, dates and hyphenated words are one term more
than their parts (search_app.text.compounds).
"""

from __future__ import annotations

import functools
import hashlib
import re
import threading
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import Stemmer
from numpy.typing import NDArray

from search_app.text.compounds import RULES, bare, compounds, joined
from search_app.text.spelling import SHORTEST, near

EXACT_WEIGHT = 3
"""How often an identifier of a question counts, so that passages with its parts alone do not outrank it."""
DEFAULT_LANGUAGE = "en"
"""Used for text without a stated or detected language."""

STEMMERS = {
    "ar": "arabic", "ca": "catalan", "da": "danish", "de": "german", "el": "greek", "en": "porter", "es": "spanish",
    "et": "estonian", "eu": "basque", "fi": "finnish", "fr": "french", "ga": "irish", "hi": "hindi", "hu": "hungarian",
    "hy": "armenian", "id": "indonesian", "it": "italian", "lt": "lithuanian", "ne": "nepali", "nl": "dutch",
    "no": "norwegian", "pt": "portuguese", "ro": "romanian", "ru": "russian", "sr": "serbian", "sv": "swedish",
    "ta": "tamil", "tr": "turkish", "yi": "yiddish",
}  # fmt: skip

_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3040-\u30ff\u3130-\u318f\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff\u3005\u30fc"
)
_RUNS = re.compile(rf"([{_UNSPACED}]+)|((?:[^\W_{_UNSPACED}])+)")
_MARKS = re.compile(r"[\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u0640]")
"""Accents in Latin, Greek and Cyrillic, points in Hebrew and Arabic: writers often leave them out."""
_INVISIBLE = re.compile(
    rf"[\u00ad\u2060\ufeff]|(?<![{_UNSPACED}])\u200b(?![{_UNSPACED}])|(?<=[a-z])[\u200c\u200d](?=[a-z])"
)
"""Soft hyphens and characters without width; some scripts separate words by them."""
_LETTERS = str.maketrans(
    {"ł": "l", "ø": "o", "đ": "d", "æ": "ae", "œ": "oe", "ħ": "h", "ŧ": "t", "ð": "d", "þ": "th", "ı": "i"}
)
"""Letters that Unicode does not decompose and that writers replace like those with accents."""
_OTHER_MARKS = re.compile(r"(?<=\w)[\u0900-\u0dff\u0f00-\u0fff](?=\w|$)")
_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_SEPARATORS = re.compile(r"[^\w\s\u0900-\u0dff\u0f00-\u0fff]|_")
_SCRIPTS = (
    ("ja", re.compile(r"[\u3040-\u30ff]")),
    ("ko", re.compile(r"[\uac00-\ud7ff\u1100-\u11ff]")),
    ("zh", re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")),
    ("th", re.compile(r"[\u0e00-\u0e7f]")),
    ("he", re.compile(r"[\u0590-\u05ff]")),
    ("el", re.compile(r"[\u0370-\u03ff]")),
    ("hy", re.compile(r"[\u0530-\u058f]")),
    ("ta", re.compile(r"[\u0b80-\u0bff]")),
)
_GROUPS = (
    (re.compile(r"[\u0400-\u04ff]"), ("ru", "uk", "bg", "sr", "mk", "be", "kk")),
    (re.compile(r"[\u0600-\u06ff]"), ("ar", "fa", "ur")),
    (re.compile(r"[\u0900-\u097f]"), ("hi", "ne", "mr")),
    (
        re.compile(r"[A-Za-z\u00c0-\u024f]"),
        ("en", "de", "fr", "es", "it", "pt", "nl", "da", "sv", "no", "fi", "hu", "pl", "cs", "ro", "tr", "ca", "et",
         "eu", "ga", "id", "lt", "hr", "sk", "sl", "lv", "vi"),
    ),
)  # fmt: skip
_SAMPLE = 2000
_MIN_LETTERS = 20
_MIN_PROBABILITY = 0.8
_MAX_COUNT = np.iinfo(np.uint16).max
_CACHED_TERMS = 1 << 17
_detector_lock = threading.Lock()


def terms(text: str, language: str, rules: int = RULES) -> list[str]:
    """The search terms of `text`: those of its words in order, then those of its joined words.

    `language` is an ISO 639-1 code; "" means English, and an unknown code means no stemming.
    """
    folded = _folded(text, rules)
    words = list(_words(folded))
    if rules > 1:
        words += [word for word, _ in compounds(folded)]
    return _stemmed(words, language)


def asked(question: str, languages: Sequence[str], rules: int = RULES) -> list[str]:
    """The terms of a question in each of the languages; an identifier is repeated, so that it counts more."""
    found = dict.fromkeys(term for language in analyses(languages) for term in terms(question, language, rules))
    return [*found, *_in_each(_identifiers(question, rules), languages) * (EXACT_WEIGHT - 1)]


def long_words(question: str, languages: Sequence[str], rules: int = RULES) -> dict[str, list[str]]:
    """The terms of each word that is long enough to be recognised in spite of a typing mistake."""
    words = dict.fromkeys(word for word in _words(_folded(question, rules)) if len(word) >= SHORTEST and word.isalpha())
    return {word: _in_each([word], languages) for word in words}


def corrections(word: str, languages: Sequence[str]) -> list[str]:
    """The terms of the words that differ from `word` by one typing mistake."""
    return _in_each(near(word), languages)


def _in_each(words: list[str], languages: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(term for language in analyses(languages) for term in _stemmed(words, language)))


def passage_terms(texts: Iterable[str], source: str, language: str, rules: int = RULES) -> list[str]:
    """The terms of a passage, and those of its file's name that are not among them."""
    found = [term for text in texts for term in terms(text, language, rules)]
    name = _stemmed(list(_name_words(source)), language) if rules > 1 else []
    return found + sorted(set(name).difference(found))


def passage_words(texts: Iterable[str], source: str, rules: int = RULES) -> str:
    """As `passage_terms`, for an engine with its own tokenizer and stemmer."""
    text = normalise_text("\n".join(texts), rules)
    name = set(_name_words(source)) if rules > 1 else set()
    return " ".join([text, *sorted(name.difference(text.split()))])


def hash_terms(terms: Sequence[str]) -> tuple[NDArray[np.uint64], NDArray[np.uint16]]:
    """The distinct terms as 64-bit hashes in ascending order, and how often each occurs (65,535 at most)."""
    hashes = np.fromiter(map(_hash, terms), dtype=np.uint64, count=len(terms))
    distinct, counts = np.unique(hashes, return_counts=True)
    return distinct, np.minimum(counts, _MAX_COUNT).astype(np.uint16)


def normalise_text(text: str, rules: int = RULES) -> str:
    """Folded text with a space for every separator, so that an engine with its own tokenizer finds the same words."""
    folded = _folded(text, rules)
    joined = [word for word, _ in compounds(folded)] if rules > 1 else []
    return " ".join([_SEPARATORS.sub(" ", folded), *joined])


def normalise_question(question: str, rules: int = RULES) -> str:
    """As `normalise_text`, with identifiers repeated, so that they count more."""
    return " ".join([normalise_text(question, rules), *_identifiers(question, rules) * (EXACT_WEIGHT - 1)])


def analyses(languages: Sequence[str]) -> list[str]:
    """The distinct analyses that these languages need: a question is analysed once for each."""
    return sorted({_analysis(language) for language in languages}) or [DEFAULT_LANGUAGE]


def detect_language(text: str) -> str:
    """ISO 639-1 code by script, then by a classifier; "" if the text is too short or too mixed."""
    sample = text[:_SAMPLE]
    letters = Counter({name: len(pattern.findall(sample)) for name, pattern in _SCRIPTS})
    total = sum(character.isalpha() for character in sample)
    if not total:
        return ""
    if letters["ja"] + letters["zh"] > total / 3:
        # Japanese prose always has kana, Chinese never.
        return "ja" if letters["ja"] * 20 > letters["zh"] else "zh"
    name, count = letters.most_common(1)[0]
    if count > total / 2:
        return name
    for pattern, languages in _GROUPS:
        if len(pattern.findall(sample)) > total / 2:
            return _classify(sample, languages) if total >= _MIN_LETTERS else ""
    return ""


def normalise_language(language: str) -> str:
    """Reduce `de-AT`, `DE_de` and `de` to `de`."""
    return re.split(r"[-_]", language.strip().lower(), maxsplit=1)[0][:3]


@functools.lru_cache(maxsize=_CACHED_TERMS)
def _hash(term: str) -> int:
    """Part of the index format: the same on every machine and in every version of Python."""
    return int.from_bytes(hashlib.blake2b(term.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _analysis(language: str) -> str:
    code = normalise_language(language) or DEFAULT_LANGUAGE
    return code if code in STEMMERS else "und"


def _folded(text: str, rules: int) -> str:
    if text.isascii():
        return text.casefold()
    text = _MARKS.sub("", unicodedata.normalize("NFKD", text))
    # Recomposed, so that Hangul and kana are one character each.
    text = unicodedata.normalize("NFC", text).casefold()
    return _INVISIBLE.sub("", text).translate(_LETTERS) if rules > 1 else text


@functools.lru_cache(maxsize=4096)
def _name_words(source: str) -> tuple[str, ...]:
    """The words of a file's name, without its ending, and the whole name as one word."""
    path = urlsplit(source).path if "://" in source else source
    name = unquote(re.split(r"[/\\]", path.rstrip("/\\"))[-1])
    stem = re.sub(r"\.[A-Za-z][A-Za-z0-9]{0,5}$", "", name)
    folded = _folded(_CAPITAL.sub(" ", stem), RULES)
    whole = _folded(name, RULES)
    return (*_words(folded), *(word for word, _ in compounds(folded)), *filter(None, [joined(whole)]))


def _identifiers(question: str, rules: int) -> list[str]:
    """Each identifier once: joined words with digits or signs, and words of letters and digits."""
    if rules < 2:
        return []
    folded = _folded(question, rules)
    mixed = (word for word in map(bare, folded.split()) if word.isalnum() and not (word.isalpha() or word.isdigit()))
    return list(dict.fromkeys([*(word for word, exact in compounds(folded) if exact), *mixed]))


def _stemmed(words: list[str], language: str) -> list[str]:
    name = STEMMERS.get(normalise_language(language) or DEFAULT_LANGUAGE)
    if not name:
        return words
    stems = _stemmer(name, threading.get_ident()).stemWords(words)
    # Porter would turn "s" into nothing and "as" into "a": short words stay as they are.
    return [stem if len(word) > 2 else word for word, stem in zip(words, stems, strict=True)]


def _words(text: str) -> Iterator[str]:
    """The words of folded text."""
    if text.isascii() or not _needs_boundaries(text):
        matches: Iterator[re.Match[str]] = _RUNS.finditer(text)
        for match in matches:
            run = match.group(1)
            if run is None:
                yield match.group(2)
            elif len(run) == 1:
                yield run
            else:
                yield from (run[i : i + 2] for i in range(len(run) - 1))
    else:
        import apsw.unicode

        yield from apsw.unicode.word_iter(text)


def _needs_boundaries(text: str) -> bool:
    return _OTHER_MARKS.search(text) is not None


@functools.lru_cache(maxsize=256)
def _stemmer(name: str, thread: int) -> Any:
    # Stemmers are not thread-safe, so each thread gets its own.
    return Stemmer.Stemmer(name)


@functools.lru_cache(maxsize=len(_GROUPS))
def _identifier(languages: tuple[str, ...]) -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(list(languages))
    return identifier


def _classify(sample: str, languages: tuple[str, ...]) -> str:
    with _detector_lock:
        language, probability = _identifier(languages).classify(sample)
    return str(language) if probability >= _MIN_PROBABILITY else ""
