from __future__ import annotations

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_app.text.analysis import (
    STEMMERS,
    analyses,
    asked,
    detect_language,
    hash_terms,
    normalise_question,
    normalise_text,
    passage_terms,
    passage_words,
    terms,
)

PARAGRAPHS = {
    "en": "The library keeps maps of the old harbour and opens every morning except on Sundays.",
    "de": "Die Bibliothek bewahrt Karten des alten Hafens auf und öffnet jeden Morgen außer sonntags.",
    "fr": "La bibliothèque conserve des cartes du vieux port et ouvre chaque matin sauf le dimanche.",
    "ru": "Библиотека хранит карты старой гавани и открывается каждое утро, кроме воскресенья.",
    "ar": "تحتفظ المكتبة بخرائط الميناء القديم وتفتح كل صباح ما عدا يوم الأحد.",
    "zh": "图书馆收藏着旧港口的地图，除星期天外每天早上开放。",
    "ja": "図書館には古い港の地図が保存されており、日曜日を除いて毎朝開館する。",
    "ko": "도서관은 옛 항구의 지도를 보관하고 있으며 일요일을 제외하고 매일 아침 문을 연다.",
    "el": "Η βιβλιοθήκη φυλάσσει χάρτες του παλιού λιμανιού.",
}


@pytest.mark.parametrize("language", PARAGRAPHS)
def test_the_language_of_a_paragraph_is_recognised(language: str) -> None:
    assert detect_language(PARAGRAPHS[language]) == language


@pytest.mark.parametrize("text", ["", "   ", "12345 67", "ok", "B-52"])
def test_text_that_is_too_short_has_no_language(text: str) -> None:
    assert detect_language(text) == ""


def test_inflected_forms_share_a_term() -> None:
    assert terms("Kündigungsfrist", "de") == terms("Kündigungsfristen", "de")
    assert terms("running", "en") == terms("runs", "en") == ["run"]
    assert terms("библиотеки", "ru") == terms("библиотека", "ru")
    assert set(terms("المكتبات", "ar")) & set(terms("مكتبة", "ar"))


def test_english_terms_equal_those_of_sqlites_porter_tokenizer() -> None:
    text = (
        PARAGRAPHS["en"]
        + " Naïve café owners' 42nd anniversaries weren't relational; generalizations, e.g. U.S. state-of-the-art."
    )
    db = apsw.Connection(":memory:")
    db.execute("CREATE VIRTUAL TABLE t USING fts5(x, tokenize='porter unicode61')")
    db.execute("INSERT INTO t VALUES (?)", (text,))
    db.execute("CREATE VIRTUAL TABLE v USING fts5vocab(t, instance)")
    assert terms(text, "en", rules=1) == [row[0] for row in db.execute("SELECT term FROM v ORDER BY offset")]


def test_chinese_and_japanese_become_overlapping_pairs() -> None:
    assert terms("図書館", "ja") == ["図書", "書館"]
    assert terms("港", "zh") == ["港"]
    assert terms("Python入門 3.12", "ja") == ["python", "入門", "3", "12", "python入門3_12", "3_12"]


def test_accents_and_case_do_not_matter() -> None:
    assert terms("ÉCOLE", "fr") == terms("école", "fr") == terms("e\u0301cole", "fr")
    assert terms("STRASSE", "de") == terms("Straße", "de")


def test_vowel_signs_do_not_cut_indic_terms() -> None:
    assert len(terms("राजधानी दिल्ली", "hi")) == 2


def test_a_question_is_analysed_once_for_each_analysis_of_a_collection() -> None:
    assert analyses(["en", "", "en-GB", "de"]) == ["de", "en"]
    assert analyses([]) == ["en"]
    assert analyses(["zh", "ja", "th"]) == ["und"]


@given(st.text(max_size=200), st.sampled_from([*STEMMERS, "", "ja", "xx"]))
def test_terms_of_any_text_contain_no_white_space(text: str, language: str) -> None:
    for term in terms(text, language):
        assert term
        assert not any(character.isspace() for character in term)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("e-mail", "email"), ("e-mails", "email"), ("Wi-Fi", "wifi"), ("Wi\u2011Fi", "wifi"), ("25 GB", "25GB"),
        ("2.5 GB", "2.5GB"), ("2,5", "2.5"), ("10,000", "10000"), ("10.000", "10000"), ("10 000", "10000"),
        ("10'000", "10000"), ("Fig. 3", "figure 3"), ("Abb. 3", "fig. 3"), ("E-2091", "E2091"), ("E2091", "2091"),
        ("8Z-4411/B", "8z4411b"), ("8Z-4411/B", "8Z-4411"), ("C++", "C++17"), ("2.3.1", "app-2.3.1.tar.gz"),
        ("U.S.A.", "USA"), ("node.js", "nodejs"), ("install.md", "docs/setup/install.md"),
        ("https://www.example.com/a/b", "example.com/a/b"), ("jo.doe@example.com", "example.com"),
        ("3 March 2021", "2021-03-03"), ("March 3rd, 2021", "2021-03-03"), ("Mar 3, 2021", "2021-03-03"),
        ("3. März 2021", "2021-03-03"), ("3 mars 2021", "2021-03-03"), ("3 de marzo de 2021", "2021-03-03"),
        ("1er mars 2021", "2021-03-01"), ("03.03.2021", "2021-03-03"), ("3/4/2021", "2021-04-03"),
        ("3/4/2021", "2021-03-04"), ("2021-03-03T10:00", "3 March 2021"),
    ],
)  # fmt: skip
def test_spellings_of_one_thing_share_a_term_that_is_no_part_of_both(one: str, other: str) -> None:
    shared = set(terms(one, "en")) & set(terms(other, "en"))
    assert shared - {"2", "3", "5", "10", "000", "25", "2021", "03", "a", "b", "c", "e", "example"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2.3.1", "1.3.2"), ("2.3.1", "23.1"), ("2021-03-03", "2021-03-13"), ("2021-03-04", "4 March 2020"),
        ("C++", "class C goods"), ("C#", "C++"), ("F#", "F. Scott"), (".NET", "net income"), ("3.5", "35"),
        ("77-3041/B", "77-3041/A"), ("8Z-4411/B", "8Z-4411/C"),
    ],
)  # fmt: skip
def test_what_differs_shares_no_joined_term(one: str, other: str) -> None:
    joined = set(terms(one, "en")) - set(terms(one, "en", rules=1))
    assert joined - set(terms(other, "en")), joined


@pytest.mark.parametrize(
    ("written", "plain"),
    [("Łódź", "lodz"), ("København", "kobenhavn"), ("Æther", "aether"), ("œuvre", "oeuvre"),
     ("Đakovo", "dakovo"), ("Zugangs\u00adberechtigung", "Zugangsberechtigung"),
     ("photo\u200bsynthesis", "photosynthesis"), ("auf\u200clage", "auflage")],
)  # fmt: skip
def test_letters_and_invisible_characters_do_not_part_a_word(written: str, plain: str) -> None:
    assert terms(written, "de") == terms(plain, "de")
    assert normalise_text(written) == normalise_text(plain)


def test_an_identifier_of_a_question_counts_three_times() -> None:
    assert asked("Which part is 8Z-4411/B?", ["en"]).count("8z4411b") == 3
    assert asked("What causes E4304?", ["en"]).count("e4304") == 3
    assert asked("C++ style guide", ["en"]).count(terms("cplusplus", "en")[0]) == 3
    assert normalise_question("C++ style guide").split().count("cplusplus") == 3
    assert asked("Is a well-known e-mail well-known?", ["en"]).count("email") == 1


def test_the_file_name_is_searched_once_with_and_without_its_ending() -> None:
    source = "https://example.com/docs/Travel%20Expenses-2023.pdf?x=1"
    found = passage_terms(["Travel rules"], source, "en")
    assert found.count("travel") == 1
    assert {"expens", "2023", "travelexpenses2023pdf"} <= set(found)
    assert "pdf" not in found
    assert "travelexpenses2023pdf" in passage_words(["Travel rules"], source).split()
    assert passage_terms(["Travel rules"], source, "en", rules=1) == ["travel", "rule"]


def test_old_rules_make_the_words_of_an_old_index() -> None:
    assert asked("the 2.3.1 e-mail", ["en"], rules=1) == ["the", "2", "3", "1", "e", "mail"]
    assert normalise_question("the 2.3.1 e-mail", rules=1) == "the 2 3 1 e mail"


@given(st.text(alphabet="aC+#.-/@:,0123456789 \u00ad\u200b'", max_size=60))
def test_joined_words_survive_a_tokenizer_that_splits_at_signs(text: str) -> None:
    for word in normalise_text(text).split():
        assert word.replace("_", "").isalnum()
    distinct, counts = hash_terms(asked(text, ["en", "de"]))
    assert len(distinct) == len(counts)
