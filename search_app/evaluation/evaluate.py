"""Measure a reader, a search, or both together on SQuAD files."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import ir_measures
import numpy as np
from ir_measures import RR, Success, nDCG

from search_app.evaluation import squad
from search_app.evaluation.calibration import Calibration, measure_calibration
from search_app.evaluation.datasets import Dataset, Paragraph, Question
from search_app.evaluation.judged import JudgedQuery
from search_app.evaluation.results import QuestionResult
from search_app.protocols import Reader
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
    reader: Reader,
    dataset: Dataset,
    *,
    limit: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    record: Record | None = None,
) -> dict[str, float]:
    """EM and F1 (0–100) of the reader on each question's own paragraph.

    If every question has an answer (v1.1), "no answer here" is skipped, because it is never right. Otherwise (v2.0) it
    counts as "", and the result also has EM and F1 of the answerable and of the unanswerable questions.
    """
    asked = sample(dataset, limit=limit, seed=seed)
    forced = all(question.answers for _, question in asked)
    predictions: list[str] = []
    confidences: list[float | None] = []
    begin = time.perf_counter()
    for part in _batches(asked, progress):
        hits = [[_whole(paragraph)] for paragraph, _ in part]
        answers = reader.read([question.text for _, question in part], hits, top_k=2)
        predictions += [_first(found, forced) for found in answers]
        confidences += [_confidence(found, forced) for found in answers]
    seconds = time.perf_counter() - begin
    _record(record, asked, predictions, confidences)
    result = _scores(asked, predictions)
    if not forced:
        for name, kind in (("has_answer", True), ("no_answer", False)):
            rows = [i for i, (_, question) in enumerate(asked) if bool(question.answers) == kind]
            if rows:
                part_scores = _scores([asked[i] for i in rows], [predictions[i] for i in rows])
                result |= {f"{name}_{key}": value for key, value in part_scores.items()}
    return result | {"seconds": seconds}


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
    """EM and F1 (0–100) of the first answer with a span, over the whole corpus, and the calibration of its confidence.

    `no_answer_rate` is how often "no answer here" came first. With unanswerable questions in the file (v2.0), there is
    also EM and F1 of whichever answer came first. For the calibration, an answer is right if its EM is 1.
    """
    asked = sample(dataset, limit=limit, seed=seed)
    firsts: list[list[Answer]] = []
    begin = time.perf_counter()
    for part in _batches(asked, progress):
        firsts += [list(found) for found in answer([question.text for _, question in part])]
    seconds = time.perf_counter() - begin
    rows = [i for i, (_, question) in enumerate(asked) if question.answers]
    result = _scores([asked[i] for i in rows], [_first(firsts[i], True) for i in rows]) if rows else {}
    result["no_answer_rate"] = float(np.mean([bool(found) and found[0].span is None for found in firsts]))
    if len(rows) < len(asked):
        overall = _scores(asked, [_first(found, False) for found in firsts])
        result |= {f"with_no_answer_{key}": value for key, value in overall.items()}
    _record(record, asked, [_first(found, True) for found in firsts], [_confidence(found, True) for found in firsts])
    confidences: list[float] = []
    right: list[float] = []
    for (_, question), found in zip(asked, firsts, strict=True):
        first = next((answer for answer in found if answer.span), None)
        if first and first.confidence is not None:
            confidences.append(first.confidence)
            right.append(squad.exact(first.text, question.gold) if question.answers else 0.0)
    calibration = measure_calibration(confidences, right) if confidences else None
    return result | {"seconds": seconds}, calibration


def _batches(asked: Sequence[T], progress: Progress | None) -> Iterable[Sequence[T]]:
    for begin in range(0, len(asked), BATCH):
        yield asked[begin : begin + BATCH]
        if progress:
            progress(min(begin + BATCH, len(asked)), len(asked))


def _whole(paragraph: Paragraph) -> Hit:
    text = paragraph.text
    # Fusion scores a passage 1 if both retrievers rank it first.
    return Hit(Passage(id="0", document_id="0", title="", text=text, start=0, end=len(text)), 1.0)


def _record(
    record: Record | None, asked: Sequence[Asked], predictions: Sequence[str], confidences: Sequence[float | None]
) -> None:
    if record is None:
        return
    for (_, question), text, confidence in zip(asked, predictions, confidences, strict=True):
        scores = {"em": squad.exact(text, question.gold), "f1": squad.f1(text, question.gold)}
        gold = tuple(dict.fromkeys(question.gold))
        record(QuestionResult(question.id, question.text, gold, text, scores, confidence, bool(text)))


def _confidence(found: Sequence[Answer], forced: bool) -> float | None:
    return next((answer.confidence for answer in found if answer.span or not forced), None)


def _first(found: Sequence[Answer], forced: bool) -> str:
    return next((answer.text for answer in found if answer.span or not forced), "")


def _scores(asked: Sequence[Asked], predictions: Sequence[str]) -> dict[str, float]:
    pairs = [(text, question.gold) for text, (_, question) in zip(predictions, asked, strict=True)]
    return {
        "questions": float(len(pairs)),
        "em": 100 * float(np.mean([squad.exact(text, gold) for text, gold in pairs])),
        "f1": 100 * float(np.mean([squad.f1(text, gold) for text, gold in pairs])),
    }
