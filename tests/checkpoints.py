"""Tiny random checkpoints of every BERT-family architecture, with matching tokenizers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModel, AutoModelForQuestionAnswering, PreTrainedTokenizerFast

CORPUS = [
    "The global statement lists names that are to be read as globals in the current code block.",
    "Who wrote the treaty? The river crosses Vienna, Osaka and Lima; a glacier is a slow river of ice.",
    "Die Kündigungsfrist beträgt drei Monate. Les chevaux traversent la rivière.",
    "東京都の図書館には江戸時代の地図が保存されている。図書館はどこにありますか。",
    "Библиотека хранит карты старой гавани. المكتبة تحفظ الخرائط القديمة.",
]
SIZES = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
    "max_position_embeddings": 130,
}  # fmt: skip
ARCHITECTURES: dict[str, tuple[str, dict[str, Any], str]] = {
    "bert": ("bert", SIZES, "wordpiece"),
    "roberta": ("roberta", SIZES, "bytes"),
    "distilbert": ("distilbert", {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64,
                                  "max_position_embeddings": 130}, "wordpiece"),
    "albert": ("albert", {**SIZES, "embedding_size": 16}, "unigram"),
    "mobilebert": ("mobilebert", {**SIZES, "embedding_size": 32, "intra_bottleneck_size": 32,
                                  "num_feedforward_networks": 1}, "wordpiece"),
    "electra": ("electra", {**SIZES, "embedding_size": 16}, "wordpiece"),
    "xlm-roberta": ("xlm-roberta", SIZES, "pairs"),
    "multilingual": ("bert", SIZES, "cased"),
    "japanese": ("bert", SIZES, "characters"),
}  # fmt: skip
"""Name → architecture, sizes, kind of tokenizer."""


def make_checkpoint(name: str, folder: Path, *, reader: bool) -> Path:
    """Save a model with random weights, and a span head if `reader`, as `save_pretrained` does; returns the folder."""
    kind, sizes, tokens = ARCHITECTURES[name]
    tokenizer = _tokenizer(tokens, has_types=kind in {"bert", "albert", "mobilebert", "electra"})
    config = AutoConfig.for_model(
        kind,
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        **sizes,
    )
    torch.manual_seed(0)
    family = AutoModelForQuestionAnswering if reader else AutoModel
    family.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def without_pooler(folder: Path) -> Path:
    """Remove the pooler's weights from a checkpoint, as many published ones lack them."""
    weights = load_file(folder / "model.safetensors")
    kept = {name: weight for name, weight in weights.items() if not name.startswith("pooler.")}
    assert len(kept) == len(weights) - 2
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def make_sentence_transformer(folder: Path, **stated: Any) -> Path:
    """Save a BERT as sentence-transformers does; `stated`: `prompts`, `default_prompt_name`."""
    plain = make_checkpoint("bert", folder / "plain", reader=False)
    SentenceTransformer(str(plain), device="cpu", **stated).save_pretrained(str(folder / "saved"))
    return folder / "saved"


def _tokenizer(kind: str, *, has_types: bool) -> PreTrainedTokenizerFast:
    roberta_like = kind in {"bytes", "pairs"}
    special = (
        {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>", "mask_token": "<mask>",
         "cls_token": "<s>", "sep_token": "</s>"}
        if roberta_like
        else {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]",
              "mask_token": "[MASK]"}
    )  # fmt: skip
    names = list(dict.fromkeys(special.values()))
    first, last = special["cls_token"], special["sep_token"]
    if kind == "bytes":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer: Any = trainers.BpeTrainer(
            vocab_size=400, special_tokens=names, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
        )
    elif kind in {"unigram", "pairs"}:
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer = trainers.UnigramTrainer(vocab_size=300, special_tokens=names, unk_token=special["unk_token"])
    else:
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=kind == "wordpiece")
        tokenizer.pre_tokenizer = (
            pre_tokenizers.Split("", "isolated") if kind == "characters" else pre_tokenizers.BertPreTokenizer()
        )
        trainer = trainers.WordPieceTrainer(vocab_size=400, special_tokens=names)
    tokenizer.train_from_iterator(CORPUS * 5, trainer)
    ids = [(name, tokenizer.token_to_id(name)) for name in (first, last)]
    pair = f"{first} $A {last} {last} $B {last}" if roberta_like else f"{first}:0 $A:0 {last}:0 $B:1 {last}:1"
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{first} $A {last}", pair=pair, special_tokens=ids)
    inputs = ["input_ids", "attention_mask"] + ["token_type_ids"] * has_types
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_input_names=inputs, model_max_length=128, **special
    )
