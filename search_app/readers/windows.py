"""Cut question, title and passage into windows, the inputs of a BERT reader. Training and serving share this code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer
from transformers import PretrainedConfig, PreTrainedTokenizerFast

from search_app.types import Span

HEAD_SHARE = 4
"""A question takes at most a quarter of the window, and so does a title; the rest of it is cut off."""


@dataclass(frozen=True, slots=True)
class Window:
    """One input of the model; `pair` is the index of its question, title and text.

    Tokens [first, last) belong to the text; `offsets`, (last - first, 2), are their character ranges in it. The title
    is before them, and no answer is taken from it.
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
    """Cuts passages into windows of `max_tokens` that overlap by `stride` tokens of the text.

    A window is question, title and a part of the text; the title and the text share the second segment. The tokenizer
    is copied, so other users of it cannot change truncation or padding here.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, *, max_tokens: int, stride: int) -> None:
        self._tokenizer = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        mark = self._tokenizer.encode("a", add_special_tokens=False)
        self._before = self._tokenizer.post_process(mark, mark).sequence_ids.index(1) - len(mark)
        self._room = max_tokens - self._tokenizer.num_special_tokens_to_add(True)
        self._longest_head = max_tokens // HEAD_SHARE
        self._stride = stride

    def __call__(self, questions: Sequence[str], texts: Sequence[str], titles: Sequence[str]) -> list[Window]:
        """Windows of questions[i] and texts[i] under titles[i], for all i in order; `pair` is i."""
        asked, named = self._heads(questions), self._heads(titles)
        encodings = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [
            self._window(pair, asked[question], named[title], part)
            for pair, (question, title, text) in enumerate(zip(questions, titles, encodings, strict=True))
            for part in self._parts(text, self._room - len(asked[question]) - len(named[title]))
        ]

    def _heads(self, texts: Sequence[str]) -> dict[str, Encoding]:
        """The encodings of questions or titles; those of long ones are cut."""
        distinct = list(dict.fromkeys(texts))
        encodings = self._tokenizer.encode_batch(distinct, add_special_tokens=False)
        for encoding in encodings:
            encoding.truncate(self._longest_head)
        return dict(zip(distinct, encodings, strict=True))

    def _parts(self, text: Encoding, room: int) -> list[Encoding]:
        # Beside a long question and title, an overlap of more than half of the rest would hardly advance.
        text.truncate(room, min(self._stride, room // 2))
        return [text, *text.overflowing]

    def _window(self, pair: int, question: Encoding, title: Encoding, part: Encoding) -> Window:
        encoding = self._tokenizer.post_process(question, Encoding.merge([title, part], growing_offsets=False))
        first = self._before + len(question) + len(title)
        return Window(
            pair=pair,
            input_ids=np.array(encoding.ids, dtype=np.int64),
            token_type_ids=np.array(encoding.type_ids, dtype=np.int64),
            offsets=np.array(part.offsets, dtype=np.int64).reshape(-1, 2),
            first=first,
            last=first + len(part),
        )


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
