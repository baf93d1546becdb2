"""The converter's own process: one JSON request a line in, one JSON reply a line out, documents into a spool file.

The first line in is the config by which documents become passages, or null where they stay whole. Limits are set
before the first file is touched. Nothing is pickled, so a file that takes over this process can hand back nothing but
text.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
import select
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from indexing.converters import convert
from indexing.converters.content import Content, ConversionError

if TYPE_CHECKING:
    from indexing.splitter import Splitter

_MAX_SPOOL_BYTES = 8 << 30
_MAX_WARNINGS = 1000
_NICE = 10
"""Beside the encoder's threads, which it must not slow down."""

Lines = Callable[[dict[str, Any], Content], Iterator[object]]
"""A request and one of its file's documents, to what is written for it."""


def main() -> None:
    memory = int(sys.argv[1])
    with contextlib.suppress(OSError):
        os.nice(_NICE)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_MAX_SPOOL_BYTES, _MAX_SPOOL_BYTES))
    threading.Thread(target=_end_with_the_job, daemon=True).start()
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # a library that prints must not write between the replies
    lines = _lines(json.loads(sys.stdin.readline() or "null"))
    for line in sys.stdin:
        request = json.loads(line)
        _limit_cpu(request["seconds"])
        reply = _answer(request, lines, memory)
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


def _lines(config: dict[str, Any] | None) -> Lines:
    if config is None:
        return _whole
    from indexing.splitter import SplitConfig

    return _split(SplitConfig(**config).splitter() if config["tokenizer"] else None)


def _whole(request: dict[str, Any], content: Content) -> Iterator[object]:
    yield content.to_json()


def _split(splitter: Splitter | None) -> Lines:
    from search_app.types import Document

    def lines(request: dict[str, Any], content: Content) -> Iterator[object]:
        """The document, then for each list of passages their title, page and character ranges."""
        meta = {**content.meta, **request["overrides"]}
        title = str(request["overrides"].get("title") or content.title or request["stem"])
        yield content.to_json() | {"title": title, "meta": meta, "warnings": ()}
        document = Document("", title, content.text, "", headings=content.headings, pages=content.pages)
        for found in splitter.passage_lists(document) if splitter is not None else ():
            if found:
                yield found[0].title, found[0].page, [(passage.start, passage.end) for passage in found]

    return lines


def _answer(request: dict[str, Any], lines: Lines, memory: int) -> dict[str, Any]:
    documents = characters = warned = 0
    empty = True
    warnings: list[str] = []
    try:
        with Path(request["spool"]).open("w", encoding="utf-8") as file:
            for content in convert(Path(request["path"]), request["format"]):
                for line in lines(request, content):
                    _write(file, json.dumps(line) + "\n")  # json.dump would take the slow way through Python
                documents += 1
                characters += len(content.text)
                warned += len(content.warnings)
                warnings += content.warnings[: _MAX_WARNINGS - len(warnings)]
                empty = empty and not content.text.strip()
            _write(file, "")
    except _NoSpace:
        return {"full": True}
    except ConversionError as error:
        return {"error": str(error)}
    except FileNotFoundError:
        return {"vanished": True}
    except OSError as error:
        return {"error": error.strerror or str(error)}
    except MemoryError:
        return {"error": f"converting it needs more than {memory >> 20} MB of memory", "exhausted": True}
    except RecursionError:
        return {"error": "its parts are nested too deeply"}
    except Exception as error:  # a hostile file may trip a library anywhere; the job goes on without this file
        return {"error": f"{type(error).__name__}: {error}"[:500]}
    if warned > len(warnings):
        warnings.append(f"and {warned - len(warnings)} warnings more")
    if empty and not warnings:
        warnings.append("there is no text in it")
    return {"documents": documents, "characters": characters, "warnings": warnings}


class _NoSpace(Exception):
    """The disk of the spool is full, which is no fault of the file's."""


def _write(file: Any, text: str) -> None:
    """An empty text writes what waits."""
    try:
        file.write(text)
        if not text:
            file.flush()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _NoSpace from error
        raise


def _end_with_the_job() -> None:
    """A job that was killed closes its end; a file that takes minutes must not keep this process for so long."""
    poll = select.poll()
    poll.register(0, 0)  # hang-ups are always told
    poll.poll()
    os._exit(1)


def _limit_cpu(seconds: int) -> None:
    """RLIMIT_CPU counts since the process began, so each file's limit begins at what is used already."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + seconds + 1, hard))


if __name__ == "__main__":
    main()
