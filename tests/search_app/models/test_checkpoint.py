from __future__ import annotations

from pathlib import Path

import pytest
import torch
from checkpoints import ARCHITECTURES, make_checkpoint
from transformers import AutoConfig, AutoModel, PretrainedConfig

from search_app.errors import ModelUnavailable
from search_app.hardware import Hardware
from search_app.models import checksums
from search_app.models.checkpoint import BUNDLED_READER, Role, find_checkpoint, load_tokenizer, load_transformers
from search_app.models.fingerprint import fingerprint
from search_app.models.positions import longest_input
from search_app.readers.extractive import ExtractiveReader
from search_app.readers.scoring import AnswerScorer
from search_app.settings import ReaderSettings

ROLES: tuple[Role, ...] = ("encoder", "ranker", "reader")


@pytest.mark.parametrize("role", ROLES)
def test_every_role_refuses_other_formats_and_damage(role: Role, tmp_path: Path) -> None:
    folder = make_checkpoint("bert", tmp_path / "tiny", reader=False)
    assert find_checkpoint(role, str(folder)).name == "tiny"
    checksums.write(folder)
    (folder / "config.json").write_text("{}")
    with pytest.raises(ModelUnavailable, match=rf"{role} tiny: .*config\.json is damaged"):
        find_checkpoint(role, str(folder))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelUnavailable, match=rf"{role} tiny has no safetensors weights, only pytorch_model\.bin"):
        find_checkpoint(role, str(folder))


def test_the_bundled_models_are_complete() -> None:
    assert (BUNDLED_READER / checksums.FILE).is_file()
    assert find_checkpoint("reader", "bundled").folder == BUNDLED_READER
    assert find_checkpoint("encoder", "bundled").name == "all-MiniLM-L6-v2"
    assert AnswerScorer.load(BUNDLED_READER).answer is not None


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_digest_of_the_bundled_reader_is_the_same_in_every_precision(precision: str) -> None:
    settings = ReaderSettings.model_validate({"precision": precision})
    reader = ExtractiveReader(settings, Hardware("test", 1, frozenset(), "cpu", "float32"))
    assert reader.model.digest == "af9c0f9b9620e1debd7284bd49c2632e97c2a2874df9b78e17d9afacf148c97c"


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_longest_input_fits_the_positions_of_the_model(name: str, tmp_path: Path) -> None:
    checkpoint = find_checkpoint("encoder", str(make_checkpoint(name, tmp_path / name, reader=False)))
    config, _ = load_tokenizer(checkpoint)
    model, missing = load_transformers(AutoModel, checkpoint, config, dtype=torch.float32)
    assert missing == []
    longest = longest_input(config)
    tokens = torch.full((1, longest), 7)
    assert model(input_ids=tokens).last_hidden_state.shape[1] == longest
    with pytest.raises((IndexError, RuntimeError)):
        model(input_ids=torch.full((1, longest + 1), 7))


def test_a_configuration_without_a_limit_has_room_for_512_tokens() -> None:
    assert longest_input(PretrainedConfig()) == 512
    assert longest_input(AutoConfig.for_model("xlm-roberta", max_position_embeddings=514)) == 512
    assert longest_input(AutoConfig.for_model("mpnet", max_position_embeddings=514)) == 512


def test_a_fingerprint_depends_on_weights_tokenizer_and_details() -> None:
    weights = {"a": torch.ones(2), "b": torch.zeros(1)}
    known = fingerprint(weights, "{}")
    assert fingerprint(dict(reversed(weights.items())), "{}") == known, "whatever the order"
    assert fingerprint({**weights, "a": weights["a"].half()}, "{}") == known, "whatever the precision"
    others = [
        fingerprint({**weights, "b": torch.ones(1)}, "{}"),
        fingerprint(weights, "{ }"),
        fingerprint(weights, "{}", ["mean"]),
    ]
    assert known not in others
    assert len(set(others)) == 3
