"""Questions with gold answers, from SQuAD JSON (v1.1 and v2.0)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from search_app.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class GoldAnswer:
    """`start` is the character offset in the paragraph; in sloppy files the text there may differ."""

    text: str
    start: int


@dataclass(frozen=True, slots=True)
class Question:
    """A question; without answers if the paragraph does not answer it.

    It is not `labelled` if the file gives it no answers and does not mark it as unanswerable (`is_impossible`) either.
    """

    id: str
    text: str
    answers: tuple[GoldAnswer, ...]
    labelled: bool = True

    @property
    def gold(self) -> list[str]:
        return [answer.text for answer in self.answers]


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A text and the questions asked about it."""

    text: str
    questions: tuple[Question, ...]


@dataclass(frozen=True, slots=True)
class Article:
    """Paragraphs from one source."""

    title: str
    paragraphs: tuple[Paragraph, ...]


@dataclass(frozen=True, slots=True)
class Dataset:
    """One file's articles; `name` is the file's stem."""

    name: str
    articles: tuple[Article, ...]

    @property
    def paragraphs(self) -> Iterator[Paragraph]:
        return (paragraph for article in self.articles for paragraph in article.paragraphs)

    @property
    def questions(self) -> Iterator[tuple[Paragraph, Question]]:
        return ((paragraph, question) for paragraph in self.paragraphs for question in paragraph.questions)

    @property
    def titled_questions(self) -> Iterator[tuple[str, Paragraph, Question]]:
        """Each question with the title of its article and its paragraph."""
        return (
            (article.title.replace("_", " "), paragraph, question)
            for article in self.articles
            for paragraph in article.paragraphs
            for question in paragraph.questions
        )

    def to_json(self) -> str:
        """The dataset in SQuAD v2.0 format."""
        data = [
            {
                "title": article.title,
                "paragraphs": [
                    {
                        "context": paragraph.text,
                        "qas": [
                            {
                                "id": question.id,
                                "question": question.text,
                                "is_impossible": question.labelled and not question.answers,
                                "answers": [{"text": a.text, "answer_start": a.start} for a in question.answers],
                            }
                            for question in paragraph.questions
                        ],
                    }
                    for paragraph in article.paragraphs
                ],
            }
            for article in self.articles
        ]
        return json.dumps({"version": self.name, "data": data}, ensure_ascii=False)


def load_squad(path: Path) -> Dataset:
    """Read a SQuAD file. Raises ConfigurationError with the file and the fault."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        articles = tuple(_article(article) for article in data["data"])
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}", field="data") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ConfigurationError(
            f"{path} is not SQuAD JSON: {what}",
            hint="expected data/paragraphs/qas as in SQuAD v1.1 or v2.0",
            field="data",
        ) from error
    dataset = Dataset(path.stem, articles)
    if next(dataset.questions, None) is None:
        raise ConfigurationError(f"{path} has no questions", field="data")
    return dataset


def _article(article: dict[str, object]) -> Article:
    paragraphs = article["paragraphs"]
    if not isinstance(paragraphs, list):
        raise TypeError("'paragraphs' is not a list")
    return Article(str(article.get("title", "")), tuple(_paragraph(paragraph) for paragraph in paragraphs))


def _paragraph(paragraph: dict[str, object]) -> Paragraph:
    context, questions = paragraph["context"], paragraph["qas"]
    if not isinstance(context, str) or not isinstance(questions, list):
        raise TypeError("a paragraph needs text in 'context' and a list in 'qas'")
    return Paragraph(context, tuple(_question(question) for question in questions))


def _question(question: dict[str, object]) -> Question:
    answers = question.get("answers") or []
    if not isinstance(answers, list):
        raise TypeError("'answers' is not a list")
    # v2.0 marks unanswerable questions with is_impossible.
    impossible = bool(question.get("is_impossible"))
    gold = () if impossible else tuple(_answer(answer) for answer in answers)
    return Question(str(question["id"]), str(question["question"]), gold, labelled=impossible or bool(gold))


def _answer(answer: dict[str, object]) -> GoldAnswer:
    text, start = answer["text"], answer["answer_start"]
    if not isinstance(text, str) or not isinstance(start, int):
        raise TypeError("an answer needs text in 'text' and a number in 'answer_start'")
    return GoldAnswer(text, start)
