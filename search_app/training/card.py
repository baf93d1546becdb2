"""The model card: what the reader is, made of what the run wrote down."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FILE = "README.md"
FACTS = "training.json"
WATTS_A_CORE = 10
WATTS_A_GPU = 500

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


def write(folder: Path) -> None:
    """Writes the card from `training.json`, with the numbers that were added to it under "measured"."""
    facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    (folder / FILE).write_text(render(facts), encoding="utf-8")


def command(settings: Mapping[str, Any]) -> str:
    """The command line that trains this reader again."""
    words = ["search-app", "train", "reader"]
    for path in settings["data"]:
        words += ["--data", Path(path).name]
    words += ["--out", "OUT"]
    for option, key in (
        ("--model", "model"),
        ("--epochs", "epochs"),
        ("--batch-size", "batch_size"),
        ("--learning-rate", "learning_rate"),
        ("--max-tokens", "max_tokens"),
        ("--limit", "limit"),
        ("--seed", "seed"),
        ("--join-words", "join_words"),
        ("--negatives", "negatives"),
        ("--holdout", "holdout"),
    ):
        if settings[key] is not None:
            words += [option, str(settings[key])]
    for path in settings["evaluation"]:
        words += ["--evaluation", Path(path).name]
    return shlex.join(words)


def kilowatt_hours(seconds: float, threads: int) -> float:
    """Estimated from WATTS_A_CORE for each compute thread, or WATTS_A_GPU where there is none: nothing is metered."""
    return seconds / 3600 * (threads * WATTS_A_CORE or WATTS_A_GPU) / 1000


def render(facts: Mapping[str, Any]) -> str:
    settings = facts["settings"]
    licence = BASES.get(facts["base"], "see its own card")
    rows = []
    for name, file in facts["files"].items():
        title, terms = LICENCES.get(name, (name, "not known to this program: see where it came from"))
        rows.append(
            f"| `{name}` | {title} | {terms} | {file['questions']:,} | {file['listed']} | {file['held_out']:,} |"
        )
    dropped = sum(file["overlapping_paragraphs"] for file in facts["files"].values())
    checked = ", ".join(f"`{name}`" for name in facts["checked_against"])
    overlap = (
        f"Every training paragraph was compared with every paragraph of {checked}: {dropped} shared a run of 16 words "
        "with one and were left out of the training."
        if checked
        else "No evaluation file was given, so nothing was checked."
    )
    threads = facts["threads"]
    on = f"{facts['processor']}, {threads} thread{'s' if threads != 1 else ''}" if threads else facts["processor"]
    watts = f"{WATTS_A_CORE} W a core" if threads else f"{WATTS_A_GPU} W"
    measured = "\n".join(f"- {line}" for line in facts.get("measured", [])) or "Nothing has been measured yet."
    joined = f", short paragraphs joined up to {settings['join_words']} words" if settings["join_words"] else ""
    negatives = (
        f", {settings['negatives']:.0%} of the questions asked of a similar paragraph without their answer too "
        '(target: "no answer")'
        if settings["negatives"]
        else ""
    )
    fixed = (
        f"AdamW, learning rate {settings['learning_rate']:g} after {settings['warmup']:.0%} warm-up, linear decay, "
        f"weight decay {settings['weight_decay']:g}, dropout {settings['dropout']:g} (attention 0), "
        f"gradient norm clipped at {settings['clip']:g}, windows of {settings['max_tokens']} tokens with a stride of "
        f"{settings['stride']}, a random gold answer each time{joined}{negatives}"
    )
    spent = (
        f"{facts['seconds'] / 3600:.2f} hours in {facts['precision']} on {on}; about "
        f"{kilowatt_hours(facts['seconds'], threads):.3f} kWh, estimated at {watts}."
    )
    return f"""# Extractive reader

`{facts["base"]}` ({licence}) fine-tuned to mark the answer to a question in a passage, or to say that there is none.
Half-precision safetensors; load it in float32 or bfloat16.

## Data

| file | what | licence | questions | listed | held out |
|---|---|---|---|---|---|
{chr(10).join(rows)}

{overlap} Held-out questions (by article where articles are small) served calibration only.

## Training

{facts["steps"]:,} steps of {settings["batch_size"]} windows ({facts["tokens"] / 1e6:.1f} M tokens with padding).
{fixed}. Last loss {facts["loss"]:.3f}.

```
{command(settings)}
```

{spent}

## Measured

{measured}
"""
