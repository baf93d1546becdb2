"""Find the encoder that an index was built with."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator

from search_app.encoders.sentence_transformer import SentenceTransformerEncoder
from search_app.errors import IndexMismatch
from search_app.hardware import Hardware
from search_app.manifest import Manifest
from search_app.protocols import Encoder
from search_app.settings import EncoderSettings


class EncoderRegistry:
    """The encoders of the settings. `own` is loaded at once, `settings.others` when an index first needs them.

    Thread-safe.
    """

    def __init__(self, settings: EncoderSettings, hardware: Hardware) -> None:
        self.own = SentenceTransformerEncoder(settings, hardware)
        self._settings = settings
        self._hardware = hardware
        self._others: list[SentenceTransformerEncoder] = []
        self._lock = threading.Lock()

    def for_manifest(self, manifest: Manifest) -> Encoder:
        """Raises IndexMismatch if no encoder matches, ModelUnavailable if one of the others cannot be loaded."""
        mismatch: IndexMismatch | None = None
        with self._lock:
            for encoder in itertools.chain([self.own], self._loaded()):
                found = encoder.for_digest(manifest.encoder.digest) or encoder
                try:
                    manifest.require_encoder(found.stamp)
                    return found
                except IndexMismatch as error:
                    mismatch = mismatch or error
        assert mismatch is not None
        raise IndexMismatch(
            mismatch.message, hint="set encoder.model to the encoder of the index, or add it to encoder.others"
        ) from mismatch

    def _loaded(self) -> Iterator[SentenceTransformerEncoder]:
        yield from self._others
        for other in self._settings.others[len(self._others) :]:
            settings = self._settings.model_copy(update=other.model_dump())
            self._others.append(SentenceTransformerEncoder(settings, self._hardware))
            yield self._others[-1]
