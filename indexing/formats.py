"""Every file format: its endings, what is read of it and what is not, its converter and the library behind it.

The one list of formats. Recognised endings, docs/formats.md, the page Add and the help of `search-index` come from it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Format:
    """A format and its converter, "module:function" below indexing.converters.

    `name` is part of a document's metadata, `title` is for people. `library` needs `extra`, if that is given.
    """

    name: str
    title: str
    endings: tuple[str, ...]
    converter: str
    reads: str
    leaves_out: str
    library: str
    extra: str = ""
    fields: bool = False
    """Whether it has records, so that the setting `indexing.fields` counts."""
    text: bool = False
    """Whether it is text in an encoding that a server may state."""
    drawer: str = ""
    """As `converter`: draws a page as a picture. Empty where pages cannot be drawn."""


CODE = (
    ".py", ".pyi", ".pyw", ".js", ".mjs", ".cjs", ".jsx", ".ts", ".tsx", ".vue", ".svelte", ".java", ".cs", ".c", ".h",
    ".cc", ".cpp", ".cxx", ".hpp", ".hh", ".m", ".groovy", ".dart", ".kt", ".kts", ".scala", ".swift", ".php", ".lua",
    ".r", ".jl", ".ps1", ".go", ".rs", ".rb", ".rake", ".pl", ".pm", ".sh", ".bash", ".zsh", ".sql", ".yaml", ".yml",
    ".toml", ".ini", ".cfg", ".conf", ".css", ".scss", ".less", ".properties", ".bat", ".cmd", ".tf", ".proto",
    ".gradle", ".cmake",
)  # fmt: skip
"""Endings of source code and of configuration."""

REGISTRY = (
    Format(
        "pdf", "PDF", (".pdf",), "pdf:convert",
        reads="text by page in reading order, tables, values of form fields, bookmarks as headings, running headers "
        "and footers (once), author and date; scanned pages by OCR with the extra `ocr` (else a warning names them)",
        leaves_out="pictures beside text, comments",
        library="pypdfium2, rapidocr",
        drawer="pdf.drawing:draw",
    ),
    Format(
        "docx", "Word", (".docx", ".docm", ".dotx", ".dotm"), "office.word:convert",
        reads="with all changes accepted: headings, lists with their numbers, tables, headers and footers, notes, "
        "comments, text boxes, controls, equations, charts, diagrams, alternative texts; author and date",
        leaves_out="hidden and deleted text, pictures, embedded files (a warning counts them)",
        library="python-pptx (it opens the package), lxml",
    ),
    Format(
        "pptx", "PowerPoint", (".pptx", ".pptm", ".potx", ".potm", ".ppsx", ".ppsm"), "office.powerpoint:convert",
        reads="slides as pages, titles as headings, tables, charts, diagrams, equations, notes, comments, "
        "alternative texts, hidden slides (marked); author and date",
        leaves_out="pictures, embedded files (a warning counts them)",
        library="python-pptx, lxml",
    ),
    Format(
        "xlsx", "Excel", (".xlsx", ".xlsm", ".xltx"), "workbook:convert_xlsx",
        reads="each sheet as a document (long ones in pieces of 500 rows); numbers and dates as shown; comments",
        leaves_out="hidden sheets, rows and columns (a warning counts them), charts, pictures",
        library="lxml",
    ),
    Format(
        "xls", "Excel 97", (".xls", ".xlt"), "old_workbook:convert",
        reads="as Excel",
        leaves_out="hidden sheets, rows and columns (a warning counts them), charts, comments, pictures",
        library="xlrd",
    ),
    Format(
        "xlsb", "binary Excel", (".xlsb",), "binary_workbook:convert",
        reads="as Excel; dates as 2026-01-31, other numbers without their format",
        leaves_out="hidden sheets (a warning names them), charts, comments, pictures",
        library="python-calamine",
    ),
    Format(
        "ods", "OpenDocument sheets", (".ods", ".ots"), "opendocument.sheets:convert",
        reads="as Excel",
        leaves_out="hidden sheets, rows and columns (a warning counts them), charts, pictures",
        library="lxml",
    ),
    Format(
        "odt", "OpenDocument text", (".odt", ".ott"), "opendocument.text:convert",
        reads="headings, lists with numbers, tables, headers and footers, notes, comments, text boxes; author and date",
        leaves_out="deleted text, pictures",
        library="lxml",
    ),
    Format(
        "odp", "OpenDocument slides", (".odp", ".otp"), "opendocument.slides:convert",
        reads="slides as pages, titles as headings, tables, notes; author and date",
        leaves_out="pictures, charts",
        library="lxml",
    ),
    Format(
        "epub", "EPUB", (".epub",), "ebook:convert",
        reads="chapters in reading order with their headings and tables; title, author, date and language",
        leaves_out="pictures, books with DRM",
        library="lxml",
    ),
    Format(
        "html", "HTML", (".html", ".htm", ".xhtml"), "html:convert",
        reads="headings, questions that fold out, lists, tables, descriptions of pictures; title, author, date, links",
        leaves_out="what its own style sheets or attributes hide; menus, cookie banners and footers; scripts, pictures",
        library="lxml, trafilatura, tinycss2, cssselect",
        text=True,
    ),
    Format(
        "markdown", "Markdown", (".md", ".markdown"), "markdown:convert",
        reads="headings, lists, tables, code, footnotes, HTML; front matter (YAML, TOML) and links as metadata",
        leaves_out="pictures",
        library="markdown-it-py, PyYAML, lxml",
        text=True,
    ),
    Format(
        "txt", "text", (".txt", ".text", ".log"), "text:convert",
        reads="the text, underlined lines as headings",
        leaves_out="",
        library="chardet",
        text=True,
    ),
    Format(
        "rst", "reStructuredText", (".rst", ".rest"), "restructured:convert",
        reads="as shown: headings, lists, tables, code, notes; the text of roles and directives, those of Sphinx too",
        leaves_out="files that it includes (a warning counts them), raw HTML, pictures",
        library="docutils",
        text=True,
    ),
    Format(
        "rtf", "RTF", (".rtf",), "rtf:convert",
        reads="headings, tables, headers and footers, notes, comments; title, author and date",
        leaves_out="pictures, embedded files",
        library="striprtf",
    ),
    Format(
        "tex", "TeX", (".tex", ".latex", ".ltx"), "tex:convert",
        reads="sections, lists, tables, notes, captions, formulas as text; title, author and date",
        leaves_out="own macros, files that it includes (a warning counts them), pictures",
        library="pylatexenc",
        text=True,
    ),
    Format(
        "xml", "XML", (".xml", ".dbk", ".tei", ".fb2", ".rss", ".atom"), "xml:convert",
        reads="records as documents of lines `name: value`; DocBook, TEI, JATS, FictionBook with headings and tables",
        leaves_out="comments, external entities",
        library="lxml",
        text=True,
    ),
    Format(
        "ipynb", "Jupyter notebook", (".ipynb",), "notebook:convert",
        reads="Markdown with its headings and tables, code, outputs as text and tables",
        leaves_out="pictures, outputs beyond 20,000 characters (a warning counts them)",
        library="markdown-it-py",
    ),
    Format(
        "subtitles", "subtitles", (".srt", ".vtt"), "subtitles:convert",
        reads="what is spoken as sentences, with its speakers; a page is a minute of the recording",
        leaves_out="colours and positions",
        library="Python",
        text=True,
    ),
    Format(
        "code", "source code", CODE, "code:convert",
        reads="the file's own lines; functions, classes, tables and sections as headings",
        leaves_out="",
        library="Python",
        text=True,
    ),
    Format(
        "eml", "mail", (".eml",), "mime:convert_eml",
        reads="subject, people, date; its own text before what it quotes; attachments as documents of their own",
        leaves_out="pictures in the text, encrypted mails",
        library="Python",
    ),
    Format(
        "msg", "Outlook mail", (".msg",), "outlook:convert",
        reads="as mail",
        leaves_out="pictures in the text, encrypted mails",
        library="olefile, compressed-rtf",
    ),
    Format(
        "mbox", "mailbox", (".mbox",), "mime:convert_mbox",
        reads="each mail as a document, as mail",
        leaves_out="as mail",
        library="Python",
    ),
    Format(
        "mhtml", "saved web page", (".mhtml", ".mht"), "mime:convert_mhtml",
        reads="as HTML",
        leaves_out="as HTML",
        library="lxml",
    ),
    Format(
        "picture", "picture of text", (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp"), "pictures:convert",
        reads="text and tables by OCR with the extra `ocr` (else a warning names it), each picture in a TIFF as a page",
        leaves_out="handwriting, text on its side",
        library="rapidocr, Pillow",
        drawer="pictures:draw",
    ),
    Format(
        "csv", "CSV", (".csv", ".tsv"), "delimited:convert",
        reads="each row as a document of lines `column: value`, in any dialect; lines above the header as its title",
        leaves_out="",
        library="Python",
        fields=True,
        text=True,
    ),
    Format(
        "json", "JSON", (".json",), "json_records:convert_json",
        reads="each item of a list as a document: its text, then lines `name: value`; JSON lines; SQuAD",
        leaves_out="beside a text: addresses and ids for machines, which are metadata; vectors",
        library="Python",
        fields=True,
        text=True,
    ),
    Format(
        "jsonl", "JSON lines", (".jsonl", ".ndjson"), "json_records:convert_jsonl",
        reads="each line as a document, as JSON",
        leaves_out="as JSON; lines that are not JSON (a warning names them)",
        library="Python",
        fields=True,
        text=True,
    ),
)  # fmt: skip
"""All formats, those that most people have first."""

BY_NAME: Mapping[str, Format] = MappingProxyType({item.name: item for item in REGISTRY})
FORMATS: Mapping[str, str] = MappingProxyType({ending: item.name for item in REGISTRY for ending in item.endings})
"""Names of formats by file name ending, in lower case."""

_SAVE_AS = {
    ".docx": (".doc", ".dot", ".wpd", ".wps", ".pages"),
    ".pptx": (".ppt", ".pps", ".key"),
    ".xlsx": (".numbers", ".wk1", ".wks"),
    ".pdf": (".pub", ".vsd", ".vsdx", ".one", ".xps", ".oxps", ".djvu", ".ps", ".eps", ".ai", ".indd", ".dwg"),
    ".epub": (".mobi", ".azw", ".azw3"),
    ".csv": (".mdb", ".accdb", ".dbf", ".sqlite", ".db", ".parquet"),
    ".mbox": (".pst", ".ost"),
}
_ARCHIVES = (".zip", ".7z", ".rar", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".iso")
_PICTURES = (".gif", ".heic", ".svg", ".psd")
_SOUND = (".mp3", ".wav", ".m4a", ".ogg", ".flac", ".mp4", ".mov", ".avi", ".mkv", ".webm")

ADVICE: Mapping[str, str] = MappingProxyType(
    {
        **{ending: f"save it as {target}" for target, endings in _SAVE_AS.items() for ending in endings},
        **dict.fromkeys(_ARCHIVES, "unpack it"),
        **dict.fromkeys(_PICTURES, "save it as .png"),
        **dict.fromkeys(_SOUND, "add a transcript as .txt or .vtt"),
    }
)  # fmt: skip
"""What helps with files that have no format here, by ending."""


def format_of(name: str) -> str | None:
    """The format of a file of this name, or None."""
    return FORMATS.get(os.path.splitext(name)[1].lower())


def kind_of(name: str) -> str:
    """The format of a file of this name, or else its ending in lower case, which may be empty."""
    return format_of(name) or os.path.splitext(name)[1].lower()


def why_unknown(name: str) -> str:
    """Why a file of this name, which has no format, is not read, and what would help."""
    ending = os.path.splitext(name)[1]
    if not ending:
        return "unknown type: no file extension"
    advice = ADVICE.get(ending.lower())
    return f"unknown type {ending}" + (f": {advice}" if advice else "")


def titles() -> str:
    """The formats in words: "PDF, Word and Markdown"."""
    *most, last = (item.title for item in REGISTRY)
    return f"{', '.join(most)} and {last}"
