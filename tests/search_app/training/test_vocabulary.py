from __future__ import annotations

from pathlib import Path

import pytest
import torch
from checkpoints import make_checkpoint
from transformers import AutoModel, AutoTokenizer

from search_app.training.vocabulary import extend, missing_words, tokens_per_word

TEXTS = ["The Quasiturbine of a quasiturbine, the cryostat; a cryostat hums.", "Quasiturbine and once."]


@pytest.mark.parametrize(("architecture", "word"), [("bert", "quasiturbine"), ("xlm-roberta", "quasiturbine")])
def test_frequent_words_become_one_token_with_the_mean_of_its_pieces(
    architecture: str, word: str, tmp_path: Path
) -> None:
    folder = make_checkpoint(architecture, tmp_path / architecture, reader=False)
    model, tokenizer = AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    before = tokens_per_word(tokenizer, TEXTS)
    pieces = tokenizer.encode(word, add_special_tokens=False)
    vectors = model.get_input_embeddings().weight[pieces].detach().clone()
    words = missing_words(tokenizer, [text.lower() for text in TEXTS], 2)
    assert words == ["quasiturbine", "cryostat"]
    extend(model, tokenizer, words)
    assert tokenizer.encode(f"a {word}", add_special_tokens=False)[-1] == len(tokenizer) - 2
    assert torch.allclose(model.get_input_embeddings().weight[len(tokenizer) - 2], vectors.mean(dim=0))
    assert tokens_per_word(tokenizer, [text.lower() for text in TEXTS]) < before
    assert len(tokenizer.tokenize(f"a {word}s")) > 2  # part of another word: not that token
