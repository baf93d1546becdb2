"""Fine-tune a BERT-family encoder into an extractive reader, with the Trainer of transformers.

After an interruption, the same command resumes from the last checkpoint: the order of the examples depends on the seed
alone.
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset as TorchDataset
from transformers import (
    AutoModelForQuestionAnswering,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from search_app import hardware
from search_app.encoders.sentence_transformer import SentenceTransformerEncoder
from search_app.errors import ConfigurationError
from search_app.evaluation.datasets import Dataset, load_squad
from search_app.evaluation.evaluate import evaluate_reader
from search_app.hardware import Hardware
from search_app.models import checksums
from search_app.models.batching import round_up
from search_app.models.checkpoint import find_checkpoint, load_tokenizer, load_transformers, stored_weights
from search_app.models.execution import Execution
from search_app.models.positions import longest_input
from search_app.readers.extractive import ExtractiveReader
from search_app.readers.windows import WindowMaker, stack, takes_token_types
from search_app.settings import BUNDLED, EncoderSettings, ReaderSettings
from search_app.training import card, data, run
from search_app.training.config import ReaderDistillation, ReaderTraining
from search_app.training.distillation import DistillingTrainer, SoftTargets, soft_targets
from search_app.training.examples import UNLABELLED, Example, Schedule, make_examples, make_schedule, padded_tokens
from search_app.training.layers import freeze_encoder
from search_app.training.measuring import compare_readers, labelled
from search_app.training.progress import Patience, TrainingProgress, measured_losses
from search_app.training.tables import make_tables
from search_app.types import Matrix

WIDTH_STEP = 16
"""Batches are padded to a multiple of this many tokens."""

_log = logging.getLogger(__name__)


def train_reader(config: ReaderTraining, callbacks: Sequence[TrainerCallback] = ()) -> Path:
    """Train, or resume, and return the folder with weights, tokenizer and model card.

    `callbacks` of transformers may watch the run. One that stops it early (`should_training_stop`) leaves it to be
    resumed, with its last checkpoint.

    With development data, the run ends early when their loss has not fallen for a while, and the best checkpoint is the
    result.

    Raises ConfigurationError for settings or data that do not work, ModelUnavailable for a model that cannot be loaded,
    TrainingInterrupted if the disk is full.
    """
    if run.is_finished(config):
        return config.out
    machine = hardware.detect(config.device)
    hardware.set_threads()
    execution = Execution.choose(config, machine)
    tokenizer, model = _base(config)
    found = data.read_datasets(config)
    max_tokens = min(config.max_tokens, longest_input(model.config), tokenizer.model_max_length)
    windows = WindowMaker(tokenizer, max_tokens=max_tokens, stride=config.stride)
    examples = _examples(config, found.training, windows, machine)
    lengths = np.array([len(example.window) for example in examples], dtype=np.int64)
    targets = np.array([len(example.targets) for example in examples], dtype=np.int64)
    plan = make_schedule(lengths, targets, batch_size=config.batch_size, epochs=config.epochs, seed=config.seed)
    tokens = padded_tokens(plan, -(-lengths // WIDTH_STEP) * WIDTH_STEP)
    _log.info("%d examples, %d steps, %.1f M tokens with padding", len(examples), plan.steps, tokens / 1e6)

    progress = TrainingProgress(config.work / "seconds.json", tokens / plan.steps, config.checkpoint_minutes * 60)
    teaching = config if isinstance(config, ReaderDistillation) else None
    measured = [
        example
        for example in make_examples(
            found.development, [], windows, random.Random(config.seed), unlabelled=teaching is not None
        )
        if example.targets != (UNLABELLED,)
    ]
    patience = Patience(config.patience)
    if config.freeze_encoder:
        freeze_encoder(model, config.train_layers)
    trainer_class = partial(DistillingTrainer, teaching) if teaching else Trainer
    trainer = trainer_class(
        model=model,
        args=_arguments(config, execution, plan.steps, measured=bool(measured)),
        callbacks=[progress, *([patience] if measured else []), *callbacks],
        train_dataset=_Rows(examples, plan, soft_targets(examples, teaching, machine) if teaching else None),
        eval_dataset=_Rows(measured, _once(measured, config.batch_size), None) if measured else None,
        data_collator=Collator(int(tokenizer.pad_token_id or 0), takes_token_types(model.config)),
    )
    run.train(trainer, config.work)
    if trainer.state.global_step < plan.steps and not patience.is_out(trainer.state):
        return config.out

    facts = found.facts | {
        "base": card.base(config.model),
        "steps": trainer.state.global_step,
        "planned_steps": plan.steps,
        "best_step": trainer.state.best_global_step if measured else None,
        "losses": measured_losses(trainer.state),
        "examples": len(examples),
        "tokens": tokens,
        **run.cost(execution, machine, progress),
    }
    with run.saving(config.work):
        save_reader(model, tokenizer, config.out)
        facts |= _quality(config, found.development, machine)
        run.finish(config, facts, card.reader)
    return config.out


def _arguments(config: ReaderTraining, execution: Execution, steps: int, *, measured: bool) -> TrainingArguments:
    decay = min(math.ceil(config.decay * steps), steps - math.ceil(config.warmup * steps))
    every = math.ceil(steps / config.evaluations)
    # A checkpoint with each measurement, so that the best one can be taken at the end.
    best = {
        "eval_strategy": "steps",
        "eval_steps": every,
        "save_strategy": "steps",
        "save_steps": every,
        "load_best_model_at_end": True,
        "metric_for_best_model": "loss",
    }
    return run.arguments(
        TrainingArguments,
        config,
        execution,
        num_train_epochs=1,  # the plan has them all
        train_sampling_strategy="sequential",
        lr_scheduler_type="warmup_stable_decay",
        lr_scheduler_kwargs={"num_decay_steps": decay, "decay_type": "linear"},
        **(best if measured else {}),
    )


def _once(rows: Sequence[Example], batch_size: int) -> Schedule:
    """Each row in its order, with its first gold answer."""
    return Schedule(np.arange(len(rows)), np.zeros(len(rows), dtype=np.int64), batch_size)


def _quality(config: ReaderTraining, development: Dataset, machine: Hardware) -> dict[str, Any]:
    """Exact match and F1 of the bundled reader and of the new one on the development split, if there is one."""
    if isinstance(config, ReaderDistillation):
        return {"quality": _compared(config, development, machine)}
    if not any(development.questions):
        return {}
    before, after = (
        evaluate_reader(ExtractiveReader(ReaderSettings(model=model), machine), development)
        for model in (BUNDLED, str(config.out))
    )
    return {"before": before, "after": after}


def _compared(config: ReaderDistillation, development: Dataset, machine: Hardware) -> dict[str, dict[str, float]]:
    """Teachers, and student before and after, on what was not trained on: evaluation, development or held out."""
    held = config.evaluation or sorted(config.work.glob("holdout-*.json"))
    asked = labelled([load_squad(path) for path in held] if config.evaluation else [development])
    asked = asked if any(asked.questions) else labelled(map(load_squad, held))
    if not any(asked.questions):
        return {}
    models = {f"teacher {i}, {Path(name).name}": name for i, name in enumerate(config.teacher, start=1)}
    if "qa_outputs.weight" in stored_weights(find_checkpoint("encoder", config.model)):
        models["student before"] = config.model
    return compare_readers(models | {"student after": str(config.out)}, asked, machine)


def _examples(
    config: ReaderTraining, datasets: Sequence[Dataset], windows: WindowMaker, machine: Hardware
) -> list[Example]:
    encode = _encoder(machine) if config.negatives else None
    rows: list[Example] = []
    for listing, dataset in enumerate(datasets):
        # A file that is listed twice joins its paragraphs differently and gets other negatives.
        rng = random.Random(f"{config.seed} {listing}")
        if config.join_words:
            dataset = data.join_paragraphs(dataset, config.join_words, rng)
        negatives = data.hard_negatives(dataset, config.negatives, rng, encode) if encode else []
        rows += make_examples(
            dataset, negatives, windows, rng, config.title_dropout, unlabelled=isinstance(config, ReaderDistillation)
        )
    if not rows:
        raise ConfigurationError("no questions are left to train on", field="data")
    return rows + _table_examples(config, datasets, windows)


def _table_examples(config: ReaderTraining, datasets: Sequence[Dataset], windows: WindowMaker) -> list[Example]:
    asked = sum(1 for dataset in datasets for _ in dataset.questions)
    made = make_tables(round(asked * config.tables / (1 - config.tables)), config.seed)
    # A title may be all that names the thing that the questions are about.
    return make_examples(made, [], windows, random.Random(config.seed))


def _encoder(machine: Hardware) -> data.Encode:
    """The bundled encoder, which remembers what it encoded: a file may be listed more than once."""
    encoder = SentenceTransformerEncoder(EncoderSettings(), machine)
    known: dict[str, NDArray[np.float32]] = {}

    def encode(texts: Sequence[str]) -> Matrix:
        new = [text for text in dict.fromkeys(texts) if text not in known]
        if new:
            known.update(zip(new, encoder.encode_passages(new), strict=True))
        return np.stack([known[text] for text in texts])

    return encode


def _base(config: ReaderTraining) -> tuple[PreTrainedTokenizerFast, PreTrainedModel]:
    """The tokenizer, and the encoder with a new question-answering head."""
    checkpoint = find_checkpoint("encoder", config.model)
    model_config, tokenizer = load_tokenizer(checkpoint)
    for key in ("hidden_dropout_prob", "dropout", "qa_dropout"):
        if hasattr(model_config, key):
            setattr(model_config, key, config.dropout)
    for key in ("attention_probs_dropout_prob", "attention_dropout"):
        if hasattr(model_config, key):
            setattr(model_config, key, 0.0)
    torch.manual_seed(config.seed)
    model, _ = load_transformers(
        AutoModelForQuestionAnswering, checkpoint, model_config, dtype=torch.float32, attention="eager"
    )
    return tokenizer, model


class _Rows(TorchDataset[dict[str, Any]]):
    def __init__(self, rows: Sequence[Example], plan: Schedule, soft: SoftTargets | None) -> None:
        self._rows, self._plan, self._soft = rows, plan, soft

    def __len__(self) -> int:
        return len(self._plan.example)

    def __getitem__(self, index: int) -> dict[str, Any]:
        example = self._plan.example[index]
        row = self._rows[example]
        start, end = row.targets[self._plan.target[index]]
        found = {"window": row.window, "start": start, "end": end}
        return found | {"soft": self._soft.of(example, len(row.window))} if self._soft else found


@dataclass(frozen=True, slots=True)
class Collator:
    """Rows with `window`, `start`, `end`, and perhaps `soft` targets, to the inputs of the model with padding."""

    pad_id: int
    token_types: bool

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        windows = [row["window"] for row in rows]
        shape = len(windows), round_up(max(map(len, windows)), WIDTH_STEP)
        ids, types, mask = stack(windows, pad_id=self.pad_id, shape=shape)
        batch = {
            "input_ids": ids,
            "attention_mask": mask,
            "start_positions": np.array([row["start"] for row in rows]),
            "end_positions": np.array([row["end"] for row in rows]),
        }
        if self.token_types:
            batch["token_type_ids"] = types
        if "soft" in rows[0]:
            padded = [np.pad(row["soft"], ((0, 0), (0, shape[1] - row["soft"].shape[1]))) for row in rows]
            batch["soft_targets"] = np.stack(padded, axis=1)
        return {key: torch.from_numpy(value) for key, value in batch.items()}


def save_reader(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Save in half precision, to which the model is changed: it changes no answer and halves the download."""
    (folder / checksums.FILE).unlink(missing_ok=True)  # of a run that was cut off before its end
    weights: torch.nn.Module = model
    weights.to(torch.float16)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
