from __future__ import annotations

from search_app.training.tables import UNANSWERED, make_tables


def test_every_answer_is_a_whole_value_at_its_place_in_a_row_of_the_thing_asked() -> None:
    dataset = make_tables(600, seed=3)
    asked = list(dataset.titled_questions)
    assert len(asked) >= 600
    for _, paragraph, question in asked:
        for answer in question.answers:
            end = answer.start + len(answer.text)
            assert paragraph.text[answer.start : end] == answer.text != ""
            assert paragraph.text[end : end + 1] in ("", "\n", ";")
            assert paragraph.text[: answer.start].endswith(": ")


def test_a_share_of_the_questions_has_no_answer_in_the_table() -> None:
    asked = list(make_tables(2000, seed=0).questions)
    share = sum(not question.answers for _, question in asked) / len(asked)
    assert UNANSWERED - 0.05 < share < UNANSWERED + 0.08


def test_tables_depend_on_the_seed_alone() -> None:
    assert make_tables(50, seed=1) == make_tables(50, seed=1) != make_tables(50, seed=2)


def test_titles_name_the_thing_where_the_text_does_not() -> None:
    alone = [
        (title, question)
        for title, paragraph, question in make_tables(400, seed=5).titled_questions
        if question.answers and "\n" in paragraph.text and "; " not in paragraph.text
    ]
    assert any(
        word.isdigit() and word in title for title, question in alone for word in question.text.strip("?.").split()
    )
