"""Both command lines as users run them: real processes, models and files."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest

import indexing.cli
import search_app.cli
from search_app.cli.ask import show, show_answers
from search_app.types import Answer, Hit, Passage, SearchResult, Span

FACTS = {
    "rivers.md": "# Rivers\n\nThe Danube crosses Vienna and flows into the Black Sea.\n\n"
    "## Length\n\nThe Danube is 2,850 kilometres long.\n",
    "notice.html": "<html><head><title>Contract</title><meta name='author' content='Ada'></head>"
    "<body><h1>Ending</h1><p>The notice period is three months to the end of a quarter.</p></body></html>",
    "ports.csv": "port,country\nLima,Peru\nBergen,Norway\n",
}


def run(*arguments: str, home: Path, stdin: str | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    program = (
        "search_app.cli"
        if arguments[0] in {"search", "answer", "evaluate", "calibrate", "info", "train"}
        else "indexing.cli"
    )
    code = f"from {program} import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        input=stdin,
        env={**os.environ, "SEARCH_APP_HOME": str(home), **env},
        timeout=200,
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with three files in the collection `default` and one in `other`."""
    folder = tmp_path_factory.mktemp("cli")
    documents, others = folder / "documents", folder / "others"
    for place in (documents, others):
        place.mkdir()
    for name, text in FACTS.items():
        (documents / name).write_text(text, encoding="utf-8")
    (others / "secret.txt").write_text("The Danube password is swordfish.", encoding="utf-8")
    applied = run("apply", str(documents), "--json", home=folder)
    assert applied.returncode == 0, applied.stderr
    assert json.loads(applied.stdout)["added"] == 3
    assert run("apply", str(others), "--collection", "other", home=folder).returncode == 0
    return folder


def ask(home: Path, *arguments: str, stdin: str | None = None) -> Any:
    done = run("answer", *arguments, "--json", home=home, stdin=stdin)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def answered(home: Path) -> list[Any]:
    """Results of two questions from standard input."""
    done = run("answer", "-", "--json", home=home, stdin="How long is the Danube?\n\nWhere is Bergen?\n")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_json_output_has_the_answer_and_its_position(answered: list[Any]) -> None:
    found = answered[0]
    assert set(found) == {"question", "answers", "hits", "timings", "generation", "degraded"}
    best = found["answers"][0]
    assert "2,850 kilometres" in best["text"]
    assert best["source"].endswith("documents/rivers.md")
    begin = best["start"] - best["passage_start"]
    assert best["passage"][begin : begin + len(best["text"])] == best["text"]
    assert best["confidence"] is None or 0 <= best["confidence"] <= 1
    assert found["hits"][0]["title"].endswith("Length")
    assert set(found["hits"][0]["scores"]) <= {"dense", "bm25"}


@pytest.mark.slow
def test_a_question_to_one_collection_never_returns_passages_of_another(home: Path) -> None:
    for collection, own in (("default", False), ("other", True)):
        found = ask(home, "What is the Danube password?", "--collection", collection, "--k", "50")
        assert any("secret.txt" in hit["source"] for hit in found["hits"]) == own
        assert len({hit["source"] for hit in found["hits"]} & {"secret.txt"}) <= own


@pytest.mark.slow
def test_a_filter_keeps_only_matching_documents(home: Path) -> None:
    found = ask(home, "Danube", "--where", "author = Ada")
    assert [Path(hit["source"]).name for hit in found["hits"]] == ["notice.html"]
    done = run("search", "Danube", "--where", "colour = red", home=home)
    assert done.returncode == 2
    assert "no document has the field 'colour'; the fields are:" in done.stderr


def test_questions_from_standard_input_are_answered_line_by_line(answered: list[Any]) -> None:
    assert [result["question"] for result in answered] == ["How long is the Danube?", "Where is Bergen?"]


def test_the_terminal_shows_the_answer_highlighted_in_its_passage(home: Path) -> None:
    done = run("answer", "How long is the notice period?", "--top-k", "1", home=home)
    assert done.returncode == 0, done.stderr
    assert "three months" in done.stdout
    assert "[three months" in " ".join(done.stdout.split())
    assert "notice.html" in done.stdout
    assert done.stdout.count("notice.html") == 2, "the passages are listed below the answer"
    listed = run("search", "notice period", "--k", "2", home=home)
    assert "  1. " in listed.stdout
    assert "  2. " in listed.stdout


def test_k_is_the_number_of_passages_listed_below_the_answers(home: Path) -> None:
    for k in (1, 2):
        done = run("answer", "How long is the Danube?", "--k", str(k), home=home)
        listed = done.stdout.partition("Passages\n")[2]
        assert [line.split(".")[0].strip() for line in listed.splitlines()[:k]] == list("12"[:k])
        assert len(re.findall(r"^ +\d+\. ", listed, re.MULTILINE)) == k


def test_an_older_version_names_the_newest(capsys: pytest.CaptureFixture[str]) -> None:
    old, new = (Passage(year, year, "", f"It costs {year}.", 0, 14, source=f"{year}.txt") for year in ("2023", "2024"))
    show(SearchResult("cost", (Hit(new, 1.0), Hit(old, 0.9, newer=new)), (), {}, 1), reading=True)
    assert "2023.txt · newer version: 2024.txt" in capsys.readouterr().out


def test_a_keyword_query_shows_its_words_in_the_passages_and_names_the_copies(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = "The lid of the pump is part 8Z-4411/B."
    copies = [Passage(f"p{number}", "d", "", text, 0, len(text), source=f"{number}.txt") for number in range(5)]
    hit = Hit(copies[0], 1.0, {"bm25": 1.0}, tuple(copies[1:]))
    show(SearchResult("8Z-4411/B", (hit,), (), {}, 1), reading=True)
    output = capsys.readouterr().out
    assert "0.txt · also in: 1.txt, 2.txt, 3.txt and 1 more" in output
    assert "is part [8Z-4411/B]." in output
    assert "No answer" not in output


def test_guesses_are_shown_only_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    passage = Passage("p", "d", "", "Lima is the capital of Peru.", 0, 28, source="peru.txt")
    lima = Answer("Lima", Span(0, 4), 2.0, 0.7, Hit(passage, 1.0, {}))
    guess = replace(lima, reliable=False)
    nothing = Answer("", None, 1.0, 0.2, None, reliable=False)
    for answers, guesses, expected in (
        ((lima, nothing), False, "Lima  (70% confident)"),
        ((nothing, guess), False, "No answer in these passages  (20% confident); --all shows 1 guess"),
        ((guess, nothing), False, "No reliable answer in these passages; --all shows 1 guess"),
        ((guess, nothing, guess), False, "No reliable answer in these passages; --all shows 2 guesses"),
        ((nothing, guess), True, "No answer in these passages  (20% confident)\n\n  Guesses\n\n  Lima"),
        ((lima, guess), True, "confident)\n  peru.txt\n    [Lima] is the capital of Peru.\n\n  Guesses\n\n  Lima"),
    ):
        show_answers(answers, guesses=guesses)
        output = capsys.readouterr().out
        assert expected in output
        assert output.count("Lima  (") == (answers.count(lima) + guesses * answers.count(guess))
        assert (lima in answers) == ("No " not in output)


def test_answers_of_several_documents_have_dates_and_name_the_documents_that_agree(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = "The fee is 8 EUR."
    dates = {"old": "2023-05-01", "new": "2024-02-03T10:00:00Z", "copy": "2024-02-04"}
    passages = {
        name: Passage(name, name, "", text, 0, len(text), source=f"{name}.txt", meta={"modified": date})
        for name, date in dates.items()
    }
    first = Answer("8 EUR", Span(11, 16), 2.0, 0.7, Hit(passages["new"], 1.0), also=(passages["copy"],))
    second = Answer("8 EUR", Span(11, 16), 1.0, 0.6, Hit(passages["old"], 1.0))
    show_answers([first, second])
    output = capsys.readouterr().out
    assert "new.txt · also in: copy.txt · 2024-02-03\n" in output
    assert "old.txt · 2023-05-01\n" in output
    show_answers([first])
    assert "2024" not in capsys.readouterr().out, "nothing contradicts it"


def test_the_confidence_is_fitted_to_labelled_questions_and_taken_back(tmp_path: Path) -> None:
    places = ["Vienna", "Osaka", "Lima", "Weimar", "Essen", "Cairo"]
    paragraphs = []
    for number in range(36):
        thing, place = f"{('treaty', 'map', 'letter')[number % 3]} {number}", places[number % 6]
        asked = {"id": str(number), "question": f"Where was the {thing} signed?", "is_impossible": number % 3 == 2}
        text = f"The {thing} was {'lost' if number % 3 == 2 else f'signed in {place}'}. Many people came."
        gold = [] if number % 3 == 2 else [{"text": place, "answer_start": text.index(place)}]
        paragraphs.append({"context": text, "qas": [{**asked, "answers": gold}]})
    data = tmp_path / "mine.json"
    data.write_text(json.dumps({"version": "v2.0", "data": [{"title": "Papers", "paragraphs": paragraphs}]}))
    done = run("calibrate", "--data", str(data), home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "24 questions with an answer, 33% without; the old confidence scaled" in done.stdout
    assert re.search(r"calibration error +0\.\d+ +0\.\d+", done.stdout)
    fitted = json.loads((tmp_path / "calibration.json").read_text())
    assert fitted["fitted"]["questions"] == 24
    taken = run("calibrate", "--rollback", home=tmp_path)
    assert "the reader uses its own calibration again" in taken.stdout
    assert not (tmp_path / "calibration.json").exists()
    again = run("calibrate", "--rollback", home=tmp_path)
    assert (again.returncode, "does not exist: the reader has its own calibration" in again.stderr) == (2, True)
    assert "give --data FILE" in run("calibrate", home=tmp_path).stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("search", "x", "--collection", "nowhere"), 3, "error: no index for collection 'nowhere'; run: search-index"),
        (("search", "x", "--collection", "../x"), 2, "invalid collection name: '../x'"),
        (("search", ""), 2, "the question is empty"),
        (("search", "x" * 100_000), 2, "the question has 100000 characters"),
        (("search", "x", "--k", "0"), 2, "k is 0, it must be from 1 to 100"),
        (("search", "x", "--k", "1000000"), 2, "k is 1000000"),
        (("answer", "x", "--top-k", "0"), 2, "top_k is 0"),
        (("search",), 2, "Missing argument 'QUESTION'"),
        (("search", "x", "--where", "a >"), 2, "example: modified>=2026-01-01"),
    ],
)  # fmt: skip
def test_a_wrong_call_gives_a_one_line_error(home: Path, arguments: tuple[str, ...], code: int, message: str) -> None:
    done = run(*arguments, home=home)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_setting_is_named(home: Path) -> None:
    done = run("search", "x", home=home, SEARCH_APP_RETRIEVAL__DENSE_WEIGHT="7")
    assert done.returncode == 2
    assert "error: setting retrieval.dense_weight" in done.stderr


def test_a_damaged_index_gives_an_error_with_the_next_step(home: Path, tmp_path: Path) -> None:
    place = tmp_path / "collections" / "default"
    place.mkdir(parents=True)
    sound = (home / "collections" / "default" / "index.db").read_bytes()
    (place / "index.db").write_bytes(sound[: len(sound) // 2])
    done = run("search", "x", home=tmp_path)
    assert done.returncode == 3
    assert "run: search-index" in done.stderr


@pytest.mark.slow
def test_info_describes_the_machine_and_the_collections(home: Path) -> None:
    found = json.loads(run("info", "--json", home=home).stdout)
    assert found["processor"]["precision"] in {"bfloat16", "float32"}
    assert found["collections"]["default"]["documents"] == 4
    assert found["collections"]["other"]["passages"] == 1
    assert found["collections"]["default"]["encoder"]["model"] == "all-MiniLM-L6-v2"
    assert "all-MiniLM-L6-v2" in run("info", home=home).stdout


@pytest.mark.parametrize(
    "measure", ["reader", *(pytest.param(name, marks=pytest.mark.slow) for name in ("retrieval", "answers"))]
)
def test_evaluate_measures_a_squad_file(measure: str, tmp_path: Path) -> None:
    paragraphs = [
        {
            "context": text,
            "qas": [
                {"id": str(i), "question": question, "answers": [{"text": gold, "answer_start": text.index(gold)}]}
            ],
        }
        for i, (text, question, gold) in enumerate(
            [
                ("The Danube is 2,850 kilometres long.", "How long is the Danube?", "2,850 kilometres"),
                ("Lima is the capital of Peru.", "What is the capital of Peru?", "Lima"),
            ]
        )
    ]
    data = tmp_path / "squad.json"
    data.write_text(json.dumps({"version": "1.1", "data": [{"title": "Facts", "paragraphs": paragraphs}]}))
    saved, page = tmp_path / "results.json", tmp_path / "page.html"
    files = ("--save", str(saved), "--report", str(page))
    done = run("evaluate", measure, "--data", str(data), "--limit", "2", "--json", *files, home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"{measure.capitalize()} on squad.json" in page.read_text()
    compared = run("evaluate", "compare", str(saved), str(saved), "--report", str(page), home=tmp_path)
    assert compared.returncode == 0, compared.stderr
    assert "2 questions: 0 better, 0 worse" in compared.stdout
    assert "results and results" in page.read_text()
    found = json.loads(done.stdout)
    assert found["questions"] == 2
    assert found["success@1" if measure == "retrieval" else "em"] >= (1 if measure == "retrieval" else 50)


@pytest.mark.slow
def test_evaluate_measures_a_folder_of_judged_documents(tmp_path: Path) -> None:
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    texts = {
        "d1": "The Danube is 2,850 kilometres long.",
        "d2": "Lima is the capital of Peru.",
        "d3": "Owls hunt at night.",
    }
    (folder / "corpus.jsonl").write_text(
        "".join(json.dumps({"_id": id, "title": "", "text": text}) + "\n" for id, text in texts.items())
    )
    queries = {"q1": "How long is the Danube?", "q2": "What is the capital of Peru?", "q3": "never judged"}
    (folder / "queries.jsonl").write_text(
        "".join(json.dumps({"_id": id, "text": text}) + "\n" for id, text in queries.items())
    )
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t2\nq2\td2\t1\nq2\td1\t0\n")
    done = run("evaluate", "retrieval", "--data", str(folder), "--json", home=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["questions"], found["ndcg@10"], found["success@1"]) == (2, 1.0, 1.0)


HEAVY = {"fastapi", "haystack", "numpy", "sentence_transformers", "streamlit", "torch", "transformers"}


def imported(program: str, *arguments: str, **env: str) -> set[str]:
    """The top-level modules that the command imports."""
    code = (
        f"import sys\nfrom {program} import main\ntry:\n    main()\nfinally:\n    print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, env={**os.environ, **env}
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
    return {name.partition(".")[0] for name in done.stderr.splitlines()[-1].split()}


def commands(group: click.Group, *path: str) -> Iterator[tuple[str, ...]]:
    yield path
    for name, command in group.commands.items():
        yield from commands(command, *path, name) if isinstance(command, click.Group) else [(*path, name)]


@pytest.mark.parametrize(
    ("program", "path"),
    [
        *(("search_app.cli", path) for path in commands(search_app.cli.cli)),
        *(("indexing.cli", path) for path in commands(indexing.cli.cli)),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_help_imports_no_heavy_library(program: str, path: tuple[str, ...]) -> None:
    found = imported(program, *path, "--help")
    assert "click" in found
    assert not found & HEAVY


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        ("search_app.cli", ("info",)),
        ("indexing.cli", ("info",)),
        ("indexing.cli", ("verify",)),
        ("indexing.cli", ("delete", "--source", "nothing")),
    ],
)
def test_commands_without_a_model_import_no_model_library(home: Path, program: str, arguments: tuple[str, ...]) -> None:
    assert not imported(program, *arguments, SEARCH_APP_HOME=str(home)) & (HEAVY - {"numpy"})
