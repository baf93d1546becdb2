"""The encoder: sentence-transformers loads and pools, batching, padding and precision are ours."""

from __future__ import annotations

import copy
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer

from search_app.hardware import Hardware
from search_app.models import int8
from search_app.models.batching import padded_shape, plan_batches
from search_app.models.checkpoint import find_checkpoint, load_sentence_transformers, require_offsets, stored_weights
from search_app.models.execution import Execution
from search_app.models.fingerprint import fingerprint, without_random
from search_app.models.positions import longest_input
from search_app.protocols import EncoderStamp
from search_app.settings import EncoderSettings
from search_app.text.tokens import spans_of
from search_app.types import Matrix

_PASSAGES = ("document", "passage", "corpus")
"""Names of the prompt for passages, as in sentence-transformers."""


@dataclass(frozen=True, slots=True)
class TokenIds:
    """Tokenised texts, special tokens included; `truncated` counts the tokens beyond the model's limit."""

    ids: tuple[NDArray[np.int32], ...]
    tokens: int
    truncated: int

    def __len__(self) -> int:
        return len(self.ids)


class SentenceTransformerEncoder:
    """Any BERT-family checkpoint, with the pooling that its folder configures (mean by default).

    Prompts that the folder states for questions and passages are applied, unless the settings give prefixes.

    `forward_passes` and `encoded_tokens` count the work since the encoder was loaded.
    """

    def __init__(self, settings: EncoderSettings, hardware: Hardware) -> None:
        execution = Execution.choose(settings, hardware)
        self._device = torch.device("cpu")
        self._batch_tokens = settings.batch_tokens or execution.batch_tokens
        checkpoint = find_checkpoint("encoder", settings.model)
        # In float32 on the CPU first: the fingerprint must not depend on device or precision.
        model = load_sentence_transformers(SentenceTransformer, checkpoint, device="cpu", dtype=torch.float32)
        tokenizer = require_offsets(checkpoint, model.tokenizer)
        self._spans_tokenizer = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        self._spans_tokenizer.no_truncation()
        self._spans_tokenizer.no_padding()
        self._max_tokens = _limit(model)
        self._tokenizer = Tokenizer.from_str(self._spans_tokenizer.to_str())
        self._tokenizer.enable_truncation(self._max_tokens)
        self._pad_id = int(tokenizer.pad_token_id or 0)
        self._has_types = "token_type_ids" in tokenizer.model_input_names
        self._modules = [module.eval() for module in model]
        self.special_tokens = self._tokenizer.num_special_tokens_to_add(is_pair=False)
        given = self._given = (settings.query_prefix or "", settings.passage_prefix or "")
        self._query_prefix, self._passage_prefix = found = prefixes(model, settings)
        self.reserved_tokens = self.special_tokens + len(self.token_spans([self._passage_prefix])[0])
        example = [np.array(self._tokenizer.encode("a").ids, dtype=np.int32)]
        weights = without_random(
            model.state_dict(keep_vars=True), stored_weights(checkpoint), lambda: self._embedded(example)
        )
        digest = _fingerprint(model, weights, tokenizer.backend_tokenizer, found)
        self._unprompted = (
            _fingerprint(model, weights, tokenizer.backend_tokenizer, given) if found != given else digest
        )
        self._device = execution.device
        if execution.is_int8:
            rows = self._tokenize(int8.typical_texts()).ids
            int8.quantise(model[0].auto_model, checkpoint, lambda: self._embedded(rows))
        self._modules[0].to(device=self._device, dtype=execution.dtype)
        for module in self._modules[1:]:
            module.to(device=self._device, dtype=torch.float32)
        dim = len(self._forward(example)[0])
        self._stamp = EncoderStamp(checkpoint.name, digest, dim, self._max_tokens, execution.precision)
        self._lock = threading.Lock()
        self._truncated = self.forward_passes = self.encoded_tokens = 0

    @property
    def stamp(self) -> EncoderStamp:
        return self._stamp

    def for_digest(self, digest: str) -> SentenceTransformerEncoder | None:
        """Itself, or a copy that ignores the prompts of the model's folder, as an older index may need; else None."""
        if digest == self._stamp.digest:
            return self
        if digest != self._unprompted:
            return None
        other = copy.copy(self)
        other._query_prefix, other._passage_prefix = self._given
        other._stamp = replace(self._stamp, digest=digest)
        return other

    @property
    def truncated_tokens(self) -> int:
        return self._truncated

    def token_spans(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        return spans_of(self._spans_tokenizer, texts)

    def tokenizer_json(self) -> str:
        return str(self._spans_tokenizer.to_str())

    def encode_queries(self, texts: Sequence[str]) -> Matrix:
        return self.encode_tokenized(self._tokenize([self._query_prefix + text for text in texts]))

    def encode_passages(self, texts: Sequence[str]) -> Matrix:
        return self.encode_tokenized(self.tokenize_passages(texts))

    def tokenize_passages(self, texts: Sequence[str]) -> TokenIds:
        return self._tokenize([self._passage_prefix + text for text in texts])

    def encode_tokenized(self, tokenized: TokenIds) -> Matrix:
        ids = tokenized.ids
        vectors = np.empty((len(ids), self._stamp.dim), dtype=np.float32)
        batches = plan_batches([len(row) for row in ids], longest=self._max_tokens, budget=self._batch_tokens)
        for rows in batches:
            vectors[rows] = self._forward([ids[row] for row in rows])
        with self._lock:
            self.forward_passes += len(batches)
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
        """One forward pass: float32 (rows, dim), unit length."""
        result: Matrix = self._embedded(rows).cpu().numpy()
        return result

    def _embedded(self, rows: Sequence[NDArray[np.int32]]) -> torch.Tensor:
        shape = padded_shape(len(rows), max(map(len, rows)), self._max_tokens)
        ids = np.full(shape, self._pad_id, dtype=np.int64)
        mask = np.zeros_like(ids)
        mask[:, 0] = 1  # a row of padding with nothing to attend to would divide by zero
        for row, tokens in enumerate(rows):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        features: dict[str, Any] = {
            "input_ids": torch.from_numpy(ids).to(self._device),
            "attention_mask": torch.from_numpy(mask).to(self._device),
        }
        if self._has_types:
            features["token_type_ids"] = torch.zeros_like(features["input_ids"])
        features = self._modules[0](features)
        # Pooled in float32: a mean over hundreds of bfloat16 rows would lose digits.
        features = {
            key: value.float() if torch.is_tensor(value) and value.is_floating_point() else value
            for key, value in features.items()
        }
        for module in self._modules[1:]:
            features = module(features)
        vectors = torch.nn.functional.normalize(features["sentence_embedding"], dim=-1)
        return vectors[: len(rows)]


def _limit(model: SentenceTransformer) -> int:
    """Tokens that the model accepts, special tokens included."""
    transformer: Any = model[0]
    positions = longest_input(transformer.auto_model.config)
    return int(min(positions, model.max_seq_length or positions, model.tokenizer.model_max_length))


def prefixes(model: SentenceTransformer, settings: EncoderSettings) -> tuple[str, str]:
    """Text before questions and before passages: as in the settings, else as the model's folder states."""
    stated: dict[str, Any] = model.prompts
    default = model.default_prompt_name or ""
    query = stated.get("query") or stated.get(default, "")
    passage = next(filter(None, map(stated.get, _PASSAGES)), "" if default == "query" else stated.get(default, ""))
    return (
        query if settings.query_prefix is None else settings.query_prefix,
        passage if settings.passage_prefix is None else settings.passage_prefix,
    )


def _fingerprint(
    model: SentenceTransformer, weights: Mapping[str, torch.Tensor], tokenizer: Tokenizer, prefixes: tuple[str, str]
) -> str:
    details = [repr([prefixes, [type(module).__name__ for module in model]])]
    details += [repr(sorted(getattr(module, "get_config_dict", dict)().items(), key=str)) for module in list(model)[1:]]
    return fingerprint(weights, tokenizer.to_str(), details)
