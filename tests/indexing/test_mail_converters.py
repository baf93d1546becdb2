"""Mails, made by the standard library and by aspose-email-foss."""

from __future__ import annotations

import datetime as dt
import mailbox
import time
from email.message import EmailMessage
from email.mime.text import MIMEText
from pathlib import Path

import compressed_rtf
import pytest
from aspose.email_foss import msg as outlook
from hypothesis import given
from hypothesis import strategies as st

from indexing.converters import FORMATS, convert, quotes
from indexing.converters.content import Content, ConversionError
from search_app.text.reading import edited, edits_of


def documents(path: Path) -> list[Content]:
    return list(convert(path, FORMATS[path.suffix]))


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def mail(text: str = "The rate is 46 EUR.", *, html: str = "") -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = "Tagegeld für Grüße"
    message["From"] = "Ada Müller <ada@example.com>"
    message["To"] = "Bob <bob@example.com>, carol@example.com"
    message["Cc"] = "dan@example.com"
    message["Date"] = "Fri, 03 May 2024 10:12:00 +0200"
    message.set_content(text)
    if html:
        message.add_alternative(html, subtype="html")
    return message


def saved(tmp_path: Path, message: EmailMessage) -> list[Content]:
    return documents(written(tmp_path / "a.eml", bytes(message)))


def titles(content: Content) -> list[str]:
    return [heading.title for heading in content.headings]


def test_people_and_date_of_a_mail_are_text_and_metadata(tmp_path: Path) -> None:
    [content] = saved(tmp_path, mail())
    assert content.title == "Tagegeld für Grüße"
    assert content.text == (
        "From: Ada Müller <ada@example.com>\nTo: Bob <bob@example.com>, carol@example.com\nCc: dan@example.com\n"
        "Date: 2024-05-03 10:12 +0200\n\nThe rate is 46 EUR."
    )
    assert content.meta == {
        "author": "Ada Müller <ada@example.com>", "from": "Ada Müller <ada@example.com>",
        "to": ["Bob <bob@example.com>", "carol@example.com"], "cc": ["dan@example.com"], "date": "2024-05-03T08:12:00Z",
    }  # fmt: skip


REPLIES = {
    "attribution": (
        "No, 46.\n\nAda\n\nOn Fri, 3 May 2024, Bob\n<bob@example.com> wrote:\n\n> Is it 40?\n>\n"
        "> On Thu, 2 May 2024, Carol wrote:\n>> Old.\n",
        [("", "No, 46.\n\nAda"), ("Quoted: On Fri, 3 May 2024, Bob <bob@example.com> wrote", "Is it 40?"),
         ("Quoted: On Thu, 2 May 2024, Carol wrote", "Old.")],
    ),
    "below": ("Am 03.05.24 schrieb Bob:\n> Ist es 40?\n\nNein, 46.",
              [("", "\nNein, 46.".strip()), ("Quoted: Am 03.05.24 schrieb Bob", "Ist es 40?")]),
    "outlook": (
        "Passt.\n\nVon: Bob <b@x.de>\nGesendet: Freitag, 3. Mai 2024\nAn: Ada\nBetreff: Tagegeld\n\nWie hoch?",
        [("", "Passt."), (
            "Quoted: Bob <b@x.de>, Freitag, 3. Mai 2024",
            "Von: Bob <b@x.de>\nGesendet: Freitag, 3. Mai 2024\nAn: Ada\nBetreff: Tagegeld\n\nWie hoch?",
        )],
    ),
    "forwarded": (
        "FYI\n\n------- Forwarded message ------\nFrom: Bob <b@x.com>\nDate: Fri, May 3\nSubject: Plan\n\nRead it.",
        [("", "FYI"), ("Forwarded: Bob <b@x.com>, Fri, May 3",
                       "From: Bob <b@x.com>\nDate: Fri, May 3\nSubject: Plan\n\nRead it.")],
    ),
    "between": ("> Is it 40?\nNo, 46.\n\n> And Spain?\n52.", [("", "> Is it 40?\nNo, 46.\n\n> And Spain?\n52.")]),
    "no mail": ("From: Berlin\nTo: Lisbon\nDate: 3 May", [("", "From: Berlin\nTo: Lisbon\nDate: 3 May")]),
}  # fmt: skip


@pytest.mark.parametrize("name", REPLIES)
def test_the_own_text_of_a_mail_comes_before_what_it_quotes(name: str) -> None:
    text, wanted = REPLIES[name]
    assert [(part.title, part.text) for part in quotes.parts(text)] == wanted


@given(
    st.lists(
        st.sampled_from(["> a", "On 3 May, Ada wrote:", "From: a@b", "To: b", "Subject: c", "", "text", "____" * 9])
    )
)
def test_no_line_of_a_mail_is_lost(lines: list[str]) -> None:
    text = "\n".join(lines)
    kept = "\n".join(f"{part.title}\n{part.text}" for part in quotes.parts(text))
    for line in ("text", "a@b", "Ada wrote"):
        assert kept.count(line) >= text.count(line)


def test_quotes_are_found_in_linear_time() -> None:
    began = time.perf_counter()
    quotes.parts(("> " * 50 + "On " * 2000 + "\n") * 50 + "From: a@b\nTo: c\n" * 20_000)
    assert time.perf_counter() - began < 5


def test_a_quote_is_marked_and_beside_its_answer_a_forwarded_mail_has_a_heading(tmp_path: Path) -> None:
    [reply] = saved(tmp_path, mail(REPLIES["attribution"][0]))
    assert reply.headings == ()
    assert reply.text.endswith(
        "No, 46.\n\nAda\n\nQuoted: On Fri, 3 May 2024, Bob <bob@example.com> wrote\n> Is it 40?\n\n"
        "Quoted: On Thu, 2 May 2024, Carol wrote\n>> Old."
    )
    [forward] = saved(tmp_path, mail(REPLIES["forwarded"][0]))
    assert titles(forward) == ["Forwarded: Bob <b@x.com>, Fri, May 3"]


def test_a_forwarded_mail_in_html_is_below_its_own_heading(tmp_path: Path) -> None:
    html = (
        "<p>See below.</p><p>---------- Forwarded message ---------</p><div>From: Bob &lt;b@x.com&gt;<br>"
        "Date: Fri, 3 May 2024<br>Subject: Plan<br></div><p>Is it 40?</p>"
    )
    message = EmailMessage()
    message["Subject"] = "Rate"
    message.set_content(html, subtype="html")
    [content] = saved(tmp_path, message)
    assert titles(content) == ["Forwarded: Bob <b@x.com>, Fri, 3 May 2024"]
    assert content.text.index("See below") < content.headings[0].start < content.text.index("Is it 40?")


def test_a_table_in_a_mail_keeps_its_columns(tmp_path: Path) -> None:
    html = "<table><tr><th>Country<th>Rate</tr><tr><td>Portugal<td>46 EUR</tr></table>"
    [content] = saved(tmp_path, mail("Country Rate Portugal 46 EUR", html=html))
    read = edited(content.text, edits_of(content.text, content.tables, 0, len(content.text))).text
    assert "Country: Portugal; Rate: 46 EUR" in read


def test_a_hint_that_a_mail_is_html_is_not_its_text(tmp_path: Path) -> None:
    html = "<p>" + "The rate for Portugal is 46 EUR per day. " * 5 + "</p>"
    [content] = saved(tmp_path, mail("Please view as HTML", html=html))
    assert "46 EUR" in content.text


def test_attachments_are_documents_that_name_their_mail(tmp_path: Path) -> None:
    message = mail()
    message.add_attachment("Country,Rate\nPortugal,46\n", subtype="csv", filename="rates.csv")
    message.add_attachment(b"# Rules\n\nBe kind.", maintype="application", subtype="octet-stream", filename="Rules.md")
    message.add_attachment(b"PK", maintype="application", subtype="zip", filename="all.zip")
    message.add_attachment(b"{", maintype="application", subtype="json", filename="bad.json")
    message.add_attachment(b"\x89PNG", maintype="image", subtype="png", cid="<logo>", disposition="inline")
    first, csv, rules = saved(tmp_path, message)
    assert "46 EUR" in first.text
    assert (csv.title, csv.part, csv.text) == ("Tagegeld für Grüße", "rates.csv", "Country: Portugal\nRate: 46")
    assert (csv.meta["mail"], csv.meta["attachment"]) == ("Tagegeld für Grüße", "rates.csv")
    assert (rules.part, titles(rules)) == ("Rules.md", ["Rules"])
    unread, bad = rules.warnings
    assert unread == 'the attachment "all.zip" is not read: unknown type .zip: unpack it'
    assert bad.startswith('the attachment "bad.json" is not read: it is not JSON')


def test_a_mail_in_a_mail_is_a_document_with_its_own_attachments(tmp_path: Path) -> None:
    inner = mail("Inner text")
    inner.replace_header("Subject", "Inner")
    inner.add_attachment("deep words", filename="deep.txt")
    outer = mail("See below")
    outer.add_attachment(inner)
    found = saved(tmp_path, outer)
    assert [(content.title, content.part) for content in found] == [
        ("Tagegeld für Grüße", ""), ("Tagegeld für Grüße", "Inner"), ("Tagegeld für Grüße", "Inner › deep.txt"),
    ]  # fmt: skip
    assert found[2].text.strip() == "deep words"


@pytest.mark.parametrize(
    ("charset", "data"),
    [
        ("utf-8", "Grüße aus Köln, tschüß".encode("cp1252")),
        ("iso-8859-1", "Grüße aus Köln, tschüß".encode()),
        ("iso-8859-1", "Grüße aus Köln, tschüß".encode("cp1252")),
        ("x-unknown", "Grüße aus Köln, tschüß".encode()),
    ],
)
def test_a_wrong_charset_of_a_part_is_not_believed(tmp_path: Path, charset: str, data: bytes) -> None:
    head = f"Subject: x\nContent-Type: text/plain; charset={charset}\nContent-Transfer-Encoding: 8bit\n\n".encode()
    [content] = documents(written(tmp_path / "a.eml", head + data))
    assert content.text == "Grüße aus Köln, tschüß"


def test_headers_with_raw_or_broken_words_are_read(tmp_path: Path) -> None:
    data = "Subject: Grüße =?utf-8?q?ok=21?= =?nonsense\nFrom: =?klingon?q?x?= <a@b>\nDate: never\n\nBody".encode()
    [content] = documents(written(tmp_path / "a.eml", data))
    assert content.title.startswith("Grüße ok!")
    assert "Body" in content.text
    assert "date" not in content.meta


def test_flowed_text_has_its_paragraphs_back(tmp_path: Path) -> None:
    head = b"Subject: x\nContent-Type: text/plain; format=flowed\n\n"
    [content] = documents(written(tmp_path / "a.eml", head + b"The notice period is \nthree months.\n\nBye"))
    assert content.text == "The notice period is three months.\n\nBye"


def test_a_mailbox_is_its_mails(tmp_path: Path) -> None:
    path = tmp_path / "a.mbox"
    box = mailbox.mbox(str(path))
    for number in range(3):
        message = MIMEText(f"Text {number}\nFrom here it goes on.")
        message["Subject"] = f"Mail {number}" if number else ""
        box.add(message)
    box.close()
    found = documents(path)
    assert [content.title for content in found] == ["(no subject)", "Mail 1", "Mail 2"]
    assert [content.meta["number"] for content in found] == [1, 2, 3]
    assert "From here it goes on." in found[2].text


def test_the_charset_of_an_attachment_is_a_hint(tmp_path: Path) -> None:
    mail = EmailMessage()
    mail["Subject"] = "Rooms"
    mail.set_content("See below.")
    mail.make_mixed()
    for name, charset in (("right.txt", "koi8-r"), ("wrong.txt", "ascii")):
        part = MIMEText("Зал", "plain", "koi8-r")
        part.set_param("charset", charset)
        part.add_header("Content-Disposition", "attachment", filename=name)
        mail.attach(part)
    _, right, wrong = documents(written(tmp_path / "a.eml", bytes(mail)))
    assert (right.text, right.warnings) == ("Зал", ())
    assert "is a guess" in wrong.warnings[0]


def test_an_outlook_mail_is_read_with_its_attachments(tmp_path: Path) -> None:
    message = outlook.MapiMessage.create("Tagegeld für Grüße", "The rate is 46 EUR.")
    message.set_property(outlook.PropertyId.SENDER_NAME, "Ada Müller")
    message.set_property(outlook.PropertyId.SENDER_EMAIL_ADDRESS, "ada@example.com")
    message.set_property(outlook.PropertyId.MESSAGE_DELIVERY_TIME, dt.datetime(2024, 5, 3, 8, 12, tzinfo=dt.UTC))
    message.add_recipient("bob@example.com", display_name="Bob")
    message.add_recipient("dan@example.com", recipient_type=outlook.RECIPIENT_TYPE_CC)
    message.add_attachment("rates.csv", b"Country,Rate\nPortugal,46\n", mime_type="text/csv")
    inner = outlook.MapiMessage.create("Inner", "Inner text")
    message.add_embedded_message_attachment(inner)
    message.save(str(tmp_path / "a.msg"))
    first, csv, nested = documents(tmp_path / "a.msg")
    assert (first.title, first.meta["date"]) == ("Tagegeld für Grüße", "2024-05-03T08:12:00Z")
    assert (first.meta["from"], first.meta["to"]) == ("Ada Müller <ada@example.com>", ["Bob <bob@example.com>"])
    assert first.text.endswith("The rate is 46 EUR.")
    assert (csv.part, csv.text) == ("rates.csv", "Country: Portugal\nRate: 46")
    assert (nested.part, nested.text) == ("Inner", "Inner text")


RTF = r"{\rtf1\ansi\ansicpg1252\deff0 The rate is 46 EUR,\'fcber all.\par{\b Bring} the form.\par}"


def with_rtf(path: Path, data: bytes) -> Content:
    message = outlook.MapiMessage.create("Rates", "")
    message.set_property(0x1009, 0x102, data)
    message.save(str(path))
    [content] = documents(path)
    return content


def test_an_outlook_mail_with_rtf_only_is_read(tmp_path: Path) -> None:
    for data in (compressed_rtf.compress(RTF.encode()), compressed_rtf.compress(RTF.encode(), compressed=False)):
        content = with_rtf(tmp_path / "a.msg", data)
        assert "The rate is 46 EUR,über all." in content.text
        assert content.text.endswith("Bring the form.")
        assert content.warnings == ()


@pytest.mark.parametrize("size", [0, 7, 16, 40])
def test_a_damaged_rtf_of_a_mail_is_named(tmp_path: Path, size: int) -> None:
    content = with_rtf(tmp_path / "a.msg", compressed_rtf.compress(RTF.encode())[:size] or b"\0")
    assert content.warnings[0].startswith("its text is damaged RTF and was left out")


def test_a_saved_page_is_read_as_html(tmp_path: Path) -> None:
    page = EmailMessage()
    page["Subject"] = "Saved"
    page.set_content("<html><body><h1>Relay</h1><p>It listens on port 7443.</p></body></html>", subtype="html")
    page.add_related(b"\x89PNG", maintype="image", subtype="png")
    [content] = documents(written(tmp_path / "a.mhtml", bytes(page)))
    assert "port 7443" in content.text
    assert titles(content) == ["Relay"]


def test_unreadable_mails_give_a_reason(tmp_path: Path) -> None:
    locked = EmailMessage()
    locked["Subject"] = "x"
    locked.set_content(b"x", maintype="application", subtype="pkcs7-mime")
    for name, data, reason in (
        ("locked.eml", bytes(locked), "encrypted"),
        ("none.eml", b"\0\1\2" * 100, "no header"),
        ("none.mbox", b"words", "not a mailbox"),
        ("none.msg", b"words", "not a mail of Outlook"),
        ("none.mht", b"Subject: x\n\nwords", "no HTML"),
    ):
        with pytest.raises(ConversionError, match=reason):
            documents(written(tmp_path / name, data))
