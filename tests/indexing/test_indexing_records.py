from __future__ import annotations

import csv
import io
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from indexing.converters import FORMATS, convert
from indexing.converters.content import Content, ConversionError
from search_app.errors import ConfigurationError
from search_app.haystack.indexing import SearchAppConverter
from search_app.settings import load_settings


def read(folder: Path, name: str, data: str | bytes | Any) -> list[Content]:
    path = folder / name
    text = data if isinstance(data, str | bytes) else json.dumps(data)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return list(convert(path, FORMATS[path.suffix]))


def texts(contents: list[Content]) -> list[str]:
    return [content.text for content in contents]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", "Room;Seats;Note\nFalcon;14;one, two, three\nHeron;8,5;a, b\n"),
        ("a.csv", "sep=;\nRoom;Seats;Note\nFalcon;14;one, two, three\nHeron;8,5;a, b\n"),
        ("a.csv", '"sep=;"\r\nRoom;Seats;Note\r\nFalcon;14;one, two, three\r\nHeron;8,5;a, b\r\n'),
        ("a.csv", "\ufeffRoom|Seats|Note\nFalcon|14|one, two, three\nHeron|8,5|a, b\n"),
        ("a.tsv", "Room,Seats,Note\nFalcon,14,'one, two, three'\nHeron,'8,5','a, b'\n"),
        ("a.csv", "Room\tSeats\tNote\nFalcon\t14\tone, two, three\nHeron\t8,5\ta, b"),
        ("a.csv", 'Room, Seats, Note\nFalcon, 14, "one, two, three"\nHeron, "8,5", "a, b"\n'),
        ("a.csv", "Halls\nAs of May\n\nRoom;Seats;Note\nFalcon;14;one, two, three\nHeron;8,5;a, b\n"),
        ("a.csv", "Halls;;\nAs of May;;\nRoom;Seats;Note\nFalcon;14;one, two, three\nHeron;8,5;a, b\n"),
    ],
)
def test_delimiter_header_and_captions_are_found(tmp_path: Path, name: str, data: str) -> None:
    contents = read(tmp_path, name, data)
    assert texts(contents) == ["Room: Falcon\nSeats: 14\nNote: one, two, three", "Room: Heron\nSeats: 8,5\nNote: a, b"]
    assert not contents[0].warnings
    if "Halls" in data:
        assert contents[1].title == "Halls"
        assert contents[1].meta["caption"] == "Halls; As of May"


@pytest.mark.parametrize(
    ("data", "records"),
    [
        (
            "Falcon,14,3\nHeron,8,1\n",
            ["column 1: Falcon\ncolumn 2: 14\ncolumn 3: 3", "column 1: Heron\ncolumn 2: 8\ncolumn 3: 1"],
        ),
        ("Falcon,14\n", ["column 1: Falcon\ncolumn 2: 14"]),
        ("red\nred\nblue\n", ["column 1: red", "column 1: red", "column 1: blue"]),
        (
            "Country,2019,2020\nMalta,7,8\nPeru,9,10\n",
            ["Country: Malta\n2019: 7\n2020: 8", "Country: Peru\n2019: 9\n2020: 10"],
        ),
        (",price,price\na,1,2\n", ["column 1: a\nprice: 1\nprice 2: 2"]),
        ("Name,Duty\nOkoro,canteen\nLind,parking\n", ["Name: Okoro\nDuty: canteen", "Name: Lind\nDuty: parking"]),
        ("Note\nHello, world\nYes, no, maybe\nWell\n", ["Note: Hello, world", "Note: Yes, no, maybe", "Note: Well"]),
        ('a,b\n"say \\"hi\\", ok",1\n', ['a: say "hi", ok\nb: 1']),
        ('a,b\n"say ""hi"", ok",1\n', ['a: say "hi", ok\nb: 1']),
        ("a,b\rx,1\ry,2\r", ["a: x\nb: 1", "a: y\nb: 2"]),
    ],
)
def test_headers_and_rows_of_many_kinds(tmp_path: Path, data: str, records: list[str]) -> None:
    assert texts(read(tmp_path, "a.csv", data)) == records


def test_rows_longer_than_the_header_lose_nothing(tmp_path: Path) -> None:
    contents = read(tmp_path, "a.csv", "a,b\n1,2\n3\n4,5,six\n7,8\n")
    assert texts(contents) == ["a: 1\nb: 2", "a: 3", "a: 4\nb: 5\ncolumn 3: six", "a: 7\nb: 8"]
    assert [content.warnings for content in contents] == [(), (), (), ("1 row has more cells than the header",)]


def test_a_quote_without_an_end_costs_no_row(tmp_path: Path) -> None:
    contents = read(tmp_path, "a.csv", 'a,b\n1,2\n"3,4\n5,6\n')
    assert texts(contents) == ["a: 1\nb: 2", 'a: "3\nb: 4', "a: 5\nb: 6"]
    assert contents[-1].warnings == ("a quote in line 3 has no end: the lines from there on are read without quotes",)
    assert texts(read(tmp_path, "b.csv", 'a,b\n5" pipe,2\n"x\ny",3')) == ['a: 5" pipe\nb: 2', "a: x\ny\nb: 3"]


WORDS = st.text(st.sampled_from("abz éß;,\t|\"'\n01.9-"), max_size=8)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.lists(WORDS, min_size=3, max_size=3), min_size=1, max_size=6),
    st.sampled_from(",;\t|"),
    st.sampled_from(["\n", "\r\n"]),
)
@example([["", "", "||"], ["|", "|", "|"], ["||", "||", ""]], ",", "\n")
def test_every_cell_of_a_well_formed_file_is_kept(
    tmp_path: Path, rows: list[list[str]], delimiter: str, end: str
) -> None:
    stream = io.StringIO()
    csv.writer(stream, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL).writerows(
        [["alpha", "beta", "gamma"], *rows]
    )
    assume(any(cell.strip() for row in rows for cell in row))
    kept = "".join("".join(content.text.split()) for content in read(tmp_path, "a.csv", stream.getvalue()))
    for row in rows:
        assert all("".join(cell.split()) in kept for cell in row)


def test_a_long_file_is_read_in_flat_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"name,note\n" + b"".join(b"part %d,%s\n" % (number, b"word " * 1000) for number in range(4_000)))
    tracemalloc.start()
    count = sum(1 for _ in convert(path, "csv"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 4_000
    assert peak < path.stat().st_size / 4


def test_a_text_does_not_hide_the_other_fields(tmp_path: Path) -> None:
    [content] = read(
        tmp_path,
        "a.json",
        [
            {
                "id": "T-101", "title": "Frozen screen", "text": "It froze.", "fix": "Restart it.", "open": False,
                "link": "https://x.org/1", "uuid": "123e4567-e89b-12d3-a456-426614174000", "price": {"net": 12.50},
                "vector": [0.1] * 64, "meta": {"url": "https://x.org/2", "_id": "MED-10", "id": 7, "room": "B 2"},
            }
        ],
    )  # fmt: skip
    assert content.text == ("It froze.\n\nid: T-101\nfix: Restart it.\nopen: false\nprice.net: 12.5\nmeta.room: B 2")
    assert (content.title, content.meta["id"], content.meta["url"]) == ("Frozen screen", "T-101", "https://x.org/1")


def test_numbers_are_shown_as_they_are_written(tmp_path: Path) -> None:
    assert texts(read(tmp_path, "a.json", '{"net": 12.50, "n": 1e3}')) == ["net: 12.50\nn: 1e3"]


def test_markup_in_a_value_is_read(tmp_path: Path) -> None:
    assert texts(read(tmp_path, "a.json", {"text": "<p>One<br>two &amp; three</p>"})) == ["One\ntwo & three"]
    assert texts(read(tmp_path, "a.json", {"rule": "a < b and <T> too"})) == ["rule: a < b and <T> too"]


def test_bad_lines_are_left_out_by_name(tmp_path: Path) -> None:
    lines = ['{"text": "one"}', "{oops", '{"text": "two"}', "[" * 100_000, *["no"] * 30]
    contents = read(tmp_path, "a.jsonl", "\n".join(lines))
    assert texts(contents) == ["one", "two"]
    warnings = [warning for content in contents for warning in content.warnings]
    assert warnings[:2] == ["line 2 is not JSON and was left out", "line 4 is nested too deeply and was left out"]
    assert (len(warnings), warnings[-1]) == (21, "12 lines more were left out")


@pytest.mark.parametrize(
    "data",
    [
        '{"name": "a", "size": 1}\n{"name": "b", "size": 2}\n',
        '\n{"name": "a", "size": 1}\n\n{"name": "b", "size": 2}',
        {"items": [{"name": "a", "size": 1}, {"name": "b", "size": 2}]},
        {"result": {"page": 1, "items": [{"name": "a", "size": 1}, {"name": "b", "size": 2}]}},
    ],
)
def test_records_of_a_json_file(tmp_path: Path, data: Any) -> None:
    assert [text for text in texts(read(tmp_path, "a.json", data)) if "name" in text] == [
        "name: a\nsize: 1", "name: b\nsize: 2",
    ]  # fmt: skip


def test_what_is_beside_a_list_of_records_is_a_record_too(tmp_path: Path) -> None:
    head, first, _ = read(
        tmp_path, "a.json", {"title": "Stock", "tools": [{"part": "Adze", "left": 3}, {"part": "Awl", "left": 5}]}
    )
    assert head.text == "title: Stock"
    assert (first.text, first.title, first.part) == ("part: Adze\nleft: 3", "Stock", "tools")


def test_objects_below_their_ids_are_records(tmp_path: Path) -> None:
    contents = read(tmp_path, "a.json", {f"T-{n}": {"state": "open", "n": n} for n in range(3)})
    assert texts(contents)[2] == "id: T-2\nstate: open\nn: 2"
    assert contents[2].meta["id"] == "T-2"


def test_an_object_with_small_lists_stays_one_document(tmp_path: Path) -> None:
    data = {"name": "Pump", "about": "A pump of cast iron for the harbour basin.", "parts": [{"n": 1}, {"n": 2}]}
    assert len(read(tmp_path, "a.json", data)) == 1


def test_a_long_record_is_known_by_its_first_field(tmp_path: Path) -> None:
    [content] = read(tmp_path, "a.csv", "room,rules\nFalcon," + "Keep it tidy. " * 60)
    assert content.part == "Falcon"


@pytest.mark.parametrize(
    ("name", "data", "text"),
    [
        ("a.jsonl", '{"no": 7, "abstract": "Short.", "head": "On bees", "at": "https://x.org/7"}', "Short."),
        ("a.csv", "no,abstract,head,at\n7,Short.,On bees,https://x.org/7\n", None),
    ],
)
def test_the_fields_of_text_title_id_and_address_can_be_chosen(
    tmp_path: Path, name: str, data: str, text: str | None
) -> None:
    path = tmp_path / name
    path.write_text(data, encoding="utf-8")
    fields = (("text", "abstract"), ("title", "head"), ("id", "no"), ("url", "at"))
    [content] = convert(path, FORMATS[path.suffix], fields=fields)
    assert (content.title, content.meta["id"], content.meta["url"]) == ("On bees", "7", "https://x.org/7")
    assert text is None or content.text == text


def test_a_job_takes_the_names_of_fields_from_its_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEARCH_APP_INDEXING__FIELDS", '{"text": "abstract", "title": "head"}')
    (tmp_path / "a.json").write_text('[{"abstract": "Short.", "head": "On bees"}]', encoding="utf-8")
    [document] = SearchAppConverter().run([tmp_path / "a.json"])["documents"]
    assert document.content == "Short."
    monkeypatch.setenv("SEARCH_APP_INDEXING__FIELDS", '{"body": "abstract"}')
    with pytest.raises(ConfigurationError, match=r"indexing\.fields"):
        load_settings()


def test_a_file_of_bad_lines_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="line 1 is not JSON"):
        read(tmp_path, "a.jsonl", "{oops\n{more\n")
