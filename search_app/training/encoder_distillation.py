"""Distil encoders: a student learns to give each text the vector that its teachers give it.

The loss is the squared distance of unit vectors, as in Reimers and Gurevych, "Making Monolingual Sentence Embeddings
Multilingual using Knowledge Distillation" (2020). Only the texts are needed, no labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset as Table
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.sentence_transformer.losses import EmbedDistillLoss
from transformers import TrainerCallback

from search_app import hardware
from search_app.encoders.sentence_transformer import SentenceTransformerEncoder, prefixes
from search_app.errors import ConfigurationError
from search_app.evaluation.datasets import Dataset
from search_app.hardware import Hardware
from search_app.models.checkpoint import find_checkpoint, load_sentence_transformers
from search_app.models.execution import Execution
from search_app.settings import EncoderSettings
from search_app.text.reading import titled
from search_app.training import card, run
from search_app.training.config import EncoderDistillation
from search_app.training.development import Split, merged, require_disjoint, split_documents
from search_app.training.pairs import load_pairs
from search_app.training.progress import TrainingProgress
from search_app.training.retrieval import measure
from search_app.types import Matrix

FILE = "targets.npy"
FITTED = 20_000
"""Texts that the map from the teachers' vectors to the student's is fitted on, at most."""


@dataclass(frozen=True, slots=True)
class Texts:
    """Distinct questions and passages: an encoder may treat them differently (prompts)."""

    questions: tuple[str, ...]
    passages: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.questions) + len(self.passages)

    def vectors(self, encoder: SentenceTransformerEncoder) -> Matrix:
        """(texts, dimensions), the questions first."""
        return np.concatenate([encoder.encode_queries(self.questions), encoder.encode_passages(self.passages)])


def distill_encoder(
    config: EncoderDistillation, documents: Sequence[str] = (), callbacks: Sequence[TrainerCallback] = ()
) -> Path:
    """Train the student, or resume, and return the folder with the encoder and its model card.

    `documents` are passages to learn from besides the questions and paragraphs of `config.data`. `callbacks` of
    transformers may watch the run; one that stops it early leaves it to be resumed.

    Raises ConfigurationError for settings or data that do not work, ModelUnavailable for a model that cannot be loaded,
    TrainingInterrupted if the disk is full.
    """
    if run.is_finished(config):
        return config.out
    machine = hardware.detect(config.device)
    hardware.set_threads()
    split = _split(config)
    student = _encoder(config.model, machine)
    teachers = [_encoder(name, machine) for name in config.teacher]
    before = run.once(config.work / "before.json", lambda: _before(config, teachers, student, split))
    texts = _texts(split.training, documents)
    targets = _targets(config, teachers, student, texts)

    execution = Execution.choose(config, machine)
    steps = -(-len(texts) // config.batch_size)
    tokens = student.tokenize_passages([*texts.questions, *texts.passages]).tokens
    progress = TrainingProgress(config.work / "seconds.json", tokens / steps, config.checkpoint_minutes * 60)
    trainer = _trainer(config, execution, texts, targets, [progress, *callbacks])
    run.train(trainer, config.work)
    if trainer.state.global_step < trainer.state.max_steps:
        return config.out
    with run.saving(config.work):
        trainer.model.save_pretrained(str(config.out), create_model_card=False)
        facts = {
            "base": card.base(config.model),
            "questions": len(texts.questions),
            "passages": len(texts.passages),
            "steps": trainer.state.max_steps,
            "quality": before | _quality({"student after": _encoder(str(config.out), machine)}, split),
            **run.cost(execution, machine, progress),
        }
        run.finish(config, facts, card.distilled_encoder)
    return config.out


def onto(teacher: Matrix, student: Matrix) -> Matrix:
    """A map (teacher's dimensions, student's dimensions) from vectors of a teacher into the space of a student.

    It keeps the dot products of the teacher's vectors: all of them if the student has as many dimensions, else as well
    as its dimensions can (the principal axes). Among such maps it is the one that brings the vectors nearest to those
    that the student has already, so that it need not learn a mere rotation (orthogonal Procrustes: Schönemann 1966).

    `teacher` (texts, its dimensions) and `student` (texts, its dimensions) are vectors of the same texts.
    """
    _, axes = np.linalg.eigh(teacher.T @ teacher)
    kept = axes[:, -student.shape[1] :]
    left, _, right = np.linalg.svd((teacher @ kept).T @ student, full_matrices=False)
    found: Matrix = (kept @ left @ right).astype(np.float32)
    return found


def _split(config: EncoderDistillation) -> Split:
    data = [load_pairs(path) for path in config.data]
    if config.development:
        development = [load_pairs(path) for path in config.development]
        require_disjoint(data, development)
        return Split(merged(data, "training"), merged(development, "development"))
    whole = merged(data, "training")
    if not any(question.answers for _, question in whole.questions):
        return Split(whole, Dataset("development", ()))
    return split_documents(whole, config.development_share, config.seed)


def _texts(training: Dataset, documents: Sequence[str]) -> Texts:
    paragraphs = [titled(a.title.replace("_", " "), p.text) for a in training.articles for p in a.paragraphs]
    texts = Texts(_distinct(question.text for _, question in training.questions), _distinct([*paragraphs, *documents]))
    if len(texts) < 2:
        raise ConfigurationError(
            f"too few texts to learn from: {len(texts)}", hint="a distillation needs some thousand", field="data"
        )
    return texts


def _distinct(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for text in texts if text.strip()))


def _targets(
    config: EncoderDistillation,
    teachers: Sequence[SentenceTransformerEncoder],
    student: SentenceTransformerEncoder,
    texts: Texts,
) -> Matrix:
    """The unit vectors that the student shall learn, (texts, its dimensions).

    Of several teachers, the dot product of two vectors is the mean of theirs.
    """

    def make() -> Matrix:
        taught = np.concatenate([texts.vectors(teacher) for teacher in teachers], axis=1)
        chosen = np.random.default_rng(config.seed).permutation(len(texts))[:FITTED]
        mapped: Matrix = taught @ onto(taught[chosen], texts.vectors(student)[chosen])
        mapped /= np.linalg.norm(mapped, axis=1, keepdims=True).clip(min=1e-12)
        return mapped

    return run.array_once(config.work / FILE, (len(texts), student.stamp.dim), make)


def _before(
    config: EncoderDistillation,
    teachers: Sequence[SentenceTransformerEncoder],
    student: SentenceTransformerEncoder,
    split: Split,
) -> dict[str, dict[str, float]]:
    named = zip(config.teacher, teachers, strict=True)
    models = {f"teacher {i}, {Path(name).name}": encoder for i, (name, encoder) in enumerate(named, start=1)}
    return _quality(models | {"student before": student}, split)


def _quality(models: Mapping[str, SentenceTransformerEncoder], split: Split) -> dict[str, dict[str, float]]:
    if not any(question.answers for _, question in split.development.questions):
        return {}
    return {name: measure(encoder, split.development, [split.training]) for name, encoder in models.items()}


def _trainer(
    config: EncoderDistillation,
    execution: Execution,
    texts: Texts,
    targets: Matrix,
    callbacks: Sequence[TrainerCallback],
) -> SentenceTransformerTrainer:
    torch.manual_seed(config.seed)
    model = load_sentence_transformers(
        SentenceTransformer,
        find_checkpoint("encoder", config.model),
        device=str(execution.device),
        dtype=torch.float32,
    )
    model.model_card_data.local_files_only = True  # the cards of checkpoints need no network
    model.model_card_data.generate_widget_examples = False
    query, passage = prefixes(model, EncoderSettings())
    inputs = [*(query + text for text in texts.questions), *(passage + text for text in texts.passages)]
    return SentenceTransformerTrainer(
        model=model,
        args=run.arguments(SentenceTransformerTrainingArguments, config, execution),
        train_dataset=Table.from_dict({"text": inputs, "label": list(targets)}),
        loss=EmbedDistillLoss(model, distance_metric="cosine"),  # half the squared distance of unit vectors
        callbacks=list(callbacks),
    )


def _encoder(model: str, machine: Hardware) -> SentenceTransformerEncoder:
    return SentenceTransformerEncoder(EncoderSettings(model=model), machine)
