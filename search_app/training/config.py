"""The settings of a training run, recorded beside its checkpoints and compared when it is resumed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from search_app.errors import ConfigurationError
from search_app.settings import BUNDLED, Precision

_FREE = ("out", "checkpoint_minutes")
"""A run may change these when it resumes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What the settings of all trainings share. `command` is the command line that starts one.

    out: the folder of the result; the run keeps its checkpoints in `work` below it.
    model: the checkpoint to start from.
    """

    command: ClassVar[str] = ""

    out: Path
    model: str = BUNDLED
    epochs: float = 1.0
    batch_size: int = 32
    learning_rate: float = 2e-5
    seed: int = 0
    precision: Precision = "auto"
    device: str = "auto"
    warmup: float = 0.06
    weight_decay: float = 0.01
    clip: float = 1.0
    checkpoint_minutes: float = 5.0

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("epochs", self.epochs, 0.0, 1000.0),
            ("batch_size", self.batch_size, 0, 4096),
            ("learning_rate", self.learning_rate, 0.0, 1.0),
        ):
            if not low < value <= high:
                raise ConfigurationError(f"{name} must be in ({low:g}, {high:g}], not {value:g}", field=name)

    @property
    def work(self) -> Path:
        """Folder of checkpoints, held-out questions and this record: what the finished model does not need."""
        return self.out / "work"

    def record(self) -> dict[str, object]:
        """The command and the settings that decide the result, as JSON values."""
        values = {key: _json(value) for key, value in dataclasses.asdict(self).items()}
        return {"command": self.command} | {key: values[key] for key in values if key not in _FREE}

    def claim_folder(self) -> None:
        """Reserve the output folder for this run. Raises ConfigurationError if it holds another run or other files."""
        path = self.work / "run.json"
        if path.is_file():
            other = self._defaults() | json.loads(path.read_text())
            changed = sorted(key for key, value in self.record().items() if other.get(key) != value)
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

    def _defaults(self) -> dict[str, object]:
        """For the record of an older version, which lacks the settings that came later."""
        fields = (field for field in dataclasses.fields(self) if field.default is not dataclasses.MISSING)
        return {"command": self.command} | {field.name: _json(field.default) for field in fields}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderTraining(Training):
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
    development: files whose loss decides when to stop and which checkpoint is the best; none: a share of `data`, by
        document (`development_share`).
    evaluations: how often it is measured over the whole run.
    patience: stop after so many evaluations without a new best one.
    freeze_encoder: train only the head, and the `train_layers` highest layers.
    """

    command: ClassVar[str] = "train reader"

    data: tuple[Path, ...]
    epochs: float = 2.0
    learning_rate: float = 2e-4
    max_tokens: int = 384
    stride: int = 128
    limit: int | None = None
    join_words: int = 0
    negatives: float = 0.0
    tables: float = 0.0
    title_dropout: float = 0.5
    holdout: float = 0.0
    evaluation: tuple[Path, ...] = ()
    decay: float = 1.0
    dropout: float = 0.05
    development: tuple[Path, ...] = ()
    development_share: float = 0.0
    evaluations: int = 10
    patience: int = 3
    freeze_encoder: bool = False
    train_layers: int = 0

    def __post_init__(self) -> None:
        Training.__post_init__(self)  # super() needs the class that slots=True replaces
        require_data(self.data)
        for name, value in (("evaluations", self.evaluations), ("patience", self.patience)):
            if value < 1:
                raise ConfigurationError(f"{name} must be at least 1, not {value}", field=name)
        if self.train_layers and not self.freeze_encoder:
            raise ConfigurationError("train_layers needs freeze_encoder", field="train_layers")
        if self.max_tokens < 32:
            raise ConfigurationError(f"max_tokens must be at least 32, not {self.max_tokens}", field="max_tokens")
        require_shares(
            negatives=self.negatives,
            holdout=self.holdout,
            tables=self.tables,
            development_share=self.development_share,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderDistillation(ReaderTraining):
    """Settings of `train_reader` with teachers: `model` is the student (Hinton et al. 2015).

    teacher: checkpoints of readers; their probabilities are averaged.
    temperature: the logits of teachers and student are divided by it, so that second choices count too.
    gold: weight of the gold answers; the teachers have the rest. Unlabelled questions have the teachers alone.
    """

    command: ClassVar[str] = "distill reader"

    teacher: tuple[str, ...]
    temperature: float = 2.0
    gold: float = 0.5

    def __post_init__(self) -> None:
        ReaderTraining.__post_init__(self)
        require_teacher(self.teacher)
        if not 0 < self.temperature <= 100:
            raise ConfigurationError(f"temperature must be in (0, 100], not {self.temperature:g}", field="temperature")
        if not 0 <= self.gold <= 1:
            raise ConfigurationError(f"gold must be in [0, 1], not {self.gold:g}", field="gold")


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderTraining(Training):
    """Settings of `train_encoder`.

    data: SQuAD JSON files, or JSON lines with question and passage.
    development: files that measure the result; none: a share of `data`, by document (`development_share`).
    collection: the collection that hard negatives are found in; none: the training paragraphs.
    """

    command: ClassVar[str] = "train encoder"

    data: tuple[Path, ...]
    development: tuple[Path, ...] = ()
    development_share: float = 0.1
    collection: str | None = None

    def __post_init__(self) -> None:
        Training.__post_init__(self)
        require_data(self.data)
        require_shares(development_share=self.development_share)


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderDistillation(Training):
    """Settings of `distill_encoder`: `model` is the student.

    teacher: checkpoints of encoders; several are averaged.
    data: SQuAD JSON files, or JSON lines with question and passage: labels are not needed.
    documents: files or folders whose passages are learned from too.
    development: labelled files that measure the result; none: a share of `data`, by document (`development_share`).
    """

    command: ClassVar[str] = "distill encoder"

    teacher: tuple[str, ...]
    data: tuple[Path, ...] = ()
    documents: tuple[Path, ...] = ()
    development: tuple[Path, ...] = ()
    development_share: float = 0.1
    learning_rate: float = 1e-4

    def __post_init__(self) -> None:
        Training.__post_init__(self)
        require_teacher(self.teacher)
        if not self.data and not self.documents:
            raise ConfigurationError(
                "no texts to learn from", hint="give --data FILE or --documents PATH", field="data"
            )
        require_shares(development_share=self.development_share)


def require_teacher(teacher: Sequence[str]) -> None:
    """Raise ConfigurationError if there is none."""
    if not teacher:
        raise ConfigurationError("no teacher", hint="give --teacher CHECKPOINT", field="teacher")


@dataclass(frozen=True, slots=True, kw_only=True)
class Adaptation(Training):
    """Settings of `adapt`.

    paths: what the texts were read from.
    extend_vocabulary: give so many words of the texts a token of their own.
    evaluation: SQuAD files that measure the model before and after.
    """

    paths: tuple[str, ...]
    batch_size: int = 16
    learning_rate: float = 5e-5
    max_tokens: int = 256
    extend_vocabulary: int = 0
    evaluation: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        Training.__post_init__(self)
        if self.max_tokens < 32:
            raise ConfigurationError(f"max_tokens must be at least 32, not {self.max_tokens}", field="max_tokens")
        if self.extend_vocabulary < 0:
            raise ConfigurationError("extend_vocabulary must not be negative", field="extend_vocabulary")


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderAdaptation(Adaptation):
    """Settings of `adapt` for an encoder: it learns to guess masked words."""

    command: ClassVar[str] = "adapt encoder"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderAdaptation(Adaptation):
    """Settings of `adapt` for a reader: it learns to guess masked words, and to find those that the text repeats."""

    command: ClassVar[str] = "adapt reader"


def require_data(data: Sequence[Path]) -> None:
    """Raise ConfigurationError if there are no files."""
    if not data:
        raise ConfigurationError("no training data", hint="give --data FILE", field="data")


def require_shares(**shares: float) -> None:
    """Raise ConfigurationError for the first that is not in [0, 1)."""
    for name, share in shares.items():
        if not 0 <= share < 1:
            raise ConfigurationError(f"{name} must be at least 0 and below 1, not {share:g}", field=name)


def _json(value: object) -> object:
    if isinstance(value, tuple):
        return [_json(item) for item in value]
    return str(value) if isinstance(value, Path) else value
