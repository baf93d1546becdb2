"""Models in 8-bit integers: close to themselves in float32, and refused where they cannot be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import make_checkpoint
from torch import nn

from search_app.encoders.sentence_transformer import SentenceTransformerEncoder
from search_app.errors import ConfigurationError, ModelUnavailable
from search_app.hardware import Hardware, detect
from search_app.models import int8
from search_app.models.checkpoint import find_checkpoint
from search_app.models.execution import INT8_FLAGS, Execution
from search_app.models.int8 import Product, Range
from search_app.readers.model import QuestionAnsweringModel
from search_app.settings import EncoderSettings, ReaderSettings

VNNI = Hardware("test", 1, INT8_FLAGS, "cpu", "float32")
PLAIN = Hardware("old processor", 1, frozenset(), "cpu", "float32")
TEXTS = [
    "The library keeps 4,200 old maps of the harbour, and lends none of them.",
    "A river of ice is called a glacier.",
    "Kündigungsfrist: drei Monate zum Monatsende.",
    "x",
]
needs_vnni = pytest.mark.skipif(not detect("cpu").flags & INT8_FLAGS, reason="needs a processor with VNNI")


@pytest.fixture(scope="module")
def encoders() -> tuple[SentenceTransformerEncoder, SentenceTransformerEncoder]:
    plain, quantised = (EncoderSettings.model_validate({"precision": name}) for name in ("float32", "int8"))
    return SentenceTransformerEncoder(plain, VNNI), SentenceTransformerEncoder(quantised, VNNI)


@needs_vnni
def test_vectors_are_close_to_those_in_float32(
    encoders: tuple[SentenceTransformerEncoder, SentenceTransformerEncoder],
) -> None:
    plain, quantised = (encoder.encode_passages(TEXTS) for encoder in encoders)
    assert np.linalg.norm(quantised, axis=1) == pytest.approx(1)
    assert (plain * quantised).sum(axis=1).min() > 0.99


@needs_vnni
def test_the_identity_of_an_encoder_does_not_depend_on_int8(
    encoders: tuple[SentenceTransformerEncoder, SentenceTransformerEncoder],
) -> None:
    plain, quantised = (encoder.stamp for encoder in encoders)
    assert (plain.digest, plain.dim) == (quantised.digest, quantised.dim)
    assert quantised.precision == "int8"


@needs_vnni
def test_a_text_has_the_same_vector_alone_and_in_a_batch(
    encoders: tuple[SentenceTransformerEncoder, SentenceTransformerEncoder],
) -> None:
    together = encoders[1].encode_passages(TEXTS)
    alone = np.concatenate([encoders[1].encode_passages([text]) for text in TEXTS])
    assert (together * alone).sum(axis=1).min() > 0.999


@needs_vnni
def test_the_reader_keeps_its_logits() -> None:
    checkpoint = find_checkpoint("reader", "bundled")
    plain, quantised = (
        QuestionAnsweringModel(checkpoint, ReaderSettings.model_validate({"precision": name}), VNNI)
        for name in ("float32", "int8")
    )
    windows = plain.make_windows(["How many maps are kept?"], TEXTS[:1], [""])
    for wanted, found in zip(plain.logits(windows), quantised.logits(windows), strict=True):
        assert np.corrcoef(wanted[0], found[0])[0, 1] > 0.99
        assert wanted[0].argmax() == found[0].argmax()
    assert quantised.digest == plain.digest


@needs_vnni
@pytest.mark.parametrize("architecture", ["bert", "roberta", "electra", "xlm-roberta", "japanese"])
def test_architectures_with_the_layers_of_bert_are_quantised(architecture: str, tmp_path: Path) -> None:
    folder = str(make_checkpoint(architecture, tmp_path / "model", reader=False))
    plain, quantised = (
        SentenceTransformerEncoder(EncoderSettings.model_validate({"model": folder, "precision": name}), VNNI)
        for name in ("float32", "int8")
    )
    both = plain.encode_passages(TEXTS) * quantised.encode_passages(TEXTS)
    assert both.sum(axis=1).min() > 0.98


@pytest.mark.parametrize("architecture", ["distilbert", "albert", "mobilebert"])
def test_other_architectures_are_refused_by_name(architecture: str, tmp_path: Path) -> None:
    folder = str(make_checkpoint(architecture, tmp_path / "model", reader=False))
    with pytest.raises(ModelUnavailable, match=f"{architecture}.* cannot run in int8.*precision to float32"):
        SentenceTransformerEncoder(EncoderSettings.model_validate({"model": folder, "precision": "int8"}), VNNI)


@needs_vnni
def test_a_model_that_loses_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8, "LEAST_AGREEMENT", 1.1)
    with pytest.raises(ModelUnavailable, match=r"loses too much in int8: cosine 0\.9\d+ to its own output"):
        SentenceTransformerEncoder(EncoderSettings.model_validate({"precision": "int8"}), VNNI)


@pytest.mark.parametrize(("hardware", "device"), [(PLAIN, "auto"), (VNNI, "cuda")])
def test_int8_is_refused_where_nothing_is_made_for_it(hardware: Hardware, device: str) -> None:
    settings = EncoderSettings.model_validate({"precision": "int8", "device": device})
    with pytest.raises(ConfigurationError, match="precision int8 needs a CPU with VNNI"):
        Execution.choose(settings, hardware)


@needs_vnni
@pytest.mark.parametrize("smoothed", [False, True])
def test_a_product_is_that_of_float32_within_its_steps(smoothed: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20, 32, generator=generator)
    x[:, 3] *= 50  # a channel that would cost all others precision
    linear = nn.Linear(32, 16)
    nn.init.normal_(linear.weight, generator=generator)
    smoothing = x.abs().amax(0) if smoothed else torch.ones(32)
    product = Product.of(linear, Range(x.amin(0), x.amax(0)), smoothing)
    wanted = linear(x).detach()
    error = (product(product.bytes(x)) - wanted).norm() / wanted.norm()
    assert error < (0.02 if smoothed else 0.1)
    assert torch.equal(product.bytes(x), product.bytes(x / smoothing, smoothed=True))
