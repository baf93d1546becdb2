"""Two price lists both matter: the newest first, and the older one names it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_app.types import Hit, Passage
from search_app.versions import newest_first

TEXT = "Daily allowances by country. Portugal: EUR {0} a day. Spain: EUR {1} a day. Claims are paid within {2} days."
OLD, NEW = TEXT.format(44, 50, 30), TEXT.format(46, 52, 14)


def hits(
    *found: tuple[str, str], text: Sequence[str] = (OLD, NEW), titles: Sequence[str] = (), dates: str = "date"
) -> list[Hit]:
    """Of (source, date), best first."""
    made = []
    for number, ((source, date), words) in enumerate(zip(found, text, strict=True)):
        title = titles[number] if titles else "Allowances"
        meta = {dates: date} if date else {}
        passage = Passage(f"p{number}", f"d{number}", title, words, 0, len(words), None, source, meta)
        made.append(Hit(passage, 1 - number / 10, {"bm25": 5.0 - number}))
    return made


def sources(found: Sequence[Hit]) -> list[str]:
    return [hit.passage.source for hit in found]


def newer(found: Sequence[Hit]) -> list[str | None]:
    return [hit.newer.source if hit.newer else None for hit in found]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("prices-2023.pdf", "prices-2024.pdf"), ("2023/prices.pdf", "2024/prices.pdf"),
        ("prices_v2.docx", "prices_v10.docx"),
        ("Prices 31.12.2023.pdf", "Prices 01.02.2024.pdf"), ("prices 2023-11.csv", "prices 2023-12.csv"),
        ("https://x.org/prices-1.9-v1.9.html", "https://x.org/prices-1.9-v1.10.html"),
    ],
)  # fmt: skip
def test_the_newest_version_by_name_comes_first(old: str, new: str) -> None:
    found = newest_first("What is the allowance for Portugal?", hits((old, "2024-05-05"), (new, "2020-01-01")))
    assert sources(found) == [new, old]
    assert newer(found) == [None, new]
    assert [hit.score for hit in found] == [1.0, 0.9]
    assert [hit.scores["bm25"] for hit in found] == [4.0, 5.0]


@pytest.mark.parametrize("dates", ["date", "modified"])
@pytest.mark.parametrize(("old", "new"), [("old/prices.pdf", "prices.pdf"), ("prices (1).pdf", "prices_final (1).pdf")])
def test_without_a_date_in_the_name_the_documents_date_counts(old: str, new: str, dates: str) -> None:
    given_dates = hits((old, "2023-01-01"), (new, "2024-01-01"), dates=dates)
    assert sources(newest_first("Portugal?", given_dates)) == [new, old]
    undated = hits((old, ""), (new, ""))
    assert newest_first("Portugal?", undated) == undated


@pytest.mark.parametrize("question", ["What was it in 2023?", "Who gets EUR 44 a day?", "prices-2023.pdf"])
def test_a_number_of_the_question_keeps_the_version_that_it_asks_for(question: str) -> None:
    found = newest_first(question, hits(("prices-2023.pdf", ""), ("prices-2024.pdf", "")))
    assert sources(found) == ["prices-2023.pdf", "prices-2024.pdf"]
    assert newer(found) == ["prices-2024.pdf", None]


@pytest.mark.parametrize(
    ("found", "titles", "texts"),
    [
        ([("orca-200.pdf", "2020"), ("orca-300.pdf", "2024")], ["Orca 200", "Orca 300"], (OLD, NEW)),
        ([("berlin/contact.html", "2020"), ("bonn/contact.html", "2024")], ["Contact", "Contact"], (OLD, NEW)),
        ([("invoice 2023-0041.pdf", "2020"), ("invoice 2023-0042.pdf", "2024")], [], (OLD, NEW)),
        ([("prices.csv", "2020"), ("prices.csv", "2024")], [], (OLD, NEW)),
        ([("prices-2023.pdf", ""), ("prices-2024.pdf", "")], ["Fees", "Rooms"], (OLD, NEW)),
        ([("prices-2023.pdf", ""), ("prices-2024.pdf", "")], [], (OLD, "Rooms are booked by the office in 2024.")),
    ],
    ids=["products", "places", "numbers", "one file", "sections", "other texts"],
)
def test_what_is_no_version_stays(found: list[tuple[str, str]], titles: list[str], texts: tuple[str, str]) -> None:
    given_hits = hits(*found, titles=titles, text=texts)
    assert newest_first("What is the allowance?", given_hits) == given_hits


def test_other_hits_keep_their_places() -> None:
    other = "The canteen is open from Monday to Friday."
    names = [("prices-2022.pdf", ""), ("canteen.txt", ""), ("prices-2024.pdf", ""), ("prices-2023.pdf", "")]
    found = newest_first("allowance", hits(*names, text=(OLD, other, NEW, OLD.replace("44", "45"))))
    assert sources(found) == ["prices-2024.pdf", "canteen.txt", "prices-2023.pdf", "prices-2022.pdf"]
    assert newer(found) == [None, None, "prices-2024.pdf", "prices-2024.pdf"]


_NAMES = st.sampled_from(["a-2023.txt", "a-2024.txt", "a-v2.txt", "a.txt", "b.txt", "old/a.txt"])
_DATES = st.sampled_from(["", "2023-01-01", "2024-01-01"])


@given(st.lists(st.tuples(_NAMES, _DATES, st.sampled_from([OLD, NEW, "Other words."]))), st.text(max_size=20))
def test_no_hit_is_lost_and_scores_descend(found: list[tuple[str, str, str]], question: str) -> None:
    before = hits(*(item[:2] for item in found), text=[item[2] for item in found])
    after = newest_first(question, before)
    assert sorted(hit.passage.id for hit in after) == sorted(hit.passage.id for hit in before)
    assert [hit.score for hit in after] == [hit.score for hit in before]
