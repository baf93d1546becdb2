from __future__ import annotations

import codecs
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexing.converters import FORMATS, convert
from indexing.converters.content import Content, ConversionError
from indexing.converters.decoding import encoding_of, read_text

SENTENCES = {
    "fr": ("La façade de l'hôtel à côté du château a été repeinte en été.", "cp1252 iso8859-15 mac_roman cp850"),
    "de": ("Die Straße führt über die Brücke zum größten Gebäude der Stadt.", "cp1252 cp850"),
    "es": ("El señor Núñez cenó ayer con su compañía en la montaña.", "cp1252 cp850"),
    "pt": ("A reunião da direção começa amanhã às nove horas, não às dez.", "cp1252"),
    "sv": ("Båten går från ön på lördag och återvänder på söndag kväll.", "cp1252 cp850"),
    "is": ("Það er kalt í dag og þess vegna fórum við ekki út úr húsinu.", "cp1252"),
    "pl": ("Żółw mieszka w ogrodzie przy ulicy Świętokrzyskiej, gdzie rosną jabłonie.", "cp1250 iso8859-2"),
    "cs": ("Příliš žluťoučký kůň úpěl ďábelské ódy před naším domem.", "cp1250 iso8859-2"),
    "hu": ("Az őszi időben a gyümölcsöt a hűtőben őrizzük, hogy friss legyen.", "cp1250 iso8859-2"),
    "ru": ("Собрание начинается в девять часов утра в большом зале.", "cp1251 koi8-r cp866"),
    "uk": ("Засідання починається о дев’ятій годині ранку, і його ведуть її друзі.", "cp1251"),
    "el": ("Η συνεδρίαση αρχίζει στις εννέα το πρωί στη μεγάλη αίθουσα.", "cp1253 iso8859-7"),
    "tr": ("Toplantı sabah dokuzda büyük salonda başlıyor, geç kalmayın.", "cp1254"),
    "he": ("הישיבה מתחילה בתשע בבוקר באולם הגדול.", "cp1255"),
    "ar": ("يبدأ الاجتماع في التاسعة صباحا في القاعة الكبرى.", "cp1256"),
    "lv": ("Sanāksme sākas deviņos no rīta lielajā zālē, lūdzu, nenokavējiet.", "cp1257"),
    "th": ("การประชุมเริ่มเวลาเก้าโมงเช้าที่ห้องโถงใหญ่", "cp874"),
    "ja": ("会議は午前九時に大ホールで始まります。", "cp932 euc_jp iso2022_jp"),
    "zh": ("会议上午九点在大厅开始，请不要迟到。", "gb18030"),
    "zh-TW": ("會議上午九點在大廳開始，請不要遲到。", "cp950"),
    "ko": ("회의는 오전 아홉 시에 큰 강당에서 시작합니다.", "cp949"),
    "en": ("The café “Zoë” costs 12 € at naïve façade, said señor Núñez.", "cp1252"),
    "en signs": ("It’s 20 °C ± 1, as in § 4.", "cp1252"),
}


def written(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def one(path: Path) -> Content:
    [content] = convert(path, FORMATS[path.suffix])
    return content


@pytest.mark.parametrize(
    ("sentence", "encoding"),
    [
        pytest.param(text, encoding, id=f"{language} {encoding}")
        for language, (text, encodings) in SENTENCES.items()
        for encoding in encodings.split()
    ],
)
def test_one_sentence_in_an_encoding_that_nothing_states(sentence: str, encoding: str) -> None:
    text, warnings = read_text(sentence.encode(encoding))
    assert text == sentence
    assert len(warnings) == (encoding != "iso2022_jp")  # its escapes leave no doubt


def test_a_guess_is_warned_of_with_the_name_of_the_encoding(tmp_path: Path) -> None:
    content = one(written(tmp_path, "a.txt", "Größe".encode("cp1252")))
    assert content.text == "Größe"
    assert content.warnings == ("its encoding is not stated; read as windows-1252, which is a guess",)
    assert not one(written(tmp_path, "b.txt", "Größe".encode())).warnings


@pytest.mark.parametrize(
    ("stated", "real"),
    [
        ("utf-8", "latin-1"), ("latin-1", "utf-8"), ("windows-1251", "utf-8"), ("utf-16", "utf-8"), ("hex", "cp1252"),
        ("ascii", "cp1252"), ("shift_jis", "cp1252"), ("klingon", "cp1252"), ("utf-7", "cp1252"),
    ],
)  # fmt: skip
def test_a_declaration_that_does_not_fit_is_not_believed(tmp_path: Path, stated: str, real: str) -> None:
    page = f'<html><head><meta charset="{stated}"></head><body><p>täglich geöffnet, außer Übung</p></body></html>'
    content = one(written(tmp_path, "a.html", page.encode(real)))
    assert content.text == "täglich geöffnet, außer Übung"


@pytest.mark.parametrize(
    ("stated", "text"),
    [
        ("windows-1251", "Собрание"), ("koi8-r", "Москва"), ("iso-8859-1", "naïve “café”"), ("shift_jis", "会議"),
        ("iso-8859-15", "Œuvre à 5 €"), ("gb2312", "会议"), ("windows-1250", "Łódź"), ("macintosh", "café"),
    ],
)  # fmt: skip
def test_a_declaration_that_fits_is_believed_even_for_a_word(tmp_path: Path, stated: str, text: str) -> None:
    encoding = "cp1252" if stated == "iso-8859-1" else stated
    page = f'<?xml version="1.0" encoding="{stated}"?><html><body><p>{text}</p></body></html>'
    content = one(written(tmp_path, "a.xhtml", page.encode(encoding)))
    assert (content.text, content.warnings) == (text, ())


def test_a_single_byte_declaration_is_not_believed_for_another_script(tmp_path: Path) -> None:
    page = '<meta charset="iso-8859-1"><p>Собрание начинается в девять часов утра в большом зале.</p>'
    content = one(written(tmp_path, "a.html", page.encode("cp1251")))
    assert "Собрание" in content.text
    assert content.warnings == ("it states iso-8859-1, which does not fit; read as windows-1251, which is a guess",)


def test_what_cannot_be_decoded_is_counted(tmp_path: Path) -> None:
    data = "Übung macht den Meister, größer wird’s nicht. ".encode() * 4
    content = one(written(tmp_path, "a.txt", data + b"\xff\xfe bad \xef\xbf\xbd"))
    assert content.text.endswith("\ufffd\ufffd bad \ufffd")
    assert content.warnings == ("2 places are not valid UTF-8 and became \ufffd",)
    cut = codecs.BOM_UTF16_LE + "Grüße".encode("utf-16-le") + b"\0"
    assert one(written(tmp_path, "b.txt", cut)).warnings == ("1 place is not valid UTF-16 and became \ufffd",)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400), st.sampled_from(["", "utf-8", "latin-1", "big5", "undefined", "idna"]))
def test_any_bytes_are_read_or_named_as_binary(data: bytes, declared: str) -> None:
    try:
        text, warnings = read_text(data, declared=[declared])
    except ConversionError:
        return
    encoding = encoding_of(data, declared=[declared])
    replaced = text.count("\ufffd") - data.decode(encoding.name, "ignore").count("\ufffd")
    assert bool(replaced) == any("became" in warning for warning in warnings)


@pytest.mark.parametrize(("ending", "kind"), [(".txt", "txt"), (".md", "markdown"), (".html", "html"), (".csv", "csv")])
def test_the_charset_of_a_server_is_believed_where_it_decodes(tmp_path: Path, ending: str, kind: str) -> None:
    text = "sort,miasto\nżółw,Łódź\n"
    path = written(tmp_path, f"a{ending}", text.encode("iso8859-2"))
    read = "".join(content.text for content in convert(path, kind, charset="ISO-8859-2"))
    assert "żółw" in read
    assert "Łódź" in read
    path.write_bytes(text.encode())
    assert "żółw" in "".join(content.text for content in convert(path, kind, charset="ISO-8859-2"))


def test_a_charset_of_a_server_that_does_not_decode_is_named_and_not_believed(tmp_path: Path) -> None:
    path = written(tmp_path, "a.txt", SENTENCES["ru"][0].encode("koi8-r"))
    [content] = convert(path, "txt", charset="euc-jp")
    assert content.text == SENTENCES["ru"][0]
    [warning] = content.warnings
    assert warning.startswith("it states euc-jp, which does not fit; read as koi8-r")


@pytest.mark.parametrize(("server", "page"), [("windows-1250", "iso-8859-1"), ("iso-8859-1", "windows-1250")])
def test_of_the_charsets_of_server_and_page_the_one_that_fits_counts(tmp_path: Path, server: str, page: str) -> None:
    source = f'<meta charset="{page}"><p>{SENTENCES["pl"][0]}</p>'
    [content] = convert(written(tmp_path, "a.html", source.encode("cp1250")), "html", charset=server)
    assert (content.text, content.warnings) == (SENTENCES["pl"][0], ())
