"""Runs of `search-app adapt` on tiny models: completed, stopped and resumed, refused."""

from __future__ import annotations

import dataclasses
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from checkpoints import make_checkpoint, make_sentence_transformer
from labelled import WORDS, squad_file
from transformers import TrainerCallback, TrainerControl, TrainerState

from search_app.encoders.sentence_transformer import SentenceTransformerEncoder
from search_app.errors import ConfigurationError
from search_app.hardware import Hardware
from search_app.readers.extractive import ExtractiveReader
from search_app.settings import EncoderSettings, ReaderSettings
from search_app.training.adaptation import adapt
from search_app.training.config import ReaderAdaptation

MACHINE = Hardware("test", 1, frozenset(), "cpu", "float32")


def _texts(count: int) -> list[str]:
    """Sentences about devices with names that no tokenizer has as one token."""
    rng = random.Random(0)
    return [
        " ".join(
            f"The {rng.choice(('quasiturbine', 'cryostat'))} of {rng.choice(WORDS)} {rng.randrange(9)} is in "
            f"the {rng.choice(WORDS)}."
            for _ in range(30)
        )
        for _ in range(count)
    ]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint("bert", tmp_path_factory.mktemp("base") / "reader", reader=True)


def _config(folder: Path, model: Path) -> ReaderAdaptation:
    return ReaderAdaptation(
        paths=("docs",),
        out=folder / "out",
        model=str(model),
        evaluation=(folder / "years.json",),
        max_tokens=64,
        learning_rate=0.005,
        precision="float32",
        extend_vocabulary=2,
    )


@pytest.fixture(scope="module")
def adapted(reader: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run."""
    folder = tmp_path_factory.mktemp("adapted")
    squad_file(folder / "years.json", articles=2, seed=1)
    adapt(_config(folder, reader), lambda: _texts(4))
    return folder


def test_an_adapted_reader_loads_with_the_words_of_the_documents_as_tokens(adapted: Path) -> None:
    facts = json.loads((adapted / "out" / "training.json").read_text())
    assert sorted(facts["words"]) == ["cryostat", "quasiturbine"]
    assert facts["tokens_per_word"][1] < facts["tokens_per_word"][0]
    assert facts["recurring"] > 0
    assert set(facts["after"]) == set(facts["before"]) >= {"em", "f1"}
    model = ExtractiveReader(ReaderSettings(model=str(adapted / "out")), MACHINE).model
    (window,) = model.make_windows(["cryostat"], ["quasiturbine"], [""])
    assert window.last - window.first == 1
    assert (adapted / "out" / "SHA256SUMS").is_file()
    card = (adapted / "out" / "README.md").read_text()
    assert "Extractive reader, adapted to documents" in card
    assert "after 2 words became tokens" in card
    assert "search-app adapt reader docs --evaluation years.json --out OUT" in card


def test_a_stopped_run_goes_on_with_its_texts_and_ends_with_the_same_weights(
    adapted: Path, reader: Path, tmp_path: Path
) -> None:
    config = dataclasses.replace(_config(adapted, reader), out=tmp_path / "out", checkpoint_minutes=0.0)
    adapt(config, lambda: _texts(4), [_StopAfter(3)])
    assert not (config.out / "model.safetensors").exists()
    adapt(config, _unread)
    assert (config.out / "model.safetensors").read_bytes() == (adapted / "out" / "model.safetensors").read_bytes()


def test_an_encoder_is_adapted_to_files_of_several_formats(tmp_path: Path) -> None:
    model = make_sentence_transformer(tmp_path)
    (tmp_path / "docs").mkdir()
    first, second = _texts(2)
    (tmp_path / "docs" / "a.txt").write_text(first)
    (tmp_path / "docs" / "b.html").write_text(f"<html><body><p>{second}</p></body></html>")
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-m", "search_app.cli", "adapt", "encoder", str(tmp_path / "docs"), "--out", str(out),
         "--model", str(model), "--extend-vocabulary", "1", "--max-tokens", "64", "--evaluation",
         str(squad_file(tmp_path / "years.json", articles=3, seed=1))],
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "mrr@10" in done.stdout
    assert "tokens per word" in done.stdout
    assert f"search-index rebuild --encoder {out}" in done.stdout
    assert json.loads((out / "training.json").read_text())["texts"] == 2
    assert SentenceTransformerEncoder(EncoderSettings(model=str(out)), MACHINE).encode_queries(["a"]).shape == (1, 32)
    assert "masked_words" not in str((out / "model.safetensors").read_bytes()[:20000])


def test_documents_without_text_are_refused(reader: Path, tmp_path: Path) -> None:
    config = ReaderAdaptation(paths=("docs",), out=tmp_path / "out", model=str(reader))
    with pytest.raises(ConfigurationError, match="the documents have no text"):
        adapt(config, lambda: ["", " \n"])
    with pytest.raises(AssertionError, match="read again"):  # now the folder has text
        adapt(config, _read_again)


def _unread() -> list[str]:
    raise AssertionError("a resumed run does not read the documents again")


def _read_again() -> list[str]:
    raise AssertionError("read again")


class _StopAfter(TrainerCallback):
    def __init__(self, step: int) -> None:
        self._step = step

    def on_step_end(self, args: object, state: TrainerState, control: TrainerControl, **_: object) -> None:
        control.should_training_stop |= state.global_step >= self._step
