from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from checkpoints import make_checkpoint, make_sentence_transformer
from click.testing import CliRunner
from labelled import squad_file
from safetensors.torch import load_file, save_file

from search_app.cli import cli
from search_app.encoders.sentence_transformer import SentenceTransformerEncoder
from search_app.errors import ConfigurationError
from search_app.hardware import Hardware
from search_app.models.checkpoint import BUNDLED_READER
from search_app.settings import EncoderSettings
from search_app.training.averaging import average


def _changed(folder: Path, new: Path, factor: float) -> Path:
    """A copy with all weights multiplied."""
    shutil.copytree(folder, new)
    weights = {name: weight * factor for name, weight in load_file(folder / "model.safetensors").items()}
    save_file(weights, new / "model.safetensors", metadata={"format": "pt"})
    return new


def test_the_mean_of_readers_has_the_mean_weights_and_is_measured(tmp_path: Path) -> None:
    one = make_checkpoint("bert", tmp_path / "one", reader=True)
    shutil.copy(BUNDLED_READER / "reader.json", one)
    two, three = _changed(one, tmp_path / "two", 2.0), _changed(one, tmp_path / "three", 6.0)
    (three / "tokenizer.json").unlink()  # as in a checkpoint of a run
    data, out = squad_file(tmp_path / "years.json", articles=2, seed=1), tmp_path / "mean"
    command = ["train", "average", str(one), str(two), str(three), "--data", str(data), "--out", str(out)]
    done = CliRunner().invoke(cli, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    first, mean = load_file(one / "model.safetensors"), load_file(out / "model.safetensors")
    assert all(torch.allclose(mean[name], 3 * weight, atol=1e-6) for name, weight in first.items())
    assert set(json.loads((out / "averaging.json").read_text())["quality"]) == {"1, one", "2, two", "mean"}
    assert "mean: em" in done.output
    assert not (out / "reader.json").exists()
    assert (out / "SHA256SUMS").is_file()
    assert "| mean | 6 |" in (out / "README.md").read_text()


def test_the_mean_of_an_encoder_with_itself_is_the_encoder(tmp_path: Path) -> None:
    one = make_sentence_transformer(tmp_path / "one")
    average([one, one], tmp_path / "mean")
    machine = Hardware("test", 1, frozenset(), "cpu", "float32")
    vectors = [
        SentenceTransformerEncoder(EncoderSettings(model=str(folder)), machine).encode_passages(["the river"])
        for folder in (one, tmp_path / "mean")
    ]
    assert (vectors[0] == vectors[1]).all()


def test_what_does_not_belong_together_is_refused_by_name(tmp_path: Path) -> None:
    one = make_checkpoint("bert", tmp_path / "one", reader=True)
    with pytest.raises(ConfigurationError, match="one checkpoint has no mean"):
        average([one], tmp_path / "out")
    other = make_checkpoint("electra", tmp_path / "other", reader=True)
    with pytest.raises(ConfigurationError, match=r"one and .*other cannot be averaged: config\.json differs"):
        average([one, other], tmp_path / "out")
    encoder = make_checkpoint("bert", tmp_path / "encoder", reader=False)
    shutil.copy(one / "config.json", encoder)
    shutil.copy(one / "tokenizer.json", encoder)
    with pytest.raises(ConfigurationError, match=r"model\.safetensors does not fit, first at "):
        average([one, encoder], tmp_path / "out")
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").write_text("mine")
    with pytest.raises(ConfigurationError, match="full is not empty"):
        average([one, one], full)


def test_a_checkpoint_that_is_given_twice_counts_twice_and_may_have_another_dropout(tmp_path: Path) -> None:
    one = make_checkpoint("bert", tmp_path / "one", reader=True)
    two = _changed(one, tmp_path / "two", 4.0)
    config = json.loads((two / "config.json").read_text())
    (two / "config.json").write_text(json.dumps({**config, "hidden_dropout_prob": 0.5}))
    average([one, two, two], tmp_path / "mean")
    first, mean = load_file(one / "model.safetensors"), load_file(tmp_path / "mean" / "model.safetensors")
    assert all(torch.allclose(mean[name], 3 * weight, atol=1e-6) for name, weight in first.items())
