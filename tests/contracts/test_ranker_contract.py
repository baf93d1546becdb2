"""The contract of every ranker: the same hits, best first, independent of other questions in the call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from checkpoints import ARCHITECTURES, CORPUS, make_checkpoint
from transformers import AutoConfig, AutoModelForSequenceClassification

from search_app.errors import ModelUnavailable
from search_app.hardware import Hardware
from search_app.rankers.cross_encoder import CrossEncoderRanker
from search_app.settings import RankerSettings
from search_app.types import Hit, Passage

CPU = Hardware("test", 1, frozenset(), "cpu", "float32")
HITS = [Hit(Passage(f"p{i}", "d", "", text, 0, len(text)), 1 / (i + 1), {"bm25": i}) for i, text in enumerate(CORPUS)]
KINDS = [name for name in ARCHITECTURES if name not in {"multilingual", "japanese"}]


@pytest.fixture(scope="module", params=KINDS)
def ranker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = make_checkpoint(request.param, tmp_path_factory.mktemp("ranker"), reader=False)
    config = AutoConfig.from_pretrained(folder, num_labels=1)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    return CrossEncoderRanker(RankerSettings(model=str(folder)), CPU)


def test_hits_are_reordered_best_first_with_raw_scores(ranker: Any) -> None:
    (ranked,) = ranker.rank(["Which river crosses Vienna?"], [HITS])
    assert sorted(hit.passage.id for hit in ranked) == [hit.passage.id for hit in HITS]
    scores = [hit.score for hit in ranked]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) > 1
    by_id = {hit.passage.id: hit for hit in HITS}
    assert all(hit.scores == {**by_id[hit.passage.id].scores, "ranker": hit.score} for hit in ranked)


def test_a_batch_of_questions_is_ranked_like_single_ones(ranker: Any) -> None:
    questions = ["Which river?", "What is the notice period?", "nothing"]
    together = ranker.rank(questions, [HITS, HITS[:2], []])
    assert together[2] == []
    for question, hits, ranked in zip(questions[:2], (HITS, HITS[:2]), together, strict=False):
        (alone,) = ranker.rank([question], [hits])
        assert [hit.passage.id for hit in alone] == [hit.passage.id for hit in ranked]
        assert [hit.score for hit in alone] == pytest.approx([hit.score for hit in ranked], abs=1e-4)


def test_pairs_of_any_length_need_few_widths(ranker: Any) -> None:
    """oneDNN keeps memory for each shape until the process ends."""
    widths: set[int] = set()
    embeddings = ranker._model[0].auto_model.get_input_embeddings()
    embeddings.register_forward_pre_hook(lambda _, inputs: widths.add(inputs[0].shape[1]))
    words = " ".join(CORPUS)
    for length in range(10, 700, 23):
        text = words[:length]
        (ranked,) = ranker.rank(["Which river crosses Vienna?"], [[Hit(Passage("p", "d", "", text, 0, length), 1.0)]])
        assert ranked
    assert len(widths) > 3
    assert all(width % 8 == 0 or width == ranker._model.max_seq_length for width in widths)


def test_the_digest_identifies_the_weights_in_every_precision(ranker: Any) -> None:
    half = CrossEncoderRanker(RankerSettings(model=ranker._checkpoint.location, precision="bfloat16"), CPU)
    assert len(ranker.digest) == 64
    assert half.digest == ranker.digest


def test_without_hits_there_is_nothing_to_rank(ranker: Any) -> None:
    assert ranker.rank([], []) == []
    assert ranker.rank(["x"], [[]]) == [[]]


def test_a_folder_without_weights_is_refused_with_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"has no safetensors weights in .*give a folder"):
        CrossEncoderRanker(RankerSettings(model=str(tmp_path)), CPU)
