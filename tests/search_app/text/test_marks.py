from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_app.text.marks import marks


@pytest.mark.parametrize(
    ("question", "text", "marked"),
    [
        ("8Z-4411/B", "Part (8Z-4411/B), not 8Z-4411/C or B.", ["8Z-4411/B"]),
        ("boiler restarts", "To restart the Boiler, wait.", ["restart", "Boiler"]),
        ("email", "Write an e-mail!", ["e-mail"]),
        ("C++", "We use C++ and C.", ["C++"]),
        ("Lodz", "in Łódź", ["Łódź"]),
        ("4411", "nothing here", []),
    ],
)
def test_the_words_of_a_keyword_query_are_marked(question: str, text: str, marked: list[str]) -> None:
    assert [text[span.start : span.end] for span in marks(question, text)] == marked


@given(st.text(max_size=40), st.text(max_size=200))
def test_marks_are_in_order_and_inside_the_text(question: str, text: str) -> None:
    position = 0
    for span in marks(question, text):
        assert position <= span.start <= span.end <= len(text)
        position = span.end
