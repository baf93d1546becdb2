"""Character ranges of tokens, without torch, for processes that only split documents."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer


class TokenSpans:
    """Does what an encoder's `token_spans` does, from its `tokenizer_json`."""

    def __init__(self, tokenizer_json: str) -> None:
        self._tokenizer = Tokenizer.from_str(tokenizer_json)

    def __call__(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        return spans_of(self._tokenizer, texts)


def spans_of(tokenizer: Tokenizer, texts: Sequence[str]) -> list[NDArray[np.int64]]:
    """Character range of every token, without special tokens: one (tokens, 2) array per text."""
    encodings = tokenizer.encode_batch(list(texts), add_special_tokens=False)
    return [np.asarray(encoding.offsets, dtype=np.int64).reshape(-1, 2) for encoding in encodings]
