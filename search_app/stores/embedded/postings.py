"""BM25 over postings lists in memory: for each word, numpy arrays of passages and counts.

Pruned by MaxScore (Turtle and Flood 1995): words are processed by descending maximum contribution. Once the remaining
words cannot lift a new passage into the best k, they are only looked up for the passages found so far.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search_app.stores.vectors.index import Arrays, Rows
from search_app.stores.vectors.rows import sorted_positions_of

_MIN_IDF = 1e-6
"""The idf of a word that is in more than half of the passages, as in SQLite's FTS5."""
_PER_COLUMN, _MIN_COLUMNS = 256, 4096
"""Scores are laid out as a table; the maxima of its columns give a lower bound of the k-th best score in one pass."""
_CHUNK = 1 << 20
"""Postings merged at a time, which keeps temporary arrays small."""
_LOOKUP = 8
"""Cost of looking up one passage in a list, in postings read sequentially."""
_SCAN = 16
"""Reading a list of 1/16 of all passages costs as much as scanning all scores."""
_SPARSE = 200
"""A filter that matches fewer than 1 passage in 200 is looked up passage by passage."""
_MAX_CACHED_WORDS = 1 << 16
_TINY = 1e-30
_NO_LENGTH = np.uint32(0xFFFFFFFF)

Positions = NDArray[np.int32]
"""Indexes into the ascending row numbers of the passages."""


@dataclass(frozen=True, slots=True)
class _Segment:
    """Concatenated postings lists in ascending order of word.

    For each word, `most` is its greatest count in a passage, and `shortest` the length of the shortest passage that has
    it once, twice, or more often. They bound its contribution for any average length, k1 and b.
    """

    words: NDArray[np.uint64]
    offsets: NDArray[np.int64]
    positions: Positions
    counts: NDArray[np.uint16]
    most: NDArray[np.uint16]
    shortest: NDArray[np.uint32]

    @classmethod
    def of(cls, arrays: Arrays) -> _Segment:
        columns: list[Any] = [arrays[field.name] for field in dataclasses.fields(cls)]
        return cls(*columns)

    def arrays(self) -> Arrays:
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def __len__(self) -> int:
        return len(self.positions)


@dataclass(frozen=True, slots=True)
class _Word:
    """A word of a question: its postings, and the most it can add to a score."""

    lists: tuple[tuple[Positions, NDArray[np.uint16]], ...]
    size: int
    idf: float
    bound: float

    def times(self, count: int) -> _Word:
        return dataclasses.replace(self, idf=self.idf * count, bound=self.bound * count)


class Postings:
    """With k1 = 1.2 and b = 0.75, scores equal those of SQLite FTS5's bm25(), title and text counted as one column.

    Not thread-safe. Takes 6 bytes per posting, 21 per passage and 30 per distinct word. Added passages form new
    segments, which are merged as they grow; removed passages are masked until the next merge.
    """

    def __init__(self, arrays: Arrays | None = None, *, k1: float = 1.2, b: float = 0.75) -> None:
        self.touched = 0
        """Postings read or looked up by all searches so far."""
        self._k1, self._b = k1, b
        self._rows = np.zeros(0, dtype=np.int64)
        self._lengths = np.zeros(0, dtype=np.uint32)
        self._segments: list[_Segment] = []
        self._pending: list[tuple[Rows, NDArray[np.uint32]]] = []
        self._count = 0
        if arrays is not None:
            self._rows = np.asarray(arrays["rows"], np.int64)
            self._lengths = np.asarray(arrays["lengths"], np.uint32)
            self._segments = [_Segment.of(arrays)]
            self._count = len(self._rows)
        self._removed = np.zeros(self._count, dtype=np.bool_)
        self._total = int(self._lengths.sum(dtype=np.int64))
        self._live = self._count
        self._changed()

    def __len__(self) -> int:
        return self._live

    def add(
        self,
        rows: Rows,
        lengths: NDArray[np.integer],
        sizes: NDArray[np.integer],
        words: NDArray[np.uint64],
        counts: NDArray[np.uint16],
    ) -> None:
        """Add passages in ascending order, after all earlier ones; rows[i] owns the next sizes[i] words and counts."""
        if not len(rows):
            return
        whole = np.asarray(lengths, np.uint32).copy()
        self._pending.append((np.array(rows, dtype=np.int64), whole))
        places = np.repeat(np.arange(len(rows), dtype=np.int32), sizes)
        order = np.argsort(words, kind="stable")
        ordered = np.asarray(words, np.uint64)[order]
        starts = np.flatnonzero(np.concatenate([ordered[:1] == ordered[:1], ordered[1:] != ordered[:-1]]))
        segment = _segment(
            ordered[starts],
            np.diff(starts, append=len(ordered)),
            places[order],
            np.asarray(counts, np.uint16)[order],
            whole,
        )
        segment.positions[:] += np.int32(self._count)
        self._segments.append(segment)
        self._count += len(rows)
        self._live += len(rows)
        self._total += int(whole.sum(dtype=np.int64))
        self._changed()

    def remove(self, rows: Rows) -> None:
        """Remove passages; unknown rows are ignored."""
        self._flush()
        found = self._positions(np.unique(np.asarray(rows, np.int64)))
        if not len(found):
            return
        self._removed[found] = True
        self._live -= len(found)
        self._total -= int(self._lengths[found].sum(dtype=np.int64))
        self._changed()

    def search(
        self, questions: Sequence[NDArray[np.uint64]], k: int, *, among: Rows | None = None
    ) -> list[list[tuple[int, float]]]:
        """The best k passages (row, score) for each question, given as hashes of its words; ties in order of row.

        A word that is repeated in the question counts as often.
        `among` (ascending rows) filters before the cut; word statistics are those of all passages.
        """
        self._flush()
        allowed = None if among is None else self._positions(np.asarray(among, np.int64))
        if not self._live or k < 1 or (allowed is not None and not len(allowed)):
            return [[] for _ in questions]
        norms = self._prepare()
        if allowed is not None and len(allowed) * _SPARSE > self._count:
            marked = np.full(self._count, np.inf, dtype=np.float32)
            marked[allowed] = norms[allowed]
            norms, allowed = marked, None
        return [self._best(self._asked(question), k, allowed, norms) for question in questions]

    def knows(self, words: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Whether any passage has each word, given as hashes; passages removed since the last merge count."""
        self._flush()
        found = np.zeros(len(words), dtype=np.bool_)
        for segment in filter(len, self._segments):
            places = np.minimum(np.searchsorted(segment.words, words), len(segment.words) - 1)
            found |= segment.words[places] == words
        return found

    def to_arrays(self) -> Arrays:
        self._flush()
        self._merge(0)
        return {"rows": self._rows, "lengths": self._lengths, **self._segments[0].arrays()}

    # --- storage

    def _changed(self) -> None:
        self._norms: NDArray[np.float32] | None = None
        self._known: dict[int, _Word | None] = {}

    def _positions(self, rows: Rows) -> Positions:
        """Positions of the (ascending) rows that exist and are not removed."""
        places = sorted_positions_of(rows, self._rows)
        found: Positions = places[~self._removed[places]].astype(np.int32)
        return found

    def _flush(self) -> None:
        """Apply pending additions; merge a segment with its successors once it is less than twice their size."""
        if self._pending:
            self._rows = np.concatenate([self._rows, *(rows for rows, _ in self._pending)])
            self._lengths = np.concatenate([self._lengths, *(lengths for _, lengths in self._pending)])
            self._removed = np.concatenate([self._removed, np.zeros(len(self._rows) - len(self._removed), np.bool_)])
            self._pending = []
        first, behind = len(self._segments), 0
        for i in range(len(self._segments) - 1, -1, -1):
            if len(self._segments[i]) < 2 * behind:
                first = i
            behind += len(self._segments[i])
        if first < len(self._segments):
            self._merge(first)
        if self._live * 4 < self._count * 3:
            self._merge(0)

    def _merge(self, first: int) -> None:
        """Merge the segments from `first` on and drop removed passages; positions are renumbered if `first` is 0."""
        parts = self._segments[first:]
        if first == 0 and len(parts) == 1 and self._live == self._count:
            return
        words = np.unique(np.concatenate([np.zeros(0, np.uint64), *(part.words for part in parts)]))
        places = [np.searchsorted(words, part.words) for part in parts]
        sizes = np.zeros(len(words), dtype=np.int64)
        for part, place in zip(parts, places, strict=True):
            sizes[place] += self._sizes(part)
        positions = np.empty(int(sizes.sum()), dtype=np.int32)
        counts = np.empty(len(positions), dtype=np.uint16)
        following = np.cumsum(sizes) - sizes
        for part, place in zip(parts, places, strict=True):
            for start, stop in _chunks(part.offsets):
                low, high = part.offsets[start], part.offsets[stop]
                old, found = part.positions[low:high], part.counts[low:high]
                each = np.diff(part.offsets[start : stop + 1])
                if self._live < self._count:
                    kept = ~self._removed[old]
                    each = _sums(kept, part.offsets[start : stop + 1] - low)
                    old, found = old[kept], found[kept]
                target = np.repeat(following[place[start:stop]] - (np.cumsum(each) - each), each) + np.arange(len(old))
                positions[target], counts[target] = old, found
                following[place[start:stop]] += each
        if first == 0 and self._live < self._count:
            kept = ~self._removed
            numbers = np.cumsum(kept, dtype=np.int32) - np.int32(1)
            positions = numbers[positions]
            self._rows, self._lengths = self._rows[kept], self._lengths[kept]
            self._removed = np.zeros(len(self._rows), dtype=np.bool_)
            self._count = self._live
        there = sizes > 0
        self._segments[first:] = [_segment(words[there], sizes[there], positions, counts, self._lengths)]
        self._changed()

    def _sizes(self, part: _Segment) -> NDArray[np.int64]:
        if self._live == self._count:
            return np.diff(part.offsets)
        found = [
            _sums(~self._removed[part.positions[low:high]], part.offsets[start : stop + 1] - low)
            for start, stop in _chunks(part.offsets)
            for low, high in [(part.offsets[start], part.offsets[stop])]
        ]
        return np.concatenate([np.zeros(0, np.int64), *found])

    # --- search

    def _prepare(self) -> NDArray[np.float32]:
        """Length normalisation of each passage; infinite for removed ones."""
        if self._norms is None:
            average = self._total / self._live or 1.0  # every passage may be empty
            self._norms = (self._k1 * (1 - self._b) + self._k1 * self._b / average * self._lengths).astype(np.float32)
            self._norms[self._removed] = np.inf
            columns = max(_MIN_COLUMNS, self._count // _PER_COLUMN)
            self._table = np.zeros((-(-self._count // columns), columns), dtype=np.float32)
            self._scores = self._table.reshape(-1)
        return self._norms

    def _word(self, word: np.uint64) -> _Word | None:
        key = int(word)
        if len(self._known) > _MAX_CACHED_WORDS:
            self._known.clear()
        if key not in self._known:
            self._known[key] = self._read_word(word)
        return self._known[key]

    def _read_word(self, word: np.uint64) -> _Word | None:
        lists, size, impact = [], 0, 0.0
        for segment in self._segments:
            i = int(np.searchsorted(segment.words, word))
            if i == len(segment.words) or segment.words[i] != word:
                continue
            low, high = int(segment.offsets[i]), int(segment.offsets[i + 1])
            lists.append((segment.positions[low:high], segment.counts[low:high]))
            size += high - low
            for count, shortest in zip((1, 2, int(segment.most[i])), segment.shortest[i].tolist(), strict=True):
                if shortest != _NO_LENGTH:
                    impact = max(impact, count * (self._k1 + 1) / (count + self._norm(shortest)))
        present = size
        if self._live < self._count:
            present -= sum(int(np.count_nonzero(self._removed[positions])) for positions, _ in lists)
        if not present:
            return None
        idf = np.log((self._live - present + 0.5) / (present + 0.5))
        idf = float(idf) if idf > 0 else _MIN_IDF
        return _Word(tuple(lists), size, idf, idf * impact)

    def _asked(self, question: NDArray[np.uint64]) -> list[_Word]:
        distinct, counts = np.unique(np.asarray(question, np.uint64), return_counts=True)
        found = ((self._word(word), count) for word, count in zip(distinct, counts.tolist(), strict=True))
        return [word if count == 1 else word.times(count) for word, count in found if word is not None]

    def _norm(self, length: int) -> float:
        return self._k1 * (1 - self._b + self._b * length * self._live / max(1, self._total))

    def _best(
        self, words: list[_Word], k: int, allowed: Positions | None, norms: NDArray[np.float32]
    ) -> list[tuple[int, float]]:
        candidates = self._candidates(sorted(words, key=lambda word: -word.bound), k, allowed, norms)
        scores = self._exact(words, candidates)
        if len(candidates) > k:
            least = np.partition(scores, len(scores) - k)[len(scores) - k]
            candidates, scores = candidates[scores >= least], scores[scores >= least]
        order = np.argsort(-scores, kind="stable")[:k]
        return list(zip(self._rows[candidates[order]].tolist(), scores[order].tolist(), strict=True))

    def _candidates(
        self, words: list[_Word], k: int, allowed: Positions | None, norms: NDArray[np.float32]
    ) -> Positions:
        """Ascending positions that include the best k."""
        if not words:
            return np.zeros(0, dtype=np.int32)
        bounds = np.array([word.bound for word in words])
        rests = bounds.sum() - np.cumsum(bounds)
        # The sums below are rounded to float32.
        margin = float(bounds.sum()) * (len(words) + 8) * 2.0**-22
        candidates, scores = allowed, self._scores
        scores[slice(None) if candidates is None else candidates] = 0
        for i, word in enumerate(words):
            if candidates is not None and len(candidates) * _LOOKUP < word.size:
                self._look_up(word, candidates, norms)
            else:
                self._accumulate(word, norms)
            rest = float(rests[i]) + margin
            last = i + 1 == len(words)
            if candidates is not None:
                if len(candidates) > k:
                    found = scores[candidates]
                    least = float(np.partition(found, len(found) - k)[len(found) - k])
                    candidates = candidates[found >= least - rest]
            elif last or (words[i + 1].size * _SCAN > self._count and rest < float(bounds[: i + 1].sum())):
                highest = self._table.max(axis=0)
                least = float(np.partition(highest, len(highest) - k)[len(highest) - k]) if len(highest) >= k else 0.0
                if last or least > rest:
                    candidates = self._at_least(max(least - rest, _TINY), highest)
        assert candidates is not None
        return candidates[scores[candidates] > 0]

    def _at_least(self, score: float, highest: NDArray[np.float32]) -> Positions:
        """`highest` holds the maximum of each column of scores."""
        columns = np.flatnonzero(highest >= score)
        if len(columns) * 4 > len(highest):
            return np.flatnonzero(self._scores >= score).astype(np.int32)
        lines, places = np.nonzero(self._table[:, columns] >= score)
        return (lines * len(highest) + columns[places]).astype(np.int32)

    def _accumulate(self, word: _Word, norms: NDArray[np.float32]) -> None:
        for positions, counts in word.lists:
            self._scores[positions] += self._impacts(counts.astype(np.float32), norms[positions], word.idf)
            self.touched += len(positions)

    def _look_up(self, word: _Word, candidates: Positions, norms: NDArray[np.float32]) -> None:
        for places, counts in _counts(word, candidates):
            found = candidates[places]
            self._scores[found] += self._impacts(counts.astype(np.float32), norms[found], word.idf)
        self.touched += len(candidates)

    def _exact(self, words: list[_Word], candidates: Positions) -> NDArray[np.float64]:
        """Computed as in FTS5, always in the same order of words, so equal passages get equal scores."""
        scores = np.zeros(len(candidates), dtype=np.float64)
        average = self._total / max(1, self._live)
        lengths = self._lengths[candidates].astype(np.float64)
        norms = self._k1 * (1 - self._b + self._b * lengths / (average or 1.0))
        for word in words:
            for places, counts in _counts(word, candidates):
                scores[places] += self._impacts(counts.astype(np.float64), norms[places], word.idf)
        return scores

    def _impacts(self, counts: NDArray[np.floating], norms: NDArray[np.floating], idf: float) -> NDArray[np.floating]:
        """Contributions to the scores, written into `counts`."""
        norms = norms + counts
        counts *= counts.dtype.type(idf * (self._k1 + 1))
        counts /= norms
        return counts


def _segment(
    words: NDArray[np.uint64],
    sizes: NDArray[np.integer],
    positions: Positions,
    counts: NDArray[np.uint16],
    lengths: NDArray[np.uint32],
) -> _Segment:
    """`lengths` by position."""
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes, dtype=np.int64)])
    most = np.zeros(len(words), dtype=np.uint16)
    shortest = np.full((len(words), 3), _NO_LENGTH, dtype=np.uint32)
    for start, stop in _chunks(offsets):
        low, high = offsets[start], offsets[stop]
        found, starts = counts[low:high], offsets[start:stop] - low
        most[start:stop] = np.maximum.reduceat(found, starts)
        length = lengths[positions[low:high]]
        for i, wanted in enumerate((found == 1, found == 2, found > 2)):
            shortest[start:stop, i] = np.minimum.reduceat(np.where(wanted, length, _NO_LENGTH), starts)
    return _Segment(words, offsets, positions, counts, most, shortest)


def _chunks(offsets: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Ranges of words with about one block of postings each."""
    words = len(offsets) - 1
    marks = np.arange(_CHUNK, int(offsets[-1]), _CHUNK)
    cuts = np.unique(np.concatenate([[0], np.searchsorted(offsets, marks), [words]])).tolist()
    return [(a, b) for a, b in itertools.pairwise(cuts) if a < b]


def _sums(kept: NDArray[np.bool_], offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(kept, dtype=np.int64)])
    return np.diff(before[offsets])


def _counts(word: _Word, candidates: Positions) -> list[tuple[NDArray[np.intp], NDArray[np.uint16]]]:
    """Indexes of the (ascending) candidates that have the word, and its count in each."""
    results = []
    for positions, counts in word.lists:
        # Each list belongs to a segment, which covers a range of positions.
        low, high = np.searchsorted(candidates, [positions[0], positions[-1] + 1])
        places = np.searchsorted(positions, candidates[low:high])
        same = np.flatnonzero(positions[places] == candidates[low:high])
        results.append((same + low, counts[places[same]]))
    return results
