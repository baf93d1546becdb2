"""What `search-app evaluate reader` and `evaluate answers` measure, with our reader and the one beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from search_app.cli import options
from search_app.cli.temporary import indexed, progress_bar
from search_app.evaluation.absent import halves
from search_app.evaluation.datasets import Dataset, load_squad
from search_app.evaluation.evaluate import (
    Reads,
    Record,
    evaluate_answers,
    evaluate_reader,
    sample,
)
from search_app.evaluation.measurement import OURS, Measurement, dropped
from search_app.evaluation.perturb import Distractors, with_distractors, with_typos
from search_app.hardware import detect, set_threads
from search_app.readers.extractive import ExtractiveReader
from search_app.service import SearchService
from search_app.settings import ReaderSettings
from search_app.types import Answer

TYPOS, DISTRACTORS, ABSENT = "typos", "distractors", "absent"
Answering = Callable[[Sequence[str]], Sequence[Sequence[Answer]]]


@dataclass(frozen=True, slots=True)
class Plan:
    """The file, the sample, and what else is measured. `beside`: "haystack" or ""; `perturb`: TYPOS, DISTRACTORS."""

    data: Path
    limit: int | None = None
    seed: int = 0
    beside: str = ""
    perturb: tuple[str, ...] = ()
    absent: bool = False


def measure_reader(plan: Plan, record: Record) -> list[Measurement]:
    """Each question asked of its own paragraph; `record` gets our results on the questions as they are."""
    settings = options.load(None)
    set_threads(settings.threads)
    reading = settings.calibrated_reader
    readers: dict[str, Reads] = {OURS: ExtractiveReader(reading, detect()), **_beside(plan, reading)}
    dataset = load_squad(plan.data)
    changes = {TYPOS: with_typos, DISTRACTORS: with_distractors}
    parts = {"": dataset} | {part: changes[part](dataset, seed=plan.seed) for part in plan.perturb}

    def measure(part: str, system: str) -> Measurement:
        kept = record if (part, system) == ("", OURS) else None
        with progress_bar(f"{system} {part}") as progress:
            numbers = evaluate_reader(
                readers[system], parts[part], limit=plan.limit, seed=plan.seed, progress=progress, record=kept
            )
        return Measurement(numbers, None, system, part)

    return _with_drops([measure(part, system) for part in parts for system in readers])


def measure_answers(plan: Plan, record: Record) -> list[Measurement]:
    """Each question asked over all paragraphs of the file; `record` gets our results on the questions as they are."""
    dataset = load_squad(plan.data)
    texts = _texts(dataset)
    with _service(texts, plan) as answering:
        found = _ask(answering, dataset, plan, "", record)
        if TYPOS in plan.perturb:
            found += _ask(answering, with_typos(dataset, seed=plan.seed), plan, TYPOS)
    if DISTRACTORS in plan.perturb:
        with _service([*texts, *_distractors(dataset, plan)], plan) as answering:
            found += _ask(answering, dataset, plan, DISTRACTORS)
    if plan.absent:
        asked, present = halves(dataset, seed=plan.seed)
        with _service(_texts(present), plan) as answering:
            found += [_only_shown(one) for one in _ask(answering, asked, plan, ABSENT)]
    return _with_drops(found)


def _ask(
    answering: Mapping[str, Answering], dataset: Dataset, plan: Plan, part: str, record: Record | None = None
) -> list[Measurement]:
    found = []
    for system, answer in answering.items():
        with progress_bar(f"{system} {part}") as progress:
            numbers, calibration = evaluate_answers(
                answer,
                dataset,
                limit=plan.limit,
                seed=plan.seed,
                progress=progress,
                record=record if system == OURS else None,
            )
        found.append(Measurement(numbers, calibration, system, part))
    return found


@contextmanager
def _service(texts: Iterable[str], plan: Plan) -> Iterator[dict[str, Answering]]:
    """What answers questions over a temporary index of `texts`, by system; all read the same hits."""
    with indexed(({"text": text} for text in texts), plan.data) as (service, collection):
        yield {
            OURS: lambda questions: [one.answers for one in service.answer_many(questions, collection=collection)],
            **{
                system: _reading(reader, service, collection)
                for system, reader in _beside(plan, service.settings.reader).items()
            },
        }


def _reading(reader: Reads, service: SearchService, collection: str) -> Answering:
    k = service.settings.reader.passages

    def answer(questions: Sequence[str]) -> list[list[Answer]]:
        hits = [one.hits for one in service.search_many(questions, collection=collection, k=k)]
        return reader.read(questions, hits, top_k=3)

    return answer


def _beside(plan: Plan, reading: ReaderSettings) -> dict[str, Reads]:
    if not plan.beside:
        return {}
    from search_app.haystack.peer import HaystackReader

    return {plan.beside: HaystackReader(reading.model)}


def _texts(dataset: Dataset) -> list[str]:
    return list(dict.fromkeys(paragraph.text for paragraph in dataset.paragraphs))


def _distractors(dataset: Dataset, plan: Plan) -> list[str]:
    """One for each question that is asked, as a document of its own."""
    distractors = Distractors.of(dataset, seed=plan.seed)
    asked = sample(dataset, limit=plan.limit, seed=plan.seed)
    return [text for paragraph, question in asked if (text := distractors.sentence(paragraph, question))]


def _with_drops(found: Sequence[Measurement]) -> list[Measurement]:
    plain = {one.system: one for one in found if not one.part}
    return [dropped(one, plain[one.system]) if one.part in (TYPOS, DISTRACTORS) else one for one in found]


def _only_shown(measured: Measurement) -> Measurement:
    """Of questions that nothing answers, the share that gets an answer; the other measures have no meaning."""
    kept = {name: measured.numbers[name] for name in ("questions", "answered_unanswerable", "seconds")}
    return replace(measured, numbers=kept, calibration=None)
