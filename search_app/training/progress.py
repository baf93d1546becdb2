"""Progress of a training run: checkpoints by time, a progress bar, the time over all resumed runs, and an early end."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from tqdm import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState


class TrainingProgress(TrainerCallback):
    """Requests a checkpoint every `checkpoint_seconds`; `loss` is the mean since the progress was last shown.

    `path` stores the seconds spent until each checkpoint, so that a resumed run counts them too.
    """

    def __init__(self, path: Path, tokens_per_step: float, checkpoint_seconds: float) -> None:
        self._path = path
        self._tokens_per_step = tokens_per_step
        self._checkpoint_seconds = checkpoint_seconds
        self._before = self._begin = self._saved = self._shown = 0.0
        self._shown_step = 0
        self._bar: tqdm[Any] = tqdm(disable=True)
        self.loss = float("nan")

    @property
    def seconds(self) -> float:
        """Training time until now over all runs, without the steps that a kill undid."""
        return self._before + time.monotonic() - self._begin

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._begin = self._saved = self._shown = time.monotonic()
        self._shown_step = state.global_step
        self._before = self._times().get(str(state.global_step), 0.0) if state.global_step else 0.0
        # A terminal gets a bar, a log file a line every half minute.
        interval = 0.5 if sys.stderr.isatty() else 30
        self._bar = tqdm(total=state.max_steps, initial=state.global_step, unit="step", mininterval=interval)

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        now = time.monotonic()
        last = state.global_step == state.max_steps
        control.should_save |= now - self._saved >= self._checkpoint_seconds and not last
        # With a development split, the last step is measured too, and saved: it may be the best one.
        control.should_evaluate |= last and args.eval_strategy != "no"
        control.should_save |= control.should_evaluate
        control.should_log = now - self._shown >= self._bar.mininterval or last
        self._bar.update()

    def on_log(self, args: Any, state: TrainerState, control: TrainerControl, **values: Any) -> None:
        logs: dict[str, float] = values["logs"]
        if "loss" not in logs:
            return  # the summary at the end
        now = time.monotonic()
        self.loss = logs["loss"]
        pace = self._tokens_per_step * (state.global_step - self._shown_step) / (now - self._shown)
        self._bar.set_postfix_str(f"loss {self.loss:.3f}, {pace:,.0f} tokens/s", refresh=False)
        self._shown, self._shown_step = now, state.global_step

    def on_save(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._saved = time.monotonic()
        # Replaced as a whole: a full disk must not leave half a file, which no later run could read.
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps(self._times() | {str(state.global_step): self.seconds}))
        new.replace(self._path)

    def on_train_end(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._bar.close()

    def _times(self) -> dict[str, float]:
        times: dict[str, float] = json.loads(self._path.read_text()) if self._path.is_file() else {}
        return times


class Patience(TrainerCallback):
    """Ends a run when the last `evaluations` evaluations had no new lowest loss.

    It counts in the log of the run, which a checkpoint keeps; a resumed run goes on counting.
    """

    def __init__(self, evaluations: int) -> None:
        self._evaluations = evaluations

    def is_out(self, state: TrainerState) -> bool:
        """Whether the run has ended early."""
        losses = [loss for _, loss in measured_losses(state)]
        return bool(losses) and len(losses) - 1 - losses.index(min(losses)) >= self._evaluations

    def on_evaluate(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        control.should_training_stop |= self.is_out(state)

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        # A run that was interrupted behind its last evaluation.
        control.should_training_stop |= self.is_out(state)


def measured_losses(state: TrainerState) -> list[tuple[int, float]]:
    """(step, loss of the development split) of each evaluation so far."""
    return [(int(entry["step"]), entry["eval_loss"]) for entry in state.log_history if "eval_loss" in entry]
