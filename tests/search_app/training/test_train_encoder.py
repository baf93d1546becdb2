"""Runs of `search-app train encoder` on a tiny model: completed, stopped and resumed, refused."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from checkpoints import make_sentence_transformer
from labelled import pairs_file, squad_file
from transformers import TrainerCallback, TrainerControl, TrainerState

from search_app.encoders.sentence_transformer import SentenceTransformerEncoder
from search_app.errors import ConfigurationError, ModelUnavailable
from search_app.hardware import Hardware
from search_app.models.checkpoint import find_checkpoint
from search_app.settings import EncoderSettings
from search_app.training.config import EncoderTraining
from search_app.training.encoder import train_encoder
from search_app.types import Hit, Passage

MACHINE = Hardware("test", 1, frozenset(), "cpu", "float32")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sentence_transformer(tmp_path_factory.mktemp("base"))


def _config(folder: Path, model: Path) -> EncoderTraining:
    return EncoderTraining(
        data=(folder / "pairs.jsonl",),
        out=folder / "out",
        model=str(model),
        batch_size=8,
        epochs=30.0,
        learning_rate=0.005,
        development_share=0.3,
        precision="float32",
    )


@pytest.fixture(scope="module")
def trained(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run."""
    folder = tmp_path_factory.mktemp("trained")
    pairs_file(folder / "pairs.jsonl", pairs=120, seed=1)
    train_encoder(_config(folder, model))
    return folder


def test_a_trained_folder_is_an_encoder_with_checksums_and_the_pooling_of_its_base(trained: Path) -> None:
    out = trained / "out"
    encoder = SentenceTransformerEncoder(EncoderSettings(model=str(out)), MACHINE)
    assert encoder.encode_queries(["river treaty"]).shape == (1, 32)
    sums = (out / "SHA256SUMS").read_text()
    assert "model.safetensors" in sums
    assert "1_Pooling/config.json" in sums


def test_a_damaged_module_is_found(trained: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(trained / "out", tmp_path / "copy")
    (copy / "1_Pooling" / "config.json").write_text("{}")
    with pytest.raises(ModelUnavailable, match=r"1_Pooling/config.json is damaged"):
        find_checkpoint("encoder", str(copy))


def test_the_trained_encoder_finds_more_on_documents_that_it_did_not_see(trained: Path) -> None:
    facts = json.loads((trained / "out" / "training.json").read_text())
    assert facts["development"] == 36
    by_chance = sum(1 / rank for rank in range(1, 11)) / 120
    assert facts["before"]["mrr@10"] < 2 * by_chance
    assert facts["after"]["mrr@10"] > 5 * by_chance
    card = (trained / "out" / "README.md").read_text()
    assert f"| mrr@10 | {facts['before']['mrr@10']:.3f} | {facts['after']['mrr@10']:.3f} |" in card
    assert "search-app train encoder --data pairs.jsonl --out OUT" in card
    assert str(trained) not in card


def test_a_stopped_run_resumes_and_ends_with_the_same_weights(trained: Path, model: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(_config(trained, model), out=tmp_path / "out", checkpoint_minutes=0.0)
    train_encoder(config, callbacks=[_StopAfter(7)])
    assert not (config.out / "model.safetensors").exists()
    train_encoder(config)
    assert (config.out / "model.safetensors").read_bytes() == (trained / "out" / "model.safetensors").read_bytes()


def test_hard_negatives_come_from_the_index_and_have_no_answer(model: Path, tmp_path: Path) -> None:
    data = squad_file(tmp_path / "years.json", articles=4, seed=1)
    gold = json.loads(data.read_text())["data"][0]["paragraphs"][0]
    year = gold["qas"][0]["answers"][0]["text"]
    texts = [gold["context"], f"it happened in {year}", "a harbour"]
    hits = [Hit(Passage(text, text, "Handbook", text, 0, len(text)), 1.0) for text in texts]
    config = EncoderTraining(
        data=(data,), out=tmp_path / "out", model=str(model), collection="docs", development_share=0.0
    )
    train_encoder(config, lambda questions: [hits for _ in questions])
    triples = json.loads((config.work / "triples.json").read_text())
    first = next(triple for triple in triples if triple["positive"].endswith(gold["context"]))
    assert first == {
        "question": gold["qas"][0]["question"],
        "positive": f"article 0\n{gold['context']}",
        "negative": "Handbook\na harbour",
    }
    card = (config.out / "README.md").read_text()
    assert "from the index (collection 'docs')" in card
    assert "Not measured" in card


def test_a_long_passage_is_cut_around_its_answer(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "long.json"
    squad = json.loads(squad_file(path, articles=2, seed=1).read_text())
    text = "river " * 300 + "1815" + " harbour" * 300
    squad["data"][0]["paragraphs"][0]["context"] = text
    squad["data"][0]["paragraphs"][0]["qas"][0]["answers"] = [{"text": "1815", "answer_start": text.index("1815")}]
    path.write_text(json.dumps(squad))
    train_encoder(EncoderTraining(data=(path,), out=tmp_path / "out", model=str(model), development_share=0.0))
    triples = json.loads((tmp_path / "out" / "work" / "triples.json").read_text())
    cut = next(triple["positive"] for triple in triples if "1815" in triple["positive"])
    assert cut.startswith("article 0\nriver ")
    assert len(cut) < len(text) / 2


def test_questions_about_one_passage_are_refused(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps({"question": f"Who {n}?", "passage": "a river"}) + "\n" for n in range(4)))
    config = EncoderTraining(data=(path,), out=tmp_path / "out", model=str(model), development_share=0.0)
    with pytest.raises(ConfigurationError, match="all questions are about one passage"):
        train_encoder(config)
    assert not (config.work / "triples.json").exists()


def test_a_model_that_was_trained_finds_its_rebuilt_index(tmp_path: Path, model: Path) -> None:
    (tmp_path / "docs").mkdir()
    for number, line in enumerate(pairs_file(tmp_path / "pairs.jsonl", pairs=30, seed=2).read_text().splitlines()):
        (tmp_path / "docs" / f"{number}.txt").write_text(json.loads(line)["passage"])
    home = ["--home", str(tmp_path / "home")]
    _run("indexing.cli", "apply", str(tmp_path / "docs"), *home, model=model)
    out = tmp_path / "my encoder"
    shown = _run(
        "search_app.cli", "train", "encoder", "--data", str(tmp_path / "pairs.jsonl"), "--out", str(out),
        "--model", str(model), "--collection", "default", *home, model=model,
    )  # fmt: skip
    assert "mrr@10" in shown
    assert f"search-index rebuild --encoder '{out}'\n" in shown
    _run("indexing.cli", "rebuild", "--encoder", str(out), *home, model=model)
    assert "river" in _run("search_app.cli", "search", "river treaty", *home, model=out)


def _run(module: str, *words: str, model: Path) -> str:
    environment = {**os.environ, "SEARCH_APP_ENCODER__MODEL": str(model)}
    command = [sys.executable, "-m", module, *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return done.stdout


class _StopAfter(TrainerCallback):
    """Stops a run at a step, after its checkpoint."""

    def __init__(self, step: int) -> None:
        self._step = step

    def on_step_end(self, args: object, state: TrainerState, control: TrainerControl, **_: object) -> None:
        control.should_training_stop |= state.global_step >= self._step
