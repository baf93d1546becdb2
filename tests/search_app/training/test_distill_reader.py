"""Distillation of readers: soft targets across tokenizers, the loss, and a whole run on tiny models."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import make_checkpoint
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, TrainerCallback, TrainerControl, TrainerState

from search_app.cli import cli
from search_app.errors import ConfigurationError, ModelUnavailable
from search_app.readers.windows import WindowMaker
from search_app.training.config import ReaderDistillation, ReaderTraining
from search_app.training.distillation import FILE, distillation_loss, on_student
from search_app.training.examples import UNLABELLED
from search_app.training.reader import train_reader

WORDS = ["river", "treaty", "glacier", "library", "harbour", "map", "code", "block", "name", "state"]


def _squad(path: Path, *, paragraphs: int, seed: int, labels: bool = True) -> Path:
    """Each paragraph has one number among words, which is the answer; without `labels`, it is not told."""
    rng = random.Random(seed)
    made = []
    for number in range(paragraphs):
        words = [rng.choice(WORDS) for _ in range(12)]
        words[rng.randrange(12)] = year = str(rng.randrange(1000, 2000))
        text = " ".join(words)
        answers = [{"text": year, "answer_start": text.index(year)}] if labels else []
        question = {"id": f"{seed}-{number}", "question": "When was it?", "answers": answers}
        made.append({"context": text, "qas": [question]})
    path.write_text(json.dumps({"data": [{"title": "years", "paragraphs": made}]}))
    return path


class _StopAt(TrainerCallback):
    """Stops a run at a step, after a checkpoint."""

    def __init__(self, step: int) -> None:
        self._step = step

    def on_step_end(self, args: object, state: TrainerState, control: TrainerControl, **_: object) -> None:
        control.should_save |= state.global_step == self._step
        control.should_training_stop |= state.global_step >= self._step


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained teacher with byte pairs (`teacher`), a base with word pieces, and questions with and without labels."""
    folder = tmp_path_factory.mktemp("distil")
    make_checkpoint("bert", folder / "base", reader=False)
    make_checkpoint("roberta", folder / "teacher-base", reader=False)
    _squad(folder / "gold.json", paragraphs=64, seed=1)
    _squad(folder / "asked.json", paragraphs=96, seed=2, labels=False)
    _squad(folder / "eval.json", paragraphs=40, seed=3)
    train_reader(
        ReaderTraining(
            data=(folder / "gold.json",), model=str(folder / "teacher-base"), out=folder / "teacher", batch_size=8,
            max_tokens=128, epochs=12, learning_rate=0.005, title_dropout=1.0, device="cpu",
        )
    )  # fmt: skip
    return folder


def _command(folder: Path, out: Path, *more: str) -> list[str]:
    return [
        "distill", "reader", "--teacher", f"{folder / 'teacher'},{folder / 'teacher'}", "--student",
        str(folder / "base"), "--data", str(folder / "asked.json"), "--out", str(out), "--batch-size", "8",
        "--max-tokens", "128", "--epochs", "25", "--learning-rate", "0.005", "--evaluation", str(folder / "eval.json"),
        *more,
    ]  # fmt: skip


def test_a_student_learns_from_its_teachers_what_the_file_does_not_tell(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "student"
    done = CliRunner().invoke(cli, _command(folder, out), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    quality = json.loads((out / "training.json").read_text())["quality"]
    assert quality["teacher 2, teacher"]["f1"] > 90
    assert quality["student after"]["f1"] > 35  # a guess is right for one word of twelve
    assert "student before" not in quality  # it had no head
    assert "student after" in done.output
    card = (out / "README.md").read_text()
    assert "search-app distill reader --data asked.json" in card
    assert "--teacher teacher --teacher teacher" in card
    assert "--student base" in card
    assert "mean probabilities of 2 teachers" in card
    assert "| student after | 40 |" in card
    assert (out / "SHA256SUMS").is_file()
    # Another teacher is another run; the same command finds it finished.
    again = CliRunner().invoke(cli, _command(folder, out, "--temperature", "1.5"))
    assert isinstance(again.exception, ConfigurationError)
    assert "temperature" in str(again.exception)


def test_labels_of_the_teachers_are_kept_for_a_run_that_is_resumed(folder: Path, tmp_path: Path) -> None:
    config = ReaderDistillation(
        data=(folder / "gold.json",), model=str(folder / "teacher"), out=tmp_path / "out", batch_size=8, epochs=0.2,
        max_tokens=128, device="cpu", holdout=0.2, teacher=(str(folder / "teacher"),),
    )  # fmt: skip
    config.claim_folder()
    train_reader(config)
    labels = np.load(config.work / FILE)
    assert np.allclose(labels.sum(), 2 * json.loads((config.out / "training.json").read_text())["examples"], rtol=0.01)
    quality = json.loads((config.out / "training.json").read_text())["quality"]
    assert set(quality) == {"teacher 1, teacher", "student before", "student after"}
    (config.out / "README.md").unlink()
    np.save(config.work / FILE, labels[:, ::-1])
    train_reader(config)
    assert (np.load(config.work / FILE) == labels[:, ::-1]).all()


def test_a_stopped_distillation_resumes_and_ends_with_the_same_weights(folder: Path, tmp_path: Path) -> None:
    def config(out: str) -> ReaderDistillation:
        return ReaderDistillation(
            data=(folder / "gold.json", folder / "asked.json"), model=str(folder / "base"), out=tmp_path / out,
            batch_size=16, epochs=1.0, max_tokens=128, device="cpu", teacher=(str(folder / "teacher"),),
            development_share=0.2, evaluations=2,
        )  # fmt: skip

    whole = train_reader(config("whole"))
    stopped = train_reader(config("stopped"), [_StopAt(2)])
    assert not (stopped / "model.safetensors").exists()
    train_reader(config("stopped"))
    assert (stopped / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    quality = json.loads((whole / "training.json").read_text())["quality"]
    # A fifth of each file measures, and of that only the labelled questions count.
    assert 5 < quality["student after"]["questions"] < 20


def test_a_teacher_that_is_no_reader_is_named(folder: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, _command(folder, tmp_path / "out", "--teacher", str(folder / "base")))
    assert isinstance(done.exception, ModelUnavailable)
    assert "reader base is not trained to answer questions" in str(done.exception)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [({"teacher": ()}, "teacher"), ({"temperature": 0.0}, "temperature"), ({"gold": 1.1}, "gold")],
)
def test_invalid_settings_are_named(wrong: dict[str, object], field: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ReaderDistillation(**{"data": (Path("x"),), "out": Path("out"), "teacher": ("a",), **wrong})  # type: ignore[arg-type]
    assert caught.value.field == field


def test_the_loss_is_the_cross_entropy_with_gold_alone_and_zero_for_the_teachers_own_logits() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 5)
    gold = torch.tensor([[0, 1, 2], [0, 3, 4]])
    soft = torch.full((2, 3, 5), 0.2)
    expected = torch.nn.functional.cross_entropy(logits.reshape(6, 5), gold.reshape(6))
    assert torch.allclose(distillation_loss(logits, soft, gold, temperature=2, weight=1), expected)
    same = torch.softmax(logits / 3.0, dim=-1)
    assert distillation_loss(logits, same, gold, temperature=3, weight=0).abs() < 1e-6
    # One token twice as likely as another at temperature 3, against even: T² · KL.
    one = torch.log(torch.tensor([2.0, 1.0])).expand(2, 1, 2) * 3
    even = torch.full((2, 1, 2), 0.5)
    kl = 0.5 * np.log(0.5 / (2 / 3)) + 0.5 * np.log(0.5 / (1 / 3))
    found = distillation_loss(one, even, torch.zeros(2, 1, dtype=torch.long), temperature=3, weight=0)
    assert found.item() == pytest.approx(9 * kl, rel=1e-5)


def test_an_unlabelled_row_has_the_teachers_alone() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 1, 5)
    soft = torch.softmax(torch.randn(2, 1, 5), dim=-1)
    unknown = torch.full((2, 1), UNLABELLED[0])
    mixed = distillation_loss(logits, soft, unknown, temperature=1, weight=0.7)
    assert torch.equal(mixed, distillation_loss(logits, soft, unknown, temperature=1, weight=0))


@pytest.fixture(scope="module")
def makers(tmp_path_factory: pytest.TempPathFactory) -> list[WindowMaker]:
    """Word pieces, byte pairs, pieces of a unigram model, and characters."""
    folder = tmp_path_factory.mktemp("tokenizers")
    return [
        WindowMaker(
            AutoTokenizer.from_pretrained(make_checkpoint(name, folder / name, reader=False)), max_tokens=96, stride=16
        )
        for name in ("bert", "roberta", "xlm-roberta", "japanese")
    ]


TEXTS = st.text(st.sampled_from("theriv rwna.,-é 東ß\n🎉"), min_size=1, max_size=300)


@settings(deadline=None)
@given(text=TEXTS, student=st.integers(0, 3), teacher=st.integers(0, 3), data=st.data())
def test_a_span_that_the_teacher_is_sure_of_is_the_same_span_for_the_student(
    makers: list[WindowMaker], text: str, student: int, teacher: int, data: st.DataObject
) -> None:
    own = data.draw(st.sampled_from(makers[student](["where?"], [text], ["title"])))
    if not len(own.offsets):
        return
    begin = int(own.offsets[0, 0])
    read = makers[teacher](["where?"], [text[begin : own.offsets[-1, 1]]], ["title"])
    sure = data.draw(st.sampled_from(read))
    if not len(sure.offsets):
        return
    first = data.draw(st.integers(sure.first, sure.last - 1))
    last = data.draw(st.integers(first, sure.last - 1))
    seen = []
    for window in read:
        logits = np.zeros((2, len(window)), dtype=np.float32)
        logits[:, 0] = 30 if window is not sure else 0
        if window is sure:
            logits[0, first] = logits[1, last] = 30
        seen.append((window, logits))
    found = on_student(own, seen)
    assert np.allclose(found.sum(axis=1), 1, atol=1e-5)
    start, end = found.argmax(axis=1)
    assert found[0, start] > 0.9
    assert own.first <= start < own.last
    span, told = own.characters(start, end, text), sure.characters(first, last, text[begin:])
    if told.start < told.end and start <= end:
        assert span.start <= told.start + begin
        assert span.end >= told.end + begin


def test_with_the_same_tokenizer_the_probabilities_are_the_teachers_own(makers: list[WindowMaker]) -> None:
    (window,) = makers[0](["where?"], ["the river crosses Vienna"], [""])
    logits = np.random.default_rng(0).normal(size=(2, len(window))).astype(np.float32)
    found = on_student(window, [(window, logits)])
    places = [0, *range(window.first, window.last)]
    raised = np.exp(logits[:, places])
    assert np.allclose(found[:, places], raised / raised.sum(axis=1, keepdims=True), atol=1e-6)
    assert found.sum() == pytest.approx(2)
