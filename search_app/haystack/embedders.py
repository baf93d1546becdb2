"""Question to vector, as a Haystack component."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from haystack import component
from numpy.typing import NDArray

from search_app.observability import stage


@component
class QueryEmbedder:
    """`encode` turns one question into one unit vector; it may batch calls from several threads beneath."""

    def __init__(self, encode: Callable[[str], NDArray[np.float32]]) -> None:
        self._encode = encode

    # An array, not a list of floats: the pipeline copies its inputs, and a list item by item.
    @component.output_types(embedding=NDArray[np.float32])
    def run(self, text: str) -> dict[str, NDArray[np.float32]]:
        with stage("encode"):
            return {"embedding": self._encode(text)}
