"""Write docs/formats.md from the registry of formats: python docs/formats.py."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from indexing.formats import ADVICE, FORMATS, REGISTRY, Format

PAGE = Path(__file__).with_name("formats.md")
_INTRO = """# Formats

<!-- Written by docs/formats.py from indexing/formats.py. -->

`search-index apply` and the page *Add* read these files. A file's ending decides its format, in upper or lower case.
Zip files can be uploaded too; each file in them is read as its own format.

The text keeps its order, and its headings, pages and tables are known: the title of a passage is its path of headings,
and a row of a table is searched and read with the names of its columns, as in
`Country: Portugal; Daily allowance: EUR 46`. A converter runs in a process of its own with limits on memory and time. A
damaged file, or one that expands to gigabytes, is reported with the reason, and the job goes on.
"""
_OTHERS = """
## What a file gives

If something is not found, see what its file gives:

```sh
search-index preview travel.docx
```

It shows title, metadata, headings, pages and tables, and the passages as encoder and reader see them, with their
number of tokens. Warnings tell what could not be read. No index is needed. `--json` prints the text, all offsets, and
the places on the pages of a scan. The page of an indexed document shows its passages under *How it is read*.

Under *Pages*, it shows the pages of a PDF or a picture as they are, with the answer marked. Over REST:
`GET /v1/collections/NAME/documents/ID/pages/3.png?start=120&end=160&width=1000`, with the first marked character and
the one after the last. A page is drawn from the original file: 410 if it has changed since it was indexed, 422 if it
cannot be drawn.

## Scanned pages

Scans need the extra `ocr`. Without it, `search-index plan` counts them: "12 scanned pages in 3 files; install
search-app[ocr] to read them in about 84 s". Once it is installed, the next `apply` reads the files with such pages
again, and no others.

## Encodings

A byte order mark and valid UTF-8 count first. Then come the encodings that a web server, an object store, a mail or an
upload states, and those in the file. One that does not decode is not believed; of several, the one that fits best is.
Where none fits, the encoding is guessed, with a warning. For your own files, state it as `{"charset": "cp850"}` in
`NAME.meta.json`.

## Versions

Of `prices-2023.pdf` and `prices-2024.pdf` with nearly the same words, the newest comes first, and the older one names
it: "newer version: prices-2024.pdf". Years, dates and numbers of versions in the names count, then the date of the
document, then that of the file. A question with a number that only one of them has keeps its order. Files with the same
text take one place.

## Records

A row of CSV and an object of JSON are documents of their own. Of an object, the field `text`, `content` or `body` comes
first; `title`, `name`, `headline` or `subject` is its title; `id` and `url` are metadata. For other names there is a
setting, which counts for files that are read from then on:

```sh
export SEARCH_APP_INDEXING__FIELDS='{"text": "abstract", "title": "headline", "id": "number", "url": "address"}'
search-index apply --rebuild papers.jsonl
```

## Other files

A file of any other type is skipped, and `search-index plan`, `apply` and the job name it with the reason.
"""


def page() -> str:
    """The whole page, as Markdown."""
    headers = ("Format", "Endings", "What is read", "What is left out", "Library", "Extra")
    rows = _table(headers, [_cells(item) for item in REGISTRY])
    others = _table(("Endings", "What helps"), _advice())
    return f"{_INTRO}\n{rows}{_OTHERS}\n{others}"


def _cells(item: Format) -> list[str]:
    extra = f"`{item.extra}`" if item.extra else ""
    return [item.title, _code(item.endings), item.reads, item.leaves_out, item.library, extra]


def _advice() -> list[list[str]]:
    unknown = ((advice, ending) for ending, advice in ADVICE.items() if ending not in FORMATS)
    groups = groupby(unknown, key=lambda pair: pair[0])
    return [[_code([ending for _, ending in pairs]), advice] for advice, pairs in groups]


def _code(endings: Sequence[str]) -> str:
    return " ".join(f"`{ending}`" for ending in endings)


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headers, ["---"] * len(headers), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
