"""Knowledge distillation of readers: what teachers answer, as soft targets for a student (Hinton et al. 2015).

A teacher reads each window of the student as a passage of its own, with its own tokenizer. Its probabilities are mapped
to the student's tokens by characters, so the two may be of different families.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy, kl_div
from tqdm import tqdm
from transformers import Trainer

from search_app.hardware import Hardware
from search_app.models.checkpoint import find_checkpoint
from search_app.readers.model import QuestionAnsweringModel
from search_app.readers.spans import Floats
from search_app.readers.windows import Window
from search_app.settings import ReaderSettings
from search_app.training import run
from search_app.training.config import ReaderDistillation
from search_app.training.examples import UNLABELLED, Example

FILE = "soft-targets.npy"
_CHUNK = 256
_LONGEST = 1 << 20
"""More tokens than any model takes: a teacher reads as much at once as it can."""


@dataclass(frozen=True, slots=True)
class SoftTargets:
    """Probability of each token as start (row 0) and end (row 1) of the answer; token 0 is "no answer".

    `values`: float16 (2, tokens of all examples in order); `begins`: where each example begins.
    """

    values: NDArray[np.float16]
    begins: NDArray[np.int64]

    def of(self, example: int, tokens: int) -> NDArray[np.float16]:
        """(2, tokens) of one example."""
        begin = self.begins[example]
        return self.values[:, begin : begin + tokens]


def soft_targets(examples: Sequence[Example], config: ReaderDistillation, machine: Hardware) -> SoftTargets:
    """The mean probabilities of the teachers for every example; kept in the work folder for a run that is resumed.

    Raises ModelUnavailable for a teacher that cannot be loaded or was not trained to answer questions.
    """
    ends = np.cumsum([len(example.window) for example in examples], dtype=np.int64)
    begins = np.concatenate([[0], ends[:-1]])

    def make() -> NDArray[np.float16]:
        teachers = [_teacher(name, machine) for name in config.teacher]
        values = np.empty((2, ends[-1]), dtype=np.float16)
        with tqdm(total=len(examples), unit="window", desc="teachers", disable=not sys.stderr.isatty()) as bar:
            for first in range(0, len(examples), _CHUNK):
                part = examples[first : first + _CHUNK]
                values[:, begins[first] : ends[first + len(part) - 1]] = _labelled(part, teachers, config.temperature)
                bar.update(len(part))
        return values

    return SoftTargets(run.array_once(config.work / FILE, (2, int(ends[-1])), make), begins)


def distillation_loss(
    logits: torch.Tensor, soft: torch.Tensor, gold: torch.Tensor, *, temperature: float, weight: float
) -> torch.Tensor:
    """Weighted sum of the cross-entropy with the gold answers and of T² · KL(teachers ‖ student at temperature T).

    `logits` and `soft`: (2, rows, tokens), for start and end; `gold`: (2, rows), UNLABELLED where not known; `weight`:
    of the gold answers. An unlabelled row has the teachers' term alone. T² keeps the gradients of the two comparable.
    """
    student = torch.log_softmax(logits / temperature, dim=-1)
    taught = kl_div(student, soft, reduction="none").sum(dim=-1) * temperature**2
    told = cross_entropy(logits.flatten(0, 1), gold.flatten(), reduction="none").view_as(taught)
    weights = weight * (gold != UNLABELLED[0])
    return (weights * told + (1 - weights) * taught).mean()


class DistillingTrainer(Trainer):
    """The Trainer of transformers with `distillation_loss`; a batch has `soft_targets`, (2, rows, tokens), too."""

    def __init__(self, config: ReaderDistillation, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._config = config

    def compute_loss(self, model: Any, inputs: dict[str, Any], *more: Any, **named: Any) -> Any:
        """The loss of one batch; of development data, which no teacher labels, it is the one with the gold answers."""
        if "soft_targets" not in inputs:
            return super().compute_loss(model, inputs, *more, **named)
        inputs = dict(inputs)
        soft = inputs.pop("soft_targets").float()
        gold = torch.stack([inputs.pop("start_positions"), inputs.pop("end_positions")])
        output = model(**inputs)
        logits = torch.stack([output.start_logits, output.end_logits]).float()
        return distillation_loss(logits, soft, gold, temperature=self._config.temperature, weight=self._config.gold)


def _teacher(name: str, machine: Hardware) -> QuestionAnsweringModel:
    return QuestionAnsweringModel(find_checkpoint("reader", name), ReaderSettings(max_tokens=_LONGEST), machine)


def _labelled(examples: Sequence[Example], teachers: Sequence[QuestionAnsweringModel], temperature: float) -> Floats:
    """(2, tokens of the examples)."""
    read = [_read(examples, teacher, temperature) for teacher in teachers]
    mean: Floats = np.mean(read, axis=0)
    return mean


def _read(examples: Sequence[Example], teacher: QuestionAnsweringModel, temperature: float) -> Floats:
    windows = teacher.make_windows(
        [example.pair.question for example in examples],
        [_piece(example) for example in examples],
        [example.pair.title for example in examples],
    )
    seen: list[list[tuple[Window, Floats]]] = [[] for _ in examples]
    for window, *logits in zip(windows, *teacher.logits(windows), strict=True):
        seen[window.pair].append((window, np.stack(logits) / temperature))
    return np.concatenate(
        [on_student(example.window, found) for example, found in zip(examples, seen, strict=True)], axis=1
    )


def _piece(example: Example) -> str:
    """The part of the text that the student's window shows."""
    offsets = example.window.offsets
    return example.pair.text[offsets[0, 0] : offsets[-1, 1]] if len(offsets) else ""


def on_student(student: Window, seen: Sequence[tuple[Window, Floats]]) -> Floats:
    """A teacher's probabilities of start and end on the tokens of a student's window: (2, tokens), rows sum to 1.

    `seen`: the teacher's windows of the same piece of text, with their logits, (2, tokens). An answer starts in the
    student's token with its first character and ends in the one with its last. Where a piece takes the teacher several
    windows, the most certain one counts for each token, and for "no answer" the least certain.
    """
    found = np.zeros((2, len(student)), dtype=np.float32)
    none = np.ones(2, dtype=np.float32)
    for window, logits in seen:
        own = _softmax(np.concatenate([logits[:, :1], logits[:, window.first : window.last]], axis=1))
        none = np.minimum(none, own[:, 0])
        mapped = np.zeros_like(found)
        for row, places in enumerate(_places(student, window)):
            np.add.at(mapped[row], places, own[row, 1:])
        found = np.maximum(found, mapped)
    found[:, 0] = none
    found /= found.sum(axis=1, keepdims=True)
    return found


def _places(student: Window, teacher: Window) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The student's tokens in which the teacher's tokens start and end."""
    if not len(student.offsets):
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    characters = teacher.offsets + student.offsets[0, 0]
    starts = np.searchsorted(student.offsets[:, 1], characters[:, 0], side="right")
    ends = np.searchsorted(student.offsets[:, 0], characters[:, 1], side="left") - 1
    last = len(student.offsets) - 1
    return student.first + np.clip(starts, 0, last), student.first + np.clip(ends, 0, last)


def _softmax(logits: Floats) -> Floats:
    raised: Floats = np.exp(logits - logits.max(axis=1, keepdims=True))
    total: Floats = raised.sum(axis=1, keepdims=True)
    return raised / total
