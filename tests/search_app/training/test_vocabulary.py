from __future__ import annotations

from pathlib import Path

import pytest
import torch
from checkpoints import make_checkpoint
from transformers import AutoModel, AutoTokenizer

from search_app.training.vocabulary import extend, missing_words, tokens_per_word

TEXTS = ["The Quasiturbine of a quasiturbine, the cryostat; a cryostat hums.", "Quasiturbine and once."]


@pytest.mark.parametrize("architecture", ["bert", "multilingual", "xlm-roberta", "roberta"])
def test_frequent_words_become_one_token_with_the_mean_of_its_pieces(architecture: str, tmp_path: Path) -> None:
    folder = make_checkpoint(architecture, tmp_path / architecture, reader=False)
    model, tokenizer = AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    texts = [text.lower() for text in TEXTS]
    before = tokens_per_word(tokenizer, texts)
    words = missing_words(tokenizer, texts, 2)
    assert sorted(words) == ["cryostat", "quasiturbine"]  # the others occur once, or are known
    pieces = tokenizer.encode("cryostat", add_special_tokens=False)
    vectors = model.get_input_embeddings().weight[pieces].detach().clone()
    extend(model, tokenizer, words)
    id = tokenizer.convert_tokens_to_ids("cryostat")
    assert id >= len(tokenizer) - 2
    assert tokenizer.encode("the cryostat", add_special_tokens=False)[-1] == id
    assert torch.allclose(model.get_input_embeddings().weight[id], vectors.mean(dim=0))
    assert tokens_per_word(tokenizer, texts) <= before
    assert id not in tokenizer.encode("the cryostats", add_special_tokens=False)  # a part of another word


def test_words_that_a_tokenizer_keeps_capital_are_found_with_capitals(tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(make_checkpoint("multilingual", tmp_path / "cased", reader=False))
    assert missing_words(tokenizer, ["Quasiturbine", "Quasiturbine quasiturbine"], 5) == ["Quasiturbine"]
