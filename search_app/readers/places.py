"""The places of a passage in which an answer may be marked: no answer runs from one into another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from search_app.text.reading import Reading

NOWHERE = -1
"""The place of a token that was put in for the reader, as the name of a column is."""


def places(offsets: NDArray[np.int64], reading: Reading) -> NDArray[np.int64]:
    """The place of each token, (tokens,), or NOWHERE; `offsets`, (tokens, 2), are characters of `reading.text`.

    A token counts where its last character is, because some tokenizers give it the space before it.
    """
    starts = np.array([start for start, _, _ in reading.kept], dtype=np.int64)
    ends = np.array([start + length for start, _, length in reading.kept], dtype=np.int64)
    place = np.searchsorted(starts, offsets[:, 1] - 1, side="right") - 1
    inside = (place >= 0) & (offsets[:, 1] <= np.append(ends, -1)[place])
    return np.where(inside, place, NOWHERE)
