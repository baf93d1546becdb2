"""Continued pre-training on the user's own documents, without labels: masked words, for a reader recurring spans too.

Gururangan et al., "Don't Stop Pretraining", ACL 2020. After an interruption, the same command resumes from the last
checkpoint.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer
from torch.nn.functional import cross_entropy
from torch.utils.data import Dataset as TorchDataset
from transformers import (
    AutoModelForQuestionAnswering,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from search_app import hardware
from search_app.encoders.sentence_transformer import SentenceTransformerEncoder
from search_app.errors import ConfigurationError, ModelUnavailable
from search_app.evaluation.datasets import load_squad
from search_app.evaluation.evaluate import evaluate_reader
from search_app.hardware import Hardware
from search_app.models.batching import round_up
from search_app.models.checkpoint import (
    find_checkpoint,
    load_sentence_transformers,
    load_tokenizer,
    load_transformers,
    require_offsets,
)
from search_app.models.execution import Execution
from search_app.models.positions import longest_input
from search_app.readers.extractive import ExtractiveReader
from search_app.readers.windows import Window, WindowMaker, stack, takes_token_types
from search_app.settings import EncoderSettings, ReaderSettings
from search_app.training import card, run
from search_app.training.config import Adaptation, EncoderAdaptation, ReaderAdaptation
from search_app.training.development import merged
from search_app.training.examples import make_examples
from search_app.training.masking import IGNORED, Masking, WordHead
from search_app.training.progress import TrainingProgress
from search_app.training.reader import save_reader
from search_app.training.recurring import recurring_questions
from search_app.training.retrieval import measure
from search_app.training.vocabulary import extend, missing_words, plain, tokens_per_word

WIDTH_STEP = 16
"""Batches are padded to a multiple of this many tokens."""
HEAD = "masked_words"
"""Where the head for masked words is attached to the model while it is trained."""

_log = logging.getLogger(__name__)


def adapt(config: Adaptation, read: Callable[[], Sequence[str]], callbacks: Sequence[TrainerCallback] = ()) -> Path:
    """Train, or resume, and return the folder with the adapted model and its card.

    `read` gives the texts; a resumed run goes on with those that it has. `callbacks` of transformers may watch the run.

    Raises ConfigurationError for settings or texts that do not work, ModelUnavailable for a model that cannot be
    loaded, TrainingInterrupted if the disk is full.
    """
    if run.is_finished(config):
        return config.out
    with run.saving(config.work):
        texts = run.once(config.work / "texts.json", lambda: _with_text(read()))
    machine = hardware.detect(config.device)
    hardware.set_threads()
    adapted = _Adapted.load(config)
    before = run.once(config.work / "before.json", lambda: _quality(config, config.model, machine))
    facts = _vocabulary(config, adapted, texts)
    rows = _rows(config, adapted, texts)

    execution = Execution.choose(config, machine)
    steps = -(-len(rows) // config.batch_size)
    tokens = sum(len(row.window) for row in rows)
    progress = TrainingProgress(config.work / "seconds.json", tokens / steps, config.checkpoint_minutes * 60)
    torch.manual_seed(config.seed)
    model: Any = adapted.model
    setattr(model, HEAD, WordHead(model.config.hidden_size, model.get_input_embeddings().weight.shape[1]))
    trainer = _Trainer(
        model=adapted.model,
        args=run.arguments(TrainingArguments, config, execution),
        callbacks=[progress, *callbacks],
        train_dataset=_Rows(rows),
        data_collator=_Collator(
            Masking(int(adapted.tokenizer.mask_token_id), len(adapted.tokenizer)),
            int(adapted.tokenizer.pad_token_id or 0),
            takes_token_types(adapted.model.config),
            config.seed,
        ),
    )
    run.train(trainer, config.work)
    if trainer.state.global_step < trainer.state.max_steps:
        return config.out
    delattr(adapted.model, HEAD)
    with run.saving(config.work):
        adapted.save(config.out)
        facts |= {
            "base": card.base(config.model),
            "texts": len(texts),
            "windows": len(rows),
            "recurring": sum(row.words is None for row in rows),
            "steps": trainer.state.max_steps,
            "before": before,
            "after": _quality(config, str(config.out), machine),
            **run.cost(execution, machine, progress),
        }
        run.finish(config, facts, card.adapted)
    return config.out


def _with_text(texts: Sequence[str]) -> list[str]:
    found = [text for text in texts if text.strip()]
    if not found:
        raise ConfigurationError("the documents have no text", hint="give files with text", field="paths")
    return found


@dataclass(frozen=True, slots=True)
class _Adapted:
    """The model that is trained, its tokenizer, and how the result is saved."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    max_tokens: int
    save: Callable[[Path], None]

    @classmethod
    def load(cls, config: Adaptation) -> _Adapted:
        """Raises ConfigurationError if the tokenizer has no token for a mask."""
        adapted = cls._reader(config) if isinstance(config, ReaderAdaptation) else cls._encoder(config)
        if adapted.tokenizer.mask_token_id is None:
            raise ConfigurationError(f"{card.base(config.model)}: its tokenizer has no mask token", field="model")
        return adapted

    @classmethod
    def _encoder(cls, config: Adaptation) -> _Adapted:
        checkpoint = find_checkpoint("encoder", config.model)
        model = load_sentence_transformers(SentenceTransformer, checkpoint, device="cpu", dtype=torch.float32)
        transformer: Any = model[0]
        tokenizer = require_offsets(checkpoint, model.tokenizer)
        longest = min(config.max_tokens, longest_input(transformer.auto_model.config))

        def save(folder: Path) -> None:
            model.save_pretrained(str(folder), create_model_card=False)

        return cls(transformer.auto_model, tokenizer, longest, save)

    @classmethod
    def _reader(cls, config: Adaptation) -> _Adapted:
        checkpoint = find_checkpoint("reader", config.model)
        model_config, tokenizer = load_tokenizer(checkpoint)
        torch.manual_seed(config.seed)  # for the head, if the checkpoint has none
        model, _ = load_transformers(
            AutoModelForQuestionAnswering, checkpoint, model_config, dtype=torch.float32, attention="eager"
        )

        def save(folder: Path) -> None:
            save_reader(model, tokenizer, folder)

        return cls(model, tokenizer, min(config.max_tokens, longest_input(model_config)), save)


@dataclass(frozen=True, slots=True)
class _Row:
    """A window of text with the number of each token's word; or a question, and where the text has its answers."""

    window: Window
    words: NDArray[np.int64] | None = None
    targets: tuple[tuple[int, int], ...] = ()


def _rows(config: Adaptation, adapted: _Adapted, texts: Sequence[str]) -> list[_Row]:
    tokenizer = plain(adapted.tokenizer)
    rows = [row for text in texts for row in _windows(tokenizer, adapted.max_tokens, text)]
    if isinstance(config, ReaderAdaptation):
        asked = recurring_questions(texts, str(adapted.tokenizer.mask_token), config.seed)
        windows = WindowMaker(adapted.tokenizer, max_tokens=adapted.max_tokens, stride=adapted.max_tokens // 4)
        examples = make_examples(asked, [], windows, random.Random(config.seed))
        rows += [_Row(example.window, targets=example.targets) for example in examples]
    return rows


def _windows(tokenizer: Tokenizer, max_tokens: int, text: str) -> list[_Row]:
    """The text in windows without overlap."""
    encoding = tokenizer.encode(text, add_special_tokens=False)
    encoding.truncate(max_tokens - tokenizer.num_special_tokens_to_add(is_pair=False), stride=0)
    rows = []
    for part in (tokenizer.post_process(part) for part in (encoding, *encoding.overflowing) if len(part)):
        window = Window(
            pair=0,
            input_ids=np.array(part.ids, dtype=np.int64),
            token_type_ids=np.array(part.type_ids, dtype=np.int64),
            offsets=np.empty((0, 2), dtype=np.int64),
            first=0,
            last=len(part),
        )
        words = [-1 if word is None else word for word in part.word_ids]
        rows.append(_Row(window, np.array(words, dtype=np.int64)))
    return rows


def _vocabulary(config: Adaptation, adapted: _Adapted, texts: Sequence[str]) -> dict[str, Any]:
    """Extend the vocabulary as configured; tokens per word before and after, for the card."""
    facts: dict[str, Any] = {"tokens_per_word": [tokens_per_word(adapted.tokenizer, texts)], "words": []}
    if config.extend_vocabulary:
        facts["words"] = missing_words(adapted.tokenizer, texts, config.extend_vocabulary)
        extend(adapted.model, adapted.tokenizer, facts["words"])
        facts["tokens_per_word"].append(tokens_per_word(adapted.tokenizer, texts))
    return facts


def _quality(config: Adaptation, model: str, machine: Hardware) -> dict[str, float]:
    """Of a model on the labelled files; empty without files, or for a reader whose head is not trained yet."""
    if not config.evaluation:
        return {}
    dataset = merged([load_squad(path) for path in config.evaluation], "evaluation")
    if isinstance(config, EncoderAdaptation):
        return measure(SentenceTransformerEncoder(EncoderSettings(model=model), machine), dataset)
    try:
        reader = ExtractiveReader(ReaderSettings(model=model), machine)
    except ModelUnavailable:
        return {}
    return evaluate_reader(reader, dataset)


class _Rows(TorchDataset[tuple[int, _Row]]):
    """Each row with its number."""

    def __init__(self, rows: Sequence[_Row]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> tuple[int, _Row]:
        return index, self._rows[index]


@dataclass(frozen=True, slots=True)
class _Collator:
    masking: Masking
    pad_id: int
    token_types: bool
    seed: int

    def __call__(self, numbered: Sequence[tuple[int, _Row]]) -> dict[str, torch.Tensor]:
        # From the rows alone, so that a resumed run masks the same; each epoch has them in other batches.
        rng = np.random.default_rng([self.seed, *(number for number, _ in numbered)])
        rows = [row for _, row in numbered]
        shape = len(rows), round_up(max(len(row.window) for row in rows), WIDTH_STEP)
        ids, types, mask = stack([row.window for row in rows], pad_id=self.pad_id, shape=shape)
        labels, answers = np.full(shape, IGNORED), np.full((len(rows), 2), IGNORED)
        for number, row in enumerate(rows):
            if row.words is None:
                answers[number] = row.targets[rng.integers(len(row.targets))]
            else:
                size = len(row.window)
                ids[number, :size], labels[number, :size] = self.masking(row.window.input_ids, row.words, rng)
        batch = {"input_ids": ids, "attention_mask": mask, "words": labels, "answers": answers}
        if self.token_types:
            batch["token_type_ids"] = types
        return {key: torch.from_numpy(value) for key, value in batch.items()}


class _Trainer(Trainer):
    def compute_loss(self, model: Any, inputs: dict[str, torch.Tensor], *_: Any, **__: Any) -> torch.Tensor:
        """The mean over masked words, and for a reader also that over starts and ends of the repeated words."""
        words, answers = inputs.pop("words"), inputs.pop("answers")
        hidden = model.base_model(**inputs)[0]
        chosen = words != IGNORED
        loss: torch.Tensor = hidden.sum() * 0  # a batch may have no row of a kind
        if chosen.any():
            scores = getattr(model, HEAD)(hidden[chosen], model.get_input_embeddings().weight)
            loss = loss + cross_entropy(scores.float(), words[chosen])
        if (answers != IGNORED).any():
            logits = model.qa_outputs(hidden).float().unbind(-1)
            loss = loss + sum(cross_entropy(logits[end], answers[:, end]) for end in (0, 1)) / 2
        return loss
