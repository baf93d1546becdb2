"""The sandboxed converter process: reads one JSON request per line, and writes one JSON reply per line.

Documents go to a spool file. The first line is the `SplitConfig`, or null to keep documents whole. Limits are set
before the first file is opened. Nothing is pickled: a file that takes over this process can return only text.
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
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from indexing.converters import convert, draw
from indexing.converters.content import Content, ConversionError
from indexing.converters.drawing import Marks, Size

if TYPE_CHECKING:
    from indexing.splitter import Splitter

_MAX_SPOOL_BYTES = 8 << 30
_MAX_WARNINGS = 1000
_NICE = 10
"""Lower priority than the encoder's threads."""

Lines = Callable[[dict[str, Any], Content], Iterator[object]]
"""From a request and a document of its file, makes the JSON values for the spool file."""


def main() -> None:
    """Serve requests until the standard input is closed."""
    memory = int(sys.argv[1])
    with contextlib.suppress(OSError):
        os.nice(_NICE)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_MAX_SPOOL_BYTES, _MAX_SPOOL_BYTES))
    threading.Thread(target=_exit_with_the_job, daemon=True).start()
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # keep what libraries print apart from the replies
    config = json.loads(sys.stdin.readline() or "null")
    lines, fields = _lines(config), (config or {}).get("fields", ())
    for line in sys.stdin:
        request = json.loads(line)
        _limit_cpu(request["seconds"])
        reply = _answer(request, lines, fields, memory)
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
    from indexing.splitter import TITLE_SEPARATOR
    from search_app.types import Document

    def lines(request: dict[str, Any], content: Content) -> Iterator[object]:
        """The document, then for each list of passages their title and character ranges."""
        meta = {**content.meta, **request["overrides"]}
        title = str(request["overrides"].get("title") or content.title or request["stem"])
        title = TITLE_SEPARATOR.join(filter(None, (title, content.part)))
        yield content.to_json() | {"title": title, "meta": meta, "warnings": ()}
        document = Document(
            "", title, content.text, "", headings=content.headings, pages=content.pages, tables=content.tables
        )
        for found in splitter.passage_lists(document) if splitter is not None else ():
            if found:
                yield found[0].title, [(passage.start, passage.end) for passage in found]

    return lines


def _answer(request: dict[str, Any], lines: Lines, fields: Sequence[tuple[str, str]], memory: int) -> dict[str, Any]:
    try:
        return _drawn(request) if "draw" in request else _converted(request, lines, fields)
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
        return {"error": "it is nested too deeply"}
    except Exception as error:  # hostile files raise anything; the job continues without this one
        return {"error": f"{type(error).__name__}: {error}"[:500]}


def _drawn(request: dict[str, Any]) -> dict[str, Any]:
    wanted = request["draw"]
    marks = Marks(wanted["places"], wanted["characters"])
    picture = draw(Path(request["path"]), request["format"], wanted["page"], Size(wanted["width"]), marks)
    with Path(request["spool"]).open("wb") as file:
        _write(file, picture)
        _write(file, b"")
    return {}


def _converted(request: dict[str, Any], lines: Lines, fields: Sequence[tuple[str, str]]) -> dict[str, Any]:
    documents = characters = warned = paid = unread = 0
    empty = True
    warnings: list[str] = []
    with Path(request["spool"]).open("w", encoding="utf-8") as file:
        path, charset = Path(request["path"]), request.get("charset", "")
        for content in convert(path, request["format"], fields=fields, charset=charset):
            for line in lines(request, content):
                _write(file, json.dumps(line) + "\n")  # faster than json.dump
            documents += 1
            characters += len(content.text)
            if characters >> 20 > paid:
                _allow_cpu(request["more"] * ((characters >> 20) - paid))
                paid = characters >> 20
            unread += content.unread
            warned += len(content.warnings)
            warnings += content.warnings[: _MAX_WARNINGS - len(warnings)]
            empty = empty and not content.text.strip() and not any(page.boxes for page in content.pages)
        _write(file, "")
    if warned > len(warnings):
        warnings.append(f"and {warned - len(warnings)} warnings more")
    if empty and not warnings:
        warnings.append("it contains no text")
    return {"documents": documents, "characters": characters, "warnings": warnings, "unread": unread}


class _NoSpace(Exception):
    """The spool's disk is full, which is not the file's fault."""


def _write(file: Any, text: str | bytes) -> None:
    """Write; an empty text flushes the file."""
    try:
        file.write(text)
        if not text:
            file.flush()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _NoSpace from error
        raise


def _exit_with_the_job() -> None:
    """Exit when the job is killed and closes its end of the pipe, even in the middle of a file."""
    poll = select.poll()
    poll.register(0, 0)  # hang-ups are always reported
    poll.poll()
    os._exit(1)


def _limit_cpu(seconds: int) -> None:
    """RLIMIT_CPU counts from the start of the process, so add the file's limit to the time already used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + seconds + 1, hard))


def _allow_cpu(seconds: int) -> None:
    """Allow more processor time: a small file may hold much text."""
    soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (soft + seconds, hard))


if __name__ == "__main__":
    main()
