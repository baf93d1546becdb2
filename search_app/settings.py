"""All settings, in one frozen object that is built once per process and passed down.

Each can be given as an environment variable: `SEARCH_APP_READER__STRIDE=64` sets `reader.stride`. Secrets can be files
instead: with SEARCH_APP_SECRETS_DIR=DIR, the content of `DIR/search_app_api__key` is `api.key`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Literal

import platformdirs
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    NestedSecretsSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from search_app.errors import ConfigurationError, InvalidQuery

BUNDLED = "bundled"
Precision = Literal["auto", "float32", "bfloat16", "float16"]
VectorIndexType = Literal["flat", "hnsw", "int8_hnsw", "int4_hnsw", "bbq_hnsw", "int8_flat", "int4_flat", "bbq_flat"]
SECRETS_VARIABLE = "SEARCH_APP_SECRETS_DIR"
COLLECTION_PATTERN = "[A-Za-z0-9][A-Za-z0-9_-]{0,63}"
_COLLECTION = re.compile(COLLECTION_PATTERN)


def _separated(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class OtherEncoder(_Section):
    """A further encoder, and the prefixes it was trained with."""

    model: str
    query_prefix: str = ""
    passage_prefix: str = ""


class EncoderSettings(_Section):
    """`model`: "bundled", a folder, or a hub name. Prefixes suit models that were trained with them (E5).

    `others` answer where an index was built with one of them; what is indexed is encoded by `model` alone.
    """

    model: str = BUNDLED
    precision: Precision = "auto"
    device: str = "auto"
    batch_tokens: int = Field(
        default=0, ge=0, description="tokens in one forward pass, padding included; 0: 1,024 on a CPU, 16,384 on a GPU"
    )
    query_prefix: str = ""
    passage_prefix: str = ""
    others: tuple[OtherEncoder, ...] = ()


class SplitterSettings(_Section):
    """Sizes in the encoder's tokens."""

    passage_tokens: int = Field(default=224, ge=16)
    overlap_tokens: int = Field(default=32, ge=0)


class AnalysisSettings(_Section):
    """`language`: "auto" goes by each document's stated or detected language; else a code for all of them."""

    language: str = "auto"


class RetrievalSettings(_Section):
    """`method` "weighted" adds normalised scores, `dense_weight` for the dense one; "rrf" adds reciprocal ranks."""

    method: Literal["weighted", "rrf"] = "weighted"
    dense_weight: float = Field(default=0.35, ge=0, le=1)
    candidates: int = Field(default=100, ge=1, le=1000, description="hits taken from each retriever before fusion")


class KeywordSettings(_Section):
    """BM25. The embedded store applies a change to the next question; Elasticsearch uses it for new indexes."""

    k1: float = Field(default=1.2, ge=0, le=10, description="weight of repeated words; 0 ignores repetition")
    b: float = Field(default=0.75, ge=0, le=1, description="penalty for long passages; 0 ignores length")


class VectorSettings(_Section):
    """How the embedded store holds vectors in memory; what is 0 or "auto" follows their count, dimension and memory.

    `index` "flat" compares every vector; "compressed" compares codes of 1 bit and 8 bits a dimension, and ranks the
    best by the exact vectors on disk. Changing one of these needs no new index.
    """

    index: Literal["auto", "flat", "compressed"] = "auto"
    flat_limit: int = Field(
        default=100_000, ge=0, description='passages of 384 dimensions up to which "auto" compares every vector'
    )
    memory_mb: int = Field(default=0, ge=0, description="what a compressed index may take, MiB; 0: what it needs")
    lists: int = Field(default=0, ge=0, le=65_536, description="parts of a compressed index; 0: about sqrt(passages)")
    probes: int = Field(
        default=0, ge=0, le=65_536, description="parts that a question looks into; 0: 3 of 8, 128 at least"
    )
    oversample: float = Field(default=50.0, ge=1, le=1000, description="candidates compared anew for each of 10 hits")
    exact_filters: int = Field(
        default=200_000, ge=0, description="a compressed index answers a filter that matches up to so many exactly"
    )
    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="where vectors are compared")
    float16: bool = Field(default=False, description="on a GPU, half the memory; scores stay exact")
    spread: Literal["replica", "shard"] = Field(default="replica", description="over several GPUs")
    scratch_mb: int = Field(default=256, ge=0, description="GPU memory set aside for searching, MiB")


class RankerSettings(_Section):
    """`model`: a folder or hub name of a sequence classifier over (question, passage); none by default."""

    model: str | None = None
    top: int = Field(default=20, ge=1)
    precision: Precision = "auto"
    device: str = "auto"


class ReaderSettings(_Section):
    """`model`: "bundled", a folder, or a hub name; `passages`: how many hits are read for each question."""

    model: str = BUNDLED
    precision: Precision = "auto"
    device: str = "auto"
    passages: int = Field(default=10, ge=1, le=100)
    max_tokens: int = Field(default=384, ge=32)
    stride: int = Field(default=128, ge=0)
    max_answer_tokens: int = Field(default=30, ge=1)
    batch_tokens: int = Field(default=0, ge=0, description="as the encoder's")
    retrieval_weight: float | None = Field(default=None, description="None: the weight shipped beside the reader")


class ElasticsearchSettings(_Section):
    """Where `store` is "elasticsearch". `vectors` is how a new index keeps them; one that is there keeps its own way.

    `timeout` is the deadline of a question, retries and other hosts included; `patience` that of each step of a job,
    which rides out a node that is away for that long. `fallback` answers from the embedded index of the same name
    while no host can be reached.
    """

    urls: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_separated)] = ("http://127.0.0.1:9200",)
    api_key: SecretStr | None = None
    username: str | None = None
    password: SecretStr | None = None
    ca: Path | None = Field(default=None, description="certificate authority of the hosts, PEM")
    prefix: str = Field(default="search-app", pattern=r"^[a-z][a-z0-9-]{0,40}$", description="of every index's name")
    vectors: VectorIndexType = "int8_hnsw"
    candidates: int = Field(default=200, ge=10, le=10_000, description="vectors that a shard compares at least")
    oversample: float = Field(default=3.0, ge=1, le=10, description="quantised vectors re-ranked exactly, times k")
    shards: int = Field(default=1, ge=1, le=1024)
    replicas: str = Field(default="0-1", pattern=r"^\d+(-(\d+|all))?$", description="a number or a range by nodes")
    max_fields: int = Field(default=500, ge=10, le=5000, description="distinct metadata fields of a collection")
    timeout: float = Field(default=5.0, gt=0, description="seconds")
    patience: float = Field(default=120.0, gt=0, description="seconds")
    fallback: bool = False


class ApiSettings(_Section):
    """`key`, or a `key_file` with it, is required to bind to anything but loopback; the file is made where missing."""

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    key: SecretStr | None = None
    key_file: Path | None = None
    max_body_bytes: int = 1 << 20


class CacheSettings(_Section):
    """What a service remembers, in MiB; 0 switches a cache off.

    A query vector is kept by encoder and text. An answer is kept by index generation and request, so a changed index is
    never answered from the cache.
    """

    query_vectors_mb: int = Field(default=8, ge=0, description="query vectors, MiB; 8 holds some 4,000 questions")
    answers_mb: int = Field(default=0, ge=0, description="whole results, MiB")


class IndexingSettings(_Section):
    """How a job shares this machine; `converters`: processes that convert and split, 0 for one fewer than the cores."""

    converters: int = Field(default=0, ge=0, le=256)
    spool_mb: int = Field(default=512, ge=16, description="converted text that waits on disk for the encoder, MiB")


class JobSettings(_Section):
    """The queue of jobs, and what may be put into it over HTTP.

    `folders` are those that a job may name, as {"handbook": "/srv/handbook"}; `folder` holds queue and uploads.
    """

    folder: Path | None = Field(default=None, description="of the queue and uploaded files; none: jobs under home")
    folders: dict[str, str] = Field(default_factory=dict, description="names of folders that jobs may index, as JSON")
    max_upload_mb: int = Field(default=1024, ge=1, description="of one upload, MiB")
    max_files: int = Field(default=10_000, ge=1, description="in one upload, those of its zip files included")
    max_unpacked_mb: int = Field(default=4096, ge=1, description="of one upload's zip files, MiB")
    max_ratio: int = Field(default=100, ge=2, description="unpacked to packed, of one file of a zip")
    lease_seconds: float = Field(default=30, gt=0, description="a worker that is silent for so long has lost its job")
    keep: int = Field(default=1000, ge=10, description="ended jobs that are remembered")


class LimitSettings(_Section):
    """What a single request may ask for."""

    question_chars: int = 1000
    k: int = 100

    def check(self, question: str, k: int, top_k: int | None = None) -> None:
        """Raises InvalidQuery, with the name of the field, for a request outside of the limits."""
        if not question.strip():
            raise InvalidQuery("the question is empty", hint="ask something", field="question")
        if len(question) > self.question_chars:
            raise InvalidQuery(
                f"the question has {len(question)} characters, more than {self.question_chars}",
                hint="ask in fewer words, or raise limits.question_chars",
                field="question",
            )
        for name, value in (("k", k), ("top_k", top_k)):
            if value is not None and not 1 <= value <= self.k:
                raise InvalidQuery(f"{name} is {value}, it must be from 1 to {self.k}", field=name)


class Settings(BaseSettings):
    """`home` is the one folder that holds everything."""

    model_config = SettingsConfigDict(env_prefix="SEARCH_APP_", env_nested_delimiter="__", frozen=True, extra="forbid")

    home: Path = Field(default_factory=lambda: Path(platformdirs.user_data_dir("search-app")))
    store: Literal["embedded", "elasticsearch"] = "embedded"
    pipeline: Path | None = Field(
        default=None, description="a Haystack pipeline in YAML that answers instead of the built-in one"
    )
    threads: int = Field(default=0, ge=0, description="compute threads; 0: all usable cores")
    encoder: EncoderSettings = EncoderSettings()
    splitter: SplitterSettings = SplitterSettings()
    analysis: AnalysisSettings = AnalysisSettings()
    retrieval: RetrievalSettings = RetrievalSettings()
    keyword: KeywordSettings = KeywordSettings()
    vectors: VectorSettings = VectorSettings()
    ranker: RankerSettings = RankerSettings()
    reader: ReaderSettings = ReaderSettings()
    api: ApiSettings = ApiSettings()
    limits: LimitSettings = LimitSettings()
    cache: CacheSettings = CacheSettings()
    indexing: IndexingSettings = IndexingSettings()
    jobs: JobSettings = JobSettings()
    elasticsearch: ElasticsearchSettings = ElasticsearchSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        folder = os.environ.get(SECRETS_VARIABLE)
        if not folder:
            return init_settings, env_settings
        secrets = NestedSecretsSettingsSource(
            file_secret_settings, secrets_dir=folder, secrets_dir_missing="error", secrets_nested_delimiter="__"
        )
        return init_settings, env_settings, secrets

    def collection_folder(self, name: str) -> Path:
        """Where the collection lives; the name is checked, so it cannot leave `home`."""
        return self.home / "collections" / check_collection_name(name)

    @property
    def jobs_folder(self) -> Path:
        """Where the queue, uploads that wait and uploaded files are."""
        return self.jobs.folder or self.home / "jobs"

    def collections(self) -> list[str]:
        """Names of the collections that hold an index."""
        folders = [path.parent.name for path in (self.home / "collections").glob("*/index.db")]
        return sorted(name for name in folders if _COLLECTION.fullmatch(name))


def check_collection_name(name: str) -> str:
    """The name itself, or ConfigurationError."""
    if not _COLLECTION.fullmatch(name):
        raise ConfigurationError(
            f"not a collection name: {name!r}",
            hint="use 1 to 64 letters, digits, '-' and '_', beginning with a letter or digit",
            field="collection",
        )
    return name


def load_settings(**overrides: object) -> Settings:
    """Environment and overrides (None is left out) as Settings; a wrong one is a ConfigurationError that names it.

    An override of a section is a mapping, which goes over what the environment says of that section.
    """
    given = {key: value for key, value in overrides.items() if value is not None}
    try:
        return Settings(**given)  # type: ignore[arg-type]
    except SettingsError as error:
        raise ConfigurationError(f"settings: {error}", hint=f"check {SECRETS_VARIABLE}") from error
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(f"setting {name}: {first['msg']}", field=name) from error
