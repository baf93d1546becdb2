"""Fine-tunes a BERT-family encoder into an extractive reader with transformers' Trainer.

Runs as `search-app train reader`. A run that was killed goes on from its last checkpoint when the same command is
given again: the order of the examples depends on the seed alone.
"""

from __future__ import annotations

import json
import logging
import random
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch.utils.data import Dataset as TorchDataset
from tqdm import tqdm
from transformers import (
    AutoModelForQuestionAnswering,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from search_app import hardware
from search_app.errors import ConfigurationError
from search_app.evaluation.datasets import Dataset, load_squad
from search_app.models import checksums
from search_app.models.batching import round_up
from search_app.models.checkpoint import find_checkpoint, load_tokenizer, load_transformers
from search_app.models.positions import longest_input
from search_app.readers.windows import WindowMaker, stack, takes_token_types
from search_app.settings import BUNDLED
from search_app.training import card, features
from search_app.training.config import ReaderTraining

WIDTH_STEP = 16
"""Batches are padded to a multiple of so many tokens."""

_log = logging.getLogger(__name__)


def train_reader(config: ReaderTraining) -> Path:
    """Trains, or goes on training, and returns the folder with weights, tokenizer and model card."""
    config.claim_folder()
    if (config.out / card.FILE).is_file():
        _log.info("%s is finished already", config.out)
        return config.out
    machine = hardware.detect(config.device)
    hardware.set_threads()
    precision = machine.precision if config.precision == "auto" else config.precision
    tokenizer, model = _base(config)
    datasets, facts = _read(config)
    max_tokens = min(config.max_tokens, longest_input(model.config), tokenizer.model_max_length)
    rows = _examples(config, datasets, WindowMaker(tokenizer, max_tokens=max_tokens, stride=config.stride))
    lengths = np.array([len(row.window) for row in rows], dtype=np.int64)
    choices = np.array([len(row.targets) for row in rows], dtype=np.int64)
    plan = features.schedule(lengths, choices, batch_size=config.batch_size, epochs=config.epochs, seed=config.seed)
    tokens = features.padded_tokens(plan, -(-lengths // WIDTH_STEP) * WIDTH_STEP)
    _log.info("%d examples, %d steps, %.1f M tokens with padding", len(rows), plan.steps, tokens / 1e6)

    clock = _Clock(config.work / "seconds.json", tokens / plan.steps, config.checkpoint_minutes * 60)
    on_cpu = machine.device == "cpu"
    trainer = _InOrder(
        clock,
        model=model,
        args=TrainingArguments(
            output_dir=str(config.work),
            num_train_epochs=1,
            per_device_train_batch_size=config.batch_size,
            learning_rate=config.learning_rate,
            lr_scheduler_type="linear",
            warmup_steps=config.warmup,
            weight_decay=config.weight_decay,
            max_grad_norm=config.clip,
            bf16=precision == "bfloat16",
            fp16=precision == "float16",
            use_cpu=on_cpu,
            dataloader_pin_memory=not on_cpu,
            seed=config.seed,
            save_strategy="no",
            save_total_limit=2,
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            remove_unused_columns=False,
        ),
        train_dataset=_Rows(rows, plan),
        data_collator=_Collator(int(tokenizer.pad_token_id or 0), takes_token_types(model.config)),
    )
    trainer.remove_callback(transformers.PrinterCallback)
    last = _last_checkpoint(config.work)
    if last:
        _log.info("goes on from %s", last.name)
    trainer.train(resume_from_checkpoint=str(last) if last else None)

    _save(model, tokenizer, config.out)
    facts |= {
        "base": card.BUNDLED_BASE if config.model == BUNDLED else config.model,
        "steps": plan.steps,
        "examples": len(rows),
        "tokens": tokens,
        "seconds": round(clock.seconds),
        "processor": machine.processor if on_cpu else torch.cuda.get_device_name(),
        "threads": torch.get_num_threads() if on_cpu else 0,
        "precision": precision,
        "loss": clock.loss,
    }
    (config.out / "training.json").write_text(json.dumps({"settings": config.record()} | facts, indent=1) + "\n")
    checksums.write(config.out)
    card.write(config.out)
    return config.out


def held_out(folder: Path, only: Sequence[Path] = ()) -> list[tuple[Path, Path]]:
    """(training file, its held-out questions) of a run; raises ConfigurationError where nothing was held out."""
    record = folder / "work" / "run.json"
    if not record.is_file():
        raise ConfigurationError(
            f"{folder} holds no training run", hint="give the --out folder of: search-app train reader"
        )
    files = [
        path for path in dict.fromkeys(map(Path, json.loads(record.read_text())["data"])) if path in only or not only
    ]
    pairs = [(path, held) for path in files if (held := folder / "work" / f"holdout-{path.stem}.json").is_file()]
    if not pairs:
        raise ConfigurationError(f"no questions were held out in {folder}", hint="train with --holdout 0.05")
    return pairs


def _read(config: ReaderTraining) -> tuple[list[Dataset], dict[str, Any]]:
    """The training files without held-out and overlapping paragraphs, one per listing; and what was found."""
    evaluation = [load_squad(path) for path in config.evaluation]
    clean: dict[Path, Dataset] = {}
    held: list[Dataset] = []
    facts: dict[str, Any] = {"files": {}, "checked_against": [path.name for path in config.evaluation]}
    for path in dict.fromkeys(config.data):
        training, kept_out = features.hold_out(load_squad(path), config.holdout, config.seed)
        training, dropped = features.without_overlap(training, evaluation)
        clean[path] = training if config.limit is None else features.limit_questions(training, config.limit)
        held.append(features.without_overlap(kept_out, evaluation)[0])
        facts["files"][path.name] = {
            "listed": config.data.count(path),
            "questions": sum(1 for _ in clean[path].questions),
            "held_out": sum(1 for _ in kept_out.questions),
            "overlapping_paragraphs": dropped,
        }
    for dataset in held:
        if next(dataset.questions, None) is None:
            continue
        (config.work / f"holdout-{dataset.name}.json").write_text(dataset.to_json(), encoding="utf-8")
    return [clean[path] for path in config.data], facts


def _examples(config: ReaderTraining, datasets: Sequence[Dataset], windows: WindowMaker) -> list[features.Example]:
    rows: list[features.Example] = []
    for listing, dataset in enumerate(datasets):
        # A second listing of a file joins its paragraphs anew and meets other near misses.
        rng = random.Random(f"{config.seed} {listing}")
        if config.join_words:
            dataset = features.join_paragraphs(dataset, config.join_words, rng)
        made, misplaced = features.examples(dataset, features.near_misses(dataset, config.negatives, rng), windows)
        if misplaced:
            _log.warning("%s: %d answers do not stand where the file says; left out", dataset.name, misplaced)
        rows += made
    if not rows:
        raise ConfigurationError("no question is left to train on", field="data")
    return rows


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
    def __init__(self, rows: Sequence[features.Example], plan: features.Schedule) -> None:
        self._rows, self._plan = rows, plan

    def __len__(self) -> int:
        return len(self._plan.example)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self._rows[self._plan.example[index]]
        start, end = row.targets[self._plan.target[index]]
        return {"window": row.window, "start": start, "end": end}


@dataclass(frozen=True, slots=True)
class _Collator:
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
        return {key: torch.from_numpy(value) for key, value in batch.items()}


class _InOrder(Trainer):
    """The schedule is the order."""

    def __init__(self, clock: _Clock, **arguments: Any) -> None:
        super().__init__(callbacks=[clock], **arguments)
        self._clock = clock

    def _get_train_sampler(self, train_dataset: Any = None) -> torch.utils.data.Sampler[int]:
        rows: Any = self.train_dataset if train_dataset is None else train_dataset
        return torch.utils.data.SequentialSampler(rows)

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        loss: torch.Tensor = super().training_step(*args, **kwargs)
        self._clock.losses.append(loss.detach())
        return loss


class _Clock(TrainerCallback):
    """Asks for a checkpoint every few minutes, shows how long is left, and keeps the time over kills and resumes."""

    def __init__(self, path: Path, tokens_a_step: float, checkpoint_seconds: float) -> None:
        self._path = path
        self._tokens = tokens_a_step
        self._checkpoint = checkpoint_seconds
        self._before = self._begin = self._saved = self._shown = 0.0
        self._bar: tqdm[Any] = tqdm(disable=True)
        self.losses: list[torch.Tensor] = []
        self.loss = float("nan")

    @property
    def seconds(self) -> float:
        """Training time up to now, over all runs, without what a kill undid."""
        return self._before + time.monotonic() - self._begin

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._begin = self._saved = self._shown = time.monotonic()
        if state.global_step and self._path.is_file():
            self._before = json.loads(self._path.read_text()).get(str(state.global_step), 0.0)
        # A log file gets a line every half a minute, a terminal a bar.
        interval = 0.5 if sys.stderr.isatty() else 30
        self._bar = tqdm(total=state.max_steps, initial=state.global_step, unit="step", mininterval=interval)

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        now = time.monotonic()
        control.should_save = now - self._saved >= self._checkpoint and state.global_step < state.max_steps
        if now - self._shown >= self._bar.mininterval or state.global_step == state.max_steps:
            self.loss = float(torch.stack(self.losses).mean())
            pace = self._tokens * len(self.losses) / (now - self._shown)
            self._bar.set_postfix_str(f"loss {self.loss:.3f}, {pace:,.0f} tokens/s", refresh=False)
            self.losses.clear()
            self._shown = now
        self._bar.update()

    def on_train_end(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._bar.close()

    def on_save(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._saved = time.monotonic()
        times = json.loads(self._path.read_text()) if self._path.is_file() else {}
        self._path.write_text(json.dumps(times | {str(state.global_step): self.seconds}))


def _last_checkpoint(work: Path) -> Path | None:
    """The newest checkpoint that was written whole; what a kill left half done is removed."""
    whole: list[Path] = []
    for folder in work.glob("checkpoint-*"):
        try:
            # Trainer writes this file last.
            json.loads((folder / "trainer_state.json").read_text())
            whole.append(folder)
        except (OSError, ValueError):
            shutil.rmtree(folder)
    return max(whole, key=lambda folder: int(folder.name.rpartition("-")[2]), default=None)


def _save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Half precision on disk: a reader's answers do not change by it, and it is half of the download."""
    weights: torch.nn.Module = model
    weights.to(torch.float16)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
