"""More words for a tokenizer: those of the user's documents that it cuts into pieces."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer
from transformers import PreTrainedModel, PreTrainedTokenizerFast

_WORD = re.compile(r"[^\W\d_]{3,}")
_SPACES = "▁Ġ"
"""What stands for a space at the beginning of a token in tokenizers that keep it."""


def plain(tokenizer: PreTrainedTokenizerFast) -> Tokenizer:
    """A copy that neither cuts nor pads."""
    copy = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    copy.no_truncation()
    copy.no_padding()
    return copy


def tokens_per_word(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> float:
    """The mean number of tokens for a word between spaces; 0 without words."""
    words = sum(len(text.split()) for text in texts)
    encode = plain(tokenizer).encode
    return sum(len(encode(text, add_special_tokens=False)) for text in texts) / words if words else 0.0


def missing_words(tokenizer: PreTrainedTokenizerFast, texts: Iterable[str], count: int) -> list[str]:
    """The `count` words that would save most tokens, if each became one; those that occur once are left out.

    A word that the tokenizer does not know at all counts as if it were cut into its letters. Words are as the tokenizer
    normalises them: a model without capital letters gets none.
    """
    normaliser = tokenizer.backend_tokenizer.normalizer
    known = tokenizer.get_vocab()
    words: Counter[str] = Counter()
    for text in texts:
        words.update(_WORD.findall(normaliser.normalize_str(text) if normaliser else text))
    saved = {word: times * _saved(tokenizer, word) for word, times in words.items() if times > 1 and word not in known}
    best = sorted((word for word, tokens in saved.items() if tokens), key=lambda word: (-saved[word], word))
    return best[:count]


def _saved(tokenizer: PreTrainedTokenizerFast, word: str) -> int:
    pieces = tokenizer.tokenize(word)
    return len(word) - 1 if tokenizer.unk_token in pieces else len(pieces) - 1


def extend(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, words: Sequence[str]) -> None:
    """Give each word a token; its vector is the mean of those of its pieces."""
    pieces = [tokenizer.encode(word, add_special_tokens=False) for word in words]
    has_spaces = any(token.startswith(tuple(_SPACES)) for token in tokenizer.tokenize("a b"))
    tokenizer.add_tokens([AddedToken(word, single_word=True, lstrip=has_spaces) for word in words])
    first = len(tokenizer) - len(words)
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    embeddings: Any = model.get_input_embeddings()
    vectors = embeddings.weight
    with torch.no_grad():
        for number, ids in enumerate(pieces):
            vectors[first + number] = vectors[ids].mean(dim=0)
