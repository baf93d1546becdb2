"""reStructuredText, notebooks, subtitles and source code."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indexing.converters import FORMATS, convert
from indexing.converters.content import Content, ConversionError
from search_app.text.reading import edited, edits_of


def one(path: Path, text: str) -> Content:
    path.write_text(text, encoding="utf-8")
    [content] = convert(path, FORMATS[path.suffix])
    return content


def titled(content: Content) -> list[tuple[int, str]]:
    return [(heading.level, heading.title) for heading in content.headings]


def as_read(content: Content) -> str:
    return edited(content.text, edits_of(content.text, content.tables, 0, len(content.text))).text


RST = """
Relay guide
===========

:Author: Ada

.. warning:: The default timeout is ``45 s``; see :ref:`limits <limits>`.

Ports
-----

+--------+------+
| Name   | Port |
+========+======+
| relay  | 7443 |
+--------+------+

Call :func:`~relay.start` or :unknown:`this`. [1]_

.. [1] A note.

.. versionadded:: 1.2
   Works with *TLS*.

.. py:function:: start(port)
   :noindex:

   Starts it.

.. toctree::

   hidden-file

.. include:: /etc/passwd

.. raw:: html

   <b>raw</b>

term
   What it means.

#. one
#. two

+---+
| broken
"""


def test_restructured_text_is_read_as_it_shows(tmp_path: Path) -> None:
    content = one(tmp_path / "a.rst", RST)
    assert (content.title, content.meta["author"]) == ("Relay guide", "Ada")
    assert titled(content) == [(1, "Relay guide"), (2, "Ports")]
    for shown in (
        "Warning: The default timeout is 45 s; see limits.", "Call start or this. [1]", "[1] A note.",
        "Added in version 1.2 Works with TLS.", "start(port)\n\nStarts it.", "term: What it means.", "1. one\n2. two",
        "| broken",
    ):  # fmt: skip
        assert shown in content.text
    assert "Name: relay; Port: 7443" in as_read(content)
    for unseen in ("``", "+====", "hidden-file", "root:", "/etc/passwd", "<b>", "noindex"):
        assert unseen not in content.text
    assert content.warnings == ("files that it includes are not read: 1",)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from([*RST.split("\n"), "", "  x", "***", ".. a::", "   .. b::", "`c`_", "::"]), max_size=30)
)
def test_any_restructured_text_can_be_read(tmp_path: Path, lines: list[str]) -> None:
    content = one(tmp_path / "a.rst", "\n".join(lines))
    for heading in content.headings:
        assert heading.title in content.text[heading.start : heading.end]


def test_a_backslash_of_restructured_text_leaves_no_mark(tmp_path: Path) -> None:
    content = one(tmp_path / "a.rst", "It is **A**\\ nother, a\\*b and H\\ :sub:`2`\\ O.\n\n- **b**\\ old\n")
    assert content.text == "It is Another, a*b and H2O.\n\n- bold"


def test_a_huge_text_keeps_its_markup(tmp_path: Path) -> None:
    content = one(tmp_path / "a.rst", "Top\n===\n\n" + "``word`` " * 120_000)
    assert titled(content) == [(1, "Top")]
    assert "markup is part of the text" in content.warnings[0]


def notebook(*cells: dict[str, Any]) -> str:
    return json.dumps({"nbformat": 4, "metadata": {"kernelspec": {"language": "python"}}, "cells": cells})


def test_a_notebook_is_its_cells_and_outputs(tmp_path: Path) -> None:
    frame = "<table><tr><th>Country<th>Rate</tr><tr><td>Portugal<td>46</tr></table>"
    outputs = [
        {"output_type": "stream", "text": ["mean \x1b[31m4.2\x1b[0m\n"]},
        {"output_type": "execute_result", "data": {"text/plain": ["a frame"], "text/html": [frame]}},
        {"output_type": "error", "ename": "ValueError", "evalue": "too small", "traceback": ["..."]},
        {"output_type": "stream", "text": "x" * 30_000},
    ]
    content = one(
        tmp_path / "a.ipynb",
        notebook(
            {"cell_type": "markdown", "source": ["# Rates\n", "All in *euro*."]},
            {"cell_type": "code", "source": "rates.mean()\n# done", "outputs": outputs},
        ),
    )
    assert (content.title, titled(content)) == ("Rates", [(1, "Rates")])
    assert "All in euro.\n\nrates.mean()\n# done\n\nmean 4.2\n\n" in content.text
    assert "Country: Portugal; Rate: 46" in as_read(content)
    assert "ValueError: too small" in content.text
    assert len(content.text) < 21_000
    assert content.warnings == ("outputs cut to 20000 characters: 1",)


def test_an_old_notebook_is_read(tmp_path: Path) -> None:
    cells = [{"cell_type": "heading", "level": 2, "source": "Old"}, {"cell_type": "code", "input": "1 + 1"}]
    content = one(tmp_path / "a.ipynb", json.dumps({"nbformat": 3, "worksheets": [{"cells": cells}]}))
    assert titled(content) == [(2, "Old")]
    assert "1 + 1" in content.text


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 1}', "[" * 100_000])
def test_what_is_no_notebook_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConversionError, match="not a notebook"):
        one(tmp_path / "a.ipynb", text)


@pytest.mark.parametrize(
    "cells", [1, [1, None], [{}], [{"source": 5, "outputs": {"a": 1}}], [{"outputs": [{"data": []}]}]]
)
def test_odd_notebooks_are_read(tmp_path: Path, cells: Any) -> None:
    assert one(tmp_path / "a.ipynb", json.dumps({"cells": cells, "metadata": 3})).text == ""


SRT = """1
00:00:01,000 --> 00:00:03,000
The notice period is

2
00:00:03,100 --> 00:00:05,000
<i>three</i> months.

3
00:00:59,000 --> 00:01:01,000
{\\an8}It starts

4
00:01:01,000 --> 00:01:03,000
in May &amp; June.
"""


def test_sentences_of_subtitles_run_over_cues_and_minutes(tmp_path: Path) -> None:
    content = one(tmp_path / "a.srt", SRT)
    assert content.text == "The notice period is three months.\n\nIt starts in May & June."
    assert [(page.number, content.text[page.start : page.end]) for page in content.pages] == [
        (1, "The notice period is three months.\n\nIt starts "), (2, "in May & June."),
    ]  # fmt: skip
    assert content.meta == {"duration": "00:01:03", "minutes": 2}


def test_speakers_of_subtitles_are_named(tmp_path: Path) -> None:
    text = (
        "WEBVTT\n\nNOTE a remark\n\nintro\n00:01.000 --> 00:02.000 align:start\n<v Ada>Is it 46?\n\n"
        "00:02.000 --> 00:03.000\n<v Ada>Really?\n\n00:03.000 --> 00:04.000\n<v Bob>Yes.\n"
    )
    assert one(tmp_path / "a.vtt", text).text == "Ada: Is it 46? Really?\n\nBob: Yes."


def test_a_file_without_subtitles_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="no subtitles"):
        one(tmp_path / "a.srt", "words")


SOURCES = {
    "a.py": ('"""Module."""\nclass Relay:\n    def start(self):\n        pass\n\nasync def main(): ...\n',
             [(1, "Relay"), (2, "start"), (1, "main")]),
    "a.ts": ("export class Relay {\n  async start(port: number): Promise<void> {\n  }\n}\nconst stop = (a) => a;\n"
             "export function go() {}\n", [(1, "Relay"), (2, "start"), (1, "stop"), (1, "go")]),
    "A.java": ("public final class Relay extends Base {\n    public void start(int port) throws IOException {\n"
               "        if (x) { return; }\n    }\n}\n", [(1, "Relay"), (2, "start")]),
    "a.c": ("static int start(struct relay *r, int port)\n{\n    while (go(r)) {\n    }\n}\n", [(1, "start")]),
    "a.go": ("type Relay struct {\n}\n\nfunc (r *Relay) Start(port int) error {\n}\n", [(1, "Relay"), (1, "Start")]),
    "a.rs": ("pub struct Relay;\nimpl Relay {\n    pub fn start(&self) {}\n}\n",
             [(1, "Relay"), (1, "Relay"), (2, "start")]),
    "a.rb": ("module A\n  class Relay\n    def start!\n    end\n  end\nend\n", [(1, "A"), (2, "Relay"), (3, "start!")]),
    "a.php": ("<?php\nclass Relay {\n  public function start() {}\n}\n", [(1, "Relay"), (2, "start")]),
    "a.sh": ("function start {\n}\nstop() {\n}\n", [(1, "start"), (1, "stop")]),
    "a.sql": ("CREATE TABLE IF NOT EXISTS relay (id int);\ncreate or replace view v as select 1;\n",
              [(1, "relay"), (1, "v")]),
    "a.yaml": ("relay:\n  port: 7443\nlimits:\n  - a\n", [(1, "relay"), (1, "limits")]),
    "a.toml": ("[relay]\nport = 7443\n[[users]]\n", [(1, "relay"), (1, "users")]),
    "a.css": ("p { color: red }\n", []),
}  # fmt: skip


@pytest.mark.parametrize("name", SOURCES)
def test_definitions_of_source_code_are_headings_of_its_own_text(tmp_path: Path, name: str) -> None:
    text, wanted = SOURCES[name]
    content = one(tmp_path / name, text)
    assert content.text == text
    assert titled(content) == wanted
    for heading in content.headings:
        assert heading.title in text[heading.start : heading.end]
        assert "\n" not in text[heading.start : heading.end]


@pytest.mark.parametrize("line", ["a ", "*& ", "class ", "(", "a(", "static ", "x <", "[[", " ", "fn a", "{ "])
@pytest.mark.parametrize("ending", [".ts", ".rs", ".sql", ".php", ".sh"])
def test_definitions_are_found_in_linear_time(tmp_path: Path, line: str, ending: str) -> None:
    began = time.perf_counter()
    one(tmp_path / f"a{ending}", line * 30_000 + "\n" + f"{line}\n" * 30_000)
    assert time.perf_counter() - began < 8
