"""Any BERT-family checkpoint works, from a folder of documents to an answer with its span."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from checkpoints import ARCHITECTURES, CORPUS, make_checkpoint
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from indexing import job
from search_app import open_service
from search_app.encoders.sentence_transformer import SentenceTransformerEncoder
from search_app.hardware import Hardware
from search_app.settings import Settings, SplitterSettings

CPU = Hardware("test", 1, frozenset(), "cpu", "float32")


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    folder = tmp_path / "documents"
    folder.mkdir()
    for number, text in enumerate(CORPUS):
        (folder / f"{number}.txt").write_text(f"{text}\n\n" * 6, encoding="utf-8")
    return folder


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_checkpoint_indexes_searches_and_answers(name: str, documents: Path, tmp_path: Path) -> None:
    encoder_folder = make_checkpoint(name, tmp_path / "encoder", reader=False)
    reader_folder = make_checkpoint(name, tmp_path / "reader", reader=True)
    settings = Settings(
        home=tmp_path / "home",
        encoder={"model": str(encoder_folder)},  # type: ignore[arg-type]
        reader={"model": str(reader_folder), "max_tokens": 100, "stride": 16},  # type: ignore[arg-type]
        splitter=SplitterSettings(passage_tokens=60, overlap_tokens=8),
    )
    encoder = SentenceTransformerEncoder(settings.encoder, CPU)
    summary = job.apply([str(documents)], settings=settings, encoder=encoder)
    assert (summary.added, summary.failed, summary.truncated_tokens) == (len(CORPUS), 0, 0)
    assert summary.passages_encoded > 0
    with open_service(settings) as service:
        for question in ("Which names does the global statement list?", "図書館はどこにありますか"):
            result = service.answer(question, k=5, top_k=4)
            assert len(result.hits) == 5
            assert all(np.isfinite(hit.score) for hit in result.hits)
            found = [answer for answer in result.answers if answer.span]
            assert found
            for answer in found:
                assert answer.hit is not None
                assert answer.span is not None
                document = service.store().document(answer.hit.passage.document_id)
                assert document is not None
                assert document.text[answer.span.start : answer.span.end] == answer.text
                assert answer.confidence is None, "a reader without calibration gives scores only"


@pytest.mark.parametrize("name", ["bert", "roberta", "distilbert", "electra"])
def test_a_sequence_classifier_ranks(name: str, documents: Path, tmp_path: Path) -> None:
    ranker = make_checkpoint(name, tmp_path / "ranker", reader=False)
    config = AutoConfig.from_pretrained(ranker, num_labels=1)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(ranker)
    assert AutoTokenizer.from_pretrained(ranker).is_fast
    settings = Settings(home=tmp_path / "home", ranker={"model": str(ranker), "top": 3})  # type: ignore[arg-type]
    job.apply([str(documents)], settings=settings, encoder=SentenceTransformerEncoder(settings.encoder, CPU))
    with open_service(settings) as service:
        result = service.search("Which river crosses Vienna?", k=5)
        assert [("ranker" in hit.scores) for hit in result.hits] == [True, True, True, False, False]
        ranked = [hit.scores["ranker"] for hit in result.hits[:3]]
        assert ranked == sorted(ranked, reverse=True)
