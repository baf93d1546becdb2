"""A user's own Haystack pipeline in place of the built-in way of a question (`SEARCH_APP_PIPELINE=my.yaml`)."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from haystack import ExtractedAnswer, Pipeline
from haystack.core.errors import DeserializationError, PipelineError, PipelineRuntimeError

from search_app.errors import ConfigurationError, IndexNotFound, SearchAppError
from search_app.haystack.documents import to_answer, to_hit
from search_app.observability import collect_timings, stage
from search_app.service import SearchService
from search_app.settings import Settings
from search_app.types import Answer, Filter, SearchResult

_STORE = "search_app.haystack.document_store.SearchAppDocumentStore"
_QUESTION = ("query", "text", "question")
"""Input sockets that get the question."""


@dataclass(frozen=True)
class UserPipeline:
    """A loaded pipeline: `documents` names the component with the hits, `answers` the one with the answers, or ""."""

    pipeline: Pipeline
    documents: str
    answers: str

    def inputs(self, question: str, k: int, top_k: int | None, where: Filter | None) -> dict[str, dict[str, Any]]:
        """The question for each free query socket, the filter for each free `filters` socket, and `top_k`.

        A retriever or ranker keeps its own `top_k`, unless the request asks for more hits.
        """
        given: dict[str, dict[str, Any]] = {}
        for name, sockets in self.pipeline.inputs().items():
            values: dict[str, Any] = {socket: question for socket in _QUESTION if socket in sockets}
            if where is not None and "filters" in sockets:
                values["filters"] = _with_meta(where)
            if "top_k" in sockets:
                own = getattr(self.pipeline.get_component(name), "top_k", None)
                if name == self.answers:
                    values["top_k"] = top_k
                elif isinstance(own, int) and own < k:
                    values["top_k"] = k
            if values:
                given[name] = values
        return given


class PipelineService(SearchService):
    """Answers with the pipeline of `settings.pipeline`; everything else is as in `SearchService`.

    Raises ConfigurationError if the file is not a pipeline, or has no output for documents.
    """

    def __init__(self, settings: Settings, *arguments: Any, **named: Any) -> None:
        super().__init__(settings, *arguments, **named)
        assert settings.pipeline is not None
        _silence_snapshots()
        self._file = settings.pipeline
        self._data = _read(self._file)
        self._loading = threading.Lock()
        self._loaded: dict[tuple[str, bool], UserPipeline] = {}
        self._pipeline("default", reading=False)

    def _ask(self, question: str, name: str, k: int, top_k: int | None, where: Filter | None) -> SearchResult:
        loaded = self._pipeline(name, reading=top_k is not None)
        began = time.perf_counter()
        with collect_timings() as timings, stage("pipeline"):
            try:
                outputs = loaded.pipeline.run(
                    loaded.inputs(question, k, top_k, where), include_outputs_from={loaded.documents}
                )
            except PipelineRuntimeError as error:
                raise _cause(error) from error
            except ValueError as error:  # an input that nothing gives
                raise ConfigurationError(f"{self._file}: {error}", hint=_HINT, field="pipeline") from error
        timings["total"] = time.perf_counter() - began
        try:
            generation = self.store(name).generation
        except IndexNotFound:
            generation = 0  # the pipeline has documents of its own
        documents = outputs.get(loaded.documents, {}).get("documents", [])
        answers = outputs.get(loaded.answers, {}).get("answers", [])
        return SearchResult(
            question,
            tuple(to_hit(document) for document in documents[:k]),
            tuple(_answers(answers[:top_k])),
            timings,
            generation,
        )

    def _pipeline(self, collection: str, *, reading: bool) -> UserPipeline:
        with self._loading:
            if (collection, reading) not in self._loaded:
                bound = _bound(self._data, collection, str(self.settings.home))
                self._loaded[collection, reading] = _load(bound, self._file, reading=reading)
            return self._loaded[collection, reading]


_HINT = "start from the built-in one: search-app pipeline export > my.yaml"


def _silence_snapshots() -> None:
    """Stop Haystack's warnings about arrays in the snapshots that it takes of failed runs."""
    logging.getLogger("haystack.utils.base_serialization").setLevel(logging.ERROR)


def _read(file: Path) -> Mapping[str, Any]:
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"cannot read pipeline {file}: {error.strerror}", field="pipeline") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"pipeline {file} is not YAML: {error}", hint=_HINT, field="pipeline") from error
    if not isinstance(data, dict) or not isinstance(data.get("components"), dict):
        raise ConfigurationError(f"pipeline {file} has no components", hint=_HINT, field="pipeline")
    return data


def _load(data: Mapping[str, Any], file: Path, *, reading: bool) -> UserPipeline:
    try:
        pipeline = Pipeline.loads(yaml.safe_dump(data), allowed_modules=[*_modules(data)])
        pipeline.warm_up()
    except SearchAppError:
        raise
    except (PipelineError, DeserializationError, ImportError, ValueError, TypeError, KeyError) as error:
        first = next(iter(str(error).strip().splitlines()), repr(error))
        raise ConfigurationError(f"pipeline {file}: {first}", hint=_HINT, field="pipeline") from error
    open_outputs = pipeline.outputs()
    answers = next((name for name, sockets in open_outputs.items() if "answers" in sockets), "")
    if reading and not answers:
        raise ConfigurationError(
            f"pipeline {file} has no component with the output 'answers'", hint="add a reader", field="pipeline"
        )
    feeding = pipeline.graph.in_edges(answers, data=True) if answers else ()
    documents = next(
        (sender for sender, _, edge in feeding if edge["to_socket"].name == "documents"),
        next((name for name, sockets in open_outputs.items() if "documents" in sockets), ""),
    )
    if not documents:
        raise ConfigurationError(
            f"pipeline {file} has no component with the output 'documents'", hint="add a retriever", field="pipeline"
        )
    if answers and not reading:
        pipeline.remove_component(answers)
    return UserPipeline(pipeline, documents, answers if reading else "")


def _modules(data: Mapping[str, Any]) -> Iterator[str]:
    """The file is the user's own and names what it runs, so its components' packages are allowed."""
    yield "search_app.*"
    for component in data["components"].values():
        if isinstance(component, dict) and isinstance(component.get("type"), str):
            yield f"{component['type'].partition('.')[0]}.*"


def _answers(found: Sequence[ExtractedAnswer]) -> Iterator[Answer]:
    """What comes after "no answer here" is not reliable, by whatever reader."""
    likely = True
    for answer in map(to_answer, found):
        likely = likely and answer.span is not None
        yield replace(answer, reliable=likely and answer.reliable)


def _bound(data: Any, collection: str, home: str) -> Any:
    """A copy in which every document store of ours is that collection under that home."""
    if isinstance(data, list):
        return [_bound(item, collection, home) for item in data]
    if not isinstance(data, dict):
        return data
    copy = {key: _bound(value, collection, home) for key, value in data.items()}
    if copy.get("type") == _STORE:
        copy["init_parameters"] = {**copy.get("init_parameters", {}), "collection": collection, "home": home}
    return copy


def _with_meta(where: Filter) -> dict[str, Any]:
    """Our filters name a field as `author`, Haystack's stores as `meta.author`."""
    if "conditions" in where:
        conditions = where["conditions"]
        assert isinstance(conditions, list)
        return {**where, "conditions": [_with_meta(condition) for condition in conditions]}
    return {**where, "field": f"meta.{str(where['field']).removeprefix('meta.')}"}


def _cause(error: PipelineRuntimeError) -> Exception:
    """The error of ours that a component raised, or the pipeline's own."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, SearchAppError):
        cause = cause.__cause__
    return cause if cause is not None else error
