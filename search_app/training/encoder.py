"""Fine-tune an encoder with the trainer of sentence-transformers, so that questions are near their passages.

Each question sees its passage, a hard negative and the passages of the other questions in its batch (multiple negatives
ranking: Henderson et al., "Efficient Natural Language Response Suggestion for Smart Reply", 2017). After an
interruption, the same command resumes from the last checkpoint.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset as Table
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from sentence_transformers.sentence_transformer.training_args import BatchSamplers
from transformers import TrainerCallback

from search_app import hardware
from search_app.encoders.sentence_transformer import SentenceTransformerEncoder, prefixes
from search_app.errors import ConfigurationError
from search_app.evaluation.datasets import Dataset, Paragraph
from search_app.hardware import Hardware
from search_app.models.checkpoint import find_checkpoint, load_sentence_transformers
from search_app.models.execution import Execution
from search_app.settings import EncoderSettings
from search_app.text.reading import titled
from search_app.training import card, run
from search_app.training.config import EncoderTraining
from search_app.training.development import Split, merged, require_disjoint, require_trainable, split_documents
from search_app.training.pairs import load_pairs
from search_app.training.progress import TrainingProgress
from search_app.training.retrieval import ParagraphSearch, Search, Triple, measure, mine

_log = logging.getLogger(__name__)


def train_encoder(
    config: EncoderTraining, search: Search | None = None, callbacks: Sequence[TrainerCallback] = ()
) -> Path:
    """Train, or resume, and return the folder with the encoder and its model card.

    `search` finds hard negatives in an index; without it, they come from the training paragraphs. `callbacks` of
    transformers may watch the run; one that stops it early leaves it to be resumed.

    Raises ConfigurationError for settings or data that do not work, ModelUnavailable for a model that cannot be loaded,
    TrainingInterrupted if the disk is full.
    """
    if run.is_finished(config):
        return config.out
    machine = hardware.detect(config.device)
    hardware.set_threads()
    split = _split(config)
    base = _encoder(config.model, machine)
    before = run.once(config.work / "before.json", lambda: _quality(base, split))
    triples = _triples(config, split.training, base, search)

    execution = Execution.choose(config, machine)
    steps = -(-len(triples) // config.batch_size)
    tokens = sum(base.tokenize_passages(list(dataclasses.astuple(triple))).tokens for triple in triples)
    progress = TrainingProgress(config.work / "seconds.json", tokens / steps, config.checkpoint_minutes * 60)
    trainer = _trainer(config, execution, triples, [progress, *callbacks])
    run.train(trainer, config.work)
    if trainer.state.global_step < trainer.state.max_steps:
        return config.out
    with run.saving(config.work):
        trainer.model.save_pretrained(str(config.out), create_model_card=False)
        after = _quality(_encoder(str(config.out), machine), split)
        facts = {
            "base": card.base(config.model),
            "files": {path.name: sum(1 for _ in load_pairs(path).questions) for path in config.data},
            "steps": trainer.state.max_steps,
            "development": sum(1 for _ in split.development.questions),
            "before": before,
            "after": after,
            **run.cost(execution, machine, progress),
        }
        run.finish(config, facts, card.encoder)
    return config.out


def _split(config: EncoderTraining) -> Split:
    data = [load_pairs(path) for path in config.data]
    require_trainable(data)
    if config.development:
        development = [load_pairs(path) for path in config.development]
        require_disjoint(data, development)
        return Split(merged(data, "training"), merged(development, "development"))
    splits = [split_documents(dataset, config.development_share, config.seed) for dataset in data]
    return Split(
        merged([split.training for split in splits], "training"),
        merged([split.development for split in splits], "development"),
    )


def _quality(encoder: SentenceTransformerEncoder, split: Split) -> dict[str, float]:
    answered = any(question.answers for _, question in split.development.questions)
    return measure(encoder, split.development, [split.training]) if answered else {}


def _triples(
    config: EncoderTraining, training: Dataset, encoder: SentenceTransformerEncoder, search: Search | None
) -> list[Triple]:
    """From the file of the interrupted run: the index may have changed since."""

    def make() -> list[dict[str, str]]:
        def cut(title: str, paragraph: Paragraph, around: int) -> str:
            return _readable(encoder, title, paragraph.text, around)

        found = mine(training, search or ParagraphSearch(encoder, [training]), cut, config.seed)
        if len({triple.positive for triple in found}) < 2:
            raise ConfigurationError(
                "all questions are about one passage: there is nothing to tell it from",
                hint="add questions about other passages",
                field="data",
            )
        return [dataclasses.asdict(triple) for triple in found]

    return [Triple(**values) for values in run.once(config.work / "triples.json", make)]


def _readable(encoder: SentenceTransformerEncoder, title: str, text: str, around: int) -> str:
    """Title and text; of a text that is longer than the encoder reads, the part around a character."""
    spans = encoder.token_spans([titled(title, ""), text])
    room = encoder.stamp.max_tokens - encoder.reserved_tokens - len(spans[0])
    if len(spans[1]) <= room or room < 1:
        return titled(title, text)
    at = int(np.searchsorted(spans[1][:, 1], around, side="right"))
    first = min(max(0, at - room // 2), len(spans[1]) - room)
    return titled(title, text[spans[1][first, 0] : spans[1][first + room - 1, 1]])


def _trainer(
    config: EncoderTraining, execution: Execution, triples: Sequence[Triple], callbacks: Sequence[TrainerCallback]
) -> SentenceTransformerTrainer:
    checkpoint = find_checkpoint("encoder", config.model)
    torch.manual_seed(config.seed)
    model = load_sentence_transformers(
        SentenceTransformer, checkpoint, device=str(execution.device), dtype=torch.float32
    )
    # The cards that the library writes into checkpoints shall ask no network and compute no examples.
    model.model_card_data.local_files_only, model.model_card_data.generate_widget_examples = True, False
    query, passage = prefixes(model, EncoderSettings())
    rows = {
        "question": [query + triple.question for triple in triples],
        "positive": [passage + triple.positive for triple in triples],
        "negative": [passage + triple.negative for triple in triples],
    }
    return SentenceTransformerTrainer(
        model=model,
        args=run.arguments(
            SentenceTransformerTrainingArguments, config, execution, batch_sampler=BatchSamplers.NO_DUPLICATES
        ),
        train_dataset=Table.from_dict(rows),
        loss=MultipleNegativesRankingLoss(model),
        callbacks=list(callbacks),
    )


def _encoder(model: str, machine: Hardware) -> SentenceTransformerEncoder:
    return SentenceTransformerEncoder(EncoderSettings(model=model), machine)
