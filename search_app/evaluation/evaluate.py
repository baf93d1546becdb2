"""Measure a reader, a search, or both together on SQuAD files."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

import ir_measures
import numpy as np
from ir_measures import RR, Success, nDCG

from search_app.evaluation import squad
from search_app.evaluation.calibration import Calibration, measure_calibration
from search_app.evaluation.datasets import Dataset, Paragraph, Question
from search_app.evaluation.judged import JudgedQuery
from search_app.evaluation.results import QuestionResult
from search_app.types import Answer, Hit, Passage

Progress = Callable[[int, int], None]
"""Called with the number of questions done and the number of all questions."""
Record = Callable[[QuestionResult], None]
"""Called with the result of each question."""

BATCH = 32
DEPTH = 10
T = TypeVar("T")
Search = Callable[[Sequence[str]], Sequence[Sequence[Hit]]]
Asked = tuple[Paragraph, Question]


class Reads(Protocol):
    """A reader, ours or another one."""

    def read(self, questions: Sequence[str], hits: Sequence[Sequence[Hit]], *, top_k: int) -> list[list[Answer]]:
        """At most `top_k` answers to each question in its hits, best first."""
        ...


def paragraph_id(paragraph: Paragraph) -> str:
    """The identity of a paragraph: its text without surrounding white space."""
    return paragraph.text.strip()


def sample(dataset: Dataset, *, limit: int | None = None, seed: int = 0, answerable: bool = False) -> list[Asked]:
    """The questions with their paragraphs, or `limit` of them drawn with `seed`, in the order of the file."""
    asked = [pair for pair in dataset.questions if pair[1].answers or not answerable]
    if limit is None or limit >= len(asked):
        return asked
    return [asked[i] for i in sorted(random.Random(seed).sample(range(len(asked)), limit))]


def evaluate_reader(
    reader: Reads,
    dataset: Dataset,
    *,
    limit: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    record: Record | None = None,
) -> dict[str, float]:
    """EM and F1 (0–100) of the reader on each question's own paragraph.

    If every question has an answer (v1.1), "no answer here" is skipped, because it is never right. Otherwise (v2.0) it
    counts as "" where the reader ranks it first, and the result also has EM and F1 of the answerable and of the
    unanswerable questions. The reader's own threshold decides; nothing is fitted to `dataset`.
    """
    asked = sample(dataset, limit=limit, seed=seed)
    forced = _all_answerable(asked)
    found: list[list[Answer]] = []
    begin = time.perf_counter()
    for part in _batches(asked, progress):
        hits = [[_whole(paragraph)] for paragraph, _ in part]
        found += reader.read([question.text for _, question in part], hits, top_k=2)
    seconds = time.perf_counter() - begin
    if record:
        for (_, question), answers in zip(asked, found, strict=True):
            text = _first(answers, forced)
            record(_result(question, text, _confidence(answers, forced), shown=bool(text)))
    return _exactness(asked, [_first(answers, forced) for answers in found]) | {"seconds": seconds}


def evaluate_retrieval(
    search: Search,
    dataset: Dataset,
    *,
    document_key: Callable[[Hit], str],
    limit: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    record: Record | None = None,
) -> dict[str, float]:
    """Success@1, Success@10 and MRR@10 over documents; each counts once, at the rank of its best passage.

    `document_key` maps a hit to its document, which is relevant if it equals `paragraph_id` of the gold paragraph.
    `search` must return enough passages for 10 documents.
    """
    asked = sample(dataset, limit=limit, seed=seed, answerable=True)
    queries = [JudgedQuery(item.id, item.text, {paragraph_id(paragraph): 1}) for paragraph, item in asked]
    return _retrieval(search, queries, (Success @ 1, Success @ DEPTH, RR @ DEPTH), document_key, progress, record)


def evaluate_ranking(
    search: Search,
    queries: Sequence[JudgedQuery],
    *,
    document_key: Callable[[Hit], str],
    limit: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    record: Record | None = None,
) -> dict[str, float]:
    """nDCG@10, Success@1, Success@10 and MRR@10 of judged queries, over documents as in `evaluate_retrieval`."""
    rows = range(len(queries))
    chosen = rows if limit is None or limit >= len(rows) else sorted(random.Random(seed).sample(rows, limit))
    measures = (nDCG @ DEPTH, Success @ 1, Success @ DEPTH, RR @ DEPTH)
    return _retrieval(search, [queries[row] for row in chosen], measures, document_key, progress, record)


def _retrieval(
    search: Search,
    queries: Sequence[JudgedQuery],
    measures: Sequence[ir_measures.Measure],
    document_key: Callable[[Hit], str],
    progress: Progress | None,
    record: Record | None,
) -> dict[str, float]:
    ranked: list[list[str]] = []
    begin = time.perf_counter()
    for part in _batches(queries, progress):
        found = search([query.text for query in part])
        ranked += [list(dict.fromkeys(document_key(hit) for hit in hits)) for hits in found]
    seconds = time.perf_counter() - begin
    # By row, as ids may repeat; scored by rank, as ir-measures would break ties of scores by document id.
    qrels = [
        ir_measures.Qrel(str(row), document, grade)
        for row, query in enumerate(queries)
        for document, grade in query.relevant.items()
    ]
    run = [
        ir_measures.ScoredDoc(str(row), document, -float(rank))
        for row, documents in enumerate(ranked)
        for rank, document in enumerate(documents)
    ]
    scores: list[dict[str, float]] = [{_name(measure): 0.0 for measure in measures} for _ in queries]
    for metric in ir_measures.iter_calc(measures, qrels, run):
        scores[int(metric.query_id)][_name(metric.measure)] = float(metric.value)
    for query, documents, values in zip(queries, ranked, scores, strict=True):
        if record:
            best = documents[0] if documents else ""
            record(QuestionResult(query.id, query.text, tuple(query.relevant), best, values))
    means = {name: float(np.mean([values[name] for values in scores])) for name in scores[0]}
    return {"questions": float(len(queries)), **means, "seconds": seconds}


def _name(measure: ir_measures.Measure) -> str:
    return str(measure).lower().replace("rr@", "mrr@")


def evaluate_answers(
    answer: Callable[[Sequence[str]], Sequence[Sequence[Answer]]],
    dataset: Dataset,
    *,
    limit: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    record: Record | None = None,
) -> tuple[dict[str, float], Calibration | None]:
    """How good the first answers over the whole corpus are, and the calibration of their confidence.

    `em`, `f1` (0–100), and those of both kinds of questions if some have no answer (v2.0): as in `evaluate_reader`.
    `no_answer_rate`: share of questions with "no answer here" first. An answer is shown if it is reliable:
    `coverage` is the share of questions with such an answer, `wrong_among_shown` the share of these answers that are
    not close to a right one (F1 below 0.5), `answered_unanswerable` the share of the unanswerable questions that get
    one. The measures of the calibration are those of the first answer with a span, shown or not; it is right if its EM
    is 1.
    """
    asked = sample(dataset, limit=limit, seed=seed)
    forced = _all_answerable(asked)
    found: list[Sequence[Answer]] = []
    begin = time.perf_counter()
    for part in _batches(asked, progress):
        found += answer([question.text for _, question in part])
    seconds = time.perf_counter() - begin
    if record:
        for (_, question), answers in zip(asked, found, strict=True):
            shown = _shown(answers) is not None
            result = _result(question, _first(answers, forced), _confidence(answers, True), shown=shown)
            record(replace(result, scores={**result.scores, "coverage": float(shown)}))
    numbers = _exactness(asked, [_first(answers, forced) for answers in found]) | _showing(asked, found)
    calibration = _calibration(asked, found)
    if calibration:
        numbers |= calibration.numbers
    return numbers | {"seconds": seconds}, calibration


def _showing(asked: Sequence[Asked], found: Sequence[Sequence[Answer]]) -> dict[str, float]:
    shown = [_shown(answers) for answers in found]
    wrong = [
        not (question.answers and squad.is_close(one.text, question.gold))
        for one, (_, question) in zip(shown, asked, strict=True)
        if one
    ]
    impossible = [one is not None for one, (_, question) in zip(shown, asked, strict=True) if not question.answers]
    numbers = {
        "no_answer_rate": float(np.mean([bool(answers) and answers[0].span is None for answers in found])),
        "coverage": len(wrong) / len(shown),
    }
    if wrong:
        numbers["wrong_among_shown"] = float(np.mean(wrong))
    if impossible:
        numbers["answered_unanswerable"] = float(np.mean(impossible))
    return numbers


def _calibration(asked: Sequence[Asked], found: Sequence[Sequence[Answer]]) -> Calibration | None:
    firsts = [next((answer for answer in answers if answer.span), None) for answers in found]
    known = [
        (first.confidence, _right(first, question))
        for first, (_, question) in zip(firsts, asked, strict=True)
        if first and first.confidence is not None
    ]
    return measure_calibration([one for one, _ in known], [right for _, right in known]) if known else None


def _batches(asked: Sequence[T], progress: Progress | None) -> Iterable[Sequence[T]]:
    for begin in range(0, len(asked), BATCH):
        yield asked[begin : begin + BATCH]
        if progress:
            progress(min(begin + BATCH, len(asked)), len(asked))


def _whole(paragraph: Paragraph) -> Hit:
    text = paragraph.text
    # Fusion scores a passage 1 if both retrievers rank it first.
    return Hit(Passage(id="0", document_id="0", title="", text=text, start=0, end=len(text)), 1.0)


def _all_answerable(asked: Sequence[Asked]) -> bool:
    return all(question.answers for _, question in asked)


def _right(answer: Answer, question: Question) -> float:
    return squad.exact(answer.text, question.gold) if question.answers else 0.0


def _shown(answers: Sequence[Answer]) -> Answer | None:
    return next((answer for answer in answers if answer.span and answer.reliable), None)


def _result(question: Question, text: str, confidence: float | None, *, shown: bool) -> QuestionResult:
    scores = {"em": squad.exact(text, question.gold), "f1": squad.f1(text, question.gold)}
    return QuestionResult(
        question.id, question.text, tuple(dict.fromkeys(question.gold)), text, scores, confidence, shown
    )


def _confidence(found: Sequence[Answer], forced: bool) -> float | None:
    return next((answer.confidence for answer in found if answer.span or not forced), None)


def _first(found: Sequence[Answer], forced: bool) -> str:
    return next((answer.text for answer in found if answer.span or not forced), "")


def _exactness(asked: Sequence[Asked], predictions: Sequence[str]) -> dict[str, float]:
    """EM and F1; also of the questions with and without an answer if there are some without."""
    numbers = _scores(asked, predictions)
    if _all_answerable(asked):
        return numbers
    for name, answerable in (("has_answer", True), ("no_answer", False)):
        rows = [i for i, (_, question) in enumerate(asked) if bool(question.answers) == answerable]
        if rows:
            part = _scores([asked[i] for i in rows], [predictions[i] for i in rows])
            numbers |= {f"{name}_{key}": value for key, value in part.items()}
    return numbers


def _scores(asked: Sequence[Asked], predictions: Sequence[str]) -> dict[str, float]:
    pairs = [(text, question.gold) for text, (_, question) in zip(predictions, asked, strict=True)]
    return {
        "questions": float(len(pairs)),
        "em": 100 * float(np.mean([squad.exact(text, gold) for text, gold in pairs])),
        "f1": 100 * float(np.mean([squad.f1(text, gold) for text, gold in pairs])),
    }
