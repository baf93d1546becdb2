from __future__ import annotations

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_app.text.analysis import STEMMERS, analyses, detect_language, terms

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
    assert terms(text, "en") == [row[0] for row in db.execute("SELECT term FROM v ORDER BY offset")]


def test_chinese_and_japanese_become_overlapping_pairs() -> None:
    assert terms("図書館", "ja") == ["図書", "書館"]
    assert terms("港", "zh") == ["港"]
    assert terms("Python入門 3.12", "ja") == ["python", "入門", "3", "12"]


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
