"""A temporary index over the paragraphs or records that a command measures."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from search_app.cli import options
from search_app.errors import IndexNotFound

if TYPE_CHECKING:
    from search_app.evaluation.datasets import Dataset
    from search_app.service import SearchService
    from search_app.settings import Settings


@contextmanager
def corpus(data: Path) -> Iterator[tuple[SearchService, str, Dataset]]:
    """Yield a service and a temporary collection with the file's paragraphs, without titles."""
    from search_app.evaluation.datasets import load_squad

    dataset = load_squad(data)
    paragraphs = dict.fromkeys(paragraph.text for paragraph in dataset.paragraphs)
    with indexed(({"text": text} for text in paragraphs), data) as (service, collection):
        yield service, collection, dataset


@contextmanager
def indexed(records: Iterable[Mapping[str, str]], data: Path) -> Iterator[tuple[SearchService, str]]:
    """Yield a service and a temporary collection with `records`, one document each; `data` is what errors name."""
    with tempfile.TemporaryDirectory() as folder:
        texts = Path(folder, "records.jsonl")
        with texts.open("w", encoding="utf-8") as out:
            out.writelines(json.dumps(record) + "\n" for record in records)
        with applied([texts], str(data)) as found:
            yield found


@contextmanager
def applied(paths: Sequence[Path], name: str = "") -> Iterator[tuple[SearchService, str]]:
    """Yield a service and a temporary collection with the documents of files and folders; errors name `name`."""
    from search_app.bootstrap import open_service

    collection = f"evaluation-{secrets.token_hex(4)}"
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder, "home")
        settings = _settings(home)
        try:
            # A process, because commands of search_app do not import indexing.
            command = [sys.executable, "-m", "indexing.cli", "apply", *map(str, paths), "--home", str(home)]
            done = subprocess.run([*command, "--collection", collection], stdout=subprocess.DEVNULL)
            if done.returncode:
                what = name or ", ".join(map(str, paths))
                raise click.ClickException(f"indexing {what} failed with exit code {done.returncode}")
            with open_service(settings) as service:
                yield service, collection
        finally:
            # The folder, and with it an embedded index, is deleted anyway.
            if settings.store == "elasticsearch":
                _remove(settings, collection)


def _settings(home: Path) -> Settings:
    """With the calibration of the user's own home, if there is one, as the user's answers have it."""
    return options.load(home).model_copy(update={"reader": options.load(None).calibrated_reader})


def _remove(settings: Settings, collection: str) -> None:
    from search_app.stores.elasticsearch.catalog import ElasticsearchCatalog

    with closing(ElasticsearchCatalog(settings)) as catalog, suppress(IndexNotFound):  # when indexing failed
        catalog.drop(collection)


@contextmanager
def progress_bar(label: str = "") -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal, driven by (done, total)."""
    from tqdm import tqdm

    with tqdm(desc=label or None, unit="question", disable=not sys.stderr.isatty()) as bar:

        def update(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield update
