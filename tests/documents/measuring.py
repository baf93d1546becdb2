"""Index the suite, ask its questions, and judge the first hit: its passage, place and cell, and the answer."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from documents.suite import File, Question

from indexing.conversion import FileSplitter
from indexing.sources import scan
from indexing.splitter import SplitConfig
from search_app.service import SearchService
from search_app.text.reading import reading, titled
from search_app.types import Answer, Document, Passage


@dataclass(frozen=True)
class Judgement:
    """What holds for one question. `answer` is None if no reader was asked."""

    file: File
    question: Question
    passage: bool
    place: bool
    answer: bool | None = None
    found: str = ""

    @property
    def format(self) -> str:
        return Path(self.file.path).suffix


def questions(files: Iterable[File]) -> Iterator[tuple[File, Question]]:
    """Questions that can be answered here: those on pictures need the extra `ocr`."""
    skipped = () if find_spec("rapidocr") or find_spec("rapidocr_onnxruntime") else ("ocr",)
    for file in files:
        for question in file.questions:
            if not set(question.traits) & set(skipped):
                yield file, question


def unread(folder: Path, files: Iterable[File], config: SplitConfig) -> Iterator[str]:
    """Questions whose answer no passage of their file has in its place, whatever a search finds."""
    known = {file.path: file for file in files}
    with FileSplitter(config) as splitter:
        for source in scan([folder]).files():
            file = known[Path(source.path).relative_to(folder).as_posix()]
            converted = splitter.convert(source, "")
            found = list(converted.contents())
            converted.discard()
            for _, question in questions([file]):
                if not any(_holds(item, document, question) for document, item in _pairs(found)):
                    yield f"{file.path}: {question.text} {converted.failure.reason if converted.failure else ''}"


def _pairs(found: Iterable[Document | list[Passage]]) -> Iterator[tuple[Document, Passage]]:
    document: Document | None = None
    for item in found:
        if isinstance(item, Document):
            document = item
        elif document is not None:
            yield from ((document, passage) for passage in item)


def _holds(passage: Passage, document: Document, question: Question) -> bool:
    return has_answer(passage, question) and in_place(passage, question, lambda: document)


def judge(service: SearchService, files: Iterable[File], *, read: bool = False) -> list[Judgement]:
    """Ask all questions of one collection."""
    return [_judged(service, file, question, read) for file, question in questions(files)]


def _judged(service: SearchService, file: File, question: Question, read: bool) -> Judgement:
    ask: Callable[..., Any] = service.answer if read else service.search
    result = ask(question.text, k=10)
    if not result.hits:
        return Judgement(file, question, False, False, False if read else None, "nothing")
    hit = result.hits[0]
    passage = is_source(hit.passage.source, file, question) and has_answer(hit.passage, question)
    place = passage and in_place(hit.passage, question, lambda: service.store().document(hit.passage.document_id))
    answer = _answer(result.answers, file, question) if read else None
    first = result.answers[0].text if read and result.answers else ""
    return Judgement(
        file, question, passage, place, answer, f"{hit.passage.source}: {first or hit.passage.text[:120]!r}"
    )


def is_source(source: str, file: File, question: Question) -> bool:
    """Whether the source is the file, or a copy of it."""
    return source.endswith(tuple(f"/{path}" for path in (file.path, *question.also)))


def has_answer(passage: Passage, question: Question) -> bool:
    """Whether the answer is in the passage's text or title."""
    return found_in(question.answer, titled(passage.title, passage.text))


def in_place(passage: Passage, question: Question, document: Callable[[], Document | None]) -> bool:
    """Whether the answer is on its page and, for a cell, below its column and in its row."""
    if question.column and not holds_cell(titled(passage.title, reading(passage).text), question):
        return False
    if question.page is None:
        return True
    whole = document()
    match = _found(question.answer, passage.text)
    if whole is None or match is None:
        return False
    place = passage.start + match.start()
    return [page.number for page in whole.pages if page.start <= place < page.end] == [question.page]


def holds_cell(text: str, question: Question) -> bool:
    """Whether the text reads `column: value` in the line of the row, or in the record of the row."""
    pair = rf"(?<![^\W_]){_loose(question.column)}\s*: {_loose(question.answer)}(?!\w)"
    lines = [line for line in text.split("\n") if re.search(pair, line, re.IGNORECASE)]
    return any(question.row in line for line in lines) or (
        bool(lines) and "; " not in lines[0] and question.row in text
    )


def _answer(answers: Iterable[Answer], file: File, question: Question) -> bool:
    """Whether the first answer is the wanted text of the file, give or take a few words.

    What is no question, but words to look for, must have no answer.
    """
    first = next(iter(answers), None)
    if "keyword" in question.traits:
        return first is None or not first.text
    if first is None or not first.text or first.hit is None:
        return False
    given, wanted = _folded(first.text), _folded(question.answer)
    close = (wanted in given and len(given) <= len(wanted) + 40) or (given in wanted and 2 * len(given) >= len(wanted))
    return close and is_source(first.hit.passage.source, file, question)


def _folded(text: str) -> str:
    return " ".join(text.casefold().split()).strip(" .,;:")


def _loose(text: str) -> str:
    return r"\s+".join(map(re.escape, text.split()))


def found_in(wanted: str, text: str) -> bool:
    """Whether the text has the wanted one, whatever its white space."""
    return _found(wanted, text) is not None


def _found(answer: str, text: str) -> re.Match[str] | None:
    return re.search(_loose(answer), text)


Row = tuple[str, int, float, float, float | None]


def table(judged: list[Judgement], group: Callable[[Judgement], Iterable[str]]) -> list[Row]:
    """(group, questions, passage first %, place right %, first answer right % or None), the largest group first."""
    groups: dict[str, list[Judgement]] = defaultdict(list)
    for item in judged:
        for name in group(item):
            groups[name].append(item)
    return [_row(name, items) for name, items in sorted(groups.items(), key=lambda pair: (-len(pair[1]), pair[0]))]


def _row(name: str, items: list[Judgement]) -> Row:
    def share(values: Iterable[bool]) -> float:
        return 100 * sum(values) / len(items)

    answers = share(bool(item.answer) for item in items) if items[0].answer is not None else None
    return name, len(items), share(item.passage for item in items), share(item.place for item in items), answers
