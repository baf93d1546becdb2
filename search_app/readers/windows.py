"""Cut question and passage into windows, the inputs of a BERT reader. Training and serving share this code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer
from transformers import PretrainedConfig, PreTrainedTokenizerFast

from search_app.types import Span

QUESTION_SHARE = 4
"""A question takes at most a quarter of the window; the rest is cut off."""


@dataclass(frozen=True, slots=True)
class Window:
    """One input of the model; `pair` is the index of its (question, text) pair.

    Tokens [first, last) belong to the text; `offsets`, (last - first, 2), are their character ranges in it.
    """

    pair: int
    input_ids: NDArray[np.int64]
    token_type_ids: NDArray[np.int64]
    offsets: NDArray[np.int64]
    first: int
    last: int

    def __len__(self) -> int:
        return len(self.input_ids)

    def characters(self, start_token: int, end_token: int, text: str) -> Span:
        """Character range of tokens start..end (inclusive, counted in the window), without white space at its ends."""
        start = int(self.offsets[start_token - self.first, 0])
        end = int(self.offsets[end_token - self.first, 1])
        while start < end and text[start].isspace():
            start += 1
        while start < end and text[end - 1].isspace():
            end -= 1
        return Span(start, max(start, end))

    def tokens(self, start: int, end: int) -> tuple[int, int] | None:
        """First and last token of characters [start, end), or None if they are not all in the window."""
        if not len(self.offsets) or start < self.offsets[0, 0] or end > self.offsets[-1, 1]:
            return None
        first = int(np.searchsorted(self.offsets[:, 1], start, side="right"))
        last = int(np.searchsorted(self.offsets[:, 0], end, side="left")) - 1
        return (self.first + first, self.first + last) if first <= last else None


class WindowMaker:
    """Cuts (question, text) pairs into windows of `max_tokens` that overlap by `stride` tokens of the text.

    It copies the tokenizer, so other users of it cannot change truncation or padding here.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, *, max_tokens: int, stride: int) -> None:
        self._tokenizer = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._question_tokens = max_tokens // QUESTION_SHARE
        room = max_tokens - self._question_tokens - self._tokenizer.num_special_tokens_to_add(True)
        self._pairs = Tokenizer.from_str(self._tokenizer.to_str())
        # With the longest question, an overlap of more than half of the rest would hardly advance.
        self._pairs.enable_truncation(max_tokens, stride=min(stride, room // 2), strategy="only_second")

    def __call__(self, questions: Sequence[str], texts: Sequence[str]) -> list[Window]:
        """Windows of all pairs (questions[i], texts[i]), in order."""
        cut = {question: self._cut(question) for question in dict.fromkeys(questions)}
        encodings = self._pairs.encode_batch(
            [(cut[question], text) for question, text in zip(questions, texts, strict=True)]
        )
        return [
            _window(pair, part) for pair, encoding in enumerate(encodings) for part in (encoding, *encoding.overflowing)
        ]

    def _cut(self, question: str) -> str:
        offsets = self._tokenizer.encode(question, add_special_tokens=False).offsets
        return question if len(offsets) <= self._question_tokens else question[: offsets[self._question_tokens - 1][1]]


def stack(
    windows: Sequence[Window], *, pad_id: int, shape: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """input_ids, token_type_ids and attention_mask, each of `shape`: (rows, tokens), padding included."""
    ids = np.full(shape, pad_id, dtype=np.int64)
    types, mask = np.zeros_like(ids), np.zeros_like(ids)
    mask[:, 0] = 1  # a row of padding with nothing to attend to would divide by zero
    for row, window in enumerate(windows):
        ids[row, : len(window)] = window.input_ids
        types[row, : len(window)] = window.token_type_ids
        mask[row, : len(window)] = 1
    return ids, types, mask


def takes_token_types(config: PretrainedConfig) -> bool:
    """Whether the model separates question and text by token type. DistilBERT and RoBERTa do not."""
    return int(getattr(config, "type_vocab_size", 0) or 0) > 1


def _window(pair: int, encoding: Encoding) -> Window:
    belongs = np.array([-1 if sequence is None else sequence for sequence in encoding.sequence_ids])
    mine = np.flatnonzero(belongs == 1)
    first, last = (int(mine[0]), int(mine[-1]) + 1) if len(mine) else (len(belongs), len(belongs))
    return Window(
        pair=pair,
        input_ids=np.array(encoding.ids, dtype=np.int64),
        token_type_ids=np.array(encoding.type_ids, dtype=np.int64),
        offsets=np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)[first:last],
        first=first,
        last=last,
    )
