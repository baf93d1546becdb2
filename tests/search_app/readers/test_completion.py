from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_app.readers.completion import complete
from search_app.types import Span


def _completed(text: str, picked: str) -> str | None:
    start = text.index(picked)
    span = complete(text, Span(start, start + len(picked)), Span(0, len(text)))
    return text[span.start : span.end] if span else None


@pytest.mark.parametrize(
    ("text", "picked", "whole"),
    [
        ("It is kept at −25 °C all year.", "25", "−25 °C"),
        ("It costs $1,250.50 per seat.", "1,250", "$1,250.50"),
        ("The limit is EUR 46 a day.", "46", "EUR 46"),
        ("About 37.5 % of staff cycles.", "37.5", "37.5 %"),
        ("The tolerance is ± 0.05 mm.", "0.05", "± 0.05 mm"),
        ("It lasts 10–12 hours.", "12", "10–12 hours"),
        ("The limit is 15 km/h on the ramp.", "15", "15 km/h"),
        ("More than 3.4 million euros were paid.", "3.4", "3.4 million euros"),
        ("The density is 8.5 kg/m³ here.", "8", "8.5 kg/m³"),
        ("Write to m.ruiz@example.org, please.", "ruiz", "m.ruiz@example.org"),
        ("See https://example.org/a?b=1.", "example", "https://example.org/a?b=1"),
        ("Pay to DE89-3704-0044.", "3704", "DE89-3704-0044"),
        ("Firmware v2.11.0-rc3 is required.", "11.0", "v2.11.0-rc3"),
        ("Call f(x) now.", "f(x", "f(x)"),
        ("It was Dr. Ruiz who came.", "Ruiz", "Dr. Ruiz"),
        ("They signed the treaty then.", "treaty", "the treaty"),
        ("It opened on 3 March 2021 in Oslo.", "3 March", "3 March 2021"),
        ("It opened on March 3rd, 2021, in Oslo.", "March 3rd", "March 3rd, 2021"),
        ("It opened on 3 March 2021 in Oslo.", "March 2021", "3 March 2021"),
        ("It closes on the 3rd of March 2021.", "3rd of March", "3rd of March 2021"),
        ("Run deployctl undo --last to go back.", "deployctl undo", "deployctl undo --last"),
        ("Run make -j 4 --keep=all first.", "make -j 4", "make -j 4 --keep=all"),
        ("Use `git reset --hard HEAD~1` for that.", "reset", "git reset --hard HEAD~1"),
    ],
)
def test_what_a_person_would_mark(text: str, picked: str, whole: str) -> None:
    assert _completed(text, picked) == whole


@pytest.mark.parametrize(
    ("text", "picked"),
    [
        ("Tesla's car is fast.", "Tesla"),
        ("The city (Berlin) is large.", "Berlin"),
        ('They said "Go home" twice.', "Go home"),
        ("In 1984 m was a letter.", "1984"),
        ("They left Vienna—the city—early.", "Vienna"),
        ("Room 5 in the tower.", "5"),
        ("東京都の図書館には地図がある。", "図書館"),
        ("The Danube is long.", "Danube"),
        ("It opened in March 2021.", "March 2021"),
        ("It opened on 3 March 2021.", "2021"),
        ("It opened on 3 March, and 2021 people came.", "3 March"),
        ("He was tired -nothing more.", "tired"),
        ("Those `marks' are quotes, ``two'' of each.", "quotes"),
        ("They took on debts.[unreliable source] Others did not.", "debts"),
    ],
)
def test_what_is_whole_stays_as_it_is(text: str, picked: str) -> None:
    assert _completed(text, picked) == picked


def test_initials_keep_their_last_point() -> None:
    assert _completed("He lived in the U.S. for years.", "U.S") == "U.S."


@pytest.mark.parametrize("picked", ["these", "the", "@", "of the", "is not", "… –"])
def test_function_words_and_punctuation_alone_are_no_answer(picked: str) -> None:
    assert _completed(f"For {picked} one may ask.", picked) is None


@given(text=st.text("ab1 .,$€%-–(\"'kg°C日\n", min_size=1, max_size=60), data=st.data())
def test_a_completed_span_stays_in_its_place_and_has_no_white_space_at_its_ends(text: str, data: st.DataObject) -> None:
    low = data.draw(st.integers(0, len(text) - 1))
    high = data.draw(st.integers(low + 1, len(text)))
    start = data.draw(st.integers(low, high - 1))
    end = data.draw(st.integers(start + 1, high))
    span = complete(text, Span(start, end), Span(low, high))
    if span:
        assert low <= span.start < span.end <= high
        assert text[span.end - 1].strip()
