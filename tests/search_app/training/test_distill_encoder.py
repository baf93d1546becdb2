"""Distillation of encoders: the map between spaces, and whole runs on tiny models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import make_checkpoint, make_sentence_transformer
from click.testing import CliRunner
from labelled import WORDS, pairs_file
from sentence_transformers import SentenceTransformer
from transformers import AutoConfig, AutoModel, AutoTokenizer, TrainerCallback, TrainerControl, TrainerState

from search_app.cli import cli
from search_app.encoders.sentence_transformer import SentenceTransformerEncoder
from search_app.errors import ConfigurationError
from search_app.hardware import Hardware
from search_app.settings import EncoderSettings
from search_app.training.config import EncoderDistillation
from search_app.training.encoder_distillation import distill_encoder, onto

CPU = Hardware("test", 1, frozenset(), "cpu", "float32")
TEXTS = [" ".join(WORDS[(i * k) % 10] for k in (1, 3, 7)) for i in range(1, 10)]


def _vectors(rng: np.random.Generator, rows: int, columns: int) -> Any:
    found = rng.normal(size=(rows, columns)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


class _StopAt(TrainerCallback):
    """Stops a run at a step, after a checkpoint."""

    def __init__(self, step: int) -> None:
        self._step = step

    def on_step_end(self, args: object, state: TrainerState, control: TrainerControl, **_: object) -> None:
        control.should_save |= state.global_step == self._step
        control.should_training_stop |= state.global_step >= self._step


@pytest.mark.parametrize(("teacher", "student"), [(8, 8), (8, 20), (20, 20)])
def test_a_student_with_as_many_dimensions_gets_the_teachers_dot_products(teacher: int, student: int) -> None:
    rng = np.random.default_rng(0)
    taught, own = _vectors(rng, 50, teacher), _vectors(rng, 50, student)
    mapped = taught @ onto(taught, own)
    assert mapped.shape == own.shape
    assert np.allclose(mapped @ mapped.T, taught @ taught.T, atol=1e-4)


def test_with_fewer_dimensions_the_principal_ones_are_kept() -> None:
    rng = np.random.default_rng(0)
    flat = _vectors(rng, 60, 5) @ np.linalg.qr(rng.normal(size=(30, 5)))[0].T.astype(np.float32)
    mapped = flat @ onto(flat, _vectors(rng, 60, 6))
    assert np.allclose(mapped @ mapped.T, flat @ flat.T, atol=1e-4)


def test_a_teacher_that_is_the_student_in_another_rotation_needs_no_learning() -> None:
    rng = np.random.default_rng(0)
    own = _vectors(rng, 60, 12)
    turned = own @ np.linalg.qr(rng.normal(size=(12, 12)))[0].astype(np.float32)
    assert np.allclose(turned @ onto(turned, own), own, atol=1e-4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`teacher`: 32 dimensions, byte pairs. `student`: 24 dimensions, word pieces."""
    folder = tmp_path_factory.mktemp("distil")
    make_checkpoint("roberta", folder / "teacher", reader=False)
    tokenizer = AutoTokenizer.from_pretrained(make_checkpoint("bert", folder / "tokenizer", reader=False))
    config = AutoConfig.for_model(
        "bert", vocab_size=len(tokenizer), hidden_size=24, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=48, max_position_embeddings=130,
    )  # fmt: skip
    AutoModel.from_config(config).save_pretrained(folder / "student")
    tokenizer.save_pretrained(folder / "student")
    pairs_file(folder / "pairs.jsonl", pairs=120, seed=1)
    (folder / "letters").mkdir()
    for i, text in enumerate(TEXTS):
        (folder / "letters" / f"{i}.txt").write_text(f"{text}.")
    return folder


def _similarities(model: Path) -> Any:
    vectors = SentenceTransformerEncoder(EncoderSettings(model=str(model)), CPU).encode_passages(TEXTS)
    return (vectors @ vectors.T)[np.triu_indices(len(TEXTS), 1)]


def test_a_student_of_other_dimensions_and_tokens_comes_to_agree_with_its_teacher(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [
        "distill", "encoder", "--teacher", str(folder / "teacher"), "--student", str(folder / "student"), "--data",
        str(folder / "pairs.jsonl"), "--documents", str(folder / "letters"), "--out", str(out), "--epochs", "12",
        "--learning-rate", "0.003", "--batch-size", "16",
    ]  # fmt: skip
    done = CliRunner().invoke(cli, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    wanted = _similarities(folder / "teacher")
    before, after = (np.corrcoef(wanted, _similarities(m))[0, 1] for m in (folder / "student", out))
    assert after > 0.8
    assert 1 - after < (1 - before) / 2
    facts = json.loads((out / "training.json").read_text())
    assert set(facts["quality"]) == {"teacher 1, teacher", "student before", "student after"}
    assert facts["passages"] > len(TEXTS)
    assert f"SEARCH_APP_ENCODER__MODEL={out}" in done.output
    assert "student after: success@1" in done.output
    card = (out / "README.md").read_text()
    assert "search-app distill encoder --data pairs.jsonl --documents letters --teacher teacher" in card
    assert "--student student" in card
    assert str(tmp_path) not in card
    assert SentenceTransformer(str(out), device="cpu").encode(["a river"]).shape == (1, 24)
    again = CliRunner().invoke(cli, command, catch_exceptions=False)
    assert "saved the encoder" in again.output


def test_questions_without_labels_are_enough_and_nothing_is_measured_then(folder: Path, tmp_path: Path) -> None:
    asked = [{"context": text, "qas": [{"id": str(i), "question": f"{text}?"}]} for i, text in enumerate(TEXTS)]
    data = tmp_path / "asked.json"
    data.write_text(json.dumps({"data": [{"title": "", "paragraphs": asked}]}))
    student = make_sentence_transformer(tmp_path / "student", prompts={"query": "ask: ", "document": ""})
    config = EncoderDistillation(
        teacher=(str(folder / "teacher"),) * 2, model=str(student), data=(data,), out=tmp_path / "out"
    )
    out = distill_encoder(config)
    facts = json.loads((out / "training.json").read_text())
    assert (facts["questions"], facts["passages"], facts["quality"]) == (9, 9, {})
    assert "Not measured" in (out / "README.md").read_text()
    assert SentenceTransformer(str(out), device="cpu").prompts["query"] == "ask: "


def test_a_stopped_distillation_resumes_and_ends_with_the_same_weights(folder: Path, tmp_path: Path) -> None:
    def config(out: str) -> EncoderDistillation:
        return EncoderDistillation(
            teacher=(str(folder / "teacher"),), model=str(folder / "student"), data=(folder / "pairs.jsonl",),
            out=tmp_path / out, batch_size=32, learning_rate=0.003, device="cpu",
        )  # fmt: skip

    whole = distill_encoder(config("whole"))
    stopped = distill_encoder(config("stopped"), callbacks=[_StopAt(3)])
    assert not (stopped / "model.safetensors").exists()
    distill_encoder(config("stopped"))
    assert (stopped / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


@pytest.mark.parametrize(("wrong", "field"), [({"teacher": ()}, "teacher"), ({"data": ()}, "data")])
def test_invalid_settings_are_named(wrong: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        EncoderDistillation(**{"teacher": ("a",), "data": (Path("x"),), "out": Path("out"), **wrong})
    assert caught.value.field == field


def test_one_text_is_too_little(folder: Path, tmp_path: Path) -> None:
    data = tmp_path / "one.json"
    data.write_text(
        json.dumps({"data": [{"paragraphs": [{"context": "river", "qas": [{"id": "1", "question": ""}]}]}]})
    )
    with pytest.raises(ConfigurationError, match="too few texts to learn from: 1"):
        distill_encoder(
            EncoderDistillation(
                teacher=(str(folder / "teacher"),), model=str(folder / "student"), data=(data,), out=tmp_path / "o"
            )
        )
