"""Prune a reader or an encoder: remove the layers and attention heads that it needs least, and measure each step."""

from __future__ import annotations

import copy
import dataclasses
import json
import random
import statistics
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from transformers import AutoModel, AutoModelForQuestionAnswering, PreTrainedModel

from search_app import hardware
from search_app.encoders.sentence_transformer import SentenceTransformerEncoder, prefixes
from search_app.errors import ConfigurationError
from search_app.evaluation.datasets import Article, Dataset, Paragraph, load_squad
from search_app.evaluation.evaluate import evaluate_reader, sample
from search_app.hardware import Hardware
from search_app.models import checksums, pruned
from search_app.models.checkpoint import find_checkpoint, load_sentence_transformers, load_tokenizer, load_transformers
from search_app.models.positions import longest_input
from search_app.readers.extractive import ExtractiveReader
from search_app.readers.windows import WindowMaker, takes_token_types
from search_app.settings import EncoderSettings, ReaderSettings
from search_app.training import card, surgery
from search_app.training.data import hold_out
from search_app.training.examples import make_examples
from search_app.training.measuring import labelled
from search_app.training.pairs import load_pairs
from search_app.training.reader import Collator, save_reader
from search_app.training.retrieval import measure

Role = Literal["reader", "encoder"]
FACTS = "pruning.json"
HEADS_PER_STEP = 0.1
"""Heads are removed in steps of this share; the rest is judged again before each."""
JUDGED, MEASURED = 256, 1000
"""Questions that decide what is removed, and questions that measure a step: at most so many of each half."""
_BATCH = 16
_SCALE = 20.0
"""Of cosine similarities in the encoder's loss, as in sentence-transformers."""
_TEXT = "The quick brown fox jumps over the lazy dog near the old harbour. " * 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruning:
    """Settings of `prune`.

    layers: how many layers to remove.
    heads: share of the attention heads to remove, of the layers that remain.
    data: labelled questions, SQuAD JSON (for an encoder also JSON lines). One half decides what is removed, the other
        measures. Without them the top layers go (Sajjad et al. 2023), and nothing is measured but the speed.
    """

    role: Role
    checkpoint: str
    out: Path
    layers: int = 0
    heads: float = 0.0
    data: tuple[Path, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        if self.layers < 0:
            raise ConfigurationError(f"layers must not be negative, as {self.layers} is", field="layers")
        if not 0 <= self.heads < 1:
            raise ConfigurationError(f"heads must be at least 0 and below 1, not {self.heads:g}", field="heads")
        if not self.layers and not self.heads:
            raise ConfigurationError("nothing to remove", hint="give --layers N or --heads SHARE", field="layers")
        if self.heads and not self.data:
            raise ConfigurationError(
                "only labelled questions tell which heads are needed", hint="give --data FILE", field="data"
            )
        if self.out.exists() and (not self.out.is_dir() or any(self.out.iterdir())):
            raise ConfigurationError(f"{self.out} is not empty", hint="give another --out", field="out")


@dataclass(frozen=True, slots=True)
class Step:
    """The model after a step. `passes`: forward passes per second over one passage; `scores`: empty without data."""

    name: str
    layers: int
    heads: int
    parameters: int
    passes: float
    scores: Mapping[str, float]


def prune(settings: Pruning, progress: Callable[[Step], None] | None = None) -> list[Step]:
    """Write the pruned model to `settings.out` and return a row for the model as it was and for each step.

    Raises ConfigurationError for settings or data that do not work, ModelUnavailable for a model that cannot be loaded.
    """
    machine = hardware.detect()
    hardware.set_threads()
    judge, measured = _halves(settings)
    subject = _SUBJECTS[settings.role](settings.checkpoint, judge, settings.seed, machine)
    _require_possible(settings, subject.model)
    steps: list[Step] = []
    with tempfile.TemporaryDirectory() as work:
        for name, model in _stages(settings, subject):
            folder = Path(work, str(len(steps)))
            subject.save(model, folder)
            steps.append(_step(name, model, subject.measure(str(folder), measured)))
            if progress:
                progress(steps[-1])
    settings.out.mkdir(parents=True, exist_ok=True)
    subject.save(model, settings.out)
    _write_card(settings, steps, model)
    return steps


class _Subject(ABC):
    """What differs between a reader and an encoder. `model` is what is pruned, `batches` are labelled inputs."""

    auto: Any
    model: PreTrainedModel
    batches: list[Any]

    @abstractmethod
    def __init__(self, checkpoint: str, data: Dataset | None, seed: int, machine: Hardware) -> None: ...

    @abstractmethod
    def loss(self, model: PreTrainedModel, batch: Any) -> torch.Tensor:
        """The loss of a batch."""

    @abstractmethod
    def save(self, model: PreTrainedModel, folder: Path) -> None:
        """Save `model` with all that belongs to it."""

    @abstractmethod
    def measure(self, folder: str, data: Dataset | None) -> tuple[float, dict[str, float]]:
        """Forward passes per second of a saved model as it is served, and its scores."""


class _Reader(_Subject):
    auto = AutoModelForQuestionAnswering

    def __init__(self, checkpoint: str, data: Dataset | None, seed: int, machine: Hardware) -> None:
        self._machine = machine
        ExtractiveReader(ReaderSettings(model=checkpoint), machine)  # refuses one that was not trained
        found = find_checkpoint("reader", checkpoint)
        config, self._tokenizer = load_tokenizer(found)
        self.model, _ = load_transformers(self.auto, found, config, dtype=torch.float32)
        windows = WindowMaker(self._tokenizer, max_tokens=min(384, longest_input(config)), stride=128)
        collate = Collator(int(self._tokenizer.pad_token_id or 0), takes_token_types(config))
        examples = make_examples(data, [], windows, random.Random(0)) if data else []
        rows = [
            {"window": example.window, "start": example.targets[0][0], "end": example.targets[0][1]}
            for example in examples
        ]
        self.batches = [collate(rows[i : i + _BATCH]) for i in range(0, len(rows), _BATCH)]

    def loss(self, model: PreTrainedModel, batch: Any) -> torch.Tensor:
        loss: torch.Tensor = model(**batch).loss
        return loss

    def save(self, model: PreTrainedModel, folder: Path) -> None:
        save_reader(copy.deepcopy(model), self._tokenizer, folder)

    def measure(self, folder: str, data: Dataset | None) -> tuple[float, dict[str, float]]:
        reader = ExtractiveReader(ReaderSettings(model=folder), self._machine)
        window = reader.model.make_windows(["What does the fox do?"], [_TEXT], [""])[:1]
        scores = evaluate_reader(reader, data, limit=MEASURED) if data else {}
        shown = {name: value for name, value in scores.items() if name in ("em", "f1")}
        return _passes_per_second(lambda: reader.model.logits(window)), shown


class _Encoder(_Subject):
    auto = AutoModel

    def __init__(self, checkpoint: str, data: Dataset | None, seed: int, machine: Hardware) -> None:
        self._machine = machine
        found = find_checkpoint("encoder", checkpoint)
        self._whole: Any = load_sentence_transformers(SentenceTransformer, found, device="cpu", dtype=torch.float32)
        self._prefixes = prefixes(self._whole, EncoderSettings())
        self.model = cast(PreTrainedModel, self._whole[0].model)
        pairs = [pair for pair in data.questions if pair[1].answers] if data else []
        groups = [pairs[i : i + _BATCH] for i in range(0, len(pairs), _BATCH)]
        self.batches = [group for group in groups if len(group) > 1]

    def loss(self, model: PreTrainedModel, batch: Any) -> torch.Tensor:
        """Each question's own paragraph among those of the batch."""
        self._whole[0].model = model
        query, passage = self._prefixes
        questions = self._vectors([query + question.text for _, question in batch])
        passages = self._vectors([passage + paragraph.text for paragraph, _ in batch])
        return torch.nn.functional.cross_entropy(_SCALE * questions @ passages.T, torch.arange(len(batch)))

    def _vectors(self, texts: Sequence[str]) -> torch.Tensor:
        output = self._whole(self._whole.tokenize(list(texts)))["sentence_embedding"]
        return torch.nn.functional.normalize(output, dim=-1)

    def save(self, model: PreTrainedModel, folder: Path) -> None:
        self._whole[0].model = model
        self._whole.save_pretrained(str(folder), create_model_card=False)

    def measure(self, folder: str, data: Dataset | None) -> tuple[float, dict[str, float]]:
        encoder = SentenceTransformerEncoder(EncoderSettings(model=folder), self._machine)
        tokens = encoder.tokenize_passages([_TEXT])
        scores = measure(encoder, data) if data else {}
        shown = {name: 100 * value for name, value in scores.items() if name in ("success@1", "mrr@10")}
        return _passes_per_second(lambda: encoder.encode_tokenized(tokens)), shown


_SUBJECTS: dict[Role, type[_Subject]] = {"reader": _Reader, "encoder": _Encoder}


def _halves(settings: Pruning) -> tuple[Dataset | None, Dataset | None]:
    """Samples of the questions that decide and of those that measure; the same where there are too few to share."""
    if not settings.data:
        return None, None
    load = load_pairs if settings.role == "encoder" else load_squad
    whole = labelled(map(load, settings.data))
    if not any(question.answers for _, question in whole.questions):
        names = ", ".join(map(str, settings.data))
        raise ConfigurationError(f"{names}: no question has an answer", hint="give labelled questions", field="data")
    halves = hold_out(whole, 0.5, settings.seed)
    judge, measured = halves if all(any(half.questions) for half in halves) else (whole, whole)
    return _sampled(judge, JUDGED, settings.seed), _sampled(measured, MEASURED, settings.seed)


def _sampled(dataset: Dataset, limit: int, seed: int) -> Dataset:
    asked = sample(dataset, limit=limit, seed=seed)
    return Dataset(dataset.name, (Article("", tuple(Paragraph(p.text, (question,)) for p, question in asked)),))


def _require_possible(settings: Pruning, model: PreTrainedModel) -> None:
    layers = len(surgery.all_of(model))
    if settings.heads:
        surgery.require_heads(model)
    if settings.layers >= layers:
        raise ConfigurationError(
            f"{settings.checkpoint} has {layers} layers: --layers must be less, not {settings.layers}", field="layers"
        )


def _stages(settings: Pruning, subject: _Subject) -> Iterator[tuple[str, PreTrainedModel]]:
    model = subject.model
    yield "as it was", model
    numbers = list(range(1, 1 + len(surgery.all_of(model))))
    for _ in range(settings.layers):
        layer = _least_useful_layer(model, subject)
        kept = surgery.all_of(model)
        del kept[layer]
        model = surgery.smaller(model, kept, subject.auto)
        yield f"without layer {numbers.pop(layer)}", model
    whole = sum(map(len, surgery.all_of(model).values()))
    gone = 0
    for share in _shares(settings.heads):
        importance = surgery.head_importance(model, partial(subject.loss, model), subject.batches)
        kept = surgery.least_useful_heads(importance, round(share * whole) - gone)
        model = surgery.smaller(model, kept, subject.auto)
        gone = whole - sum(map(len, kept.values()))
        yield f"without {share:.0%} of the heads", model


def _least_useful_layer(model: PreTrainedModel, subject: _Subject) -> int:
    if not subject.batches:
        return len(pruned.layers(model)) - 1
    return surgery.least_useful_layer(model, partial(subject.loss, model), subject.batches)


def _shares(last: float) -> list[float]:
    """Steps of HEADS_PER_STEP up to `last`."""
    before = np.arange(1, int(np.ceil(round(last / HEADS_PER_STEP, 6)))) * HEADS_PER_STEP
    return [*map(float, before), last] if last else []


def _step(name: str, model: PreTrainedModel, measured: tuple[float, Mapping[str, float]]) -> Step:
    kept = surgery.all_of(model)
    parameters = sum(weight.numel() for weight in model.parameters())
    return Step(name, len(kept), sum(map(len, kept.values())), parameters, *measured)


def _passes_per_second(forward: Callable[[], object]) -> float:
    """From the median time of the passes of half a second, at least seven, after two that are not counted."""
    forward(), forward()
    times: list[float] = []
    while len(times) < 7 or sum(times) < 0.5:
        begin = time.perf_counter()
        forward()
        times.append(time.perf_counter() - begin)
    return 1 / statistics.median(times)


def _write_card(settings: Pruning, steps: Sequence[Step], model: PreTrainedModel) -> None:
    checkpoint = Path(settings.checkpoint)
    facts = {
        "role": settings.role,
        "base": checkpoint.resolve().name if checkpoint.is_dir() else settings.checkpoint,
        "data": [path.name for path in settings.data],
        "model_type": model.config.model_type,
        "steps": [dataclasses.asdict(step) for step in steps],
    }
    (settings.out / FACTS).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    (settings.out / card.FILE).write_text(card.pruned(facts), encoding="utf-8")
    checksums.write(settings.out)
