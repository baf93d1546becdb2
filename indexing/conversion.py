"""Files to parts of bounded size, by way of the sandbox; a file that fails is noted and passed over."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from indexing import sources
from indexing.batching import PER_DOCUMENT, PartStream, in_parts
from indexing.converters.content import Content, ConversionError, iso_time
from indexing.parts import Part
from indexing.sandbox import Sandbox, Spool
from indexing.sources import Skip, SourceFile
from indexing.splitter import Piece
from search_app.stores.text_analysis import detect_language, normalise_language
from search_app.types import Document, MetaValue


class Conversions(PartStream):
    """Converts files in order; `failed`, `skipped` and `warnings` fill up on the way."""

    def __init__(
        self,
        files: Sequence[tuple[SourceFile, str]],
        *,
        sandbox: Sandbox,
        pieces: Callable[[Document], Iterator[Piece]],
        language: str,
        part_characters: int,
    ) -> None:
        self._sandbox, self._pieces, self._language = sandbox, pieces, language
        self._part_characters = part_characters
        self.converted: list[str] = []
        self.failed: list[Skip] = []
        self.skipped: list[Skip] = []
        self.warnings: list[Skip] = []
        super().__init__(self._all(files))

    def _all(self, files: Sequence[tuple[SourceFile, str]]) -> Iterator[Part]:
        for file, digest in files:
            try:
                yield from self._file(file, digest)
                continue
            except FileNotFoundError:
                self.skipped.append(Skip(file.source, "it vanished while the job ran"))
            except ConversionError as error:
                self.failed.append(Skip(file.source, str(error)))
            except OSError as error:
                self.failed.append(Skip(file.source, sources.in_words(error)))
            self.pass_over(file.size)

    def _file(self, file: SourceFile, digest: str) -> Iterator[Part]:
        stated = sources.sidecar_meta(file.sidecar) if file.sidecar else {}
        spool = self._sandbox.convert(Path(file.path), file.format, file.size)
        try:
            now = sources.refreshed(file)
            if now != file:
                spool.discard()
                file, digest = now, sources.digest(now)
                spool = self._sandbox.convert(Path(file.path), file.format, file.size)
                if sources.refreshed(file) != file:
                    raise ConversionError("it changes while it is being read; run the command again")
            yield from self._spooled(file, digest, spool, stated)
        finally:
            spool.discard()

    def _spooled(self, file: SourceFile, digest: str, spool: Spool, stated: dict[str, MetaValue]) -> Iterator[Part]:
        record = sources.record_of(file, digest, spool.documents)
        total = spool.characters + PER_DOCUMENT * spool.documents
        contents = self._contents(file, spool, stated)
        for part in in_parts(record, contents, total=total, most=self._part_characters):
            if part.last:
                self.converted.append(file.path)
            yield part

    def _contents(self, file: SourceFile, spool: Spool, stated: dict[str, MetaValue]) -> Iterator[Document | Piece]:
        """Each document, then its pieces."""
        empty = True
        warned = len(self.warnings)
        for number, content in enumerate(spool):
            self.warnings.extend(Skip(file.source, warning) for warning in content.warnings)
            document = self._document(file, content, number, stated)
            yield document
            yield from self._pieces(document)
            empty = empty and not content.text.strip()
        if empty and len(self.warnings) == warned:
            self.warnings.append(Skip(file.source, "there is no text in it"))

    def _document(self, file: SourceFile, content: Content, number: int, stated: dict[str, MetaValue]) -> Document:
        facts: dict[str, MetaValue] = {
            "modified": iso_time(dt.datetime.fromtimestamp(file.modified_ns / 1e9, dt.UTC)),
            "size": file.size,
            "format": file.format,
        }
        meta = {**content.meta, **stated, **facts}
        title = str(stated.get("title") or content.title or Path(file.path).stem)
        language = normalise_language(str(meta.get("language", "")))
        if not language:
            language = detect_language(content.text) if self._language == "auto" else self._language
        return Document(
            id=document_id(file.path, number),
            title=title,
            text=content.text,
            source=file.source,
            meta=meta,
            language=language,
            headings=content.headings,
            pages=content.pages,
        )


def document_id(path: str, number: int) -> str:
    """By the file's place and the document's number in it, not by content: an edited document keeps its id."""
    return hashlib.sha256(f"{path}\0{number}".encode()).hexdigest()[:32]
