"""What every training run shares: its arguments, its checkpoints, and an error that tells what to do on a full disk."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PrinterCallback, Trainer, TrainingArguments

from search_app.errors import TrainingInterrupted
from search_app.hardware import Hardware
from search_app.models import checksums
from search_app.models.execution import Execution
from search_app.training import card
from search_app.training.config import Training
from search_app.training.progress import TrainingProgress

A = TypeVar("A", bound=TrainingArguments)
D = TypeVar("D", bound=np.generic)
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# safetensors and torch put the error of the system into the text of their own.
_NO_ROOM_TEXT = (*map(os.strerror, _NO_ROOM), "PytorchStreamWriter failed writing file")
_log = logging.getLogger(__name__)


def arguments(cls: type[A], config: Training, execution: Execution, **more: Any) -> A:
    """Arguments of a Trainer that keeps two checkpoints, made by time (`TrainingProgress`), and reports nowhere."""
    on_cpu = execution.device.type == "cpu"
    values: dict[str, Any] = {
        "output_dir": str(config.work),
        "num_train_epochs": config.epochs,
        "per_device_train_batch_size": config.batch_size,
        "per_device_eval_batch_size": config.batch_size,
        "learning_rate": config.learning_rate,
        "warmup_steps": config.warmup,
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.clip,
        "bf16": execution.precision == "bfloat16",
        "fp16": execution.precision == "float16",
        "use_cpu": on_cpu,
        "dataloader_pin_memory": not on_cpu,
        "seed": config.seed,
        "save_strategy": "no",
        "save_total_limit": 2,
        "logging_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "remove_unused_columns": False,
    }
    return cls(**values | more)


def train(trainer: Trainer, work: Path) -> None:
    """Train from the last checkpoint in `work`, if there is one. Raises TrainingInterrupted if the disk is full."""
    trainer.remove_callback(PrinterCallback)
    last = last_checkpoint(work)
    if last:
        _log.info("resuming from %s", last.name)
    with saving(work):
        trainer.train(resume_from_checkpoint=str(last) if last else None)


@contextmanager
def saving(work: Path) -> Iterator[None]:
    """Turn the error of a full disk into TrainingInterrupted, which names the checkpoint that is left."""
    try:
        yield
    except Exception as error:  # the libraries raise a different one for each kind of file
        if not _is_full(error):
            raise
        raise TrainingInterrupted(_full(work)) from error


def once(path: Path, make: Callable[[], Any]) -> Any:
    """The JSON value in `path`; else make it and write it. So a resumed run works with what the first one had."""
    if path.is_file():
        return json.loads(path.read_text(encoding="utf-8"))
    value = make()
    new = path.with_suffix(".new")
    new.write_text(json.dumps(value, ensure_ascii=False, indent=1), encoding="utf-8")
    new.replace(path)
    return value


def array_once(path: Path, shape: tuple[int, ...], make: Callable[[], NDArray[D]]) -> NDArray[D]:
    """As `once`, for an array in a npy file. One of another shape belongs to other data and is made again."""
    if path.is_file():
        found: NDArray[D] = np.load(path)
        if found.shape == shape:
            return found
    value = make()
    new = path.with_suffix(".new")
    with saving(path.parent), new.open("wb") as stream:
        np.save(stream, value)
    new.replace(path)
    return value


def finish(config: Training, facts: Mapping[str, Any], render: Callable[[Mapping[str, Any]], str]) -> None:
    """Write facts, checksums and the model card, which says that the run is complete."""
    facts = {"settings": config.record(), **facts}
    (config.out / "training.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    checksums.write(config.out)
    (config.out / card.FILE).write_text(render(facts), encoding="utf-8")


def is_finished(config: Training) -> bool:
    """Whether the run in the output folder, which it claims, is complete."""
    config.claim_folder()
    if not (config.out / card.FILE).is_file():
        return False
    _log.info("%s is already finished", config.out)
    return True


def cost(execution: Execution, machine: Hardware, progress: TrainingProgress) -> dict[str, Any]:
    """Facts for the model card: time, loss, machine."""
    on_cpu = execution.device.type == "cpu"
    return {
        "seconds": round(progress.seconds),
        "loss": progress.loss,
        "processor": machine.processor if on_cpu else torch.cuda.get_device_name(),
        "threads": torch.get_num_threads() if on_cpu else 0,
        "precision": execution.precision,
    }


def last_checkpoint(work: Path) -> Path | None:
    """The newest complete checkpoint. Those that a kill or a full disk left incomplete are deleted."""
    whole: list[Path] = []
    for folder in work.glob("checkpoint-*"):
        try:
            # The Trainer writes this file last.
            json.loads((folder / "trainer_state.json").read_text())
            whole.append(folder)
        except (OSError, ValueError):
            shutil.rmtree(folder)
    return max(whole, key=lambda folder: int(folder.name.rpartition("-")[2]), default=None)


def _is_full(error: Exception) -> bool:
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return True
    return any(text in str(error) for text in _NO_ROOM_TEXT)


def _full(work: Path) -> str:
    last = last_checkpoint(work)
    kept = f"{last.name} is kept" if last else "no checkpoint is complete"
    return f"the disk of {work} is full: {kept}"
