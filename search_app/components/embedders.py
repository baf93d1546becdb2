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

    @component.output_types(embedding=list[float])
    def run(self, text: str) -> dict[str, list[float]]:
        with stage("encode"):
            return {"embedding": self._encode(text).tolist()}
