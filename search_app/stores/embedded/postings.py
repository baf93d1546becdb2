"""BM25 over postings in memory: numpy arrays of passages and counts, one list for each word.

Pruned by MaxScore (Turtle and Flood 1995): words are taken in the order of what they can add at most, and once the
rest of them cannot lift an unseen passage among the best k, only the passages seen so far are looked up in the rest.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search_app.stores.vectors.index import Arrays, Rows

_K1, _B = 1.2, 0.75
_LEAST_IDF = 1e-6
"""Of a word that is in more than half of the passages. These three are those of SQLite's FTS5."""
_PER_COLUMN, _LEAST_COLUMNS = 256, 4096
"""Scores are laid out in columns; their maxima bound the k-th best score from below in one pass."""
_CHUNK = 1 << 20
"""Postings that are merged at once, so that temporary arrays stay small."""
_LOOKUP = 8
"""Cost of finding one passage in a list, in postings read in order."""
_SCAN = 16
"""A list as long as one in so many passages costs as much as a look at all scores."""
_FEW = 200
"""One in so many passages: fewer are looked up one by one, more are marked."""
_WIDEST = 8
"""A table of all row numbers is made when no more than so many times as many as are there."""
_MOST_KNOWN = 1 << 16
_TINY = 1e-30
_NO_LENGTH = np.uint32(0xFFFFFFFF)

Positions = NDArray[np.int32]
"""Places in the ascending rows of the passages."""


@dataclass(frozen=True, slots=True)
class _Segment:
    """Lists of the words (ascending), one behind the other. Of each word, `most` is its greatest count, `shortest` the
    least length of a passage that has it once, twice, or more often: bounds of what it adds, for any average."""

    words: NDArray[np.uint64]
    offsets: NDArray[np.int64]
    positions: Positions
    counts: NDArray[np.uint16]
    most: NDArray[np.uint16]
    shortest: NDArray[np.uint32]

    @classmethod
    def of(cls, arrays: Arrays) -> _Segment:
        return cls(
            np.asarray(arrays["words"], np.uint64),
            np.asarray(arrays["offsets"], np.int64),
            np.asarray(arrays["positions"], np.int32),
            np.asarray(arrays["counts"], np.uint16),
            np.asarray(arrays["most"], np.uint16),
            np.asarray(arrays["shortest"], np.uint32),
        )

    def arrays(self) -> Arrays:
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def __len__(self) -> int:
        return len(self.positions)


@dataclass(frozen=True, slots=True)
class _Word:
    """A word of a question: its lists, and what it adds to a passage's score at most."""

    lists: tuple[tuple[Positions, NDArray[np.uint16]], ...]
    size: int
    idf: float
    bound: float


class Postings:
    """Scores equal those of FTS5's bm25() over the passages that are there now, title and text counted as one.

    Not thread-safe. Memory: 6 bytes a posting, 21 a passage and 30 a distinct word. Added passages lie in segments of
    their own, which are merged as they grow; removed ones are masked until a merge drops them.
    """

    def __init__(self, arrays: Arrays | None = None) -> None:
        self.touched = 0
        """Postings read or looked up by all searches so far."""
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
        """`rows` ascend and are greater than all before; the next sizes[i] of `words` and `counts` are of rows[i]."""
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
        """Rows that are not there are left out."""
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
        """For each question (its words' hashes) the best k passages with any of them, best first, ties by row.

        `among` (ascending) limits the search before the cut; the statistics stay those of all passages.
        """
        self._flush()
        allowed = None if among is None else self._positions(np.asarray(among, np.int64))
        if not self._live or k < 1 or (allowed is not None and not len(allowed)):
            return [[] for _ in questions]
        norms = self._prepare()
        if allowed is not None and len(allowed) * _FEW > self._count:
            marked = np.full(self._count, np.inf, dtype=np.float32)
            marked[allowed] = norms[allowed]
            norms, allowed = marked, None
        return [self._best(np.unique(np.asarray(question, np.uint64)), k, allowed, norms) for question in questions]

    def to_arrays(self) -> Arrays:
        self._flush()
        self._merge(0)
        return {"rows": self._rows, "lengths": self._lengths, **self._segments[0].arrays()}

    # --- keeping

    def _changed(self) -> None:
        self._norms: NDArray[np.float32] | None = None
        self._known: dict[int, _Word | None] = {}

    def _positions(self, rows: Rows) -> Positions:
        """Of those rows that are there; `rows` ascend."""
        if not self._count:
            return np.zeros(0, dtype=np.int32)
        low, high = np.searchsorted(rows, [self._rows[0], self._rows[-1] + 1])
        rows = rows[low:high]
        span = int(self._rows[-1] - self._rows[0]) + 1
        if span == self._count:
            places = rows - self._rows[0]
        elif len(rows) * _SCAN > self._count and span < _WIDEST * self._count:
            wanted = np.zeros(span, dtype=np.bool_)
            wanted[rows - self._rows[0]] = True
            places = np.flatnonzero(wanted[self._rows - self._rows[0]])
        else:
            places = np.searchsorted(self._rows, rows)
            places = places[self._rows[places] == rows]
        found: Positions = places[~self._removed[places]].astype(np.int32)
        return found

    def _flush(self) -> None:
        """Takes in what was added. A segment is merged with those behind it as soon as it is not twice their size."""
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
        """One segment of those from `first` on, without what was removed; all of them: rows are numbered anew."""
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

    # --- searching

    def _prepare(self) -> NDArray[np.float32]:
        """The part of a passage's length in what its words add; infinite where nothing is to be found."""
        if self._norms is None:
            average = self._total / self._live or 1.0  # all that are left may be empty
            self._norms = (_K1 * (1 - _B) + _K1 * _B / average * self._lengths).astype(np.float32)
            self._norms[self._removed] = np.inf
            columns = max(_LEAST_COLUMNS, self._count // _PER_COLUMN)
            self._table = np.zeros((-(-self._count // columns), columns), dtype=np.float32)
            self._scores = self._table.reshape(-1)
        return self._norms

    def _word(self, word: np.uint64) -> _Word | None:
        key = int(word)
        if len(self._known) > _MOST_KNOWN:
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
                    impact = max(impact, count * (_K1 + 1) / (count + self._norm(shortest)))
        present = size
        if self._live < self._count:
            present -= sum(int(np.count_nonzero(self._removed[positions])) for positions, _ in lists)
        if not present:
            return None
        idf = np.log((self._live - present + 0.5) / (present + 0.5))
        idf = float(idf) if idf > 0 else _LEAST_IDF
        return _Word(tuple(lists), size, idf, idf * impact)

    def _norm(self, length: int) -> float:
        return _K1 * (1 - _B + _B * length * self._live / max(1, self._total))

    def _best(
        self, question: NDArray[np.uint64], k: int, allowed: Positions | None, norms: NDArray[np.float32]
    ) -> list[tuple[int, float]]:
        words = [word for word in map(self._word, question) if word is not None]
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
        """Ascending; all of the best k are among them."""
        if not words:
            return np.zeros(0, dtype=np.int32)
        bounds = np.array([word.bound for word in words])
        rests = bounds.sum() - np.cumsum(bounds)
        # Sums here are in float32, in an order of their own.
        slack = float(bounds.sum()) * (len(words) + 8) * 2.0**-22
        candidates, scores = allowed, self._scores
        scores[slice(None) if candidates is None else candidates] = 0
        for i, word in enumerate(words):
            if candidates is not None and len(candidates) * _LOOKUP < word.size:
                self._look_up(word, candidates, norms)
            else:
                self._accumulate(word, norms)
            rest = float(rests[i]) + slack
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
        """`highest` are the best scores of the columns; the columns stand for passages far from each other."""
        columns = np.flatnonzero(highest >= score)
        if len(columns) * 4 > len(highest):
            return np.flatnonzero(self._scores >= score).astype(np.int32)
        lines, places = np.nonzero(self._table[:, columns] >= score)
        return (lines * len(highest) + columns[places]).astype(np.int32)

    def _accumulate(self, word: _Word, norms: NDArray[np.float32]) -> None:
        for positions, counts in word.lists:
            self._scores[positions] += _impacts(counts.astype(np.float32), norms[positions], word.idf)
            self.touched += len(positions)

    def _look_up(self, word: _Word, candidates: Positions, norms: NDArray[np.float32]) -> None:
        for places, counts in _counts(word, candidates):
            found = candidates[places]
            self._scores[found] += _impacts(counts.astype(np.float32), norms[found], word.idf)
        self.touched += len(candidates)

    def _exact(self, words: list[_Word], candidates: Positions) -> NDArray[np.float64]:
        """As FTS5 computes it. Always in the same order of words, so equal passages have equal scores."""
        scores = np.zeros(len(candidates), dtype=np.float64)
        average = self._total / max(1, self._live)
        norms = _K1 * (1 - _B + _B * self._lengths[candidates].astype(np.float64) / (average or 1.0))
        for word in words:
            for places, counts in _counts(word, candidates):
                scores[places] += _impacts(counts.astype(np.float64), norms[places], word.idf)
        return scores


def _segment(
    words: NDArray[np.uint64],
    sizes: NDArray[np.integer],
    positions: Positions,
    counts: NDArray[np.uint16],
    lengths: NDArray[np.uint32],
) -> _Segment:
    """`lengths` are of the positions from 0 on."""
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
    """Ranges of words whose lists together are not much longer than a chunk: temporary arrays stay small."""
    words = len(offsets) - 1
    marks = np.arange(_CHUNK, int(offsets[-1]), _CHUNK)
    cuts = np.unique(np.concatenate([[0], np.searchsorted(offsets, marks), [words]])).tolist()
    return [(a, b) for a, b in itertools.pairwise(cuts) if a < b]


def _sums(kept: NDArray[np.bool_], offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(kept, dtype=np.int64)])
    return np.diff(before[offsets])


def _impacts(counts: NDArray[np.floating], norms: NDArray[np.floating], idf: float) -> NDArray[np.floating]:
    """`counts` are changed."""
    norms = norms + counts
    counts *= counts.dtype.type(idf * (_K1 + 1))
    counts /= norms
    return counts


def _counts(word: _Word, candidates: Positions) -> list[tuple[NDArray[np.intp], NDArray[np.uint16]]]:
    """Which of the (ascending) candidates have the word, and how often."""
    results = []
    for positions, counts in word.lists:
        # A segment holds a range of positions.
        low, high = np.searchsorted(candidates, [positions[0], positions[-1] + 1])
        places = np.searchsorted(positions, candidates[low:high])
        same = np.flatnonzero(positions[places] == candidates[low:high])
        results.append((same + low, counts[places[same]]))
    return results
