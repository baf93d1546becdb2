"""The settings of a training run, recorded beside its checkpoints and compared when it is resumed."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from search_app.errors import ConfigurationError
from search_app.settings import BUNDLED, Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderTraining:
    """Settings of `train_reader`.

    data: SQuAD JSON files; a file that is listed twice counts double.
    join_words: join short paragraphs of an article up to a random 30–100 % of this many words; 0: never.
    negatives: share of the questions that are also asked of a similar paragraph without their answer.
    tables: questions about generated tables, as a share of all questions.
    title_dropout: share of the questions whose passage is read without its title.
    decay: share of the steps, at the end, in which the learning rate falls to zero.
    holdout: share of each file, by article, that is held out for calibration.
    evaluation: files with paragraphs that must not be trained on.
    limit: use at most this many questions of each file.
    """

    data: tuple[Path, ...]
    out: Path
    model: str = BUNDLED
    epochs: float = 2.0
    batch_size: int = 32
    learning_rate: float = 2e-4
    max_tokens: int = 384
    stride: int = 128
    limit: int | None = None
    seed: int = 0
    join_words: int = 0
    negatives: float = 0.0
    tables: float = 0.0
    title_dropout: float = 0.5
    holdout: float = 0.0
    evaluation: tuple[Path, ...] = ()
    precision: Precision = "auto"
    device: str = "auto"
    warmup: float = 0.06
    decay: float = 1.0
    weight_decay: float = 0.01
    dropout: float = 0.05
    clip: float = 1.0
    checkpoint_minutes: float = 5.0

    def __post_init__(self) -> None:
        if not self.data:
            raise ConfigurationError("no training data", hint="give --data FILE", field="data")
        for name, value, low, high in (
            ("epochs", self.epochs, 0.0, 1000.0),
            ("batch_size", self.batch_size, 0, 4096),
            ("learning_rate", self.learning_rate, 0.0, 1.0),
            ("max_tokens", self.max_tokens, 31, 1 << 20),
        ):
            if not low < value <= high:
                raise ConfigurationError(f"{name} must be in ({low:g}, {high:g}], not {value:g}", field=name)
        for name, share in (("negatives", self.negatives), ("holdout", self.holdout), ("tables", self.tables)):
            if not 0 <= share < 1:
                raise ConfigurationError(f"{name} must be at least 0 and below 1, not {share:g}", field=name)

    @property
    def work(self) -> Path:
        """Folder of checkpoints, held-out questions and this record: what the finished reader does not need."""
        return self.out / "work"

    def record(self) -> dict[str, object]:
        """The settings that decide the result."""
        values = {**dataclasses.asdict(self), "data": [str(p) for p in self.data], "out": str(self.out)}
        values["evaluation"] = [str(p) for p in self.evaluation]
        return {key: value for key, value in values.items() if key not in ("checkpoint_minutes", "out")}

    def claim_folder(self) -> None:
        """Reserve the output folder for this run. Raises ConfigurationError if it holds another run or other files."""
        path = self.work / "run.json"
        if path.is_file():
            other = json.loads(path.read_text())
            changed = sorted(
                key for key in other.keys() | self.record().keys() if other.get(key) != self.record().get(key)
            )
            if changed:
                raise ConfigurationError(
                    f"{self.out} holds a run with other settings ({', '.join(changed)})",
                    hint="repeat its settings to resume it, or give another --out",
                    field="out",
                )
            return
        if self.out.exists() and any(self.out.iterdir()):
            raise ConfigurationError(
                f"{self.out} is not empty and not a training run", hint="give another --out", field="out"
            )
        self.work.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.record(), indent=1))
