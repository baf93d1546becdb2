"""The model cards of trained readers and encoders, rendered from the facts that the run recorded."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from search_app.settings import BUNDLED

FILE = "README.md"
NOT_SHOWN = ("questions", "seconds")
"""Measures that are no quality."""
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
_NO_OPTIONS = ("command", "paths", "precision", "device", "warmup", "weight_decay", "clip", "stride", "dropout")
_SEVERAL = ("data", "documents", "evaluation", "development", "teacher")


def command(settings: Mapping[str, Any]) -> str:
    """The command line that repeats the training."""
    words = ["search-app", *settings["command"].split(), *_names(settings.get("paths", ()))]
    for name in _SEVERAL:
        words += [word for file in _names(settings.get(name, ())) for word in (f"--{name}", file)]
    words += ["--out", "OUT"]
    for name, value in settings.items():
        option = "--student" if name == "model" and "teacher" in settings else f"--{name.replace('_', '-')}"
        if value is True:
            words.append(option)
        elif name not in (*_NO_OPTIONS, *_SEVERAL) and value is not None and value is not False:
            words += [option, Path(value).name if name == "model" and Path(value).is_dir() else str(value)]
    return shlex.join(words)


def base(model: str) -> str:
    """The name of the checkpoint that a run starts from, without the path of a folder."""
    if model == BUNDLED:
        return BUNDLED_BASE
    return Path(model).resolve().name if Path(model).is_dir() else model


def repeat(facts: Mapping[str, Any]) -> str:
    """The command that repeats a run, and what it cost."""
    threads = facts["threads"]
    on = f"{facts['processor']}, {threads} thread{'s' if threads != 1 else ''}" if threads else facts["processor"]
    watts = f"{WATTS_PER_CORE} W per core" if threads else f"{WATTS_PER_GPU} W"
    return f"""```
{command(facts["settings"])}
```

{facts["seconds"] / 3600:.2f} hours in {facts["precision"]} on {on}; about \
{kilowatt_hours(facts["seconds"], threads):.3f} kWh, estimated at {watts}."""


def measured(
    before: Mapping[str, float], after: Mapping[str, float], first: str = "before", second: str = "after"
) -> str:
    """A table of measures before and after a training."""
    rows = (
        f"| {name} | {before[name]:.3f} | {after[name]:.3f} |"
        for name in after
        if name in before and name != "questions"
    )
    return "\n".join((f"| | {first} | {second} |", "|---|---:|---:|", *rows))


def encoder(facts: Mapping[str, Any]) -> str:
    """The card of an encoder in Markdown. `facts` is the content of `training.json`."""
    settings = facts["settings"]
    rows = (f"| `{name}` | {count:,} |" for name, count in facts["files"].items())
    negatives = (
        f"the index (collection '{settings['collection']}')" if settings["collection"] else "the training paragraphs"
    )
    quality = (
        f"{measured(facts['before'], facts['after'])}\n\n{facts['development']:,} questions about documents that were "
        "not trained on, searched for among all paragraphs of the files."
        if facts["development"]
        else "Not measured: no development split."
    )
    return f"""# Encoder

`{facts["base"]}`, fine-tuned so that questions are near the passages that answer them.

## Data

| file | questions |
|---|---|
{chr(10).join(rows)}

## Training

{facts["steps"]:,} steps of {settings["batch_size"]} questions, each with a passage that answers it and a similar one \
that does not, from {negatives} (multiple negatives ranking loss). AdamW, learning rate {settings["learning_rate"]:g} \
after {settings["warmup"]:.0%} warm-up, linear decay, weight decay {settings["weight_decay"]:g}, gradient norm clipped \
at {settings["clip"]:g}. Last loss {facts["loss"]:.3f}.

{repeat(facts)}

## Quality

{quality}
"""


def distilled_encoder(facts: Mapping[str, Any]) -> str:
    """The card of an encoder that learned from others. `facts` is the content of `training.json`."""
    settings = facts["settings"]
    return f"""# Encoder

`{facts["base"]}`, trained to give texts the vectors of {_named(settings["teacher"])}.

## Training

{facts["steps"]:,} steps of {settings["batch_size"]} texts, of {facts["questions"]:,} questions and \
{facts["passages"]:,} passages (squared distance of unit vectors; the teachers' are mapped into the space of the \
student so that their dot products are kept). AdamW, learning rate {settings["learning_rate"]:g} after \
{settings["warmup"]:.0%} warm-up, linear decay, weight decay {settings["weight_decay"]:g}, gradient norm clipped at \
{settings["clip"]:g}. Last loss {facts["loss"]:.4f}.

{repeat(facts)}

## Quality
{_quality(facts["quality"]) or f"{chr(10)}Not measured: no labelled questions.{chr(10)}"}"""


def _named(teachers: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in _names(teachers))


def adapted(facts: Mapping[str, Any]) -> str:
    """The card of an adapted encoder or reader in Markdown. `facts` is the content of `training.json`."""
    settings = facts["settings"]
    is_reader = settings["command"].endswith("reader")
    ask = f", and {facts['recurring']:,} of sentences that ask for words that the text repeats" if is_reader else ""
    quality = (
        f"{measured(facts['before'], facts['after'])}\n\nOn {', '.join(_names(settings['evaluation']))}."
        if facts["after"]
        else "Not measured: no labelled data (--evaluation)."
    )
    per_word = " before, ".join(f"{number:.3f}" for number in facts["tokens_per_word"])
    after = f" after {len(facts['words']):,} words became tokens" if facts["words"] else ""
    return f"""# {"Extractive reader" if is_reader else "Encoder"}, adapted to documents

`{facts["base"]}`, trained on {facts["texts"]:,} documents without labels: {facts["windows"]:,} windows of at most \
{settings["max_tokens"]} tokens, with masked words (15 %, whole words){ask}. Tokens per word: {per_word}{after}.

{facts["steps"]:,} steps of {settings["batch_size"]} windows. AdamW, learning rate {settings["learning_rate"]:g} after \
{settings["warmup"]:.0%} warm-up, linear decay, weight decay {settings["weight_decay"]:g}, gradient norm clipped at \
{settings["clip"]:g}. Last loss {facts["loss"]:.3f}.

{repeat(facts)}

## Quality

{quality}
"""


def _names(paths: Iterable[str]) -> list[str]:
    return [Path(path).name for path in paths]


def kilowatt_hours(seconds: float, threads: int) -> float:
    """An estimate, not a measurement: WATTS_PER_CORE for each thread, or WATTS_PER_GPU without threads."""
    return seconds / 3600 * (threads * WATTS_PER_CORE or WATTS_PER_GPU) / 1000


def reader(facts: Mapping[str, Any]) -> str:
    """The card of a reader in Markdown. `facts` is the content of `training.json`."""
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
    frozen = (
        f", only the head and the {settings['train_layers']} highest layers trained"
        if settings["freeze_encoder"]
        else ""
    )
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
{settings["stride"]}, a random gold answer each time{joined}{negatives}{tables}{frozen}, \
{settings["title_dropout"]:.0%} of the passages read without their title. Last loss {facts["loss"]:.3f}.
{_distillation(settings)}
{repeat(facts)}

## Quality

{_development(facts)}{_quality(facts.get("quality", {}))}\
Measure it with `SEARCH_APP_READER__MODEL=FOLDER search-app evaluate reader --data FILE`.
"""


def _development(facts: Mapping[str, Any]) -> str:
    """What the development split said of the reader, and when the run ended."""
    if not facts.get("after"):
        return ""
    early = (
        f" of {facts['planned_steps']:,}: the loss no longer fell" if facts["steps"] < facts["planned_steps"] else ""
    )
    return f"""{measured(facts["before"], facts["after"], "bundled reader", "this reader")}

{facts["after"]["questions"]:.0f} questions about documents that were not trained on. Their loss was lowest at step \
{facts["best_step"]:,}, the checkpoint that was kept. The run ended at step {facts["steps"]:,}{early}.

"""


def _distillation(settings: Mapping[str, Any]) -> str:
    if "teacher" not in settings:
        return ""
    names = _named(settings["teacher"])
    count = len(settings["teacher"])
    whose = f"the mean probabilities of {count} teachers" if count > 1 else "the probabilities of a teacher"
    return (
        f"\nDistilled: the loss is {settings['gold']:.0%} of the cross-entropy with the gold answers and "
        f"{1 - settings['gold']:.0%} of the divergence from {whose} ({names}) at temperature "
        f"{settings['temperature']:g}; questions without labels have the teachers' part alone.\n"
    )


def _quality(scores: Mapping[str, Mapping[str, float]]) -> str:
    """A table of each model's measures on questions that were not trained on; empty without any."""
    if not scores:
        return ""
    names = [name for name in next(iter(scores.values())) if name not in NOT_SHOWN]
    rows = [[model, f"{s['questions']:.0f}", *(f"{s[name]:.3g}" for name in names)] for model, s in scores.items()]
    return f"\n{_table(['model', 'questions', *names], rows)}\n"


def pruned(facts: Mapping[str, Any]) -> str:
    """The card of a pruned model. `facts` is the content of `pruning.json`."""
    names = list(facts["steps"][0]["scores"])
    rows = [
        [step["name"], str(step["layers"]), str(step["heads"]), f"{step['parameters']:,}", f"{step['passes']:.1f}"]
        + [f"{step['scores'][name]:.1f}" for name in names]
        for step in facts["steps"]
    ]
    loading = f"""
The layers differ in their number of heads, which the classes of transformers do not provide for. search-app loads the
folder as it is; in your own code, run this first:

```python
from search_app.models import pruned

pruned.register("{facts["model_type"]}")
```
"""
    return f"""# Pruned {facts["role"]}

`{facts["base"]}` without some of its layers or attention heads. What is removed is gone from the matrices, not masked.

{_table(["", "layers", "heads", "parameters", "passes per second", *names], rows)}
{loading if facts["model_type"].startswith("pruned-") else ""}
Train it before you use it; the model it was made from can teach it:
`search-app distill {facts["role"]} --teacher BEFORE --student THIS …`.
"""


def averaged(facts: Mapping[str, Any]) -> str:
    """The card of a mean of checkpoints. `facts` is the content of `averaging.json`."""
    names = ", ".join(f"`{name}`" for name in facts["checkpoints"])
    return f"""# Averaged model

The mean of the weights of {names}. Its confidence is not calibrated.

## Quality
{_quality(facts["quality"]) or f"{chr(10)}Not measured: no labelled questions.{chr(10)}"}"""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown; all columns but the first are numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
