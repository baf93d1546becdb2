"""Files to index, made of the texts of ../shared/data/train: PDF, HTML and docx, a third each; one-sentence documents.

A file is a part of an article: its paragraphs in their order under headings, every paragraph in one file only. Where a
data set has no articles, ten paragraphs are one. Articles are cut into parts that are as long as they can be for as
many files as are asked for. PDFs are set on A5, so most have several pages; HTML has navigation, a list of links beside
the text, a script and a footer, as pages have. The same files come out of the same texts, byte by byte.
"""

from __future__ import annotations

import html
import io
import json
import random
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import count, islice
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.corpus import SQUAD
from search_app.evaluation.datasets import load_squad

TRAIN = SQUAD.parents[1] / "train"
FILES = 2_000
WRITINGS_MB = 5
_WITHOUT_ARTICLES = 10
_UNDER_HEADING = 2
_IN_FOLDER = 1_000
_SENTENCE = re.compile(r"\S.*?(?:[.!?][\"'”’)]*(?=\s)|$)", re.DOTALL)
_SHORTEST = 25
_DAY = datetime(2026, 1, 1)


@dataclass(frozen=True, slots=True)
class Writing:
    """The text of one file."""

    title: str
    paragraphs: tuple[str, ...]

    def sections(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Sections: a heading from the first words, and a few paragraphs."""
        for start in range(0, len(self.paragraphs), _UNDER_HEADING):
            below = self.paragraphs[start : start + _UNDER_HEADING]
            yield " ".join(below[0].split()[:5]).rstrip(".,;:!?"), below


def make_files(folder: Path, *, files: int = FILES, limit: int | None = None, data: Path = TRAIN) -> Path:
    """Write the first `limit` of `files` to a folder and return it; a complete folder is kept."""
    chosen = writings(data, files=files)[:limit]
    target = folder / f"files-{files}-{len(chosen)}"
    complete = target.with_suffix(".complete")
    if not complete.exists():
        for number, writing in enumerate(tqdm(chosen, desc="writing files", unit="file", disable=None)):
            ending, render = _FORMATS[number % len(_FORMATS)]
            path = target / f"{number // 100:02}" / f"{number:04}.{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(render(writing))
        complete.touch()
    return target


def writings(data: Path = TRAIN, *, files: int = FILES) -> list[Writing]:
    """That many texts in a seeded random order; fewer if there are not enough paragraphs."""
    articles = list(_articles(data))
    total = sum(len(paragraphs) for _, paragraphs in articles)
    longest = next(
        size
        for size in range(max(1, -(-total // files)), 0, -1)
        if size == 1 or sum(-(-len(paragraphs) // size) for _, paragraphs in articles) >= files
    )
    parts = [
        Writing(title, paragraphs[start : start + longest])
        for title, paragraphs in articles
        for start in range(0, len(paragraphs), longest)
    ]
    random.Random(3).shuffle(parts)
    return parts[:files]


def make_sentences(folder: Path, *, documents: int, data: Path = TRAIN) -> Path:
    """A folder with one text file per one-sentence document, a thousand per subfolder."""
    target = folder / f"sentences-{documents}"
    complete = target.with_suffix(".complete")
    if not complete.exists():
        for number, text in enumerate(tqdm(sentences(documents, data), desc="writing sentences", disable=None)):
            if number % _IN_FOLDER == 0:
                (target / f"{number // _IN_FOLDER:04}").mkdir(parents=True, exist_ok=True)
            (target / f"{number // _IN_FOLDER:04}" / f"{number:07}.txt").write_text(text + "\n", encoding="utf-8")
        complete.touch()
    return target


def make_sentence_lines(folder: Path, *, documents: int, data: Path = TRAIN) -> Path:
    """The same documents as lines of one file."""
    target = folder / f"sentences-{documents}.jsonl"
    lines = (json.dumps({"text": text}) + "\n" for text in sentences(documents, data))
    return _written(target, lines)


def make_big_lines(folder: Path, *, megabytes: float, data: Path = TRAIN) -> Path:
    """One file of that many million bytes that repeats the same texts, so that each is encoded only once.

    `WRITINGS_MB` hold each of them once.
    """
    lines = [json.dumps({"title": item.title, "text": "\n\n".join(item.paragraphs)}) + "\n" for item in writings(data)]

    def repeated() -> Iterator[str]:
        size = 0
        for number in count():
            if size >= megabytes * 1_000_000:
                return
            line = lines[number % len(lines)]
            size += len(line.encode())
            yield line

    return _written(folder / f"writings-{megabytes}-mb.jsonl", repeated())


def sentences(documents: int, data: Path = TRAIN) -> Iterator[str]:
    """Real sentences; repeats get a number at the end, so that no two are equal."""
    paragraphs = [text for _, paragraphs in _articles(data) for text in paragraphs]
    found = [match.group() for text in paragraphs for match in _SENTENCE.finditer(text)]
    distinct = list(dict.fromkeys(" ".join(text.split()) for text in found if len(text) >= _SHORTEST))
    random.Random(4).shuffle(distinct)
    every = (f"{text} ({turn})" if turn else text for turn in count() for text in distinct)
    return islice(every, documents)


def _articles(data: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    seen: set[str] = set()
    for path in sorted(data.glob("*.json")):
        dataset = load_squad(path)
        articles = [(article.title, [item.text for item in article.paragraphs]) for article in dataset.articles]
        if len(articles) == 1:
            (title, texts), size = articles[0], _WITHOUT_ARTICLES
            articles = [(title, texts[start : start + size]) for start in range(0, len(texts), size)]
        for number, (title, texts) in enumerate(articles, start=1):
            fresh = tuple(text for text in dict.fromkeys(texts) if text not in seen)
            seen.update(fresh)
            if fresh:
                yield title or f"{dataset.name} {number}", fresh


def _written(target: Path, lines: Iterator[str]) -> Path:
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_suffix(".part")
        with unfinished.open("w", encoding="utf-8") as file:
            file.writelines(lines)
        unfinished.replace(target)
    return target


def _pdf(writing: Writing) -> bytes:
    from reportlab.lib.pagesizes import A5  # type: ignore[import-untyped]
    from reportlab.lib.styles import getSampleStyleSheet  # type: ignore[import-untyped]
    from reportlab.platypus import Flowable, SimpleDocTemplate  # type: ignore[import-untyped]
    from reportlab.platypus import Paragraph as Block

    styles = getSampleStyleSheet()

    def block(text: str, style: str) -> Flowable:
        # The fonts that every PDF reader has know no more letters.
        return Block(html.escape(text.encode("cp1252", "replace").decode("cp1252")), styles[style])

    story = [block(writing.title, "Title")]
    for heading, paragraphs in writing.sections():
        story.append(block(heading, "Heading2"))
        story += [block(" ".join(text.split()), "BodyText") for text in paragraphs]
    into = io.BytesIO()
    SimpleDocTemplate(into, pagesize=A5, title=writing.title, invariant=1).build(story)
    return into.getvalue()


def _html(writing: Writing) -> bytes:
    links = "".join(f'<li><a href="/{name}">{name.title()}</a></li>' for name in ("home", "news", "about", "contact"))
    beside = "".join(f'<li><a href="/story/{n}">Story number {n} of this week</a></li>' for n in range(1, 9))
    body = "".join(
        f"<h2>{html.escape(heading)}</h2>" + "".join(f"<p>{html.escape(text)}</p>" for text in paragraphs)
        for heading, paragraphs in writing.sections()
    )
    title = html.escape(writing.title)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        "<style>nav { float: left }</style><script>window.seen = (window.seen || 0) + 1;</script></head><body>"
        f"<nav><ul>{links}</ul></nav><aside><h3>Most read</h3><ul>{beside}</ul></aside>"
        f"<main><article><h1>{title}</h1>{body}</article></main>"
        "<footer><p>All rights reserved. Terms of use, privacy, cookies.</p></footer></body></html>"
    ).encode()


def _docx(writing: Writing) -> bytes:
    import docx

    document: Any = docx.Document()
    properties = document.core_properties
    properties.title, properties.author, properties.created, properties.modified = writing.title, "", _DAY, _DAY
    document.add_heading(writing.title, level=0)
    for heading, paragraphs in writing.sections():
        document.add_heading(heading, level=2)
        for text in paragraphs:
            document.add_paragraph(" ".join(text.split()))
    packed, into = io.BytesIO(), io.BytesIO()
    document.save(packed)
    # Once more without the time of day in it.
    with zipfile.ZipFile(packed) as old, zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(zipfile.ZipInfo(name), old.read(name), zipfile.ZIP_DEFLATED)
    return into.getvalue()


_FORMATS: Sequence[tuple[str, Callable[[Writing], bytes]]] = (("pdf", _pdf), ("html", _html), ("docx", _docx))
