# ruff: noqa: E501
from __future__ import annotations

import json
from pathlib import Path

import pytest

from search_app.text.questions import is_question, phrases

KEYWORDS = (
    """
E-2091|E2091|E4304|ERR-4304|8Z-4411/B|77-3041/B|PN 77-3041/B|2.3.1|v2.3.1|1.0.0-beta.2|2021-03-03|03.03.2021|3/4/2021
C++|C#|F#|.NET|ASP.NET|node.js|C++17|fig. 3|Fig. 3|figure 3|Abb. 3|table 2|Tabelle 4|section 4.2|§ 5|page 12|RFC 2616
ISO 9001|DIN 4102|EN 60601-1|CVE-2021-44228|PROJ-123|#4711|INV-2023-0042|A4|B200|Orca 300|iPhone 12|Windows 11|model X-200
+49 30 1234567|555-1234|jo.doe@example.com|https://example.com/a/b.html|https://example.com/?a=1|example.com|192.168.0.1
10,000|10 000|25 GB|3.5 mm|EUR 46|$ 99|99 %|1990|2023|404|0x80070005|NullPointerException|max_body_bytes|SEARCH_APP_HOME
search-index apply|--rebuild|docs/setup/install.md|C:\\docs\\plan.docx|travel-expenses-2023.txt|travel-expenses-2023
annual report 2023.pdf|minutes of the last meeting.docx|Makefile|README.md|invoice_0042.xlsx|budget.csv|photo.JPG
"exact phrase"|"to be or not to be"|“the notice period is three months”|„drei Monate Kündigungsfrist“|«le préavis»
"boiler" "restart"|boiler|boiler restart|notice period|daily allowance|travel expenses|travel expenses 2023|parking
warranty|refund policy|maternity leave|cookie banner|opening hours|Vienna|Lima Peru|Danube|John Smith|Marie Curie
photosynthesis|Zugangsberechtigung|Kündigungsfrist|Kündigungsfrist Mietvertrag|Urlaub|Reisekosten 2023|Urlaubstage Probezeit
préavis|congés payés|remboursement|vacaciones|gastos viaje|permiso parental|ferie|rimborso spese|orario ufficio|férias
reembolso|horário|verlof|reiskosten|openingstijden|wifi|wi-fi|e-mail|email signature|VPN|VPN login|password|reset password
login error|error 404|error E-2091|code 17|room 12|bus 42|Lima?|C++?|E-2091?|???|!!!|🙂|...|-|1|a|x y|GmbH|AT&T|R&D|Q&A
図書館|港|图书馆|도서관|библиотека|старая гавань|المكتبة|pH 7|CO2|H2O|mRNA|COVID-19|Type-C|USB 3.0|HDMI 2.1|5G|WLAN
""".replace("\n", "|")
    .strip("|")
    .split("|")
)
QUESTIONS = (
    """
What is the notice period?|Who won?|How much is B200?|What is C++?|What causes E4304?|What is 77-3041/B?
Which team uses C++?|Who uses F#|when does parking open|capital of France|capital of France?|cost of model B200 in 2023
notice period for tenants|how to restart the boiler|restart the boiler safely|to be or not to be|define entropy|E4304 meaning?
What is node.js|Is node.js free|What does "as is" mean?|Where is "exact phrase" used|What changed in 2.3.1?|2.3.1 changes what
Wie lang ist die Kündigungsfrist?|Wer unterschreibt|Wann öffnet die Bibliothek|Was kostet B200?|Hauptstadt von Frankreich
Quel est le préavis?|Où est Lima|Combien coûte B200|capitale de la France|Quelle heure|qu'est-ce que le préavis
¿Cuál es el plazo?|¿Dónde está Lima?|Cuándo abre|capital de Francia|Qual è il preavviso?|Dove si trova Lima|Quanto costa B200
Qual é o prazo?|Onde fica Lima|Quantos dias|Wat is de opzegtermijn?|Waar ligt Lima|Hoeveel kost B200|hoofdstad van Frankrijk
図書館はどこにありますか。|图书馆几点开门?在哪里|Где находится библиотека?|столица старой Франции
""".replace("\n", "|")
    .strip("|")
    .split("|")
)


def test_no_question_of_squad_is_a_keyword_query(shared_data: Path) -> None:
    data = json.loads((shared_data / "eval" / "squad-v1.1-dev.json").read_text())["data"]
    asked = [qa["question"] for article in data for paragraph in article["paragraphs"] for qa in paragraph["qas"]]
    assert len(asked) == 10_570
    assert [question for question in asked if not is_question(question)] == []


@pytest.mark.parametrize("text", KEYWORDS)
def test_a_keyword_query_is_no_question(text: str) -> None:
    assert not is_question(text)


@pytest.mark.parametrize("text", QUESTIONS)
def test_a_question_is_one_in_seven_languages_and_without_a_question_mark(text: str) -> None:
    assert is_question(text)


def test_quoted_phrases_are_found_with_any_quotes() -> None:
    assert phrases('Where is "a b" or “c d” or „e f“ or «g h»?') == ["a b", "c d", "e f", "g h"]
    assert phrases('5" pipe and "?" and ""') == []
