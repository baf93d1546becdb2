"""The bi-encoder, loaded by sentence-transformers; batching, padding and precision are ours."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer

from search_app.hardware import Hardware
from search_app.models.batching import padded_width, round_up
from search_app.models.checkpoint import find_checkpoint, load_sentence_transformers, require_offsets
from search_app.models.execution import Execution
from search_app.models.fingerprint import fingerprint
from search_app.models.positions import longest_input
from search_app.protocols import EncoderStamp
from search_app.settings import EncoderSettings
from search_app.text.tokens import spans_of
from search_app.types import Matrix


@dataclass(frozen=True, slots=True)
class TokenIds:
    """Texts as the model takes them, special tokens included; `truncated` tokens were cut off by its limit."""

    ids: tuple[NDArray[np.int32], ...]
    tokens: int
    truncated: int

    def __len__(self) -> int:
        return len(self.ids)


class SentenceTransformerEncoder:
    """Any BERT-family checkpoint, with the pooling that its folder names (mean, where it names none).

    Texts are sorted by length and run in batches of about `batch_tokens` tokens, padding included.
    `forward_passes` and `encoded_tokens` count the work that was done.
    """

    def __init__(self, settings: EncoderSettings, hardware: Hardware) -> None:
        execution = Execution.choose(settings, hardware)
        self._device = execution.device
        self._batch_tokens = settings.batch_tokens or execution.batch_tokens
        self._prefixes = (settings.query_prefix, settings.passage_prefix)
        checkpoint = find_checkpoint("encoder", settings.model)
        # The fingerprint is one of the weights in float32, whatever precision they are used in.
        model = load_sentence_transformers(SentenceTransformer, checkpoint, device="cpu", dtype=torch.float32)
        self._modules = [module.eval() for module in model]
        tokenizer = require_offsets(checkpoint, model.tokenizer)
        backend = tokenizer.backend_tokenizer
        self._spans_tokenizer = Tokenizer.from_str(backend.to_str())
        self._spans_tokenizer.no_truncation()
        self._spans_tokenizer.no_padding()
        self._max_tokens = max_tokens = _limit(model)
        self._tokenizer = Tokenizer.from_str(backend.to_str())
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_tokens)
        self._pad_id = int(tokenizer.pad_token_id or 0)
        self._has_types = "token_type_ids" in tokenizer.model_input_names
        self.special_tokens = self._tokenizer.num_special_tokens_to_add(is_pair=False)
        digest = _fingerprint(model, backend, self._prefixes)
        self._modules[0].to(device=self._device, dtype=execution.dtype)
        for module in self._modules[1:]:
            module.to(device=self._device, dtype=torch.float32)
        dim = len(self._forward([np.array(self._tokenizer.encode("a").ids, dtype=np.int32)])[0])
        self._stamp = EncoderStamp(checkpoint.name, digest, dim, max_tokens, execution.precision)
        self._lock = threading.Lock()
        self._truncated = self.forward_passes = self.encoded_tokens = 0

    @property
    def stamp(self) -> EncoderStamp:
        return self._stamp

    @property
    def truncated_tokens(self) -> int:
        return self._truncated

    def token_spans(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        return spans_of(self._spans_tokenizer, texts)

    def tokenizer_json(self) -> str:
        return str(self._spans_tokenizer.to_str())

    def encode_queries(self, texts: Sequence[str]) -> Matrix:
        return self.encode_tokenized(self._tokenize([self._prefixes[0] + text for text in texts]))

    def encode_passages(self, texts: Sequence[str]) -> Matrix:
        return self.encode_tokenized(self.tokenize_passages(texts))

    def tokenize_passages(self, texts: Sequence[str]) -> TokenIds:
        return self._tokenize([self._prefixes[1] + text for text in texts])

    def encode_tokenized(self, tokenized: TokenIds) -> Matrix:
        ids = tokenized.ids
        vectors = np.empty((len(ids), self._stamp.dim), dtype=np.float32)
        passes = 0
        for rows in _batches(list(map(len, ids)), self._batch_tokens):
            vectors[rows] = self._forward([ids[row] for row in rows])
            passes += 1
        with self._lock:
            self.forward_passes += passes
            self.encoded_tokens += tokenized.tokens
            self._truncated += tokenized.truncated
        return vectors

    def _tokenize(self, texts: list[str]) -> TokenIds:
        encodings = self._tokenizer.encode_batch(texts)
        return TokenIds(
            tuple(np.array(encoding.ids, dtype=np.int32) for encoding in encodings),
            sum(map(len, encodings)),
            sum(len(rest) - self.special_tokens for item in encodings for rest in item.overflowing),
        )

    @torch.inference_mode()
    def _forward(self, rows: Sequence[NDArray[np.int32]]) -> Matrix:
        shape = _padded(len(rows), max(map(len, rows)), self._max_tokens)
        ids = np.full(shape, self._pad_id, dtype=np.int64)
        mask = np.zeros_like(ids)
        mask[:, 0] = 1  # rows that are padding only: none to attend to would be a division by zero
        for row, found in enumerate(rows):
            ids[row, : len(found)] = found
            mask[row, : len(found)] = 1
        features: dict[str, Any] = {
            "input_ids": torch.from_numpy(ids).to(self._device),
            "attention_mask": torch.from_numpy(mask).to(self._device),
        }
        if self._has_types:
            features["token_type_ids"] = torch.zeros_like(features["input_ids"])
        features = self._modules[0](features)
        # Pooled in float32: a mean over hundreds of bfloat16 rows would lose digits for nothing.
        features = {
            key: value.float() if torch.is_tensor(value) and value.is_floating_point() else value
            for key, value in features.items()
        }
        for module in self._modules[1:]:
            features = module(features)
        vectors = torch.nn.functional.normalize(features["sentence_embedding"], dim=-1)
        result: Matrix = vectors[: len(rows)].cpu().numpy()
        return result


def _padded(rows: int, tokens: int, most_tokens: int) -> tuple[int, int]:
    """Up to multiples of 4 and 8: oneDNN keeps kernels and memory for each shape that it has seen, for good."""
    return rows if rows <= 8 else round_up(rows, 4), padded_width(tokens, most_tokens)


def _batches(lengths: Sequence[int], budget: int) -> Iterator[NDArray[np.int64]]:
    """Row numbers, longest first, so that rows × longest stays within `budget` tokens (one row at least)."""
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
    start = 0
    while start < len(order):
        rows = max(1, budget // max(1, round_up(lengths[order[start]], 8)))
        rows = rows if rows <= 8 else rows // 4 * 4
        yield order[start : start + rows]
        start += rows


def _limit(model: SentenceTransformer) -> int:
    """Tokens that the model accepts, special tokens included."""
    transformer: Any = model[0]
    positions = longest_input(transformer.auto_model.config)
    return int(min(positions, model.max_seq_length or positions, model.tokenizer.model_max_length))


def _fingerprint(model: SentenceTransformer, tokenizer: Tokenizer, prefixes: tuple[str, str]) -> str:
    details = [repr([prefixes, [type(module).__name__ for module in model]])]
    details += [repr(sorted(getattr(module, "get_config_dict", dict)().items(), key=str)) for module in list(model)[1:]]
    return fingerprint(model.state_dict(), tokenizer.to_str(), details)
