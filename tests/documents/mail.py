"""Mail: plain and HTML, attachments, quoted replies, encoded headers, a mailbox."""

from __future__ import annotations

import mailbox
from email.message import EmailMessage
from functools import partial
from pathlib import Path

from documents.suite import Family, ask, cell

FAMILY = Family()


def message(subject: str, sender: str, to: str, date: str, text: str) -> EmailMessage:
    made = EmailMessage()
    made["Subject"], made["From"], made["To"], made["Date"] = subject, sender, to, date
    made["Message-ID"] = f"<{abs(hash(0))}{len(text)}@mail.example>"
    made.set_content(text)
    return made


def eml(path: Path, *, html: str = "", attachment: tuple[str, str] | None = None, **fields: str) -> None:
    made = message(**fields)
    if html:
        made.add_alternative(html, subtype="html")
    if attachment is not None:
        name, content = attachment
        made.add_attachment(content, subtype="csv" if name.endswith("csv") else "plain", filename=name)
    path.write_bytes(made.as_bytes())


FAMILY.add(
    "mail/scaffold.eml",
    partial(
        eml,
        subject="Scaffold at the west front",
        sender="Odile Marchand <odile@abbey.example>",
        to="Kenji Abe <kenji@abbey.example>",
        date="Tue, 10 Feb 2026 09:12:00 +0100",
        text="Dear Kenji,\n\nthe scaffold at the west front stays until 24 April, because the sculptor is ill.\n"
        "Please tell the organist.\n\nOdile\n\n> Kenji Abe wrote:\n> When is the scaffold taken down?\n",
    ),
    ask("Until when does the scaffold at the west front stay?", "until 24 April"),
    ask("Who wrote the mail about the scaffold at the west front?", "Odile Marchand", "people"),
    traits="mail quoted",
)
FAMILY.add(
    "mail/order.eml",
    partial(
        eml,
        subject="Bestellung Nr. 88-1207 für das Frühjahr",
        sender="Jörg Hönig <joerg@saat.example>",
        to="lager@saat.example",
        date="Thu, 5 Mar 2026 14:40:00 +0100",
        text="Hallo,\n\nbitte liefert 40 Säcke Wintergerste an den Hof Eichgrund.\n\nGruß\nJörg",
        attachment=("lieferung.csv", "Sorte,Menge,Preis\nWintergerste,40 Säcke,31 Euro\nLupine,12 Säcke,44 Euro\n"),
    ),
    ask("Wie viele Säcke Wintergerste werden an den Hof Eichgrund geliefert?", "40 Säcke Wintergerste", "german"),
    cell("Was kostet ein Sack Lupine?", "44 Euro", "Lupine", "Preis", "attachment german"),
    ask("88-1207", "88-1207", "keyword identifier"),
    traits="mail attachment german",
)
FAMILY.add(
    "mail/newsletter.eml",
    partial(
        eml,
        subject="News of the bird ringing station",
        sender="station@birds.example",
        to="friends@birds.example",
        date="Mon, 2 Mar 2026 08:00:00 +0000",
        text="This mail needs HTML.",
        html="<html><body><h1>March at the station</h1><p>We ringed <b>1,204</b> siskins in one week.</p>"
        "<table><tr><th>Species</th><th>Ringed</th></tr><tr><td>Goldcrest</td><td>87</td></tr>"
        "<tr><td>Brambling</td><td>215</td></tr></table></body></html>",
    ),
    ask("How many siskins were ringed in one week?", "1,204"),
    cell("How many bramblings were ringed at the station?", "215", "Brambling", "Ringed"),
    traits="mail html table",
)


def mbox(path: Path) -> None:
    box = mailbox.mbox(str(path))
    for subject, sender, text in (
        (
            "Key of the boathouse",
            "Lucia Ferri <lucia@club.example>",
            "The key of the boathouse hangs behind the barometer.",
        ),
        ("Regatta", "Henk de Wit <henk@club.example>", "The regatta starts at 11:30 at buoy 4. Bring life jackets."),
        (
            "Re: Regatta",
            "Lucia Ferri <lucia@club.example>",
            "Our boat has sail number NED 2217.\n\n> The regatta starts at 11:30 at buoy 4.",
        ),
    ):
        box.add(message(subject, sender, "all@club.example", "Sat, 7 Mar 2026 10:00:00 +0100", text))
    box.flush()
    box.close()


FAMILY.add(
    "mail/club.mbox",
    mbox,
    ask("Where does the key of the boathouse hang?", "behind the barometer"),
    ask("At what time does the regatta start?", "11:30"),
    ask("What sail number has the boat of the club?", "NED 2217"),
    traits="mail mbox",
)


def msg(path: Path) -> None:
    from aspose.email_foss import msg as outlook

    made = outlook.MapiMessage.create(
        "Ferry to the skerries",
        "The last ferry to the skerries leaves at 18:40.\n\nFrom: Nils Aho <nils@pier.example>\n"
        "Sent: Monday, 2 March 2026\nTo: Maren\nSubject: Ferry\n\n"
        "When does the last ferry leave? It was 17:20 last year.",
    )
    made.set_property(outlook.PropertyId.SENDER_NAME, "Maren Lind")
    made.set_property(outlook.PropertyId.SENDER_EMAIL_ADDRESS, "maren@pier.example")
    made.add_recipient("nils@pier.example", display_name="Nils Aho")
    fares = b"Ticket,Fare\nAdult,14 crowns\nBicycle,6 crowns\n"
    made.add_attachment("fares.csv", fares, mime_type="text/csv")
    made.save(str(path))


FAMILY.add(
    "mail/ferry.msg",
    msg,
    ask("When does the last ferry to the skerries leave?", "18:40", "quoted"),
    cell("What is the fare of a bicycle on the ferry?", "6 crowns", "Bicycle", "Fare", "attachment"),
    traits="mail outlook attachment quoted",
)


def mhtml(path: Path) -> None:
    made = EmailMessage()
    made["Subject"] = "Opening of the sluice"
    made.set_content(
        "<html><body><h1>Sluice of Vreden</h1><p>The sluice opens for pleasure boats from 9 to 17 o'clock.</p>"
        "<table><tr><th>Boat<th>Toll</tr><tr><td>Canoe<td>2 guilders</tr><tr><td>Yacht<td>11 guilders</tr></table>"
        "</body></html>",
        subtype="html",
    )
    made.add_related(b"\x89PNG", maintype="image", subtype="png")
    path.write_bytes(made.as_bytes())


FAMILY.add(
    "web/sluice.mhtml",
    mhtml,
    ask("When does the sluice of Vreden open for pleasure boats?", "from 9 to 17 o'clock"),
    cell("What toll does a yacht pay at the sluice?", "11 guilders", "Yacht", "Toll"),
    traits="saved-page table",
)
