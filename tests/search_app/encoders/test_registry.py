from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from checkpoints import make_checkpoint, make_sentence_transformer

from search_app.encoders.registry import EncoderRegistry
from search_app.encoders.sentence_transformer import SentenceTransformerEncoder
from search_app.errors import IndexMismatch, ModelUnavailable
from search_app.hardware import Hardware
from search_app.manifest import Manifest
from search_app.settings import EncoderSettings, OtherEncoder

CPU = Hardware("test", 1, frozenset(), "cpu", "float32")
Model = Callable[[str], str]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The folder of a tiny checkpoint, by architecture."""
    folder = tmp_path_factory.mktemp("models")

    def made(name: str) -> str:
        if not (folder / name).exists():
            make_checkpoint(name, folder / name, reader=False)
        return str(folder / name)

    return made


def built_with(model: str, **prefixes: str) -> Manifest:
    stamp = SentenceTransformerEncoder(EncoderSettings(model=model, **prefixes), CPU).stamp  # type: ignore[arg-type]
    return Manifest(stamp, "v1 64/8", "auto")


def test_each_index_gets_the_encoder_that_built_it(model: Model) -> None:
    others = (OtherEncoder(model=model("distilbert")), OtherEncoder(model=model("roberta"), query_prefix="query: "))
    encoders = EncoderRegistry(EncoderSettings(model=model("bert"), others=others), CPU)
    for manifest in (
        built_with(model("roberta"), query_prefix="query: "),
        built_with(model("bert")),
        built_with(model("distilbert")),
    ):
        assert encoders.for_manifest(manifest).stamp == manifest.encoder
        assert encoders.for_manifest(manifest) is encoders.for_manifest(manifest), "loaded once"


def test_an_index_from_before_the_folders_prompts_is_asked_without_them(tmp_path: Path) -> None:
    folder = str(make_sentence_transformer(tmp_path, prompts={"query": "query: ", "passage": "passage: "}))
    old = built_with(folder, query_prefix="", passage_prefix="")
    encoders = EncoderRegistry(EncoderSettings(model=folder), CPU)
    plain = SentenceTransformerEncoder(EncoderSettings(model=folder, query_prefix="", passage_prefix=""), CPU)
    found = encoders.for_manifest(old)
    assert found.stamp == old.encoder
    assert (found.encode_queries(["x"]) == plain.encode_queries(["x"])).all()
    assert encoders.for_manifest(built_with(folder)) is encoders.own


def test_another_encoder_is_loaded_when_an_index_needs_it(model: Model, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(model("distilbert"), tmp_path / "late"))
    manifest = built_with(str(folder))
    (folder / "model.safetensors").rename(tmp_path / "weights")
    encoders = EncoderRegistry(EncoderSettings(model=model("bert"), others=(OtherEncoder(model=str(folder)),)), CPU)
    assert encoders.for_manifest(built_with(model("bert"))) is encoders.own
    with pytest.raises(ModelUnavailable, match="encoder late has no safetensors weights"):
        encoders.for_manifest(manifest)
    (tmp_path / "weights").rename(folder / "model.safetensors")
    assert encoders.for_manifest(manifest).stamp == manifest.encoder


def test_an_index_of_an_encoder_that_is_not_in_the_settings_is_refused(model: Model) -> None:
    encoders = EncoderRegistry(
        EncoderSettings(model=model("bert"), others=(OtherEncoder(model=model("distilbert")),)), CPU
    )
    with pytest.raises(IndexMismatch, match=r"built with roberta \(\w+\), but .* have bert.*encoder\.others"):
        encoders.for_manifest(built_with(model("roberta")))
    with pytest.raises(IndexMismatch):
        encoders.for_manifest(built_with(model("distilbert"), query_prefix="another: "))
