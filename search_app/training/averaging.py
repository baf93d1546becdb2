"""Average the weights of checkpoints of one run, or of runs from one base (Wortsman et al. 2022, "Model soups")."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from search_app import hardware
from search_app.encoders.sentence_transformer import SentenceTransformerEncoder
from search_app.errors import ConfigurationError
from search_app.evaluation.datasets import load_squad
from search_app.models import checksums
from search_app.settings import EncoderSettings
from search_app.training import card
from search_app.training.measuring import compare_readers, labelled
from search_app.training.pairs import load_pairs
from search_app.training.retrieval import measure

FACTS = "averaging.json"
_OWN = ("README.md", "training.json", "pruning.json", "reader.json", checksums.FILE, "work")
"""What describes one checkpoint and not the mean: cards, calibration, checksums, its run."""
_SAME = ("config.json", "tokenizer.json")
_INCIDENTAL = (
    "dtype", "torch_dtype", "transformers_version", "_name_or_path",
    "hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout",
)  # fmt: skip
"""Settings that a trained model's answers do not depend on."""


def average(checkpoints: Sequence[Path], out: Path, data: Sequence[Path] = ()) -> dict[str, dict[str, float]]:
    """Write the mean of the checkpoints' weights to `out`, with the other files of the first one.

    Returns the measures of each checkpoint and of the mean on the labelled questions of `data`; empty without any.

    Raises ConfigurationError for fewer than two checkpoints, for those that do not belong together, and for a folder
    `out` with other files.
    """
    _require(checkpoints, out)
    first = checkpoints[0]
    means = {file: _mean(file, checkpoints) for file in _weights(first)}
    out.mkdir(parents=True, exist_ok=True)
    for item in first.iterdir():
        if item.name not in _OWN and item.suffix != ".safetensors":
            _copy(item, out / item.name)
    for file, weights in means.items():
        save_file(weights, out / file, metadata={"format": "pt"})
    scores = _measured([*checkpoints, out], data)
    facts = {"checkpoints": [folder.name for folder in checkpoints], "quality": scores}
    (out / FACTS).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    (out / card.FILE).write_text(card.averaged(facts), encoding="utf-8")
    checksums.write(out)
    return scores


def _copy(item: Path, to: Path) -> None:
    if item.is_dir():
        shutil.copytree(item, to)
    else:
        shutil.copy2(item, to)


def _require(checkpoints: Sequence[Path], out: Path) -> None:
    if len(checkpoints) < 2:
        raise ConfigurationError("one checkpoint has no mean", hint="give two or more", field="checkpoints")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigurationError(f"{out} is not empty", hint="give another --out", field="out")
    for folder in checkpoints:
        checksums.verify(folder, folder.name)
        if not _weights(folder):
            raise ConfigurationError(f"{folder} has no safetensors weights", field="checkpoints")
    first = checkpoints[0]
    if not (first / "tokenizer.json").is_file():
        raise ConfigurationError(
            f"{first} has no tokenizer.json", hint="put the folder of a finished model first", field="checkpoints"
        )
    for other in checkpoints[1:]:
        for name in _SAME:
            # A checkpoint inside a run has no tokenizer of its own.
            if (other / name).is_file() and _settings(other / name) != _settings(first / name):
                raise _different(f"{name} differs", first, other)


def _mean(file: Path, checkpoints: Sequence[Path]) -> dict[str, torch.Tensor]:
    """In float64, then in the precision of the first; integers are the first one's."""
    first = _read(checkpoints[0] / file)
    total = {name: weight.double() for name, weight in first.items()}
    for folder in checkpoints[1:]:
        other = _read(folder / file)
        if wrong := _wrong(first, other):
            raise _different(f"{file} does not fit, first at {wrong}", checkpoints[0], folder)
        for name in total:
            total[name] += other[name].double()
    return {
        name: (total[name] / len(checkpoints)).to(weight.dtype) if weight.is_floating_point() else weight
        for name, weight in first.items()
    }


def _wrong(first: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> str | None:
    """The first weight, in order of name, that only one of them has or that has another shape."""
    names = sorted(first.keys() | other.keys())
    return next((n for n in names if n not in first or n not in other or first[n].shape != other[n].shape), None)


def _read(path: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ConfigurationError(f"cannot read {path}: {error}", field="checkpoints") from error


def _different(what: str, first: Path, other: Path) -> ConfigurationError:
    return ConfigurationError(
        f"{first} and {other} cannot be averaged: {what}",
        hint="only checkpoints of the same base and the same kind of training have a meaningful mean",
        field="checkpoints",
    )


def _weights(folder: Path) -> list[Path]:
    """Relative paths of the weights of a model and of the modules of an encoder."""
    return sorted(
        path.relative_to(folder) for kind in ("*.safetensors", "[0-9]_*/*.safetensors") for path in folder.glob(kind)
    )


def _settings(path: Path) -> object:
    values = json.loads(path.read_text(encoding="utf-8"))
    return {key: value for key, value in values.items() if key not in _INCIDENTAL}


def _measured(folders: Sequence[Path], data: Sequence[Path]) -> dict[str, dict[str, float]]:
    if not data:
        return {}
    machine = hardware.detect()
    hardware.set_threads()
    # A checkpoint inside a run cannot be loaded by itself.
    models = {name: str(folder) for name, folder in _named(folders) if (folder / "tokenizer.json").is_file()}
    if not (folders[0] / "modules.json").is_file():
        return compare_readers(models, labelled(map(load_squad, data)), machine)
    asked = labelled(map(load_pairs, data))
    return {
        name: measure(SentenceTransformerEncoder(EncoderSettings(model=model), machine), asked)
        for name, model in models.items()
    }


def _named(folders: Sequence[Path]) -> Iterable[tuple[str, Path]]:
    names = [*(f"{i}, {folder.name}" for i, folder in enumerate(folders[:-1], start=1)), "mean"]
    return zip(names, folders, strict=True)
