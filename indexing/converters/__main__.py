"""The converter's own process: one JSON request a line in, one JSON reply a line out, documents into a spool file.

Limits are set before the first file is touched. Nothing is pickled, so a file that takes over this process can hand
back nothing but text.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

from indexing.converters import convert
from indexing.converters.content import ConversionError

_MAX_SPOOL_BYTES = 8 << 30


def main() -> None:
    memory = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_MAX_SPOOL_BYTES, _MAX_SPOOL_BYTES))
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # a library that prints must not write between the replies
    for line in sys.stdin:
        request = json.loads(line)
        _limit_cpu(request["seconds"])
        reply = _answer(Path(request["path"]), request["format"], Path(request["spool"]), memory)
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


def _answer(path: Path, kind: str, spool: Path, memory: int) -> dict[str, Any]:
    documents = characters = 0
    try:
        with spool.open("w", encoding="utf-8") as file:
            for content in convert(path, kind):
                file.write(json.dumps(content.to_json()) + "\n")  # json.dump would take the slow way through Python
                documents += 1
                characters += len(content.text)
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
    return {"documents": documents, "characters": characters}


def _limit_cpu(seconds: int) -> None:
    """RLIMIT_CPU counts since the process began, so each file's limit begins at what is used already."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + seconds + 1, hard))


if __name__ == "__main__":
    main()
