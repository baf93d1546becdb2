"""All settings, as one frozen object that is built once per process and passed down.

Each can be an environment variable: `SEARCH_APP_READER__STRIDE=64` sets `reader.stride`. Secrets can be files: with
SEARCH_APP_SECRETS_DIR=DIR, the file `DIR/search_app_api__key` contains `api.key`.
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
"""Of training and of the ranker."""
ServingPrecision = Literal["auto", "float32", "bfloat16", "float16", "int8"]
VectorIndexType = Literal["flat", "hnsw", "int8_hnsw", "int4_hnsw", "bbq_hnsw", "int8_flat", "int4_flat", "bbq_flat"]
SECRETS_VARIABLE = "SEARCH_APP_SECRETS_DIR"
COLLECTION_PATTERN = "[A-Za-z0-9][A-Za-z0-9_-]{0,63}"
_COLLECTION = re.compile(COLLECTION_PATTERN)


def _separated(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class OtherEncoder(_Section):
    """One of `encoder.others`."""

    model: str = Field(description="folder or Hugging Face name")
    query_prefix: str | None = Field(default=None, description="text put before each question")
    passage_prefix: str | None = Field(default=None, description="text put before each passage")


class EncoderSettings(_Section):
    """The model that turns questions and passages into vectors."""

    model: str = Field(default=BUNDLED, description='"bundled", a folder or a Hugging Face name; new indexes use it')
    precision: ServingPrecision = Field(
        default="auto",
        description="number format: auto, float32, bfloat16, float16 or int8; auto is bfloat16 where the processor has "
        "it, else float32; int8 is faster than float32 on a CPU with VNNI",
    )
    device: str = Field(default="auto", description="where to compute: auto, cpu, cuda or cuda:N")
    batch_tokens: int = Field(
        default=0, ge=0, description="tokens per forward pass, with padding; 0: 1,024 on a CPU, 16,384 on a GPU"
    )
    query_prefix: str | None = Field(
        default=None, description="text put before each question; none: the prompt that the model's folder states"
    )
    passage_prefix: str | None = Field(
        default=None, description="text put before each passage; none: the prompt that the model's folder states"
    )
    others: tuple[OtherEncoder, ...] = Field(
        default=(), description="more encoders for questions to collections that were built with them, as JSON"
    )


class SplitterSettings(_Section):
    """How documents become passages. A change needs `search-index apply --rebuild`."""

    passage_tokens: int = Field(default=224, ge=16, description="longest passage, in tokens of the encoder")
    overlap_tokens: int = Field(default=32, ge=0, description="tokens that consecutive passages share")


class AnalysisSettings(_Section):
    """How text becomes words for BM25. A change needs `search-index apply --rebuild`."""

    language: str = Field(default="auto", description='"auto": the language of each document; or one code, such as de')


class RetrievalSettings(_Section):
    """How dense and keyword hits become one ranking."""

    method: Literal["weighted", "rrf"] = Field(
        default="weighted", description='"weighted" adds normalised scores, "rrf" adds reciprocal ranks'
    )
    dense_weight: float = Field(default=0.35, ge=0, le=1, description='weight of dense scores for "weighted"')
    candidates: int = Field(default=100, ge=1, le=1000, description="hits taken from each retriever before fusion")


class KeywordSettings(_Section):
    """BM25. The embedded store applies a change to the next question; Elasticsearch uses it for new indexes."""

    k1: float = Field(default=1.2, ge=0, le=10, description="weight of repeated words; 0 ignores repetition")
    b: float = Field(default=0.75, ge=0, le=1, description="penalty for long passages; 0 ignores length")


class VectorSettings(_Section):
    """How the embedded store searches vectors. A change needs no new index.

    "flat" compares every vector. "compressed" compares codes of 1 and 8 bits per dimension, then ranks the best
    candidates by their exact vectors on disk.
    """

    index: Literal["auto", "flat", "compressed"] = Field(
        default="auto", description="auto, flat or compressed; auto decides by passages, dimension and memory"
    )
    flat_limit: int = Field(
        default=100_000, ge=0, description='passages up to which "auto" is flat, for vectors of 384 dimensions'
    )
    memory_mb: int = Field(default=0, ge=0, description="memory limit of a compressed index, MiB; 0: none")
    lists: int = Field(default=0, ge=0, le=65_536, description="lists of a compressed index; 0: about sqrt(passages)")
    probes: int = Field(
        default=0, ge=0, le=65_536, description="lists searched per question; 0: 3 of 8 lists, at least 128"
    )
    oversample: float = Field(default=50.0, ge=1, le=1000, description="candidates re-ranked exactly per 10 hits")
    exact_filters: int = Field(
        default=200_000, ge=0, description="a filter that matches at most so many passages is searched exactly"
    )
    device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="where to compare vectors: auto, cpu, cuda (all GPUs) or cuda:N",
    )
    float16: bool = Field(default=False, description="half precision on GPUs: half the memory, exact final scores")
    spread: Literal["replica", "shard"] = Field(
        default="replica", description="several GPUs hold a copy each (replica) or a part each (shard)"
    )
    scratch_mb: int = Field(default=256, ge=0, description="memory reserved on each GPU for searching, MiB")


class RankerSettings(_Section):
    """A cross-encoder that re-ranks the best hits."""

    model: str | None = Field(default=None, description="folder or Hugging Face name; none: no re-ranking")
    top: int = Field(default=20, ge=1, description="hits to re-rank")
    precision: Precision = Field(default="auto", description="as for the encoder, without int8")
    device: str = Field(default="auto", description="as for the encoder")


class ReaderSettings(_Section):
    """The model that marks answers in passages."""

    model: str = Field(default=BUNDLED, description='"bundled", a folder or a Hugging Face name')
    precision: ServingPrecision = Field(default="auto", description="as for the encoder")
    device: str = Field(default="auto", description="as for the encoder")
    passages: int = Field(default=10, ge=1, le=100, description="hits read per question")
    max_tokens: int = Field(default=384, ge=32, description="tokens of a window, question included")
    stride: int = Field(default=128, ge=0, description="tokens that consecutive windows share")
    max_answer_tokens: int = Field(default=30, ge=1, description="longest answer")
    batch_tokens: int = Field(default=0, ge=0, description="as for the encoder")
    calibration: Path | None = Field(
        default=None,
        description="calibration file; none: calibration.json under home if there is one, else the model's own",
    )
    max_wrong: float = Field(
        default=0.2,
        ge=0.01,
        le=1,
        description="most wrong answers among those shown as reliable, as a share; 1: every answer is shown",
    )
    retrieval_weight: float | None = Field(
        default=None, description="weight of the retrieval score in an answer's score; none: as calibrated"
    )


class ElasticsearchSettings(_Section):
    """The cluster, if `store` is "elasticsearch"."""

    urls: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_separated)] = Field(
        default=("http://127.0.0.1:9200",), description="hosts, separated by commas"
    )
    api_key: SecretStr | None = Field(default=None, description="API key; or set username and password")
    username: str | None = Field(default=None, description="user name")
    password: SecretStr | None = Field(default=None, description="password")
    ca: Path | None = Field(
        default=None, description="PEM file of the hosts' certificate authority; none: the system's authorities"
    )
    prefix: str = Field(
        default="search-app", pattern=r"^[a-z][a-z0-9-]{0,40}$", description="prefix of all index names"
    )
    vectors: VectorIndexType = Field(
        default="int8_hnsw", description="vector index of new indexes: [bbq_, int8_ or int4_]hnsw or flat"
    )
    candidates: int = Field(default=200, ge=10, le=10_000, description="fewest vectors compared per shard")
    oversample: float = Field(
        default=3.0, ge=1, le=10, description="quantised vectors re-ranked exactly, as a multiple of k"
    )
    shards: int = Field(default=1, ge=1, le=1024, description="shards of a new index")
    replicas: str = Field(
        default="0-1",
        pattern=r"^\d+(-(\d+|all))?$",
        description="replicas: a number, or a range that follows the nodes",
    )
    max_fields: int = Field(default=500, ge=10, le=5000, description="most metadata fields of a collection")
    timeout: float = Field(default=5.0, gt=0, description="deadline of a question, retries included, seconds")
    patience: float = Field(default=120.0, gt=0, description="deadline of each step of a job, seconds")
    fallback: bool = Field(
        default=False, description="answer from the embedded index of the same name while the cluster is down"
    )


class ApiSettings(_Section):
    """The REST API. Listening on anything but loopback needs a key."""

    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=8000, ge=0, le=65535, description="port to listen on; 0: any free port")
    key: SecretStr | None = Field(default=None, description='clients send it as "Authorization: Bearer KEY"')
    key_file: Path | None = Field(default=None, description="file with the key; created with a random key if missing")
    max_body_bytes: int = Field(default=1 << 20, description="largest request body, uploads excepted")
    max_wait: float = Field(
        default=2.0, gt=0, description="longest expected wait for an answer, seconds; beyond it a question is refused"
    )
    at_once: int = Field(default=16, ge=1, le=1024, description="questions computed at the same time")


class CacheSettings(_Section):
    """Caches of a service, in MiB; 0 turns one off.

    Vectors are cached by encoder and text, results by index generation and request: a changed index is never answered
    from the cache.
    """

    query_vectors_mb: int = Field(default=8, ge=0, description="query vectors, MiB; 8 hold about 4,000 questions")
    answers_mb: int = Field(default=0, ge=0, description="whole results, MiB")


class IndexingSettings(_Section):
    """Resources of an indexing job."""

    converters: int = Field(
        default=0, ge=0, le=256, description="processes that convert and split files; 0: one less than the cores"
    )
    spool_mb: int = Field(default=512, ge=16, description="converted text that waits on disk for the encoder, MiB")
    fields: dict[Literal["text", "title", "id", "url"], str] = Field(
        default_factory=dict,
        description='names of fields of records in CSV and JSON, as JSON: {"text": "abstract"}',
    )


class JobSettings(_Section):
    """The job queue, and the limits of uploads."""

    folder: Path | None = Field(default=None, description="folder of queue and uploads; none: jobs under home")
    folders: dict[str, str] = Field(
        default_factory=dict, description='folders that jobs may index, as JSON: {"handbook": "/srv/handbook"}'
    )
    max_upload_mb: int = Field(default=1024, ge=1, description="size of one upload, MiB")
    max_files: int = Field(default=10_000, ge=1, description="files in one upload, zip members included")
    max_unpacked_mb: int = Field(default=4096, ge=1, description="unpacked size of one upload's zip files, MiB")
    max_ratio: int = Field(default=100, ge=2, description="unpacked to packed size of a zip member")
    lease_seconds: float = Field(default=30, gt=0, description="seconds after which a silent worker loses its job")
    keep: int = Field(default=1000, ge=10, description="finished jobs to keep in the list")


class LimitSettings(_Section):
    """Limits of one request."""

    question_chars: int = Field(default=1000, description="longest question, in characters")
    k: int = Field(default=100, description="largest k (passages) and top_k (answers)")

    def check(self, question: str, k: int, top_k: int | None = None) -> None:
        """Raises InvalidQuery with the name of the field if the request exceeds a limit."""
        if not question.strip():
            raise InvalidQuery("the question is empty", hint="enter a question", field="question")
        if len(question) > self.question_chars:
            raise InvalidQuery(
                f"the question has {len(question)} characters, more than {self.question_chars}",
                hint="shorten it, or raise SEARCH_APP_LIMITS__QUESTION_CHARS",
                field="question",
            )
        for name, value in (("k", k), ("top_k", top_k)):
            if value is not None and not 1 <= value <= self.k:
                raise InvalidQuery(f"{name} is {value}, it must be from 1 to {self.k}", field=name)


class Settings(BaseSettings):
    """All settings of a process."""

    model_config = SettingsConfigDict(env_prefix="SEARCH_APP_", env_nested_delimiter="__", frozen=True, extra="forbid")

    home: Path = Field(
        default_factory=lambda: Path(platformdirs.user_data_dir("search-app")),
        description="folder of indexes, queue and uploads; none: the platform's folder for user data",
    )
    store: Literal["embedded", "elasticsearch"] = Field(
        default="embedded", description='where indexes live: files under home ("embedded") or a cluster'
    )
    pipeline: Path | None = Field(
        default=None, description="Haystack pipeline in YAML that replaces the built-in query pipeline"
    )
    threads: int = Field(default=0, ge=0, description="compute threads per process; 0: all usable cores")
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
        """Folder of the collection. The name is checked, so the folder is always under `home`."""
        return self.home / "collections" / check_collection_name(name)

    @property
    def calibration_file(self) -> Path:
        """Where `search-app calibrate` writes."""
        return self.reader.calibration or self.home / "calibration.json"

    @property
    def calibrated_reader(self) -> ReaderSettings:
        """The settings of the reader, with the calibration under home if there is one."""
        file = self.calibration_file
        return self.reader.model_copy(update={"calibration": file}) if file.is_file() else self.reader

    @property
    def jobs_folder(self) -> Path:
        """Folder of the queue, pending uploads and uploaded files."""
        return self.jobs.folder or self.home / "jobs"

    def collections(self) -> list[str]:
        """Names of the collections that have an index."""
        folders = [path.parent.name for path in (self.home / "collections").glob("*/index.db")]
        return sorted(name for name in folders if _COLLECTION.fullmatch(name))


def check_collection_name(name: str) -> str:
    """Return the name. Raises ConfigurationError if it is invalid."""
    if not _COLLECTION.fullmatch(name):
        raise ConfigurationError(
            f"invalid collection name: {name!r}",
            hint="use 1 to 64 letters, digits, '-' and '_', starting with a letter or digit",
            field="collection",
        )
    return name


def load_settings(**overrides: object) -> Settings:
    """Build the settings from the environment and overrides; None overrides nothing.

    An override of a section is a mapping of its fields. Raises ConfigurationError that names the invalid setting.
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
