from __future__ import annotations

import pytest

from search_app.text.shown import shown


@pytest.mark.parametrize(
    ("text", "around", "line"),
    [
        ("an exam-\nple of it", "", "an example of it"),
        ("an exam\u2010\n  ple", "", "an example"),
        ("a long-\nterm plan", "It took long. This is a long-\nterm plan", "a long-term plan"),
        ("one -\ntwo", "", "one - two"),
        ("Smith-\nJones", "", "Smith-Jones"),
        ("two\nlines  here", "", "two lines here"),
    ],
)
def test_an_answer_is_one_line_without_the_hyphens_of_line_ends(text: str, around: str, line: str) -> None:
    assert shown(text, around) == line
