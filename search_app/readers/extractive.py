"""The extractive reader: any BERT-family checkpoint with a question-answering head, over all hits of all questions."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import (
    AutoConfig,
    AutoModelForQuestionAnswering,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedTokenizerFast,
)

from search_app.errors import ModelUnavailable
from search_app.hardware import Hardware, pass_tokens
from search_app.readers import checksums, spans
from search_app.readers.calibration import Evidence, Ranked
from search_app.readers.windows import Window, WindowMaker, longest_window, stack, takes_token_types
from search_app.settings import BUNDLED, ReaderSettings
from search_app.text.tokens import round_up
from search_app.types import Answer, Hit, Passage, Span

BUNDLED_FOLDER = Path(__file__).parent.parent / "models" / "reader"
SPANS_A_WINDOW = 20
PASS_COST = 64
"""What one more forward pass costs, in tokens: below it a batch is better split than padded."""
WIDTH_STEP = 8


class ExtractiveReader:
    """Reads every hit of every question in as few and as short forward passes as it can.

    `windows`, `tokens` (with padding) and `forward_passes` count the work since the reader was made.
    """

    def __init__(self, settings: ReaderSettings, hardware: Hardware) -> None:
        self._device = torch.device(hardware.device if settings.device == "auto" else settings.device)
        self.precision = hardware.precision if settings.precision == "auto" else settings.precision
        self._batch_tokens = settings.batch_tokens or pass_tokens(self._device.type)
        self._settings = settings
        folder = BUNDLED_FOLDER if settings.model == BUNDLED else Path(settings.model)
        self.name = "bundled reader" if settings.model == BUNDLED else settings.model
        if folder.is_dir():
            _check_folder(folder, self.name)
        place = str(folder) if folder.is_dir() else settings.model
        config, tokenizer = _load_tokenizer(place, self.name)
        self._model = _load_model(place, self.name, config, getattr(torch, self.precision)).to(self._device)
        self._pad_id = int(tokenizer.pad_token_id or 0)
        self._types = takes_token_types(config)
        self.max_tokens = min(settings.max_tokens, longest_window(config, tokenizer))
        self._windows = WindowMaker(tokenizer, max_tokens=self.max_tokens, stride=settings.stride)
        self.evidence = Evidence.load(folder)
        if settings.retrieval_weight is not None:
            self.evidence = replace(self.evidence, retrieval_weight=settings.retrieval_weight)
        self._lock = threading.Lock()
        self.windows = self.tokens = self.forward_passes = 0

    def read(self, questions: Sequence[str], hits: Sequence[Sequence[Hit]], *, top_k: int) -> list[list[Answer]]:
        """At most `top_k` answers for each question, best first; one of them may be "no answer here"."""
        return [
            [_answer(ranked, found) for ranked in self.evidence.rank(marks, [hit.score for hit in found])[:top_k]]
            for marks, found in zip(self.mark(questions, hits), hits, strict=True)
        ]

    def mark(self, questions: Sequence[str], hits: Sequence[Sequence[Hit]]) -> list[list[spans.Mark]]:
        """The best spans of every window, not yet ranked."""
        pairs = [(i, rank) for i, found in enumerate(hits) for rank in range(len(found))]
        windows = self._windows([questions[i] for i, _ in pairs], [hits[i][rank].passage.text for i, rank in pairs])
        marks: list[list[spans.Mark]] = [[] for _ in questions]
        for window, starts, ends in zip(windows, *self._logits(windows), strict=True):
            question, rank = pairs[window.pair]
            marks[question] += self._mark(window, starts, ends, rank, hits[question][rank].passage)
        return marks

    def _mark(
        self, window: Window, starts: spans.Floats, ends: spans.Floats, rank: int, passage: Passage
    ) -> Iterator[spans.Mark]:
        null = spans.null_score(starts, ends)
        for span in spans.best_spans(
            starts,
            ends,
            first=window.first,
            last=window.last,
            max_answer_tokens=self._settings.max_answer_tokens,
            n=SPANS_A_WINDOW,
        ):
            place = window.characters(span.start, span.end, passage.text)
            if place.start < place.end:
                start, end = passage.start + place.start, passage.start + place.end
                said = " ".join(passage.text[place.start : place.end].casefold().split())
                yield spans.Mark(passage.document_id, start, end, rank, span.score, null, said)

    def _logits(self, windows: Sequence[Window]) -> tuple[list[spans.Floats], list[spans.Floats]]:
        """Start and end logits of each window, in input order, float32, without those of the padding."""
        starts: list[spans.Floats] = [np.empty(0, dtype=np.float32)] * len(windows)
        ends = list(starts)
        lengths = [len(window) for window in windows]
        # oneDNN keeps kernels and memory for each shape that it has seen, for good.
        widths = [max(length, min(self.max_tokens, round_up(length, WIDTH_STEP))) for length in lengths]
        computed = passes = 0
        for rows in plan_batches(widths, budget=self._batch_tokens):
            ids, types, mask = stack(
                [windows[row] for row in rows], pad_id=self._pad_id, width=max(widths[row] for row in rows)
            )
            output = self._forward(ids, types if self._types else None, None if mask.all() else mask)
            for i, row in enumerate(rows):
                starts[row], ends[row] = output[0, i, : lengths[row]], output[1, i, : lengths[row]]
            computed += ids.size
            passes += 1
        with self._lock:
            self.windows += len(windows)
            self.tokens += computed
            self.forward_passes += passes
        return starts, ends

    @torch.inference_mode()
    def _forward(self, ids: Any, types: Any, mask: Any) -> Any:
        inputs = {"input_ids": ids, "token_type_ids": types, "attention_mask": mask}
        output = self._model(
            **{name: torch.from_numpy(array).to(self._device) for name, array in inputs.items() if array is not None}
        )
        return torch.stack([output.start_logits, output.end_logits]).float().cpu().numpy()


def _answer(ranked: Ranked, hits: Sequence[Hit]) -> Answer:
    mark = ranked.mark
    if mark is None:
        return Answer("", None, ranked.score, ranked.confidence, None)
    hit = hits[mark.hit]
    text = hit.passage.text[mark.start - hit.passage.start : mark.end - hit.passage.start]
    return Answer(text, Span(mark.start, mark.end), ranked.score, ranked.confidence, hit)


def plan_batches(lengths: Sequence[int], *, budget: int) -> list[list[int]]:
    """Rows of each batch, so that computed tokens plus PASS_COST for each pass are least.

    Sorted by length, the best batches are runs, so the plan is a shortest path. No batch exceeds `budget` tokens,
    padding included, except a single row that is longer.
    """
    order = sorted(range(len(lengths)), key=lambda row: (lengths[row], row))
    cost, cut = [0], [0]
    for last in range(1, len(order) + 1):
        width = lengths[order[last - 1]]
        first = max(0, min(last - 1, last - budget // max(1, width)))
        choices = [(cost[i] + (last - i) * width + PASS_COST, i) for i in range(first, last)]
        least, where = min(choices)
        cost.append(least)
        cut.append(where)
    batches: list[list[int]] = []
    last = len(order)
    while last:
        batches.append(order[cut[last] : last])
        last = cut[last]
    return batches


def _check_folder(folder: Path, name: str) -> None:
    """Raises ModelUnavailable for weights that are not safetensors or files that are not what their checksums say."""
    if not any(folder.glob("*.safetensors")):
        others = sorted(path.name for kind in ("*.h5", "*.msgpack", "*.bin", "*.ckpt*") for path in folder.glob(kind))
        raise ModelUnavailable(
            f"reader {name} has no safetensors weights" + (f", only {', '.join(others)}" if others else ""),
            hint="convert them with transformers: AutoModelForQuestionAnswering.from_pretrained(…).save_pretrained(…)",
        )
    checksums.verify(folder, f"reader {name}")


def _load_tokenizer(place: str, name: str) -> tuple[PretrainedConfig, PreTrainedTokenizerFast]:
    try:
        values, _ = PretrainedConfig.get_config_dict(place)
        # A configuration from elsewhere must not choose which code runs.
        clean = {key: value for key, value in values.items() if not key.startswith("_attn") and key != "auto_map"}
        config = AutoConfig.for_model(**clean)
        tokenizer = AutoTokenizer.from_pretrained(place, config=config, trust_remote_code=False)
    except Exception as error:  # the library raises a different one for each way to fail
        raise _cannot_load(name, error) from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise ModelUnavailable(
            f"reader {name}: its tokenizer ({type(tokenizer).__name__}) has no character offsets",
            hint="use a checkpoint with a fast tokenizer (a tokenizer.json in its folder)",
        )
    return config, tokenizer


def _load_model(place: str, name: str, config: PretrainedConfig, dtype: torch.dtype) -> Any:
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    verbosity = transformers.utils.logging.get_verbosity()
    try:
        # Its report on missing weights would say less than the error below.
        transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
        model, report = AutoModelForQuestionAnswering.from_pretrained(
            place,
            config=config,
            dtype=dtype,
            attn_implementation="sdpa",
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except Exception as error:
        raise _cannot_load(name, error) from error
    finally:
        transformers.utils.logging.set_verbosity(verbosity)
    missing = sorted(report["missing_keys"])
    if missing:
        raise ModelUnavailable(
            f"reader {name} is not trained to mark answers: it has no {missing[0]}",
            hint="train it first: search-app train reader --model … --data … --out …",
        )
    head = getattr(model, "qa_outputs", None)
    if isinstance(head, torch.nn.Linear) and dtype != torch.float32:
        # bfloat16 has three digits: too few to rank spans by the sum of two logits.
        head.float()
        head.register_forward_pre_hook(lambda _, args: (args[0].float(),))
    return model.eval()


def _cannot_load(name: str, error: Exception) -> ModelUnavailable:
    first = (str(error).strip() or repr(error)).splitlines()[0]
    return ModelUnavailable(
        f"reader {name} cannot be loaded: {first}",
        hint="give a folder with config.json, model.safetensors and tokenizer.json, or a hub name with a network",
    )
