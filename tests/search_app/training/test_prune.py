"""Pruning: what is removed is gone from the matrices, the rest computes as before, and the result loads again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import ARCHITECTURES, make_checkpoint, make_sentence_transformer
from click.testing import CliRunner
from labelled import pairs_file, squad_file
from sentence_transformers import SentenceTransformer
from transformers import AutoModel, AutoModelForQuestionAnswering, PreTrainedModel

from search_app.cli import cli
from search_app.encoders.sentence_transformer import SentenceTransformerEncoder
from search_app.errors import ConfigurationError
from search_app.hardware import Hardware
from search_app.models import pruned
from search_app.models.checkpoint import find_checkpoint, load_tokenizer, load_transformers
from search_app.readers.extractive import ExtractiveReader
from search_app.settings import EncoderSettings, ReaderSettings
from search_app.training import surgery
from search_app.training.config import ReaderDistillation
from search_app.training.prune import Pruning, prune
from search_app.training.reader import train_reader

CPU = Hardware("test", 1, frozenset(), "cpu", "float32")
UNANSWERED = {"data": [{"paragraphs": [{"context": "a", "qas": [{"id": "1", "question": "b"}]}]}]}
IDS = torch.arange(5, 25).reshape(2, 10)


def _model(name: str, folder: Path) -> PreTrainedModel:
    model: PreTrainedModel = AutoModelForQuestionAnswering.from_pretrained(
        make_checkpoint(name, folder / name, reader=True), attn_implementation="eager"
    )
    return model.eval()


def _start(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        logits: torch.Tensor = model(input_ids=IDS).start_logits
    return logits


@pytest.mark.parametrize("name", ["bert", "roberta", "xlm-roberta", "electra"])
def test_a_model_without_a_head_computes_what_the_model_with_that_head_at_zero_computes(
    name: str, tmp_path: Path
) -> None:
    model = _model(name, tmp_path)
    new = surgery.smaller(model, {0: [1], 1: [0, 1]}, AutoModelForQuestionAnswering)
    assert sum(w.numel() for w in new.parameters()) < sum(w.numel() for w in model.parameters())
    assert pruned.attentions(new)[0].self.query.weight.shape == (16, 32)
    with torch.no_grad():
        pruned.attentions(model)[0].output.dense.weight[:, :16] = 0
    assert torch.allclose(_start(new), _start(model), atol=1e-5)
    new.save_pretrained(tmp_path / "new")
    again = AutoModelForQuestionAnswering.from_pretrained(tmp_path / "new")
    assert torch.allclose(_start(again), _start(model), atol=1e-5)
    alone = AutoModel.from_pretrained(tmp_path / "new")
    assert pruned.attentions(alone)[0].self.query.weight.shape == (16, 32)
    # A pruned model is pruned further, down to a plain one.
    plain = surgery.smaller(again, {1: [0, 1]}, AutoModelForQuestionAnswering)
    assert plain.config.model_type == name
    one = surgery.smaller(again, {0: [0], 1: [1]}, AutoModelForQuestionAnswering)
    assert one.config.heads == [1, 1]


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name != "albert"])
def test_a_model_without_a_layer_is_a_plain_smaller_model(name: str, tmp_path: Path) -> None:
    model = _model(name, tmp_path)
    kept = surgery.all_of(model)
    del kept[0]
    new = surgery.smaller(model, kept, AutoModelForQuestionAnswering)
    new.save_pretrained(tmp_path / "new")
    again = AutoModelForQuestionAnswering.from_pretrained(tmp_path / "new")
    del pruned.layers(model)[0]
    assert torch.allclose(_start(again), _start(model), atol=1e-5)
    assert again.config.model_type == model.config.model_type


def test_layers_that_share_their_weights_and_heads_of_other_families_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="the layers of albert cannot be told apart"):
        surgery.all_of(_model("albert", tmp_path))
    with pytest.raises(ConfigurationError, match="heads of distilbert cannot be removed; those of bert"):
        surgery.require_heads(_model("distilbert", tmp_path))


def test_importance_is_the_gradient_with_respect_to_a_factor_on_the_head(tmp_path: Path) -> None:
    model = _model("bert", tmp_path)
    rows = [IDS[:1], IDS[1:]]

    def loss(ids: torch.Tensor) -> torch.Tensor:
        return model(input_ids=ids).start_logits[:, 3].sum()

    found = surgery.head_importance(model, loss, rows)
    # The same by finite differences, for the first head of the second layer against the second head.
    dense = pruned.attentions(model)[1].output.dense
    whole = dense.weight.detach().clone()
    sizes = []
    for head in range(2):
        total = 0.0
        for row in rows:
            change = []
            for step in (1.01, 0.99):
                with torch.no_grad():
                    dense.weight[:, 16 * head : 16 * (head + 1)] = step * whole[:, 16 * head : 16 * (head + 1)]
                    change.append(float(loss(row)))
                    dense.weight.copy_(whole)
            total += abs(change[0] - change[1]) / 0.02
        sizes.append(total)
    length = (sizes[0] ** 2 + sizes[1] ** 2) ** 0.5
    assert found[1].tolist() == pytest.approx([size / length for size in sizes], rel=0.05)


def test_the_least_important_heads_go_and_each_layer_keeps_its_best() -> None:
    kept = surgery.least_useful_heads([torch.tensor([0.1, 0.2]), torch.tensor([0.9, 0.3])], 3)
    assert kept == {0: [1], 1: [0]}
    assert surgery.least_useful_heads([torch.tensor([0.1, 0.2]), torch.tensor([0.9, 0.3])], 1) == {0: [1], 1: [0, 1]}


def test_the_layer_goes_without_which_the_loss_is_lowest(tmp_path: Path) -> None:
    model = _model("bert", tmp_path)
    with torch.no_grad():
        for weight in pruned.layers(model)[0].parameters():
            weight.mul_(5)
    target = _start(surgery.smaller(model, {1: [0, 1]}, AutoModelForQuestionAnswering))
    found = surgery.least_useful_layer(model, lambda ids: (model(input_ids=ids).start_logits - target).norm(), [IDS])
    assert found == 0
    assert len(pruned.layers(model)) == 2


def test_a_pruned_reader_is_measured_and_loads(tmp_path: Path) -> None:
    checkpoint = make_checkpoint("bert", tmp_path / "tiny", reader=True)
    data = squad_file(tmp_path / "years.json", articles=4, seed=1)
    command = ["prune", "reader", str(checkpoint), "--layers", "1", "--heads", "0.5", "--data", str(data)]
    done = CliRunner().invoke(cli, [*command, "--out", str(tmp_path / "out"), "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    steps = json.loads(done.output)
    assert [step["layers"] for step in steps] == [2, *[1] * 6]
    assert [steps[0]["heads"], steps[-1]["heads"]] == [4, 1]
    assert steps[-1]["parameters"] < steps[1]["parameters"] < steps[0]["parameters"]
    assert all(step["passes"] > 0 and 0 <= step["scores"]["f1"] <= 100 for step in steps)
    reader = ExtractiveReader(ReaderSettings(model=str(tmp_path / "out")), CPU)
    assert len(reader.model.digest) == 64
    found = find_checkpoint("reader", str(tmp_path / "out"))
    config, _ = load_tokenizer(found)
    model, missing = load_transformers(AutoModelForQuestionAnswering, found, config, dtype=torch.float32)
    assert not missing
    assert sum(weight.numel() for weight in model.parameters()) == steps[-1]["parameters"]
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| without layer" in card
    assert 'pruned.register("pruned-bert")' in card
    assert str(tmp_path) not in card
    assert json.loads((tmp_path / "out" / "pruning.json").read_text())["steps"] == steps


def test_the_reader_that_was_pruned_teaches_what_is_left_of_it(tmp_path: Path) -> None:
    checkpoint = make_checkpoint("xlm-roberta", tmp_path / "tiny", reader=True)
    data = squad_file(tmp_path / "years.json", articles=6, seed=1)
    prune(Pruning(role="reader", checkpoint=str(checkpoint), out=tmp_path / "small", heads=0.25, data=(data,)))
    out = train_reader(
        ReaderDistillation(
            teacher=(str(checkpoint),), model=str(tmp_path / "small"), data=(data,), out=tmp_path / "out", epochs=0.5,
            batch_size=4, max_tokens=64, development_share=0.3, evaluations=2, device="cpu",
        )
    )  # fmt: skip
    assert json.loads((out / "config.json").read_text())["model_type"] == "pruned-xlm-roberta"
    assert ExtractiveReader(ReaderSettings(model=str(out)), CPU).model.max_tokens == 128
    facts = json.loads((out / "training.json").read_text())
    assert list(facts["quality"]) == ["teacher 1, tiny", "student before", "student after"]


def test_a_pruned_encoder_is_an_encoder(tmp_path: Path) -> None:
    checkpoint = make_sentence_transformer(tmp_path / "tiny")
    data = pairs_file(tmp_path / "pairs.jsonl", pairs=40, seed=1)
    steps = prune(Pruning(role="encoder", checkpoint=str(checkpoint), out=tmp_path / "out", heads=0.25, data=(data,)))
    assert [step.heads for step in steps] == [4, 4, 3, 3]
    assert set(steps[0].scores) == {"success@1", "mrr@10"}
    encoder = SentenceTransformerEncoder(EncoderSettings(model=str(tmp_path / "out")), CPU)
    whole = SentenceTransformer(str(tmp_path / "out"), device="cpu")
    assert sum(weight.numel() for weight in whole.parameters()) == steps[-1].parameters
    expected = whole.encode(["the river"], normalize_embeddings=True)
    assert torch.allclose(torch.tensor(encoder.encode_passages(["the river"])), torch.tensor(expected), atol=1e-4)


def test_without_data_the_top_layers_go(tmp_path: Path) -> None:
    checkpoint = make_checkpoint("bert", tmp_path / "tiny", reader=True)
    steps = prune(Pruning(role="reader", checkpoint=str(checkpoint), out=tmp_path / "out", layers=1))
    assert [step.name for step in steps] == ["as it was", "without layer 2"]
    assert steps[0].scores == {}
    assert json.loads((tmp_path / "out" / "config.json").read_text())["model_type"] == "bert"


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({}, "layers"),
        ({"layers": -1}, "layers"),
        ({"layers": 2}, "layers"),
        ({"heads": 1.0}, "heads"),
        ({"heads": 0.5}, "data"),
        ({"layers": 1, "data": (UNANSWERED,)}, "data"),
        ({"layers": 1, "out": Path(__file__).parent}, "out"),
    ],
)
def test_what_cannot_be_done_is_refused(wrong: dict[str, Any], field: str, tmp_path: Path) -> None:
    checkpoint = make_checkpoint("bert", tmp_path / "tiny", reader=True)
    if UNANSWERED in wrong.get("data", ()):
        (tmp_path / "asked.json").write_text(json.dumps(UNANSWERED))
        wrong = {**wrong, "data": (tmp_path / "asked.json",)}
    with pytest.raises(ConfigurationError) as caught:
        prune(Pruning(**{"role": "reader", "checkpoint": str(checkpoint), "out": tmp_path / "out", **wrong}))
    assert caught.value.field == field
    assert not (tmp_path / "out").exists()
