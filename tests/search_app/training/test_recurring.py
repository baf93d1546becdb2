from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from search_app.evaluation.datasets import Dataset
from search_app.training.recurring import recurring_questions, recurring_spans
from search_app.types import Span


def _texts(text: str) -> list[list[str]]:
    return [[text[s.start : s.end] for s in spans] for spans in recurring_spans(text, [Span(0, len(text))])]


def test_the_longest_repeated_words_are_one_span_without_stop_words_at_its_ends() -> None:
    text = "The Treaty of Vienna was signed, for the Treaty of Vienna ended the war in Vienna, and the war"
    assert _texts(text) == [["Treaty of Vienna"] * 2, ["war"] * 2]


def test_a_text_without_repetition_has_no_spans() -> None:
    assert _texts("One river crosses the old town.") == []


def test_a_masked_sentence_asks_for_what_the_rest_of_the_text_repeats() -> None:
    text = "Line 7 crosses the river. Nobody lives there now. The bridge of Line 7 was closed in May."
    asked = [(p.text, q.text, q.answers) for p, q in recurring_questions([text], "[MASK]", seed=0).questions]
    assert len(asked) == 1
    rest, question, (answer,) = asked[0]
    assert (rest, question) in {
        ("Nobody lives there now. The bridge of Line 7 was closed in May.", "[MASK] crosses the river."),
        ("Line 7 crosses the river. Nobody lives there now. ", "The bridge of [MASK] was closed in May."),
    }
    assert answer.text == "Line 7"
    assert rest[answer.start :].startswith("Line 7")


WORD = st.sampled_from(["river", "Vienna", "the", "of", "7", "treaty", "C++", "e-mail", "ende.", "Wien!", "\n\n- item"])


@given(words=st.lists(WORD, max_size=120), seed=st.integers(0, 3))
def test_answers_are_at_their_offsets_and_not_in_the_question(words: list[str], seed: int) -> None:
    text = " ".join(words)
    found = recurring_questions([text], "[MASK]", seed)
    for paragraph, question in found.questions:
        assert question.text.count("[MASK]") == 1
        assert question.answers
        for answer in question.answers:
            assert paragraph.text[answer.start : answer.start + len(answer.text)] == answer.text
        assert question.text.replace("[MASK]", question.answers[0].text) in text
    assert found == recurring_questions([text], "[MASK]", seed)
    assert isinstance(found, Dataset)
