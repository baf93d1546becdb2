"""A suite of documents as people have them: what each file is, how it is made, and questions with their places."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

Make = Callable[[Path], object]


@dataclass(frozen=True)
class Question:
    """`answer` is a text of the file. With `column`, it is a cell: the value below that name, in the row of `row`.

    `page` is where the answer is. `also` are other files with the same answer, such as copies.
    """

    text: str
    answer: str
    traits: tuple[str, ...] = ()
    page: int | None = None
    row: str = ""
    column: str = ""
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class File:
    """A file below the suite's folder, made by `make`, with its traits and questions."""

    path: str
    make: Make
    traits: tuple[str, ...] = ()
    questions: tuple[Question, ...] = ()


@dataclass
class Family:
    """Files of related formats, in the order they are added."""

    files: list[File] = field(default_factory=list)

    def add(self, path: str, make: Make, *questions: Question, traits: str = "") -> None:
        self.files.append(File(path, make, tuple(traits.split()), questions))


def ask(text: str, answer: str, traits: str = "", *, page: int | None = None, also: str = "") -> Question:
    """A question for a passage."""
    return Question(text, answer, tuple(traits.split()), page, also=tuple(also.split()))


def cell(
    text: str, answer: str, row: str, column: str, traits: str = "", *, page: int | None = None, also: str = ""
) -> Question:
    """A question for a cell of a table or a field of a record."""
    return Question(text, answer, ("cell", *traits.split()), page, row, column, tuple(also.split()))


def files() -> list[File]:
    """All files."""
    from documents import mail, pdfs, plain, records, scans, sheets, slides, web, word

    families = (word, slides, pdfs, scans, web, plain, records, sheets, mail)
    return [item for family in families for item in family.FAMILY.files]


def build(folder: Path) -> list[File]:
    """Write all files below `folder`."""
    made = files()
    for item in made:
        path = folder / item.path
        path.parent.mkdir(parents=True, exist_ok=True)
        item.make(path)
    return made
