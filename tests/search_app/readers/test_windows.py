from __future__ import annotations

from pathlib import Path

import pytest
from checkpoints import ARCHITECTURES, make_checkpoint
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from search_app.models.checkpoint import BUNDLED_READER
from search_app.readers.windows import WindowMaker, stack

TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=300) | st.text(
    "ab e\u0301\u4e2d\u6587 \n\t.,-\U0001f600\u00a0\u2003", min_size=1, max_size=300
)


@pytest.fixture(scope="module")
def bundled() -> PreTrainedTokenizerFast:
    return AutoTokenizer.from_pretrained(BUNDLED_READER)


@pytest.fixture(scope="module", params=sorted(ARCHITECTURES))
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerFast:
    folder: Path = make_checkpoint(request.param, tmp_path_factory.mktemp("windows"), reader=True)
    return AutoTokenizer.from_pretrained(folder)


@settings(max_examples=60, deadline=None)
@given(question=TEXTS, text=TEXTS, max_tokens=st.integers(32, 96), stride=st.integers(0, 200))
def test_windows_of_any_text_cover_every_token_within_their_size(
    bundled: PreTrainedTokenizerFast, question: str, text: str, max_tokens: int, stride: int
) -> None:
    windows = WindowMaker(bundled, max_tokens=max_tokens, stride=stride)([question], [text], [""])
    whole = bundled(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    seen = [tuple(row) for window in windows for row in window.offsets.tolist()]
    assert set(seen) == set(whole)
    for window in windows:
        assert len(window) <= max_tokens
        assert len(window.offsets) == window.last - window.first


@settings(max_examples=60, deadline=None)
@given(text=TEXTS, data=st.data())
def test_characters_and_tokens_map_back_to_each_other(
    bundled: PreTrainedTokenizerFast, text: str, data: st.DataObject
) -> None:
    (window, *_) = WindowMaker(bundled, max_tokens=96, stride=16)(["what?"], [text], [""])
    if window.first == window.last:
        return
    start = data.draw(st.integers(window.first, window.last - 1))
    end = data.draw(st.integers(start, window.last - 1))
    span = window.characters(start, end, text)
    marked = text[span.start : span.end]
    assert marked == marked.strip()
    if marked:
        found = window.tokens(span.start, span.end)
        assert found is not None
        assert window.characters(*found, text) == span


def test_every_tokenizer_maps_an_answer_to_tokens_and_back(tokenizer: PreTrainedTokenizerFast) -> None:
    text = "The glacier is a slow river of ice; the treaty was signed in Vienna by Lima. " * 3
    answer = "signed in Vienna"
    windows = WindowMaker(tokenizer, max_tokens=64, stride=24)(["Where was it signed?"], [text], [""])
    assert len(windows) > 1
    start = text.index(answer)
    holding = [(window, place) for window in windows if (place := window.tokens(start, start + len(answer)))]
    assert holding
    for window, place in holding:
        span = window.characters(*place, text)
        assert text[span.start : span.end] == answer


def test_token_types_equal_those_of_the_tokenizer(
    bundled: PreTrainedTokenizerFast,
) -> None:
    (window,) = WindowMaker(bundled, max_tokens=64, stride=8)(["who wrote it?"], ["ann wrote it"], [""])
    expected = bundled("who wrote it?", "ann wrote it")
    assert window.input_ids.tolist() == expected["input_ids"]
    assert window.token_type_ids.tolist() == expected["token_type_ids"]
    assert window.token_type_ids[window.first : window.last].all()


def test_an_answer_outside_the_window_has_no_tokens(bundled: PreTrainedTokenizerFast) -> None:
    text = "one two three four five six seven eight nine ten " * 8
    first, *_, last = WindowMaker(bundled, max_tokens=40, stride=8)(["which?"], [text], [""])
    assert first.tokens(len(text) - 4, len(text) - 1) is None
    assert last.tokens(0, 3) is None
    assert last.tokens(len(text) - 4, len(text) - 1) is not None


def test_a_question_longer_than_the_window_is_cut_and_leaves_room_for_the_text(
    bundled: PreTrainedTokenizerFast,
) -> None:
    windows = WindowMaker(bundled, max_tokens=64, stride=32)(["why " * 5000], ["because it is so " * 40], [""])
    assert all(len(window) <= 64 and len(window.offsets) >= 64 - 16 - 3 - 1 for window in windows[:-1])


def test_an_empty_text_gives_a_window_without_text_tokens(bundled: PreTrainedTokenizerFast) -> None:
    (window,) = WindowMaker(bundled, max_tokens=64, stride=8)(["why?"], [""], [""])
    assert window.first == window.last
    assert window.tokens(0, 1) is None


def test_two_makers_do_not_change_each_other_or_their_tokenizer(bundled: PreTrainedTokenizerFast) -> None:
    short = WindowMaker(bundled, max_tokens=32, stride=4)
    long = WindowMaker(bundled, max_tokens=128, stride=4)
    text = "one two three four five six " * 10
    assert len(short(["why?"], [text], [""])) > len(long(["why?"], [text], [""])) == 1
    assert len(bundled(text)["input_ids"]) > 60


def test_stacked_windows_are_padded_and_masked(bundled: PreTrainedTokenizerFast) -> None:
    windows = WindowMaker(bundled, max_tokens=64, stride=8)(["a", "a"], ["one two three", "one"], ["", ""])
    ids, types, mask = stack(windows, pad_id=0, shape=(2, 16))
    assert ids.shape == types.shape == mask.shape == (2, 16)
    assert mask.sum(axis=1).tolist() == [len(window) for window in windows]
    assert not ids[mask == 0].any()


def test_every_window_has_the_title_and_no_answer_is_taken_from_it(tokenizer: PreTrainedTokenizerFast) -> None:
    text = "The glacier is a slow river of ice. " * 12
    plain = WindowMaker(tokenizer, max_tokens=64, stride=8)(["Where is it?"], [text], [""])
    titled = WindowMaker(tokenizer, max_tokens=64, stride=8)(["Where is it?"], [text], ["Lima and Osaka"])
    title = tokenizer("Lima and Osaka", add_special_tokens=False)["input_ids"]
    assert len(titled) >= len(plain) > 1
    for window in titled:
        assert len(window) <= 64
        assert window.input_ids[window.first - len(title) : window.first].tolist() == title
        assert len(window.offsets) == window.last - window.first
    assert {tuple(row) for window in titled for row in window.offsets.tolist()} == {
        tuple(row) for window in plain for row in window.offsets.tolist()
    }


def test_a_long_title_is_cut_and_leaves_room_for_the_text(bundled: PreTrainedTokenizerFast) -> None:
    windows = WindowMaker(bundled, max_tokens=64, stride=8)(["why " * 99], ["so it is " * 40], ["a head " * 5000])
    assert all(len(window) <= 64 for window in windows)
    assert all(len(window.offsets) >= 64 - 2 * 16 - 3 for window in windows[:-1])
