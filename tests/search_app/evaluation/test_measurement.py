"""One set of numbers for table, JSON and page, with another system and changed questions beside them."""

from __future__ import annotations

import pytest
from lxml import html

from search_app.evaluation.calibration import measure_calibration
from search_app.evaluation.measurement import Measurement, dropped, table, to_json
from search_app.evaluation.report import measurement_page

SURE = measure_calibration([0.9, 0.2], [1, 0])
UNSURE = measure_calibration([0.6, 0.5], [0, 1])
PLAIN = Measurement({"em": 60.0, "f1": 70.0, "aurc": SURE.aurc}, SURE)
OTHER = Measurement({"em": 50.0, "f1": 58.0, "aurc": UNSURE.aurc}, UNSURE, "haystack")
TYPOS = dropped(Measurement({"em": 55.5, "f1": 64.0}, part="typos"), PLAIN)
OTHER_TYPOS = dropped(Measurement({"em": 40.0, "f1": 49.0}, system="haystack", part="typos"), OTHER)
ALL = [PLAIN, OTHER, TYPOS, OTHER_TYPOS]


def test_the_drop_is_that_of_the_same_system() -> None:
    assert (TYPOS.numbers["em_drop"], TYPOS.numbers["f1_drop"]) == (4.5, 6)
    assert (OTHER_TYPOS.numbers["em_drop"], OTHER_TYPOS.numbers["f1_drop"]) == (10, 9)


def test_json_has_ours_first_and_the_other_beside_it() -> None:
    found = to_json(ALL)
    assert (found["em"], found["beside"]["haystack"]["em"]) == (60, 50)
    assert (found["typos"]["em_drop"], found["typos"]["beside"]["haystack"]["em_drop"]) == (4.5, 10)
    assert found["calibration"]["risks"] == SURE.risks
    assert found["beside"]["haystack"]["calibration"]["bins"] == UNSURE.bins


def test_the_table_has_a_column_for_each_system_and_the_names_of_the_json() -> None:
    systems, rows = table(ALL)
    assert systems == ["search-app", "haystack"]
    assert ("em", ["60", "50"]) in rows
    assert ("typos: em_drop", ["4.5", "10"]) in rows
    assert table([PLAIN, Measurement({"f1": 1.25}, system="other")])[1][:2] == [
        ("em", ["60", "–"]),
        ("f1", ["70", "1.25"]),
    ]


@pytest.mark.parametrize("measurements", [[PLAIN], [PLAIN, OTHER]])
def test_the_page_draws_a_curve_for_each_system(measurements: list[Measurement]) -> None:
    tree = html.document_fromstring(measurement_page("Answers", measurements))
    names = [one.system for one in measurements]
    assert tree.xpath("(//table)[1]//th/text()") == ["Measure", *names]
    diagram, curve = tree.xpath("//svg")
    assert len(curve.xpath(".//polyline")) == len(names)
    assert len(diagram.xpath(".//polyline")) == len(names) + 1  # and the diagonal
    assert len({line.get("stroke") for line in curve.xpath(".//polyline")}) == len(names)
    assert [text for text in curve.xpath(".//text/text()") if text in names] == (names if len(names) > 1 else [])


def test_the_page_escapes_names() -> None:
    page = measurement_page("A", [PLAIN, Measurement({"em": 1.0}, SURE, "<b>")])
    assert "<b>" not in page
