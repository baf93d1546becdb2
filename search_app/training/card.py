"""The model card of a trained reader, rendered from the facts that the run recorded."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FILE = "README.md"
WATTS_PER_CORE = 10
WATTS_PER_GPU = 500

LICENCES = {
    "squadshifts-new_wiki.json": ("SQuADShifts, new Wikipedia paragraphs", "CC BY 4.0"),
    "squadshifts-reddit.json": ("SQuADShifts, Reddit", "CC BY 4.0; the posts' own rights stay with their authors"),
    "squadshifts-amazon_reviews.json": (
        "SQuADShifts, Amazon reviews",
        "CC BY 4.0; the reviews' own rights stay with their authors",
    ),
    "qamr.json": ("QAMR", "MIT"),
    "fairytaleqa.json": ("FairytaleQA", "Apache-2.0"),
}
BUNDLED_BASE = "sentence-transformers/all-MiniLM-L6-v2"
BASES = {BUNDLED_BASE: "Apache-2.0"}
_OPTIONS = (
    "model", "epochs", "batch_size", "learning_rate", "max_tokens", "limit", "seed", "join_words", "negatives",
    "tables", "title_dropout", "decay", "holdout",
)  # fmt: skip


def write(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write the card into the model folder."""
    (folder / FILE).write_text(render(facts), encoding="utf-8")


def command(settings: Mapping[str, Any]) -> str:
    """The command line that repeats the training."""
    words = ["search-app", "train", "reader"]
    for path in settings["data"]:
        words += ["--data", Path(path).name]
    words += ["--out", "OUT"]
    for name in _OPTIONS:
        if settings[name] is not None:
            words += [f"--{name.replace('_', '-')}", str(settings[name])]
    for path in settings["evaluation"]:
        words += ["--evaluation", Path(path).name]
    return shlex.join(words)


def kilowatt_hours(seconds: float, threads: int) -> float:
    """An estimate, not a measurement: WATTS_PER_CORE for each thread, or WATTS_PER_GPU without threads."""
    return seconds / 3600 * (threads * WATTS_PER_CORE or WATTS_PER_GPU) / 1000


def render(facts: Mapping[str, Any]) -> str:
    """The card in Markdown. `facts` is the content of `training.json`."""
    settings = facts["settings"]
    licence = BASES.get(facts["base"], "see its own card")
    rows = []
    for name, file in facts["files"].items():
        title, terms = LICENCES.get(name, (name, "unknown: see its source"))
        rows.append(
            f"| `{name}` | {title} | {terms} | {file['questions']:,} | {file['listed']} | {file['held_out']:,} |"
        )
    removed = sum(file["overlapping_paragraphs"] for file in facts["files"].values())
    checked = ", ".join(f"`{name}`" for name in facts["checked_against"])
    overlap = (
        f"Every training paragraph was compared with every paragraph of {checked}: {removed} shared a run of 16 words "
        "with one and were left out of the training."
        if checked
        else "Overlap with evaluation files was not checked: none was given."
    )
    threads = facts["threads"]
    on = f"{facts['processor']}, {threads} thread{'s' if threads != 1 else ''}" if threads else facts["processor"]
    watts = f"{WATTS_PER_CORE} W per core" if threads else f"{WATTS_PER_GPU} W"
    joined = f", short paragraphs joined up to {settings['join_words']} words" if settings["join_words"] else ""
    negatives = (
        f", {settings['negatives']:.0%} of the questions also asked of a similar paragraph without their answer "
        '(target: "no answer")'
        if settings["negatives"]
        else ""
    )
    tables = f", {settings['tables']:.0%} of the questions about generated tables" if settings["tables"] else ""
    decay = (
        "linear decay" if settings["decay"] == 1 else f"linear decay in the last {settings['decay']:.0%} of the steps"
    )
    return f"""# Extractive reader

`{facts["base"]}` ({licence}), fine-tuned to find the answer to a question in a passage, or that there is none.
Half-precision safetensors; load it in float32 or bfloat16.

## Data

| file | what | licence | questions | listed | held out |
|---|---|---|---|---|---|
{chr(10).join(rows)}

{overlap} Held-out questions (by article where articles are small) were used for calibration only.

## Training

{facts["steps"]:,} steps of {settings["batch_size"]} windows ({facts["tokens"] / 1e6:.1f} M tokens with padding).
AdamW, learning rate {settings["learning_rate"]:g} after {settings["warmup"]:.0%} warm-up, {decay}, \
weight decay {settings["weight_decay"]:g}, dropout {settings["dropout"]:g} (attention 0), \
gradient norm clipped at {settings["clip"]:g}, windows of {settings["max_tokens"]} tokens with a stride of \
{settings["stride"]}, a random gold answer each time{joined}{negatives}{tables}, \
{settings["title_dropout"]:.0%} of the passages read without their title. Last loss {facts["loss"]:.3f}.

```
{command(settings)}
```

{facts["seconds"] / 3600:.2f} hours in {facts["precision"]} on {on}; about \
{kilowatt_hours(facts["seconds"], threads):.3f} kWh, estimated at {watts}.

## Quality

Measure it with `SEARCH_APP_READER__MODEL=FOLDER search-app evaluate reader --data FILE`.
"""
