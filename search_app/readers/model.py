"""A BERT-family checkpoint with a question-answering head: windows in, start and end logits out."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForQuestionAnswering, PretrainedConfig

from search_app.errors import ModelUnavailable
from search_app.hardware import Hardware
from search_app.models import int8
from search_app.models.batching import padded_shape, plan_batches
from search_app.models.checkpoint import Checkpoint, load_tokenizer, load_transformers
from search_app.models.execution import Execution
from search_app.models.fingerprint import fingerprint_of
from search_app.models.positions import longest_input
from search_app.readers.spans import Floats
from search_app.readers.windows import Window, WindowMaker, stack, takes_token_types
from search_app.settings import ReaderSettings


class QuestionAnsweringModel:
    """Computes windows in as few and as short forward passes as it can.

    `windows`, `tokens` (with padding) and `forward_passes` count the work since the model was loaded.
    """

    def __init__(self, checkpoint: Checkpoint, settings: ReaderSettings, hardware: Hardware) -> None:
        self._checkpoint = checkpoint
        self._execution = execution = Execution.choose(settings, hardware)
        self._batch_tokens = settings.batch_tokens or execution.batch_tokens
        config, tokenizer = load_tokenizer(checkpoint)
        self._model = _load(checkpoint, config, execution.dtype).to(execution.device)
        self._pad_id = int(tokenizer.pad_token_id or 0)
        self._has_types = takes_token_types(config)
        self.precision = execution.precision
        self.max_tokens = min(settings.max_tokens, longest_input(config), tokenizer.model_max_length)
        self.make_windows = WindowMaker(tokenizer, max_tokens=self.max_tokens, stride=settings.stride)
        self._lock = threading.Lock()
        self.windows = self.tokens = self.forward_passes = 0
        if execution.is_int8:
            self._quantise()

    @cached_property
    def digest(self) -> str:
        """Fingerprint of weights and tokenizer."""
        return fingerprint_of(AutoModelForQuestionAnswering, self._checkpoint)

    def logits(self, windows: Sequence[Window]) -> tuple[list[Floats], list[Floats]]:
        """Start and end logits of each window, (tokens,) without padding, in input order."""
        starts: list[Floats] = [np.empty(0, dtype=np.float32)] * len(windows)
        ends = list(starts)
        lengths = [len(window) for window in windows]
        computed = passes = 0
        for rows in plan_batches(lengths, longest=self.max_tokens, budget=self._batch_tokens):
            shape = padded_shape(len(rows), lengths[rows[-1]], self.max_tokens)
            batch = stack([windows[row] for row in rows], pad_id=self._pad_id, shape=shape)
            start_logits, end_logits = self._forward(*batch)
            for i, row in enumerate(rows):
                starts[row], ends[row] = start_logits[i, : lengths[row]], end_logits[i, : lengths[row]]
            computed += shape[0] * shape[1]
            passes += 1
        with self._lock:
            self.windows += len(windows)
            self.tokens += computed
            self.forward_passes += passes
        return starts, ends

    def _quantise(self) -> None:
        texts = int8.typical_texts()
        windows = self.make_windows([f"What is {text[:40]}?" for text in texts], texts, [""] * len(texts))

        def run() -> torch.Tensor:
            return torch.cat([torch.from_numpy(np.concatenate(logits)) for logits in self.logits(windows)])[None]

        int8.quantise(self._model.base_model, self._checkpoint, run)
        self.windows = self.tokens = self.forward_passes = 0

    @torch.inference_mode()
    def _forward(self, ids: Any, types: Any, mask: Any) -> Any:
        """One forward pass over (rows, width) arrays: float32 start and end logits, (2, rows, width)."""
        arrays = {"input_ids": ids}
        if self._has_types:
            arrays["token_type_ids"] = types
        if not mask.all():
            arrays["attention_mask"] = mask
        inputs = {name: torch.from_numpy(array).to(self._execution.device) for name, array in arrays.items()}
        output = self._model(**inputs)
        return torch.stack([output.start_logits, output.end_logits]).float().cpu().numpy()


def _load(checkpoint: Checkpoint, config: PretrainedConfig, dtype: torch.dtype) -> Any:
    model, missing = load_transformers(AutoModelForQuestionAnswering, checkpoint, config, dtype=dtype)
    if missing:
        raise ModelUnavailable(
            f"{checkpoint} is not trained to answer questions: it has no {missing[0]}",
            hint="train it first: search-app train reader --model … --data … --out …",
        )
    head = getattr(model, "qa_outputs", None)
    if isinstance(head, torch.nn.Linear) and dtype != torch.float32:
        # bfloat16 has three digits: too few to rank spans by the sum of two logits.
        head.float()
        head.register_forward_pre_hook(lambda _, args: (args[0].float(),))
    return model.eval()
