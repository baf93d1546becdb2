"""Build the postings of a large index in bounded memory: one range of word hashes at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from search_app.stores.embedded.caches import CacheArrays, FileArray
from search_app.stores.embedded.files import Files
from search_app.stores.embedded.postings import Postings
from search_app.stores.vectors.index import Arrays, Rows

Terms = tuple[Rows, NDArray[np.int64], NDArray[np.int64], NDArray[np.uint64], NDArray[np.uint16]]
"""The arguments of `Postings.add`."""


def postings_by_range(scan: Callable[[], Iterator[Terms]], count: int, files: Files, folder: Path) -> CacheArrays:
    """The arrays that `Postings.to_arrays` would return, built in `count` passes over `scan`.

    The two largest arrays are in files in `folder`, until `clear`.
    """
    made: list[Arrays] = []
    passages: Arrays = {}
    paths_of: dict[str, list[Path]] = {"positions": [], "counts": []}
    for number, (low, high) in enumerate(pairwise(2**64 * i // count for i in range(count + 1))):
        arrays = dict(_range(scan(), low, high - 1))
        for name, paths in paths_of.items():
            paths.append(folder / f"postings-{name}-{number}.cache")
            array = np.ascontiguousarray(arrays.pop(name))
            files.write(paths[-1], [array.view(np.uint8).data])
        passages = {name: arrays.pop(name) for name in ("rows", "lengths")}  # the same in every range
        made.append(arrays)
    sizes = np.concatenate([np.diff(arrays["offsets"]) for arrays in made])
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes, dtype=np.int64)])
    size = int(offsets[-1])
    return {
        **passages,
        "offsets": offsets,
        **{name: np.concatenate([arrays[name] for arrays in made]) for name in ("words", "most", "shortest")},
        "positions": FileArray(files, paths_of["positions"], np.dtype(np.int32), size),
        "counts": FileArray(files, paths_of["counts"], np.dtype(np.uint16), size),
    }


def clear(files: Files, folder: Path) -> None:
    """Delete the files of `postings_by_range`. The caller holds the writer lock."""
    for path in sorted(folder.glob("postings-*-*.cache")):
        files.remove(path)


def _range(batches: Iterator[Terms], low: int, high: int) -> Arrays:
    found = Postings()
    for rows, lengths, sizes, words, counts in batches:
        wanted = (words >= np.uint64(low)) & (words <= np.uint64(high))
        before = np.concatenate([np.zeros(1, np.int64), np.cumsum(wanted, dtype=np.int64)])
        ends = np.cumsum(sizes)
        found.add(rows, lengths, before[ends] - before[ends - sizes], words[wanted], counts[wanted])
    return found.to_arrays()
