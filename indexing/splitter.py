"""Split documents into passages, measured in the encoder's own tokens.

A section goes from one heading to the next, and to the end of a page unless a sentence runs over it. If it is too long,
it is cut at a boundary, and its parts again; tables are cut between rows. Of several boundaries of the best kind, the
one with the highest hash of its surrounding characters is the cut. So the text around it decides, not a count from the
top: editing a paragraph leaves the passages before and after it unchanged. This is content-defined chunking
(Muthitacharoen et al., LBFS, SOSP 2001), applied top-down. Every non-whitespace character is in at least one passage.
"""

from __future__ import annotations

import bisect
import hashlib
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from search_app.text.boundaries import BOUNDARY
from search_app.text.reading import Reading, edited, edits_of, titled
from search_app.types import Document, Page, Passage

VERSION = "v1"
TITLE_SEPARATOR = " › "

TokenSpans = Callable[[Sequence[str]], list[NDArray[np.int64]]]

_SEGMENT = 65_536
"""Characters that are tokenised at once, so that memory does not grow with the document."""
_MAX_TITLE_TOKENS = 64
_LONG_TOKEN = 64
_LONG_TOKEN_STEP = 32
"""WordPiece makes one [UNK] of a long word: beyond `_LONG_TOKEN`, it counts one token per so many characters."""
_CELL, _LINE, _SENTENCE, _ITEM, _PARAGRAPH = 0, 1, 2, 3, 4
_KINDS = {"paragraph": _PARAGRAPH, "item": _ITEM, "sentence": _SENTENCE, "line": _LINE}
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class SplitConfig:
    """How documents become passages, as plain values that another process or machine can read.

    `tokenizer` is an encoder's `tokenizer_json`; with an empty one documents have no passages. `max_tokens` is what
    the encoder takes without its special tokens and prefix. `language` is a code, or "auto" to detect it. `fields`
    are pairs of a role, such as "text", and the name of the field that has it in records.
    """

    tokenizer: str
    passage_tokens: int
    overlap_tokens: int
    max_tokens: int
    language: str
    fields: tuple[tuple[str, str], ...] = ()

    def splitter(self) -> Splitter:
        from search_app.text import tokens

        return Splitter(
            tokens.TokenSpans(self.tokenizer),
            passage_tokens=self.passage_tokens,
            overlap_tokens=self.overlap_tokens,
            max_tokens=self.max_tokens,
        )


@dataclass(frozen=True, slots=True)
class Segment:
    """A range of one section. Passages come from [start, end); their overlap may reach back to `lead`.

    `path` are the titles of the headings above it, outermost first.
    """

    document: Document
    lead: int
    start: int
    end: int
    path: tuple[str, ...]


def version(passage_tokens: int, overlap_tokens: int) -> str:
    """The splitter's version for the manifest: one index holds passages of one version only."""
    return f"{VERSION} {passage_tokens}/{overlap_tokens}"


class Splitter:
    """Splits documents into passages of at most `passage_tokens`.

    `max_tokens` is what the encoder takes without its special tokens and prefix: title and text fit into it together.
    """

    def __init__(self, token_spans: TokenSpans, *, passage_tokens: int, overlap_tokens: int, max_tokens: int) -> None:
        self._token_spans = token_spans
        self._budget = max_tokens
        self._title_limit = min(_MAX_TITLE_TOKENS, max(max_tokens - passage_tokens, min(24, max_tokens // 4)))
        self._limit = max(1, min(passage_tokens, max_tokens - self._title_limit))
        self._overlap = min(overlap_tokens, self._limit // 2)
        self._titles: dict[tuple[str, ...], tuple[str, int]] = {}

    def passages(self, document: Document) -> Iterator[Passage]:
        """All passages of a document in order."""
        return (passage for found in self.passage_lists(document) for passage in found)

    def passage_lists(self, document: Document) -> Iterator[list[Passage]]:
        """The passages of one segment after the other; a few segments at a time go through the tokenizer."""
        waiting: list[Segment] = []
        size = 0
        for segment in segments(document, overlap=self._overlap):
            waiting.append(segment)
            size += segment.end - segment.start
            if size >= 4 * _SEGMENT:
                yield from self.split(waiting)
                waiting, size = [], 0
        yield from self.split(waiting)

    def split(self, segments: Sequence[Segment]) -> list[list[Passage]]:
        """One list of passages per segment; calls the tokenizer once or twice for all of them."""
        readings = [_reading(segment.document, segment.lead, segment.end) for segment in segments]
        tokens = self._token_spans([reading.text for reading in readings]) if segments else []
        ranges: list[list[tuple[int, int, int]]] = []
        for segment, reading, spans in zip(segments, readings, tokens, strict=True):
            text = segment.document.text[segment.lead : segment.end]
            first = segment.start - segment.lead
            cutter = _Cutter(
                text,
                _own_places(reading, spans[:, 0], len(text)),
                first=first,
                limit=self._limit,
                overlap=self._overlap,
                rows=_rows(segment),
            )
            ranges.append(list(cutter.leaves()))
        return [
            [
                passage(segment.document, title=self._title(segment.path)[0], start=start, end=end)
                for start, end in found
            ]
            for segment, found in zip(segments, self._fit(segments, ranges), strict=True)
        ]

    def _fit(
        self, segments: Sequence[Segment], ranges: Sequence[Sequence[tuple[int, int, int]]]
    ) -> Iterator[list[tuple[int, int]]]:
        """Makes offsets absolute, and halves what has more tokens on its own than it had inside its segment."""
        for segment, found in zip(segments, ranges, strict=True):
            title, title_tokens = self._title(segment.path)
            text = segment.document.text
            tabular = any(table.start < segment.end and table.end > segment.lead for table in segment.document.tables)
            fitting: list[tuple[int, int]] = []
            doubtful: list[tuple[int, int]] = []
            for start, end, tokens in found:
                sure = not tabular and title_tokens + tokens * 5 // 4 + 8 <= self._budget
                (fitting if sure else doubtful).append((segment.lead + start, segment.lead + end))
            while doubtful:
                encoded = [titled(title, _reading(segment.document, start, end).text) for start, end in doubtful]
                halves: list[tuple[int, int]] = []
                for (start, end), spans in zip(doubtful, self._token_spans(encoded), strict=True):
                    if len(spans) <= self._budget or end - start <= 1:
                        fitting.append((start, end))
                    else:
                        middle = _near_middle(text, start, end)
                        halves += [(start, middle), (middle, end)]
                doubtful = halves
            yield list(_distinct(_trimmed(text, start, end) for start, end in fitting))

    def _title(self, path: tuple[str, ...]) -> tuple[str, int]:
        """A heading path as a title, and its number of tokens. Outer levels are dropped first, the innermost is cut."""
        if (known := self._titles.get(path)) is not None:
            return known
        if len(self._titles) > 10_000:
            self._titles.clear()
        result = ("", 0)
        for outer in range(len(path)):
            title = TITLE_SEPARATOR.join(path[outer:])
            spans = self._token_spans([title + "\n"])[0]
            if len(spans) + 1 <= self._title_limit:
                result = (title, len(spans) + 1)
                break
            if outer == len(path) - 1 and self._title_limit > 2:
                title = title[: int(spans[self._title_limit - 2][0])][: 8 * self._title_limit].rstrip()
                tokens = len(self._token_spans([title + "\n"])[0]) + 1
                result = (title, tokens) if title and tokens <= self._title_limit else ("", 0)
        self._titles[path] = result
        return result


def _reading(document: Document, start: int, end: int) -> Reading:
    return edited(document.text[start:end], edits_of(document.text, document.tables, start, end))


def _own_places(reading: Reading, starts: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Where tokens of the reading count in the text: those of a column's name at its cell."""
    if len(reading.kept) == 1 and reading.kept[0][0] == 0:
        return starts
    pieces = np.array([*reading.kept, (len(reading.text), length, 0)], dtype=np.int64)
    piece = np.searchsorted(pieces[:, 0], starts, side="right") - 1
    inside = (piece >= 0) & (starts < pieces[piece, 0] + pieces[piece, 2])
    own: NDArray[np.int64] = np.where(inside, pieces[piece, 1] + starts - pieces[piece, 0], pieces[piece + ~inside, 1])
    return own


def _rows(segment: Segment) -> list[list[int]]:
    """Where the cells of each row of its tables begin, in the segment's text. The header belongs to the first row."""
    found = []
    for table in segment.document.tables:
        head, body = table.rows[: table.header], table.rows[table.header :]
        first = tuple(cell for row in (*head, *body[:1]) for cell in row)
        found += [row for row in (first, *body[1:]) if row[0].start < segment.end and row[-1].end > segment.lead]
    return [[cell.start - segment.lead for cell in row] for row in found]


def passage(document: Document, *, title: str, start: int, end: int) -> Passage:
    """Make a passage of [start, end) of the document. Its id depends on its place and its text."""
    text = document.text[start:end]
    identity = f"{document.id}\0{start}\0{end}\0{text}".encode("utf-8", "surrogatepass")
    return Passage(
        id=hashlib.sha256(identity).hexdigest()[:32],
        document_id=document.id,
        title=title,
        text=text,
        start=start,
        end=end,
        page=_page(document.pages, start),
        source=document.source,
        meta=document.meta,
        edits=edits_of(document.text, document.tables, start, end),
    )


def _page(pages: Sequence[Page], place: int) -> int | None:
    index = bisect.bisect_right(pages, place, key=lambda page: page.end)
    return pages[index].number if index < len(pages) and pages[index].start <= place else None


def segments(document: Document, *, overlap: int) -> Iterator[Segment]:
    """Sections between headings and page breaks, cut into segments of at most `_SEGMENT` characters."""
    text = document.text
    for start, end, path in _sections(document):
        first = start
        while start < end:
            stop = _segment_end(text, start, end)
            lead = start if start == first else max(first, start - 8 * overlap)
            yield Segment(document, lead, start, stop, path)
            start = stop


def _sections(document: Document) -> Iterator[tuple[int, int, tuple[str, ...]]]:
    text, headings, pages = document.text, document.headings, document.pages
    # A page that ends inside of a sentence does not end with a line.
    borders = {place for page in pages for place in (page.start, page.end)}
    breaks = {0, len(text)} | {place for place in borders if text[place - 1 : place] == "\n"}
    cuts = sorted({place for place in breaks | {heading.start for heading in headings} if 0 <= place <= len(text)})
    stack: list[tuple[int, str]] = []
    next_heading = 0
    waiting: int | None = None
    for start, end in pairwise(cuts):
        body = start
        while next_heading < len(headings) and headings[next_heading].start <= start:
            heading = headings[next_heading]
            while stack and stack[-1][0] >= heading.level:
                stack.pop()
            stack.append((heading.level, heading.title))
            body = max(body, heading.end)
            next_heading += 1
        begin = start if waiting is None else waiting
        waiting = None
        if body > start and end not in breaks and not text[body:end].strip():
            waiting = begin  # keep a heading without text with the next one
            continue
        yield begin, end, _path(document.title, [title for _, title in stack])


def _path(title: str, headings: list[str]) -> tuple[str, ...]:
    levels = [level for level in headings if level]
    if title and (not levels or " ".join(levels[0].split()) != " ".join(title.split())):
        levels.insert(0, title)
    return tuple(levels)


def _segment_end(text: str, start: int, end: int) -> int:
    if end - start <= _SEGMENT:
        return end
    low, high = start + _SEGMENT // 2, start + _SEGMENT
    best = (0, 0, high)
    for match in BOUNDARY.finditer(text, low, high):
        place = match.end()
        if place >= high:
            continue  # it may continue after the window
        around = text[max(0, place - 16) : place + 16].encode("utf-8", "surrogatepass")
        best = max(best, (_KINDS[str(match.lastgroup)], zlib.crc32(around), place))
    if best[0] == 0 and (space := max(text.rfind(" ", low, high), text.rfind("\n", low, high))) > 0:
        return space + 1
    return best[2]


class _Cutter:
    """Cuts one segment. Offsets count from the start of `text`; tokens before `first` serve as overlap only.

    `starts` are the places of its tokens. `rows` of tables, each the places of its cells, are cut between two of them,
    or between the cells of one that is too long.
    """

    def __init__(
        self,
        text: str,
        starts: NDArray[np.int64],
        *,
        first: int,
        limit: int,
        overlap: int,
        rows: Sequence[Sequence[int]] = (),
    ) -> None:
        self._text, self._first, self._limit, self._overlap = text, first, limit, overlap
        self._extra = _extra_units(starts, len(text))
        self._units = np.sort(np.concatenate([starts, self._extra])) if len(self._extra) else starts
        self._row_starts = [row[0] for row in rows]
        ends = (text.find("\n", row[-1]) for row in rows)
        self._row_ends = [end if end >= 0 else len(text) for end in ends]
        marks = [(match.end(), _KINDS[str(match.lastgroup)]) for match in BOUNDARY.finditer(text)]
        if rows:
            marks = list(self._between_rows(marks, rows))
        marks = [(place, kind) for place, kind in marks if 0 < place < len(text)]
        self._places = np.array([place for place, _ in marks], dtype=np.int64)
        self._kinds = np.array([kind for _, kind in marks], dtype=np.int64)
        self._tokens = self._count(self._places)
        self._keys = (self._kinds.astype(np.uint64) << np.uint64(32)) | _hashes(text, self._places)
        self._paragraphs = self._places[self._kinds == _PARAGRAPH]

    def _between_rows(
        self, marks: Sequence[tuple[int, int]], rows: Sequence[Sequence[int]]
    ) -> Iterator[tuple[int, int]]:
        """The boundaries outside of the rows, and those between rows or, for a long one, cells."""
        found = dict[int, int]()
        for place, kind in marks:
            row = bisect.bisect_right(self._row_starts, place) - 1
            if row < 0 or place > self._row_ends[row]:
                found[place] = kind
        for cells, end in zip(rows, self._row_ends, strict=True):
            found.setdefault(cells[0], _LINE)
            if self._count_one(end) - self._count_one(cells[0]) > self._limit:
                for cell in cells[1:]:
                    found[cell] = _CELL
        yield from sorted(found.items())

    def leaves(self) -> Iterator[tuple[int, int, int]]:
        """Yield (start, end, tokens) in order, overlap included."""
        pending = [(self._first, len(self._text))]
        while pending:
            start, end = pending.pop()
            first, last = self._count_one(start), self._count_one(end)
            if last - first <= self._limit:
                begin = self._overlap_start(start)
                if last - self._count_one(begin) <= self._limit or end - start <= 1:
                    yield self._leaf(begin, end)
                    continue
            cut = self._best_cut(start, end, first, last)
            if cut is not None:
                pending += [(cut, end), (start, cut)]
            else:
                yield from self._even(start, end, first, last)

    def _best_cut(self, start: int, end: int, first: int, last: int) -> int | None:
        low, high = np.searchsorted(self._places, [start + 1, end])
        if low == high:
            return None
        margin = self._limit // 4
        inner_low = low + np.searchsorted(self._tokens[low:high], first + margin)
        inner_high = low + np.searchsorted(self._tokens[low:high], last - margin, side="right")
        if inner_low < inner_high:
            low, high = inner_low, inner_high
        keys = self._keys[low:high]
        best = np.flatnonzero(keys == keys.max())
        return int(self._places[low + best[len(best) // 2]])  # the middle one if the text repeats itself

    def _even(self, start: int, end: int, first: int, last: int) -> Iterator[tuple[int, int, int]]:
        """Cut text without a boundary into parts of about the same length, between words if possible."""
        room = max(1, self._limit - self._overlap)
        parts = max(2, -(-(last - first) // room))
        places = [start]
        for part in range(1, parts):
            target = int(self._units[min(len(self._units) - 1, first + (last - first) * part // parts)])
            space = None
            for match in _SPACE.finditer(self._text, max(places[-1] + 1, target - 40), target):
                space = match.end()
            place = space if space is not None else target
            if places[-1] < place < end:
                places.append(place)
        places.append(end)
        for left, right in pairwise(places):
            begin = self._overlap_start(left)
            yield self._leaf(begin, right)

    def _leaf(self, start: int, end: int) -> tuple[int, int, int]:
        tokens = self._count_one(end) - self._count_one(start)
        low, high = np.searchsorted(self._extra, [start, end])
        # Part of a word that is one [UNK] as a whole may have as many tokens as characters.
        return start, end, tokens + (end - start if low < high else 0)

    def _overlap_start(self, start: int) -> int:
        """Start of the overlap before `start`; it does not cross the end of a paragraph."""
        if self._overlap == 0 or start == 0:
            return start
        units = self._count_one(start)
        earliest = int(self._units[units - self._overlap]) if units >= self._overlap else 0
        paragraph = int(np.searchsorted(self._paragraphs, start, side="right"))
        if paragraph:
            earliest = max(earliest, int(self._paragraphs[paragraph - 1]))
        if earliest >= start:
            return start
        low, high = np.searchsorted(self._places, [earliest, start])
        if low < high:
            sentences = np.flatnonzero(self._kinds[low:high] >= _SENTENCE)
            return int(self._places[low + (sentences[0] if len(sentences) else 0)])
        row = bisect.bisect_left(self._row_starts, earliest) - 1
        if row >= 0 and earliest <= self._row_ends[row]:
            return start  # the row before it is longer than the overlap
        if earliest == 0 or self._text[earliest - 1].isspace():
            return earliest
        word = _SPACE.search(self._text, earliest, start)
        return word.end() if word is not None and word.end() < start else earliest

    def _count(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.searchsorted(self._units, places).astype(np.int64)

    def _count_one(self, place: int) -> int:
        return int(np.searchsorted(self._units, place))


def _extra_units(starts: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Extra token positions inside long tokens and gaps without tokens."""
    bounds = np.concatenate(([0], starts, [length]))
    gaps = np.flatnonzero(np.diff(bounds) > _LONG_TOKEN)
    extra = [np.arange(bounds[gap] + _LONG_TOKEN_STEP, bounds[gap + 1], _LONG_TOKEN_STEP) for gap in gaps]
    return np.concatenate([np.zeros(0, dtype=np.int64), *extra])


def _hashes(text: str, places: NDArray[np.int64]) -> NDArray[np.uint64]:
    """32-bit hashes of the 8 characters before and the 16 after each place."""
    if not len(places):
        return np.zeros(0, dtype=np.uint64)
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    offsets = np.arange(-8, 16)
    windows = codes[np.clip(places[:, None] + offsets, 0, len(codes) - 1)]
    factors = np.random.default_rng(0).integers(1, 2**62, len(offsets), dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    mixed = (windows * factors).sum(axis=1, dtype=np.uint64)
    mixed ^= mixed >> np.uint64(29)
    result: NDArray[np.uint64] = (mixed * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)
    return result


def _near_middle(text: str, start: int, end: int) -> int:
    middle = (start + end) // 2
    space = _SPACE.search(text, middle, min(end - 1, middle + 40))
    return space.end() if space is not None and space.end() < end else middle


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    piece = text[start:end]
    stripped = piece.strip()
    if not stripped:
        return start, start
    begin = start + len(piece) - len(piece.lstrip())
    return begin, begin + len(stripped)


def _distinct(ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """In order, without empty ranges and ranges inside another: halving may leave nothing but overlap."""
    reached = -1
    for start, end in sorted(ranges, key=lambda span: (span[0], -span[1])):
        if start < end and end > reached:
            yield start, end
            reached = end
