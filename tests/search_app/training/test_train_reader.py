"""Real runs of the command line on a tiny model: completed, killed and resumed, refused."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from checkpoints import make_checkpoint
from transformers import TrainerCallback, TrainerControl, TrainerState

from search_app.errors import ConfigurationError, TrainingInterrupted
from search_app.hardware import Hardware
from search_app.readers.extractive import ExtractiveReader
from search_app.settings import ReaderSettings
from search_app.training.config import ReaderTraining
from search_app.training.reader import train_reader
from search_app.types import Hit, Passage

WORDS = ["river", "treaty", "glacier", "library", "harbour", "map", "code", "block", "name", "state"]


def _squad(path: Path, *, articles: int, seed: int) -> Path:
    rng = random.Random(seed)
    data = []
    for a in range(articles):
        paragraphs = []
        for p in range(3):
            words = [rng.choice(WORDS) for _ in range(18)]
            place = rng.randrange(18)
            words[place] = year = str(rng.randrange(1000, 2000))
            text = " ".join(words)
            answer = {"text": year, "answer_start": text.index(year)}
            paragraphs.append(
                {"context": text, "qas": [{"id": f"{a}-{p}", "question": f"When was it {a}?", "answers": [answer]}]}
            )
        data.append({"title": f"article {a}", "paragraphs": paragraphs})
    path.write_text(json.dumps({"version": "1.1", "data": data}))
    return path


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
    data = _squad(folder / "years.json", articles=40, seed=1)
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
    "wrong", [{"epochs": 0.0}, {"negatives": 1.0}, {"holdout": -0.1}, {"batch_size": 0}, {"data": ()}]
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
