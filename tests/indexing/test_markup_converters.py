"""RTF, TeX and XML."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest

from indexing.converters import FORMATS, convert
from indexing.converters.content import Content, ConversionError
from search_app.text.reading import edited, edits_of


def documents(path: Path, data: str | bytes) -> list[Content]:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return list(convert(path, FORMATS[path.suffix]))


def one(path: Path, data: str | bytes) -> Content:
    [content] = documents(path, data)
    for heading in content.headings:
        assert heading.title in content.text[heading.start : heading.end]
    return content


def titled(content: Content) -> list[tuple[int, str]]:
    return [(heading.level, heading.title) for heading in content.headings]


def as_read(content: Content) -> str:
    return edited(content.text, edits_of(content.text, content.tables, 0, len(content.text))).text


RTF = r"""{\rtf1\ansi\ansicpg1252\deff0{\fonttbl{\f0\fswiss\fcharset0 Arial;}}
{\stylesheet{\s0 Normal;}{\s1\outlinelevel0 heading 1;}}
{\info{\title Gr\'fc\'dfe}{\author Ada}{\creatim\yr2024\mo3\dy1\hr10}}
{\header\pard Valid from 1 March 2024\par}{\footer\pard Internal\par}
\pard\plain\s1\outlinelevel0 Leave\par
\pard\plain\f0 Each gets 30 days{\footnote\pard\plain Not in the first year.} of leave, \u8364?5.\par
{\pict\pngblip 89504e47}
\trowd\cellx1000\cellx2000\pard\intbl Country\cell Rate\cell\row
\trowd\cellx1000\cellx2000\pard\intbl Portugal\cell 46 EUR\cell\row
\pard\plain\s2\outlinelevel1 Notice\par Three {\b months}.\par
}"""


def test_rtf_is_read_as_shown(tmp_path: Path) -> None:
    content = one(tmp_path / "a.rtf", RTF)
    assert (content.title, content.meta) == ("Grüße", {"title": "Grüße", "author": "Ada", "date": "2024-03-01"})
    assert titled(content) == [(1, "Leave"), (2, "Notice")]
    assert content.text.startswith("Valid from 1 March 2024\n\nLeave\n\nEach gets 30 days of leave, €5.\n\n")
    assert content.text.endswith("Three months.\n\nInternal\n\nFootnote: Not in the first year.")
    assert "Country: Portugal; Rate: 46 EUR" in as_read(content)


TEX = r"""\documentclass{article}
\title{Travel rules}\author{Ada M\"uller}
\begin{document}
\maketitle
\section{Leave \& more}
Each gets 30~days\footnote{Not in the \emph{first} year.} of leave, with $\alpha$ and caf\'e. % a comment

Next paragraph.
\begin{itemize}\item one\item two\begin{enumerate}\item inner\end{enumerate}\end{itemize}
\begin{table}\caption{Rates}
\begin{tabularx}{5cm}{l|r@{ }c}\hline
Country & \multicolumn{2}{c}{Rate} \\
& day & night \\ \hline
Portugal & 46 & 80\,\% \\
\end{tabularx}\end{table}
\subsection{Code}
\begin{verbatim}
int x; % kept
\end{verbatim}
\input{secret}
\end{document}
\section{After}"""


def test_tex_is_read_as_shown(tmp_path: Path) -> None:
    content = one(tmp_path / "a.tex", TEX)
    assert (content.title, content.meta["author"]) == ("Travel rules", "Ada Müller")
    assert titled(content) == [(2, "Leave & more"), (3, "Code")]
    assert "Each gets 30 days of leave, with α and café.\n\nFootnote: Not in the first year.\n\nNext" in content.text
    assert "- one\n- two\n  1. inner\n\nRates\n\nCountry" in content.text
    assert "Country: Portugal; Rate day: 46; Rate night: 80 %" in as_read(content)
    assert "int x; % kept" in content.text
    assert "comment" not in content.text
    assert content.warnings == ("files that it includes are not read: 1",)


DOCBOOK = """<?xml version="1.0"?><!DOCTYPE article [<!ENTITY rate "46 EUR">]>
<article xmlns="http://docbook.org/ns/docbook"><info><title>Manual</title><author><personname>Ada</personname></author></info>
<para>First <emphasis>words</emphasis>.</para>
<section><title>Rates</title><para>It is &rate;<footnote><para>Per day.</para></footnote> now.</para>
<itemizedlist><listitem><para>one</para></listitem><listitem><para>two</para></listitem></itemizedlist>
<table><title>All</title><tgroup cols="2"><thead><row><entry>Country</entry><entry>Rate</entry></row></thead>
<tbody><row><entry>Portugal</entry><entry>46</entry></row></tbody></tgroup></table>
<section><title>Code</title><programlisting>a
  b</programlisting></section></section></article>"""


def test_docbook_is_read_with_its_headings_and_tables(tmp_path: Path) -> None:
    content = one(tmp_path / "a.xml", DOCBOOK)
    assert content.title == "Manual"
    assert titled(content) == [(1, "Rates"), (2, "Code")]
    assert "First words." in content.text
    assert "It is 46 EUR now.\n\nFootnote: Per day.\n\n- one\n- two\n\nAll\n\nCountry" in content.text
    assert "a\n  b" in content.text
    assert "Country: Portugal; Rate: 46" in as_read(content)


def test_records_of_xml_are_documents(tmp_path: Path) -> None:
    feed = (
        "<rss><channel><title>News</title>"
        "<item><title>One</title><link>https://x.y/1</link><description>&lt;p&gt;A &lt;b&gt;word&lt;/b&gt;&lt;/p&gt;"
        "</description><pubDate>2024</pubDate></item><item id='2'><title>Two</title>"
        "<price currency='EUR'>5</price></item></channel></rss>"
    )
    about, first, second = documents(tmp_path / "a.xml", feed)
    assert about.text == "channel.title: News"
    assert (first.title, first.text) == (
        "One", "title: One\nlink: https://x.y/1\ndescription: A word\npubDate: 2024",
    )  # fmt: skip
    assert first.meta == {"date": "2024", "url": "https://x.y/1", "record": 1}
    assert second.text == "id: 2\ntitle: Two\nprice: 5\nprice.currency: EUR"


def test_xml_in_another_encoding_than_it_declares_is_decoded(tmp_path: Path) -> None:
    data = '<?xml version="1.0" encoding="utf-8"?><p>Die Größe der Straße für später</p>'.encode("cp1252")
    assert one(tmp_path / "a.xml", data).text == "Die Größe der Straße für später"


def test_hostile_markup_is_named_soon(tmp_path: Path) -> None:
    entities = "".join(f'<!ENTITY {to} "{f"&{name};" * 10}">' for name, to in zip("abcdefgh", "bcdefghi", strict=True))
    bomb = f'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">{entities}]><x>&i;</x>'
    for name, data, reason in (
        ("bomb.xml", bomb, "not valid XML"),
        ("deep.xml", "<a>" * 100_000, "not valid XML"),
        ("cut.xml", "<a><b>", "not valid XML"),
        ("none.rtf", "words", "not an RTF file"),
    ):
        with pytest.raises(ConversionError, match=reason):
            documents(tmp_path / name, data)


def test_an_entity_outside_of_the_file_is_not_read(tmp_path: Path) -> None:
    outside = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x><p>see &a;</p></x>'
    with contextlib.suppress(ConversionError):
        assert "root:" not in one(tmp_path / "a.xml", outside).text


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.tex", "{" * 3_000), ("a.tex", "\\begin{a}" * 2_000), ("a.tex", "\\section{" * 2_000),
        ("a.tex", "$" * 5_001), ("a.tex", "\\title{" * 2_000), ("a.rtf", "{\\rtf1" + "{\\footnote " * 20_000),
        ("a.rtf", "{\\rtf1" + "{" * 100_000),
        ("a.rtf", "{\\rtf1 " + "word \\cell " * 20_000), ("a.rtf", "{\\rtf1{\\pict " + "89504e47" * 500_000 + "}}"),
    ],
)  # fmt: skip
def test_odd_markup_ends_soon(tmp_path: Path, name: str, data: str) -> None:
    began = time.perf_counter()
    with contextlib.suppress(ConversionError, RecursionError):  # the sandbox names the latter
        documents(tmp_path / name, data)
    assert time.perf_counter() - began < 10
