"""Real runs of the command line on a tiny model: completed, killed and resumed, refused."""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from checkpoints import make_checkpoint
from labelled import squad_file
from safetensors.torch import load_file
from transformers import TrainerCallback, TrainerControl, TrainerState

from search_app.errors import ConfigurationError, TrainingInterrupted
from search_app.hardware import Hardware
from search_app.readers.extractive import ExtractiveReader
from search_app.settings import ReaderSettings
from search_app.training.config import ReaderTraining
from search_app.training.reader import train_reader
from search_app.types import Hit, Passage


def _command(data: Path, model: Path, out: Path, *more: str) -> list[str]:
    return [
        sys.executable, "-m", "search_app.cli", "train", "reader", "--data", str(data), "--data", str(data),
        "--model", str(model), "--out", str(out), "--batch-size", "4", "--max-tokens", "64", "--epochs", "2",
        "--learning-rate", "0.002", "--join-words", "60", "--negatives", "0.3", "--holdout", "0.2", "--seed", "3",
        *more,
    ]  # fmt: skip


def _config(folder: Path, model: Path) -> ReaderTraining:
    """The same settings as `_command`'s."""
    return ReaderTraining(
        data=(folder / "years.json",) * 2,
        evaluation=(folder / "eval.json",),
        model=str(model),
        out=folder / "out",
        batch_size=4,
        max_tokens=64,
        epochs=2.0,
        learning_rate=0.002,
        join_words=60,
        negatives=0.3,
        holdout=0.2,
        seed=3,
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint("bert", tmp_path_factory.mktemp("base") / "tiny", reader=False)


@pytest.fixture(scope="module")
def trained(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run."""
    folder = tmp_path_factory.mktemp("trained")
    data = squad_file(folder / "years.json", articles=40, seed=1)
    evaluation = json.loads(data.read_text())
    evaluation["data"] = evaluation["data"][1:2]
    (folder / "eval.json").write_text(json.dumps(evaluation))
    done = subprocess.run(
        _command(data, model, folder / "out", "--evaluation", str(folder / "eval.json")),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_a_trained_folder_is_a_reader_that_loads_and_answers(trained: Path) -> None:
    reader = ExtractiveReader(
        ReaderSettings(model=str(trained / "out")), Hardware("test", 1, frozenset(), "cpu", "float32")
    )
    text = "river treaty 1815 glacier"
    hit = Hit(Passage("p", "d", "", text, 0, len(text)), 1.0)
    assert reader.read(["When was it 1?"], [[hit]], top_k=1)[0]


def test_weights_are_half_precision_with_checksums_and_no_pickle(trained: Path) -> None:
    out = trained / "out"
    assert json.loads((out / "config.json").read_text())["dtype"] == "float16"
    names = {path.name for path in out.iterdir()}
    assert {"model.safetensors", "tokenizer.json", "README.md", "SHA256SUMS", "training.json"} <= names
    assert not {name for name in names if name.endswith((".bin", ".pt", ".pth"))}


def test_the_card_states_data_training_and_energy(trained: Path) -> None:
    card = (trained / "out" / "README.md").read_text()
    facts = json.loads((trained / "out" / "training.json").read_text())
    file = facts["files"]["years.json"]
    assert file["listed"] == 2
    assert file["held_out"] == 24
    assert file["overlapping_paragraphs"] == 3
    assert f"{facts['steps']:,} steps of 4 windows" in card
    assert "search-app train reader --data years.json --data years.json" in card
    assert "kWh" in card
    assert "hours in" in card
    assert "`eval.json`" in card
    assert str(trained) not in card


def test_held_out_and_evaluated_paragraphs_are_not_trained_on(trained: Path) -> None:
    held = json.loads((trained / "out" / "work" / "holdout-years.json").read_text())
    assert sum(len(article["paragraphs"]) for article in held["data"]) == 24
    facts = json.loads((trained / "out" / "training.json").read_text())
    assert facts["files"]["years.json"]["questions"] == 120 - 24 - 3


def test_a_finished_run_is_not_trained_again(trained: Path, model: Path) -> None:
    before = (trained / "out" / "model.safetensors").stat().st_mtime_ns
    assert train_reader(_config(trained, model)) == trained / "out"
    assert (trained / "out" / "model.safetensors").stat().st_mtime_ns == before


def test_a_killed_run_resumes_from_its_checkpoint_and_ends_with_the_same_weights(
    model: Path, trained: Path, tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    command = _command(
        trained / "years.json", model, out, "--evaluation", str(trained / "eval.json"), "--checkpoint-minutes", "0.005"
    )
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 120
    while not any(out.glob("work/checkpoint-*/trainer_state.json")):
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (out / "model.safetensors").exists()
    # A kill in the middle of a checkpoint leaves it without its last file.
    (out / "work" / "checkpoint-9999").mkdir()
    again = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert again.returncode == 0, again.stderr
    assert (out / "model.safetensors").read_bytes() == (trained / "out" / "model.safetensors").read_bytes()


def test_another_run_in_the_same_folder_is_refused_with_the_settings_that_differ(trained: Path, model: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"holds a run with other settings \(epochs, limit\)"):
        train_reader(dataclasses.replace(_config(trained, model), limit=7, epochs=3.0))


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("mine")
    with pytest.raises(ConfigurationError, match="not empty"):
        ReaderTraining(data=(Path("x"),), out=tmp_path).claim_folder()


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0.0},
        {"negatives": 1.0},
        {"holdout": -0.1},
        {"batch_size": 0},
        {"data": ()},
        {"development_share": 1.0},
        {"patience": 0},
        {"train_layers": 2},
    ],
)
def test_invalid_settings_are_named(tmp_path: Path, wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ReaderTraining(**{"data": (Path("x"),), "out": tmp_path, **wrong})  # type: ignore[arg-type]
    assert caught.value.field == next(iter(wrong))


def test_a_full_disk_names_the_checkpoint_that_is_kept_and_the_run_resumes_from_it(
    trained: Path, model: Path, tmp_path: Path
) -> None:
    config = dataclasses.replace(_config(trained, model), out=tmp_path / "full", checkpoint_minutes=0.0)
    try:
        with pytest.raises(TrainingInterrupted, match=r"is full: checkpoint-3 is kept; free some space and run the"):
            train_reader(config, [_Disk(full_after=3)])
    finally:
        _Disk.limit(resource.RLIM_INFINITY)
    assert not (config.out / "model.safetensors").exists()
    train_reader(config)
    assert (config.out / "model.safetensors").read_bytes() == (trained / "out" / "model.safetensors").read_bytes()


class _Disk(TrainerCallback):
    """From step `full_after` on, files of this process cannot grow past 10 kB."""

    def __init__(self, full_after: int) -> None:
        self._full_after = full_after

    def on_save(self, args: object, state: TrainerState, control: TrainerControl, **_: object) -> None:
        if state.global_step == self._full_after:
            self.limit(10_000)

    @staticmethod
    def limit(size: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def test_a_run_ends_when_the_development_loss_no_longer_falls_and_keeps_the_best_checkpoint(
    model: Path, tmp_path: Path
) -> None:
    config = ReaderTraining(
        data=(squad_file(tmp_path / "years.json", articles=20, seed=1),),
        out=tmp_path / "out",
        model=str(model),
        batch_size=4,
        max_tokens=64,
        epochs=20.0,
        learning_rate=0.01,
        development_share=0.2,
        evaluations=50,
        patience=2,
    )
    train_reader(config)
    facts = json.loads((config.out / "training.json").read_text())
    losses = dict(facts["losses"])
    assert facts["files"]["years.json"]["development"] == 12
    assert facts["steps"] < facts["planned_steps"]
    assert facts["best_step"] == min(losses, key=losses.__getitem__) == list(losses)[-3]
    best = load_file(config.work / f"checkpoint-{facts['best_step']}" / "model.safetensors")
    kept = load_file(config.out / "model.safetensors")
    assert all(torch.equal(kept[name], best[name].half()) for name in kept)
    card = (config.out / "README.md").read_text()
    assert f"The run ended at step {facts['steps']} of {facts['planned_steps']}: the loss no longer fell" in card
    assert f"| f1 | {facts['before']['f1']:.3f} | {facts['after']['f1']:.3f} |" in card


def test_a_document_of_the_development_file_is_not_trained_on(model: Path, tmp_path: Path) -> None:
    data = squad_file(tmp_path / "years.json", articles=4, seed=1)
    other = squad_file(tmp_path / "other.json", articles=1, seed=1)
    with pytest.raises(ConfigurationError, match=r"in the training and the development data: questions 0-0, 0-1, 0-2"):
        train_reader(ReaderTraining(data=(data,), development=(other,), out=tmp_path / "out", model=str(model)))


def test_answers_that_are_not_at_their_offset_are_listed_and_left_out(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    squad = json.loads(squad_file(tmp_path / "years.json", articles=2, seed=1).read_text())
    gold = squad["data"][0]["paragraphs"]
    text, wrong = gold[0]["context"], gold[0]["qas"][0]["answers"][0]
    wrong["answer_start"] = 0
    gold[1]["qas"][0]["answers"].append({"text": "nowhere", "answer_start": 5000})
    (tmp_path / "years.json").write_text(json.dumps(squad))
    config = ReaderTraining(
        data=(tmp_path / "years.json",), out=tmp_path / "out", model=str(model), epochs=1.0, max_tokens=64
    )
    train_reader(config)
    assert json.loads((config.work / "misplaced.json").read_text()) == [
        {"file": "years", "id": "0-0", "expected": wrong["text"], "found": text[: len(wrong["text"])]},
        {"file": "years", "id": "0-1", "expected": "nowhere", "found": ""},
    ]
    assert "left out 2 answers" in caplog.text
    assert f"years, 0-0: expected {wrong['text']!r}, found {text[:4]!r}" in caplog.text
    facts = json.loads((config.out / "training.json").read_text())["files"]["years.json"]
    assert (facts["questions"], facts["misplaced"]) == (5, 2)


def test_a_frozen_encoder_keeps_its_weights_but_for_the_layers_that_are_named(model: Path, tmp_path: Path) -> None:
    config = ReaderTraining(
        data=(squad_file(tmp_path / "years.json", articles=2, seed=1),),
        out=tmp_path / "head",
        model=str(model),
        batch_size=2,
        learning_rate=0.01,
        max_tokens=64,
        freeze_encoder=True,
    )
    train_reader(config)
    assert not _changed(model, config.out)
    config = dataclasses.replace(config, out=tmp_path / "top", train_layers=1)
    train_reader(config)
    changed = _changed(model, config.out)
    assert changed
    assert all(name.startswith("encoder.layer.1.") for name in changed)


def test_a_frozen_encoder_with_shared_layers_has_no_highest_one(tmp_path: Path) -> None:
    albert = make_checkpoint("albert", tmp_path / "albert", reader=False)
    data = squad_file(tmp_path / "years.json", articles=2, seed=1)
    config = ReaderTraining(
        data=(data,), out=tmp_path / "out", model=str(albert), max_tokens=64, freeze_encoder=True, train_layers=1
    )
    with pytest.raises(ConfigurationError, match="albert cannot be told apart"):
        train_reader(config)


def _changed(base: Path, reader: Path) -> set[str]:
    """Names of the encoder's weights that differ from the base."""
    before, after = load_file(base / "model.safetensors"), load_file(reader / "model.safetensors")
    after = {name.removeprefix("bert."): weight for name, weight in after.items()}
    return {name for name in before.keys() & after.keys() if not torch.equal(before[name].half(), after[name])}
