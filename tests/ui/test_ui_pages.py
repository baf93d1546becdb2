from __future__ import annotations

import html
import re
import socket
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

import pytest
from fakes import UnreliableCatalog
from scripted_api import Read, ScriptedReader, ScriptedService, Text, index, no_answer, running, table_text
from streamlit.testing.v1 import AppTest

import ui
from indexing.converters.content import TextBuilder
from search_app.api.schemas import AnswerOut, HitOut, MarkOut, PlaceOut
from search_app.settings import ApiSettings, Settings
from search_app.stores.embedded.catalog import EmbeddedCatalog
from search_app.stores.fallback import FallbackCatalog
from search_app.stores.index import Catalog
from search_app.text.reading import edits_of
from search_app.types import Answer, Hit, Passage, SearchResult
from ui import cards, session
from ui.client import API_KEY_VARIABLE, API_URL_VARIABLE

APP = Path(ui.__file__).with_name("app.py")
SECOND = 30.0

GLOBAL = "The global statement makes names refer to globals.\n\nIt would be impossible to assign to a global otherwise."
PAYLOADS = "<script>window.ran=1</script> <img src=x onerror=window.ran=1> **bold** [link](javascript:run) payload word"
COUNTRIES = [f"Country {number}" for number in range(1, 61)]
RATES = [["Country", "Allowance", None], ["", "Day", "Hotel <b>"], *([name, f"EUR {number}", "EUR 90"]
         for number, name in enumerate(COUNTRIES, start=101))]  # fmt: skip
TABLE = table_text("rates.html", "Rates of 2026 apply.", RATES, "Ask before you book.")
TEXTS = [
    Text("guide/global.txt".replace("/", "-"), GLOBAL, "Statements › global", {"author": "Ada", "size": 100}),
    Text("cities.md", "ירושלים היא בירת ישראל.", "ערים", {"size": 2000}, language="he"),
    Text("hostile.html", PAYLOADS, "<img src=x onerror=window.ran=1>", {"author": "<b onclick=run()>Eve</b>"}),
    Text("long.txt", "word " * 3000 + "needle " + "w" * 5000, "Long", {"url": "https://example.org/long?a=1&b=2"}),
    Text("report.pdf", "Intro on page one.\n\nFigures on page two.", "Report", {"size": 500}, pages=(20, 20)),
]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = Settings(home=tmp_path_factory.mktemp("home"))
    index(settings, TEXTS)
    index(settings, [Text("fruit.txt", "Bananas are yellow.", "Fruit")], collection="fruit")
    index(settings, [TABLE], collection="tables")
    return settings


Open = Callable[..., AppTest]


@pytest.fixture
def opened(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Runs the app against the API, with a reader; keywords are the address's query parameters."""
    running_apis = []

    def start(
        read: Read | None = None,
        *,
        on: Settings = settings,
        catalog: Catalog | None = None,
        page: str = "",
        **query: str,
    ) -> AppTest:
        api = running(ScriptedService(on, read, catalog=catalog), on)
        monkeypatch.setenv(API_URL_VARIABLE, api.__enter__())
        running_apis.append(api)
        session.client.clear()
        app = AppTest.from_file(APP, default_timeout=SECOND)
        if page:
            app.run()
            app.switch_page(f"views/{page}.py")
        app.query_params.update(query)
        return app.run()

    yield start
    session.client.clear()
    for api in running_apis:
        api.__exit__(None, None, None)


def markup(app: AppTest) -> str:
    assert not app.exception
    return "\n".join(element.body for element in app.main.get("html"))


def shown(app: AppTest) -> str:
    return html.unescape(re.sub(r"<[^>]*>", " ", markup(app)))


def marks(app: AppTest) -> list[str]:
    """Of answers and documents; the words of a keyword query are marked in passages too."""
    assert not app.exception
    bodies = [element.body for element in app.main.get("html") if "sa-hit" not in element.body]
    return [html.unescape(mark) for mark in re.findall("<mark>(.*?)</mark>", "\n".join(bodies))]


def ask(app: AppTest, question: str) -> AppTest:
    app.text_input(key="q").set_value(question)
    return app.run()


def test_the_first_page_says_what_is_indexed(opened: Open) -> None:
    app = opened()
    assert app.caption[0].value.startswith("5 documents, ")
    assert app.selectbox(key="collection").options == ["default", "fruit", "tables"]


def test_an_answer_is_marked_in_its_passage_with_confidence_and_place(opened: Open) -> None:
    app = ask(opened(ScriptedReader("names refer to globals")), "What does the global statement do?")
    assert marks(app) == ["names refer to globals"]
    assert "87%" in shown(app)
    assert "width:87%" in markup(app)
    assert "guide-global.txt" in shown(app)
    assert "Statements › global" in shown(app)
    assert "retrieve 4 ms" in shown(app)
    assert "read 120 ms" in shown(app)
    assert "The <mark>" not in markup(app)  # marked by offsets: "The global statement makes <mark>names refer…"
    assert "makes <mark>names refer to globals</mark>." in markup(app)


def cells(app: AppTest, kind: str) -> list[list[str]]:
    """The cells of the first table in the first card or reading of a kind, row by row."""
    body = next(element.body for element in app.main.get("html") if kind in element.body and "<td" in element.body)
    table = re.search("<table>(.*?)</table>", body)
    assert table is not None
    rows = re.findall("<tr>(.*?)</tr>", table[1])
    return [[html.unescape(cell) for cell in re.findall("<t[hd][^>]*>(.*?)</t[hd]>", row)] for row in rows]


def test_an_answer_in_a_table_is_marked_in_its_row_under_the_names_of_the_columns(opened: Open) -> None:
    app = ask(opened(ScriptedReader("EUR 140"), collection="tables"), "allowance of Country 40")
    names, above, *rows, below = cells(app, "sa-answer")
    assert names == ["Country", "Allowance Day", "Allowance Hotel <b>"]
    assert (above, below) == (["…"], ["…"])
    assert ["Country 40", "<mark>EUR 140</mark>", "EUR 90"] in rows
    assert 5 < len(rows) < 40
    assert cells(app, "sa-hit")[1] == ["Country 1", "EUR 101", "EUR 90"]
    assert "Country | " not in shown(app)


def hit_out(text: str, **more: Any) -> HitOut:
    passage = Passage("p", "d", "Rates", text, 100, 100 + len(text), source="a/rates.html")
    return HitOut.of(Hit(passage, 1.0)).model_copy(update=more)


def test_the_words_of_a_keyword_query_are_marked_in_a_passage() -> None:
    text = "Rates apply. " * 60 + "Code E-2091 means <wait>, E-2092 means go."
    places = [MarkOut(start=start, end=start + 6) for start in (text.index("E-2091"), text.index("E-2092"))]
    card = cards.hit(1, hit_out(text, marks=places))
    assert re.findall("<mark>(.*?)</mark>", card) == ["E-2091", "E-2092"]
    assert "means &lt;wait&gt;" in card
    assert len(card) < 1500


def test_a_marked_word_in_a_header_leaves_the_table_a_table() -> None:
    builder = TextBuilder()
    builder.table([["Country", "Allowance"], ["Portugal", "EUR 46"]])
    text = builder.text()
    passage = Passage("p", "d", "", text, 0, len(text), edits=edits_of(text, builder.tables, 0, len(text)))
    places = [MarkOut(start=10, end=19), MarkOut(start=text.index("Portugal"), end=text.index("Portugal") + 8)]
    card = cards.hit(1, HitOut.of(Hit(passage, 1.0)).model_copy(update={"marks": places}))
    assert re.findall("<td[^>]*>(.*?)</td>", card) == ["<mark>Portugal</mark>", "EUR 46"]
    assert " | " not in card


def test_a_passage_that_stands_for_others_names_their_files_once() -> None:
    others = [
        PlaceOut(passage_id=str(number), document_id="d", source=source, title="", page=None)
        for number, source in enumerate(["old/rates-2025.html", "old/rates-2025.html", "<b>.txt"])
    ]
    card = cards.hit(1, hit_out("Rates.", also_in=others))
    line = re.search('<div class="sa-also">(.*?)</div>', card)
    assert line is not None
    assert re.sub("<[^>]*>", "", line[1]) == "also in rates-2025.html, &lt;b&gt;.txt"
    assert "sa-also" not in cards.hit(1, hit_out("Rates."))


def test_an_answer_names_the_files_that_agree_and_its_date_where_answers_differ() -> None:
    other = PlaceOut(passage_id="2", document_id="e", source="copy.txt", title="", page=None)
    item = AnswerOut(text="an exam-\nple", score=1.0, confidence=0.5, passage="It is an exam-\nple.", also_in=[other])
    item = item.model_copy(update={"passage_start": 0, "start": 6, "end": 18, "date": "2024-02-03T10:00:00Z"})
    assert "2024-02-03</span>" in cards.answer(item, dated=True)
    assert "2024" not in cards.answer(item)
    assert ">an example</div>" in cards.answer(item)
    assert "also in <span" in cards.answer(item)


def test_an_older_version_names_the_newest() -> None:
    newest = PlaceOut(passage_id="2", document_id="d", source="rates/<2024>.html", title="", page=None)
    card = cards.hit(1, hit_out("Rates.", newer=newest))
    assert "newer version: &lt;2024&gt;.html" in re.sub("<[^>]*>", "", card)


def test_a_table_in_a_document_has_its_header_and_its_paragraphs_around_it(opened: Open) -> None:
    app = ask(opened(ScriptedReader("EUR 102"), collection="tables"), "allowance of Country 2")
    place = {name: values[0] for name, values in links_to_document(app)[0].items()}
    app = opened(page="document", **place)
    head, names, first, second, *rest = cells(app, "sa-reading")
    assert (head, names) == (["Country", "Allowance"], ["", "Day", "Hotel <b>"])
    assert (first, second) == (["Country 1", "EUR 101", "EUR 90"], ["Country 2", "<mark>EUR 102</mark>", "EUR 90"])
    assert len(rest) == 58
    assert 'colspan="2" dir="auto">Allowance' in markup(app)
    reading = shown(app)
    assert reading.index("Rates of 2026 apply.") < reading.index("Country 1") < reading.index("Ask before you book.")


def test_a_reader_without_calibration_shows_no_percentage(opened: Open) -> None:
    app = ask(opened(ScriptedReader("names refer", confidence=None)), "global statement")
    assert marks(app) == ["names refer"]
    assert "sa-confidence" not in markup(app)
    assert "%" not in shown(app)


def test_hits_say_which_retriever_found_them(opened: Open) -> None:
    app = ask(opened(ScriptedReader()), "global statement names")
    first = next(element.body for element in app.main.get("html") if "sa-hit" in element.body)
    assert re.search(r"dense -?\d", html.unescape(re.sub("<[^>]*>", "", first)))
    assert re.search(r"BM25 \d", html.unescape(re.sub("<[^>]*>", "", first)))


def test_a_page_number_is_shown_for_a_pdf(opened: Open) -> None:
    app = ask(opened(ScriptedReader("Figures")), "figures page two")
    assert "page 2" in shown(app)


def test_the_number_of_hits_and_answers_is_what_was_asked_for(opened: Open) -> None:
    app = ask(opened(ScriptedReader("global", "names", "otherwise")), "global names")
    app.number_input(key="answers").set_value(1)
    app.number_input(key="passages").set_value(2)
    app.run()
    assert markup(app).count("sa-answer") == 1
    assert markup(app).count("sa-hit") == 2


def test_another_collection_shows_only_its_own_passages(opened: Open) -> None:
    app = ask(opened(ScriptedReader("yellow", "global")), "global yellow")
    app.selectbox(key="collection").set_value("fruit")
    app.run()
    assert marks(app) == ["yellow"]
    assert "global.txt" not in shown(app)


def test_a_filter_leaves_what_matches(opened: Open) -> None:
    app = ask(opened(ScriptedReader()), "page")
    app.text_input(key="where").set_value("size>=500")
    app.run()
    assert "report.pdf" in shown(app)
    assert "global.txt" not in shown(app)


def test_a_filter_that_does_not_parse_says_so(opened: Open) -> None:
    app = ask(opened(ScriptedReader()), "page")
    app.text_input(key="where").set_value("size >")
    app.run()
    assert 'role="alert"' in markup(app)
    assert "sa-hit" not in markup(app)


def test_a_filter_that_matches_nothing_says_so(opened: Open) -> None:
    app = ask(opened(ScriptedReader()), "page")
    app.text_input(key="where").set_value("size>99999")
    app.run()
    assert "The filter may leave nothing" in shown(app)


def test_a_keyword_query_without_a_reading_is_not_called_unanswered(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unread(self: ScriptedService, question: str, **options: Any) -> SearchResult:
        return self.search(question, collection=options["collection"], k=options["k"], where=options["where"])

    monkeypatch.setattr(ScriptedService, "answer", unread)
    app = ask(opened(ScriptedReader()), "needle")
    assert "sa-hit" in markup(app)
    assert "no answer" not in shown(app)


def test_no_answer_is_said_and_the_passages_are_still_there(opened: Open) -> None:
    app = ask(opened(no_answer), "Who won in 1936?")
    assert "Probably no answer in these documents (91% sure)" in shown(app)
    assert not marks(app)
    assert "sa-hit" in markup(app)


@pytest.mark.parametrize(("confidence", "guesses"), [(0.3, ["names refer"]), (0.001, []), (None, ["names refer"])])
def test_an_answer_that_is_not_reliable_is_a_guess(opened: Open, confidence: float | None, guesses: list[str]) -> None:
    def read(question: str, hits: Sequence[Hit]) -> list[Answer]:
        found = ScriptedReader("names refer", confidence=confidence)(question, hits)
        return [replace(answer, reliable=False) for answer in found]

    app = ask(opened(read), "What does the global statement do?")
    assert "No reliable answer found in these documents" in shown(app)
    assert marks(app) == guesses
    assert [one.label for one in app.expander if "guess" in one.label] == ["One guess"] * len(guesses)
    assert "Answers" not in [one.value for one in app.subheader]


def test_guesses_are_apart_from_reliable_answers(opened: Open) -> None:
    def read(question: str, hits: Sequence[Hit]) -> list[Answer]:
        (answer,) = ScriptedReader("names refer", confidence=0.9)(question, hits)
        return [answer, *[replace(answer, reliable=False, confidence=0.1)] * 2]

    app = ask(opened(read), "What does the global statement do?")
    assert "answer found" not in shown(app)
    assert [one.value for one in app.subheader] == ["Answers", "Passages"]
    assert [one.label for one in app.expander if "guess" in one.label] == ["2 guesses"]


def test_a_search_can_be_linked(opened: Open) -> None:
    app = opened(
        ScriptedReader("Bananas"), q="bananas", collection="fruit", answers="1", passages="2", where='format = "txt"'
    )
    assert marks(app) == ["Bananas"]
    assert app.text_input(key="q").value == "bananas"
    assert app.text_input(key="where").value == 'format = "txt"'


@pytest.mark.parametrize("query", [{"collection": "nosuch"}, {"answers": "many"}, {"passages": "-5"}, {"q": ""}])
def test_a_link_with_nonsense_still_opens_the_page(opened: Open, query: dict[str, str]) -> None:
    app = opened(ScriptedReader(), **query)
    assert "Ask your documents" in shown(app)
    assert app.selectbox(key="collection").value == "default"


def test_a_question_over_the_limit_is_refused_with_the_field(opened: Open) -> None:
    app = ask(opened(ScriptedReader()), "x" * 100_000)
    assert 'role="alert"' in markup(app)
    assert "uestion" in shown(app)


def test_hostile_text_is_shown_and_not_run(opened: Open) -> None:
    app = ask(opened(ScriptedReader("onerror=window.ran=1> **bold**")), "payload word")
    assert PAYLOADS in shown(app).replace("  ", " ").replace(" onerror", " onerror")
    assert not re.search(r"<(script|img|b onclick|svg)", markup(app))
    assert marks(app) == ["onerror=window.ran=1> **bold**"]


def test_hostile_text_never_becomes_markdown(opened: Open) -> None:
    app = ask(opened(ScriptedReader("payload")), "payload word")
    assert not any("window.ran" in element.value for element in app.markdown)


def test_right_to_left_text_sets_its_own_direction(opened: Open) -> None:
    app = ask(opened(ScriptedReader("ירושלים")), "ירושלים")
    card = next(element.body for element in app.main.get("html") if "sa-answer" in element.body)
    assert 'class="sa-card" dir="auto"' in card
    assert marks(app) == ["ירושלים"]


def test_long_text_is_cut_around_the_answer(opened: Open) -> None:
    app = ask(opened(ScriptedReader("needle")), "needle word")
    card = next(element.body for element in app.main.get("html") if "sa-answer" in element.body)
    assert "…" in card
    assert len(card) < 3000
    assert marks(app) == ["needle"]


def test_an_original_on_the_web_is_a_link(opened: Open) -> None:
    app = ask(opened(ScriptedReader("needle")), "needle word")
    assert "https://example.org/long?a=1&b=2" in {element.proto.url for element in app.get("link_button")}


def links_to_document(app: AppTest) -> list[dict[str, list[str]]]:
    found = re.findall('href="(document[^"]*)" target="_self"', markup(app))
    return [parse_qs(urlparse(html.unescape(link)).query) for link in found]


def test_show_in_document_opens_where_the_answer_stands(opened: Open) -> None:
    app = ask(opened(ScriptedReader("needle")), "needle word")
    place = {name: values[0] for name, values in links_to_document(app)[0].items()}
    app = opened(page="document", **place)
    assert marks(app) == ["needle"]
    reading = next(element.body for element in app.main.get("html") if "sa-reading" in element.body)
    before = html.unescape(re.sub("<[^>]*>", "", reading.split("<mark>")[0]))
    assert len(before) < 1000, "the answer stands on the first screen"
    assert {link["first"][0] for link in links_to_document(app)} >= {"6300"}


def test_every_part_of_a_long_document_can_be_reached(opened: Open) -> None:
    app = opened(page="documents")
    place = next(link for link in links_to_document(app) if link["id"][0].startswith("default/"))
    assert place
    long = next(link for link in links_to_document(app) if "start" not in link)
    assert long
    seen, first = "", 0
    document_id = place_of(app, "long.txt")
    while True:
        app = opened(page="document", id=document_id, first=str(first))
        reading = next(element.body for element in app.main.get("html") if "sa-reading" in element.body)
        text = re.search('<div class="sa-text" dir="auto">(.*?)</div>', reading)
        assert text is not None
        seen += html.unescape(text[1])
        later = [int(link["first"][0]) for link in links_to_document(app) if int(link["first"][0]) > first]
        if not later:
            break
        first = later[0]
    assert seen == TEXTS[3].text


def place_of(app: AppTest, source: str) -> str:
    """The id of a document on the documents page."""
    bodies = [element.body for element in app.main.get("html")]
    at = next(number for number, body in enumerate(bodies) if f">{source}<" in body)
    found = re.search('href="document\\?id=([^"]*)"', bodies[at + 1])
    assert found is not None
    return parse_qs("id=" + html.unescape(found[1]))["id"][0]


def test_a_document_of_pages_shows_their_numbers(opened: Open) -> None:
    app = ask(opened(ScriptedReader("Figures")), "figures page two")
    place = {name: values[0] for name, values in links_to_document(app)[0].items()}
    app = opened(page="document", **place)
    assert marks(app) == ["Figures"]
    assert re.search("Page 1.*Intro.*Page 2.*Figures", shown(app), re.DOTALL)


def reading(app: AppTest) -> str:
    """The text of the tab that shows how a document is read."""
    found = next(element.body for element in app.main.get("html") if "sa-reading" in element.body)
    return html.unescape(re.sub("<[^>]*>", " ", found))


def test_a_document_shows_how_it_is_read_with_the_answer_marked_in_its_passage(opened: Open) -> None:
    app = ask(opened(ScriptedReader("EUR 103"), collection="tables"), "allowance for Country 3")
    place = {name: values[0] for name, values in links_to_document(app)[0].items()}
    app = opened(page="document", view="How it is read", **place)
    assert marks(app) == ["EUR 103"]
    assert "Read as Country: Country 1;" in " ".join(reading(app).split())
    assert "Country: Country 3; Allowance Day: EUR 103; Allowance Hotel <b>: EUR 90" in reading(app)
    assert ["Country 3", "<mark>EUR 103</mark>", "EUR 90"] in cells(app, "sa-piece")
    assert {link["view"][0] for link in links_to_document(app)} <= {"How it is read"}


def test_each_part_of_a_long_document_shows_its_passages(opened: Open) -> None:
    document = place_of(opened(page="documents"), TEXTS[0].name)
    app = opened(page="document", id=document, view="How it is read")
    places = re.findall(r"characters ([\d,]+)–([\d,]+)", reading(app))
    assert places == [("0", "50"), ("52", f"{len(GLOBAL)}")]
    assert "Read as" not in reading(app), "nothing differs"


def test_hostile_text_is_text_among_the_passages_too(opened: Open) -> None:
    document = place_of(opened(page="documents"), "hostile.html")
    app = opened(page="document", id=document, view="How it is read")
    assert "<script>window.ran=1</script>" in reading(app)
    assert not re.search(r"<(script|img|b onclick)", markup(app))


def test_hostile_text_in_the_document_view_is_text(opened: Open) -> None:
    document = place_of(opened(page="documents"), "hostile.html")
    app = opened(page="document", id=document, start="0", end="29")
    assert marks(app) == ["<script>window.ran=1</script>"]
    assert not re.search(r"<(script|img|b onclick)", markup(app))
    assert "<b onclick=run()>Eve</b>" in shown(app)


@pytest.mark.parametrize("query", [{}, {"id": "default/nosuch"}, {"id": "nosuch/x"}, {"id": "../../etc"}, {"id": "/"}])
def test_a_document_that_is_not_there_is_said(opened: Open, query: dict[str, str]) -> None:
    assert 'role="alert"' in markup(opened(page="document", **query))


@pytest.mark.parametrize(
    "place", [{"start": "-1"}, {"start": "x"}, {"start": "9" * 40}, {"end": "٣"}, {"first": "1e9"}]
)
def test_a_nonsense_place_still_shows_the_document(opened: Open, place: dict[str, str]) -> None:
    document = place_of(opened(page="documents"), "cities.md")
    app = opened(page="document", id=document, **place)
    assert "sa-reading" in markup(app)


def test_documents_are_listed_with_their_fields(opened: Open) -> None:
    app = opened(page="documents")
    assert "5 documents" in {caption.value for caption in app.caption}
    assert "author Ada" in re.sub(r"\s+", " ", shown(app))


def test_without_an_index_the_command_is_shown(opened: Open, tmp_path: Path) -> None:
    for page in ("", "documents"):
        app = opened(on=Settings(home=tmp_path), page=page)
        assert "No index for collection" in shown(app)
        assert app.code[0].value == "search-index apply PATH"


def test_where_indexing_has_another_command_that_one_is_shown(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(session.INDEX_COMMAND_VARIABLE, "docker compose run --rm indexer apply /data")
    assert opened(on=Settings(home=tmp_path)).code[0].value == "docker compose run --rm indexer apply /data"
    empty = Settings(home=tmp_path)
    index(empty, [], collection="notes")
    command = opened(on=empty).code[0].value
    assert command == "docker compose run --rm indexer apply /data --collection notes"


def test_an_empty_collection_shows_the_command(opened: Open, tmp_path: Path) -> None:
    empty = Settings(home=tmp_path)
    index(empty, [], collection="notes")
    app = opened(on=empty)
    assert "This collection is empty" in shown(app)
    assert app.code[0].value == "search-index apply --collection notes PATH"


def test_an_api_that_is_down_is_said_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    monkeypatch.setenv(API_URL_VARIABLE, f"http://127.0.0.1:{port}")
    session.client.clear()
    app = AppTest.from_file(APP, default_timeout=SECOND).run()
    assert f"does not answer at http://127.0.0.1:{port}" in shown(app)
    assert app.code[0].value == "search-app serve"
    session.client.clear()


def test_the_ui_sends_the_key(opened: Open, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    locked = settings.model_copy(update={"api": ApiSettings(key="s3cret")})
    assert API_KEY_VARIABLE in shown(opened(on=locked))
    monkeypatch.setenv(API_KEY_VARIABLE, "s3cret")
    assert " documents, " in opened(on=locked).caption[0].value


def test_no_page_lets_html_or_scripts_through_streamlit() -> None:
    for source in Path(ui.__file__).parent.rglob("*.py"):
        code = source.read_text()
        assert "unsafe_allow" not in code
        assert "components" not in code


def test_the_server_is_locked_down_by_the_file_beside_the_app() -> None:
    config = tomllib.loads((APP.parent / ".streamlit" / "config.toml").read_text())
    server = config["server"]
    assert server["allowedHosts"] == ["localhost", "127.0.0.1", "[::1]"]
    assert (server["enableXsrfProtection"], server["enableCORS"]) == (True, True)
    assert (server["enableStaticServing"], server["enableAgentApi"]) == (False, False)
    assert (server["maxUploadSize"], server["maxMessageSize"]) == (100, 20)
    assert config["client"]["showErrorDetails"] == "none"
    assert config["browser"]["gatherUsageStats"] is False


def test_answers_of_a_replica_are_shown_with_a_notice(opened: Open, settings: Settings) -> None:
    server = UnreliableCatalog(EmbeddedCatalog(settings))
    app = opened(ScriptedReader("names refer to globals"), catalog=FallbackCatalog(server, EmbeddedCatalog(settings)))
    assert "replica" not in shown(ask(app, "what does global do?"))
    server.down = True
    app = ask(app, "what does the global statement do?")
    said = re.sub(r"\s+", " ", shown(app))
    assert "The index or its GPU cannot be reached. These answers come from a replica" in said
    assert marks(app) == ["names refer to globals"]


def test_a_server_that_is_away_is_said_in_its_own_words(opened: Open, settings: Settings) -> None:
    server = UnreliableCatalog(EmbeddedCatalog(settings))
    app = opened(catalog=server)
    server.down = True
    said = shown(ask(app, "what does global do?"))
    assert "The server is down" in said
