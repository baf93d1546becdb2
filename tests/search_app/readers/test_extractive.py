from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import ARCHITECTURES, make_checkpoint
from transformers import AutoModel

from search_app.errors import ModelUnavailable
from search_app.hardware import Hardware
from search_app.models import checksums
from search_app.models.checkpoint import BUNDLED_READER
from search_app.readers.extractive import ExtractiveReader
from search_app.readers.scoring import FILE
from search_app.settings import ReaderSettings
from search_app.text.reading import edits_of
from search_app.types import Answer, Cell, Hit, Passage, Span, SpanCandidate, Table

PLAIN = Hardware("test", 1, frozenset(), "cpu", "float32")
TEXT = (
    "The treaty was signed in Vienna in 1815. Ann Müller, a glaciologist from Osaka, wrote the first history of the "
    "river. The library keeps 4,200 old maps \U0001f5fa of the harbour."
)


def _hit(text: str, *, document: str = "d", start: int = 0, score: float = 1.0) -> Hit:
    return Hit(Passage(f"{document}-{start}", document, "", text, start, start + len(text)), score)


@pytest.fixture(scope="module")
def reader() -> ExtractiveReader:
    return ExtractiveReader(ReaderSettings(), PLAIN)


def _best(reader: ExtractiveReader, question: str, hits: list[Hit]) -> Answer:
    """The best answer with a span."""
    return next(answer for answer in reader.read([question], [hits], top_k=5)[0] if answer.span)


def test_the_bundled_reader_finds_the_answer_in_its_passage(reader: ExtractiveReader) -> None:
    questions = ["Where was the treaty signed?", "Who wrote the history of the river?", "How many maps are kept?"]
    answers = reader.read(questions, [[_hit(TEXT)]] * 3, top_k=1)
    assert [found[0].text for found in answers] == ["Vienna", "Ann Müller", "4,200"]


def test_spans_count_characters_of_the_document_not_of_the_passage(reader: ExtractiveReader) -> None:
    document = "\u4e2d\U0001f600 Before. " + TEXT + " After."
    start = document.index("The library")
    hit = _hit(document[start : start + 90], start=start)
    answer = _best(reader, "How many maps are kept?", [hit])
    assert answer.span is not None
    assert document[answer.span.start : answer.span.end] == answer.text == "4,200"
    assert answer.hit is hit


def test_the_answer_is_found_among_passages_without_it(reader: ExtractiveReader) -> None:
    others = [
        _hit("The glacier melts slowly in the long summer of the north.", document="x"),
        _hit("Copper is a metal that conducts electricity well.", document="y"),
    ]
    (answer, *_) = reader.read(["Where was the treaty signed?"], [[*others, _hit(TEXT)]], top_k=3)[0]
    assert answer.text == "Vienna"
    assert answer.hit is not None
    assert answer.hit.passage.document_id == "d"


def test_a_span_in_two_overlapping_passages_is_one_answer(reader: ExtractiveReader) -> None:
    half = len("The treaty was signed in Vienna in 1815.")
    hits = [_hit(TEXT[: half + 60]), _hit(TEXT)]
    answers = [answer for answer in reader.read(["Where was the treaty signed?"], [hits], top_k=20)[0] if answer.span]
    spans = [answer.span for answer in answers if answer.span]
    assert spans[0] == Span(25, 31)
    assert all(a.end <= b.start or b.end <= a.start for i, a in enumerate(spans) for b in spans[:i])


def test_an_answer_beyond_the_first_window_of_a_long_passage_is_found(reader: ExtractiveReader) -> None:
    text = "Copper is a metal that conducts electricity well. " * 90 + TEXT
    before = reader.model.windows
    (answer,) = reader.read(["Who wrote the history of the river?"], [[_hit(text)]], top_k=1)[0]
    assert answer.text == "Ann Müller"
    assert reader.model.windows - before > 2


def test_no_answer_is_longer_than_the_setting_allows() -> None:
    reader = ExtractiveReader(ReaderSettings(max_answer_tokens=2), PLAIN)
    for answer in reader.read(["Who wrote the history of the river?"], [[_hit(TEXT)]], top_k=50)[0]:
        assert len(answer.text.replace(",", " ").replace(".", " ").split()) <= 2


def test_no_answer_here_has_neither_text_nor_span_nor_hit(reader: ExtractiveReader) -> None:
    found = reader.read(["Where was the treaty signed?"], [[_hit(TEXT)]], top_k=500)[0]
    (none,) = [answer for answer in found if answer.span is None]
    assert (none.text, none.hit) == ("", None)
    assert [answer.score for answer in found] == sorted((answer.score for answer in found), reverse=True)


def test_questions_in_one_call_get_the_answers_they_get_alone(reader: ExtractiveReader) -> None:
    questions = ["Where was the treaty signed?", "Who wrote the history?", "What does the library keep?"]
    hits = [[_hit(TEXT), _hit("Copper is a metal.", document="x")], [_hit(TEXT)], [_hit(TEXT[40:], start=40)]]
    together = reader.read(questions, hits, top_k=3)
    for question, found, answers in zip(questions, hits, together, strict=True):
        (alone,) = reader.read([question], [found], top_k=3)
        assert [(a.text, a.span) for a in alone] == [(a.text, a.span) for a in answers]
        assert [a.score for a in alone] == pytest.approx([a.score for a in answers], abs=1e-3)


def test_questions_of_one_call_share_forward_passes(reader: ExtractiveReader) -> None:
    passes, windows = reader.model.forward_passes, reader.model.windows
    reader.read(["Where was the treaty signed?"] * 12, [[_hit(TEXT)]] * 12, top_k=1)
    assert reader.model.windows - windows == 12
    assert reader.model.forward_passes - passes == 1


def test_passages_of_any_length_need_few_input_shapes(
    reader: ExtractiveReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """oneDNN keeps about a megabyte for each shape, for the life of the process."""
    shapes: set[tuple[int, int]] = set()
    forward = reader.model._forward

    def recorded(ids: Any, types: Any, mask: Any) -> Any:
        shapes.add(ids.shape)
        return forward(ids, types, mask)

    monkeypatch.setattr(reader.model, "_forward", recorded)
    words = (TEXT + " ") * 12
    for length in range(20, 1_200, 7):
        reader.read(["Where?"], [[_hit(words[:length])]], top_k=1)
    assert len(shapes) < reader.model.max_tokens / 8
    assert all(width % 8 == 0 for _, width in shapes)


def test_a_window_is_never_padded_beyond_the_maximum(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = ExtractiveReader(ReaderSettings(max_tokens=99, stride=16), PLAIN)
    widths: set[int] = set()
    forward = reader.model._forward

    def recorded(ids: Any, types: Any, mask: Any) -> Any:
        widths.add(ids.shape[1])
        return forward(ids, types, mask)

    monkeypatch.setattr(reader.model, "_forward", recorded)
    assert _best(reader, "Where was the treaty signed?", [_hit(TEXT * 3)]).text
    assert max(widths) == 99


def test_the_bare_name_of_a_file_is_no_title(reader: ExtractiveReader) -> None:
    text = "It was built in 1931 and weighs forty tonnes."

    def logits(title: str) -> list[float]:
        hit = Hit(Passage("p", "d", title, text, 0, len(text), source="docs/bridges.jsonl"), 0.0)
        return [candidate.logit for candidate in reader.extract(["When was the bridge built?"], [[hit]])[0]]

    assert logits("bridges") == logits("") != logits("The bridge of Halden")


def test_the_title_is_read_and_no_answer_is_marked_in_it(reader: ExtractiveReader) -> None:
    def hit(title: str) -> Hit:
        text = "The battery lasts 14 hours."
        return Hit(Passage(title, title, title, text, 0, len(text)), 0.0)

    hits = [hit("Pico 200 › Battery"), hit("Orca 300 › Battery")]
    question = "How long does the battery of the Orca 300 last?"
    by_document = {span.document_id: span.logit for span in sorted(reader.extract([question], [hits])[0], key=_logit)}
    assert by_document["Orca 300 › Battery"] > by_document["Pico 200 › Battery"]
    for answer in reader.read(["What is the model?"], [hits], top_k=50)[0]:
        assert answer.text in hits[0].passage.text


def _logit(span: SpanCandidate) -> float:
    return span.logit


def test_a_row_is_read_with_the_names_of_its_columns_and_no_answer_leaves_its_cell(reader: ExtractiveReader) -> None:
    text = "Country | Daily allowance | Hotel limit\nPortugal | EUR 46 | EUR 120\nNorway | EUR 75 | EUR 210"
    cells = [
        tuple(
            Cell(found.start(), found.end(), column) for column, found in enumerate(re.finditer(r"[^|\n]*[^|\n ]", row))
        )
        for row in text.split("\n")
    ]
    rows, begin = [], 0
    for row, line in zip(cells, text.split("\n"), strict=True):
        shift = [len(cell_text) - len(cell_text.lstrip()) for cell_text in line.split("|")]
        rows.append(tuple(Cell(begin + c.start + s, begin + c.end, c.column) for c, s in zip(row, shift, strict=True)))
        begin += len(line) + 1
    table = Table(0, len(text), ("Country", "Daily allowance", "Hotel limit"), 1, tuple(rows))
    passage = Passage("0", "d", "", text, 0, len(text), edits=edits_of(text, (table,), 0, len(text)))
    contents = {text[cell.start : cell.end] for row in rows[1:] for cell in row}
    found = reader.read(["What is the daily allowance for Norway?"], [[Hit(passage, 1.0)]], top_k=50)[0]
    texts = [answer.text for answer in found if answer.span]
    assert texts
    assert all(any(marked in content for content in contents) for marked in texts)


RULES = (
    "Dogs are allowed in the garden on a lead. Dogs are not allowed in the library. Smoking is permitted on the "
    "balcony. Smoking is not permitted in the hall."
)


@pytest.mark.parametrize(
    ("question", "sentence"),
    [
        ("Are dogs allowed in the garden?", "Dogs are allowed in the garden on a lead."),
        ("Are dogs allowed in the library?", "Dogs are not allowed in the library."),
        ("Is smoking permitted on the balcony?", "Smoking is permitted on the balcony."),
        ("Is smoking permitted in the hall?", "Smoking is not permitted in the hall."),
    ],
)
def test_a_yes_no_question_gets_the_sentence_about_the_thing_asked(
    reader: ExtractiveReader, question: str, sentence: str
) -> None:
    hits = [_hit("Dogs are not allowed in the pool.", document="x"), _hit(RULES)]
    texts = [answer.text for answer in reader.read([question], [hits], top_k=9)[0] if answer.span]
    assert texts == [sentence]


def test_a_list_is_one_answer(reader: ExtractiveReader) -> None:
    text = "For a permit these documents are needed:\n\n- a passport\n- a lease\n\nThe office is closed on Mondays."
    answer = _best(reader, "Which documents are needed for a permit?", [_hit(text)])
    assert answer.text == "- a passport\n- a lease"


def test_no_answer_runs_over_a_heading_or_an_item(reader: ExtractiveReader) -> None:
    text = "Opening\n\nThe library opens at nine\n\nPrices\n\n- adults pay EUR 9\n- children pay EUR 4"
    for question in ("When does the library open?", "How much does a child pay?"):
        for answer in reader.read([question], [[_hit(text)]], top_k=50)[0]:
            assert "\n" not in answer.text


def test_empty_calls_and_empty_passages_have_no_answer(reader: ExtractiveReader) -> None:
    assert reader.read([], [], top_k=3) == []
    assert reader.read(["Where?"], [[]], top_k=3) == [[]]
    assert reader.read(["Where?"], [[_hit("")]], top_k=3) == [[]]
    assert reader.read(["Where?"], [[_hit("\u2003\n ")]], top_k=3) == [[]]


def test_questions_of_any_kind_get_valid_spans(reader: ExtractiveReader) -> None:
    questions = ["?", "这条河有多长？", "why " * 3000, "\U0001f600\u0301", "\x00"]
    for found in reader.read(questions, [[_hit(TEXT)]] * len(questions), top_k=3):
        for answer in found:
            assert answer.span is None or TEXT[answer.span.start : answer.span.end] == answer.text


def test_half_precision_finds_the_answers_of_full_precision(reader: ExtractiveReader) -> None:
    half = ExtractiveReader(ReaderSettings(precision="bfloat16"), PLAIN)
    questions = ["Where was the treaty signed?", "Who wrote the history of the river?", "How many maps are kept?"]
    for a, b in zip(*(r.read(questions, [[_hit(TEXT)]] * 3, top_k=1) for r in (reader, half)), strict=True):
        assert a[0].span == b[0].span
        assert a[0].score == pytest.approx(b[0].score, abs=0.5)


def test_a_retrieval_weight_in_the_settings_overrides_that_of_the_checkpoint(reader: ExtractiveReader) -> None:
    weighted = ExtractiveReader(ReaderSettings(retrieval_weight=100.0), PLAIN)
    hits = [_hit(TEXT, score=0.1), _hit("Copper is a metal that conducts electricity.", document="x", score=0.9)]
    assert _best(weighted, "Where was the treaty signed?", hits).hit is hits[1]


def test_confidence_is_a_probability_with_calibration_and_none_without(
    reader: ExtractiveReader, tmp_path: Path
) -> None:
    folder = make_checkpoint("bert", tmp_path / "plain", reader=True)
    plain = ExtractiveReader(ReaderSettings(model=str(folder)), PLAIN)
    assert all(a.confidence is None for a in plain.read(["Where?"], [[_hit(TEXT)]], top_k=5)[0])
    shutil.copy(BUNDLED_READER / FILE, folder)
    for answer in ExtractiveReader(ReaderSettings(model=str(folder)), PLAIN).read(["Where?"], [[_hit(TEXT)]], top_k=5)[
        0
    ]:
        assert answer.confidence is not None
        assert 0 <= answer.confidence <= 1
    known = reader.read(["Where was the treaty signed?"], [[_hit(TEXT, score=1.0)]], top_k=1)[0][0]
    unknown = reader.read(["What is the wingspan of an albatross?"], [[_hit(TEXT, score=0.2)]], top_k=1)[0][0]
    assert known.confidence is not None
    assert known.confidence > 0.5
    assert unknown.span is None or (unknown.confidence is not None and unknown.confidence < known.confidence)


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_every_architecture_gives_correct_offsets(name: str, tmp_path: Path) -> None:
    folder = make_checkpoint(name, tmp_path / name, reader=True)
    reader = ExtractiveReader(ReaderSettings(model=str(folder)), PLAIN)
    text = "東京都の図書館には江戸時代の地図がある。 " + TEXT * 3
    hit = _hit(text, start=7)
    found = reader.read(["Who wrote the treaty?", "図書館はどこにありますか。"], [[hit], [hit]], top_k=5)
    assert reader.model.windows > 2
    for answers in found:
        assert any(answer.span for answer in answers)
        for answer in answers:
            if answer.span:
                assert text[answer.span.start - 7 : answer.span.end - 7] == answer.text == answer.text.strip() != ""


@pytest.mark.parametrize("name", ["bert", "roberta", "distilbert"])
def test_padding_does_not_change_logits(name: str, tmp_path: Path) -> None:
    folder = make_checkpoint(name, tmp_path / name, reader=True)
    reader = ExtractiveReader(ReaderSettings(model=str(folder)), PLAIN)
    short, long = _hit("Vienna is a city."), _hit(TEXT[:120], document="long")
    (single,) = reader.extract(["Where?"], [[short]])
    (both,) = reader.extract(["Where?"], [[short, long]])
    alone = {(span.start, span.end): span.logit for span in single}
    assert alone == {(span.start, span.end): pytest.approx(span.logit, abs=1e-4) for span in both if span.hit == 0}


def test_a_checkpoint_without_a_trained_head_is_refused(tmp_path: Path) -> None:
    folder = make_checkpoint("bert", tmp_path / "encoder", reader=False)
    with pytest.raises(ModelUnavailable, match=r"not trained to answer questions.*search-app train reader"):
        ExtractiveReader(ReaderSettings(model=str(folder)), PLAIN)


@pytest.mark.parametrize("weights", ["tf_model.h5", "pytorch_model.bin", "flax_model.msgpack"])
def test_weights_in_other_formats_are_refused_with_the_next_step(tmp_path: Path, weights: str) -> None:
    folder = make_checkpoint("bert", tmp_path / "other", reader=True)
    (folder / "model.safetensors").rename(folder / weights)
    with pytest.raises(ModelUnavailable, match=rf"only {weights}; convert it"):
        ExtractiveReader(ReaderSettings(model=str(folder)), PLAIN)


def test_a_tokenizer_without_offsets_is_refused(tmp_path: Path) -> None:
    folder = make_checkpoint("roberta", tmp_path / "tweets", reader=True)
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertweetTokenizer"}))
    (folder / "vocab.txt").write_text("the 1\n")
    (folder / "bpe.codes").write_text("t h 1\n")
    with pytest.raises(ModelUnavailable, match=r"has no character offsets|cannot load") as caught:
        ExtractiveReader(ReaderSettings(model=str(folder)), PLAIN)
    assert "tokenizer.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unreachable_hub_name_is_an_error_in_one_line() -> None:
    with pytest.raises(ModelUnavailable) as caught:
        ExtractiveReader(ReaderSettings(model="nobody/has-this-reader"), PLAIN)
    assert "nobody/has-this-reader" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_configuration_cannot_select_code_to_run(tmp_path: Path) -> None:
    folder = make_checkpoint("bert", tmp_path / "foreign", reader=True)
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "_attn_implementation": "nobody/kernel",
        "_attn_implementation_internal": "nobody/kernel",
        "auto_map": {"AutoModelForQuestionAnswering": "evil.Model", "AutoConfig": "evil.Config"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text("raise SystemExit('ran')")
    reader = ExtractiveReader(ReaderSettings(model=str(folder)), PLAIN)
    assert reader.read(["Where?"], [[_hit(TEXT)]], top_k=1)[0]


def test_damaged_weights_are_an_error_and_not_an_answer(tmp_path: Path) -> None:
    folder = make_checkpoint("bert", tmp_path / "damaged", reader=True)
    checksums.write(folder)
    ExtractiveReader(ReaderSettings(model=str(folder)), PLAIN)
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(ModelUnavailable, match=r"model\.safetensors is damaged"):
        ExtractiveReader(ReaderSettings(model=str(folder)), PLAIN)


def test_half_precision_files_run_in_the_requested_precision(tmp_path: Path) -> None:
    folder = make_checkpoint("bert", tmp_path / "half", reader=True)
    model = AutoModel.from_pretrained(folder)
    assert model.dtype == torch.float32
    reader = ExtractiveReader(ReaderSettings(), PLAIN)
    assert reader.model.precision == "float32"
    assert next(reader.model._model.parameters()).dtype == torch.float32
