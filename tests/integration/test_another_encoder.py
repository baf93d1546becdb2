"""One service answers while the encoder of an index is changed and changed back; real models."""

from __future__ import annotations

import threading
from contextlib import closing
from pathlib import Path

import pytest
from checkpoints import CORPUS, make_checkpoint, make_sentence_transformer, without_pooler

from indexing import job
from indexing.rebuild import rebuild
from search_app import open_service
from search_app.encoders.sentence_transformer import SentenceTransformerEncoder
from search_app.errors import IndexMismatch
from search_app.hardware import Hardware
from search_app.manifest import encoded_text
from search_app.settings import EncoderSettings, OtherEncoder, Settings
from search_app.stores.catalog import open_catalog

CPU = Hardware("test", 1, frozenset(), "cpu", "float32")
QUESTION = "Which river crosses Vienna?"


def _encoders(folder: Path) -> tuple[EncoderSettings, EncoderSettings]:
    old, new = (str(make_checkpoint(name, folder / name, reader=False)) for name in ("bert", "distilbert"))
    return EncoderSettings(model=old, others=(OtherEncoder(model=new),)), EncoderSettings(model=new)


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    folder = tmp_path / "documents"
    folder.mkdir()
    for number, text in enumerate(CORPUS):
        (folder / f"{number}.txt").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("kind", ["without a pooler", "with prompts"])
def test_an_index_is_opened_again_with_the_same_folder(documents: Path, tmp_path: Path, kind: str) -> None:
    folder = (
        without_pooler(make_checkpoint("bert", tmp_path / "m", reader=False))
        if kind == "without a pooler"
        else make_sentence_transformer(tmp_path, prompts={"query": "query: ", "passage": "passage: "})
    )
    settings = Settings(home=tmp_path / "home", encoder=EncoderSettings(model=str(folder), precision="float32"))
    encoder = SentenceTransformerEncoder(settings.encoder, CPU)
    job.apply([str(documents)], settings=settings, encoder=encoder)
    with open_service(settings) as service:
        found = service.search(QUESTION, k=len(CORPUS))
    texts = [encoded_text(hit.passage) for hit in found.hits]
    expected = encoder.encode_queries([QUESTION]) @ encoder.encode_passages(texts).T
    assert [hit.scores["dense"] for hit in found.hits] == pytest.approx(expected[0].tolist(), abs=1e-5)


def test_questions_are_answered_before_during_and_after_a_change_of_encoder(documents: Path, tmp_path: Path) -> None:
    old, new = _encoders(tmp_path)
    settings = Settings(home=tmp_path / "home", encoder=old)
    job.apply([str(documents)], settings=settings, encoder=SentenceTransformerEncoder(old, CPU))
    changed = settings.model_copy(update={"encoder": new})
    errors: list[Exception] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            try:
                found = service.search(QUESTION, k=len(CORPUS))
                assert len(found.hits) == len(CORPUS)
            except Exception as error:
                errors.append(error)
                return

    with open_service(settings) as service:
        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            first = service.search(QUESTION)
            rebuild(changed, encoder=SentenceTransformerEncoder(new, CPU))
            second = service.search(QUESTION)
            with closing(open_catalog(settings)) as catalog:
                catalog.rollback("default")
            third = service.search(QUESTION)
        finally:
            done.set()
            for thread in threads:
                thread.join(60)
    assert errors == []
    assert first.generation < second.generation < third.generation
    with (
        open_service(
            changed,
        ) as alone,
        pytest.raises(IndexMismatch, match=r"encoder\.others"),
    ):
        alone.search(QUESTION)
    scores = [[(hit.passage.id, hit.scores.get("dense")) for hit in found.hits] for found in (first, second, third)]
    assert scores[0] == scores[2] != scores[1], "dense scores are those of the encoder of each generation"


def test_collections_with_different_encoders_are_searched_side_by_side(documents: Path, tmp_path: Path) -> None:
    old, new = _encoders(tmp_path)
    settings = Settings(home=tmp_path / "home", encoder=old)
    for name, encoder in (("one", old), ("other", new)):
        made = settings.model_copy(update={"encoder": encoder})
        job.apply([str(documents)], settings=made, encoder=SentenceTransformerEncoder(encoder, CPU), collection=name)
    with open_service(settings) as service:
        for name, encoder in (("one", old), ("other", new)):
            with open_service(settings.model_copy(update={"encoder": encoder})) as own:
                assert service.search(QUESTION, collection=name).hits == own.search(QUESTION, collection=name).hits
