"""Masked words (Devlin et al., "BERT", 2019): what is masked, and the head that guesses it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

SHARE = 0.15
MASKED, RANDOM = 0.8, 0.1
"""Of the chosen tokens, so many are masked or replaced by a random one; the rest stays."""
IGNORED = -100
"""Label of a token that is not to be guessed: PyTorch's losses ignore it."""


@dataclass(frozen=True, slots=True)
class Masking:
    """Masks whole words of a window, other ones each time."""

    mask_id: int
    vocabulary: int

    def __call__(
        self, ids: NDArray[np.int64], words: NDArray[np.int64], rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Input and labels. `words` is the number of each token's word, negative for special tokens."""
        chosen = np.isin(words, self._words(words, rng))
        labels = np.where(chosen, ids, IGNORED)
        draw = rng.random(len(ids))
        random = rng.integers(0, self.vocabulary, len(ids))
        masked = np.where(draw < MASKED, self.mask_id, np.where(draw < MASKED + RANDOM, random, ids))
        return np.where(chosen, masked, ids), labels

    def _words(self, words: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """Words in random order, until SHARE of the tokens are chosen; at least one."""
        numbers, sizes = np.unique(words[words >= 0], return_counts=True)
        order = rng.permutation(len(numbers))
        before = np.cumsum(sizes[order]) - sizes[order]
        chosen: NDArray[np.int64] = numbers[order[before < SHARE * sizes.sum()]]
        return chosen


class WordHead(nn.Module):
    """Hidden states to scores of words, by the vectors of the words themselves, as in BERT but without a bias."""

    def __init__(self, hidden: int, vectors: int) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden, vectors)
        self.norm = nn.LayerNorm(vectors)

    def forward(self, hidden: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        """(tokens, hidden) and (vocabulary, vectors) to (tokens, vocabulary)."""
        return nn.functional.linear(self.norm(nn.functional.gelu(self.dense(hidden))), words)
