"""Mails: which of their parts are text, what of a text is somebody's own, headers, attachments."""

import base64

import pytest

from embedding_assets.corpus.formats.extracted import Extracted
from embedding_assets.corpus.formats.mail.message import read_mail
from embedding_assets.corpus.formats.mail.quotes import own_text, unflowed
from embedding_assets.errors import DocumentError

HEAD = "From: Ada <ada@example.com>\nSubject: A subject\n"


def read(message: str) -> Extracted:
    return read_mail(message.encode())


def mixed(*parts: str) -> str:
    """A message of several parts, each with its own headers."""
    start = f'{HEAD}Content-Type: multipart/mixed; boundary="b"\n\n'
    return start + "".join(f"--b\n{part}\n" for part in parts) + "--b--\n"


@pytest.mark.parametrize(
    ("text", "own"),
    [
        ("Yes.\n\n> Shall we?", "Yes."),
        ("Yes.\n\nOn 2 Nov 2026, 9:15, Ada <a@b.c>\nwrote:\n> Shall we?\n>\n\n", "Yes."),
        ("Ja.\n\nAm 02.11.2026 um 09:15 schrieb Ada:\n\n> Sollen wir?", "Ja."),
        ("はい。\n\n2026年11月2日(月) 9:15 Ada <a@b.c>:\n\n> 行く?", "はい。"),
        ("I agree with this:\n\n> Shall we?", "I agree with this:"),
        ("Yes.\n-- \nAda\nExample Inc.", "Yes."),
        ("Yes.\n-- \nAda\n\n> Shall we?", "Yes."),
        ("Yes.\n" + "_" * 47 + "\nlist mailing list", "Yes."),
        ("Yes.\n\n-----Original Message-----\nFrom: A\nSent: B\nTo: C\n\nShall we?", "Yes."),
        ("Yes.\nDate: 1\nSubject: 2\nFrom: A\nTo: C\n\nShall we?", "Yes."),
        ("Oui.\n\nDe\xa0: A\nEnvoyé\xa0: B\nÀ\xa0: C\n\nOn y va ?", "Oui."),
        ("Yes.\n\n--- On Wed, 4/4/12, a@b.c <a@b.c> wrote:\n\n> Shall we?", "Yes."),
        ("From: Graz\nTo: Wien\nDate: 2 May\n\nBye.", "From: Graz\nTo: Wien\nDate: 2 May\n\nBye."),
        ("Ja.\n\n*Von:* A\n*Gesendet:* B\n*An:* C\n\nSollen wir?", "Ja."),
        ("> Shall we?\nYes.\n> And then?\nHome.\n> Ada", "> Shall we?\nYes.\n> And then?\nHome."),
        ("> Shall we?", ""),
        ("", ""),
        ("From: here\nto there.", "From: here\nto there."),
        ("-- \n" + "a line\n" * 30 + "end", "-- \n" + "a line\n" * 30 + "end"),
        ("Please answer until 2026:", "Please answer until 2026:"),
    ],
)
def test_what_of_a_text_is_its_own(text: str, own: str) -> None:
    """Quotes above answers stay; mails, signatures and footers below are left out."""
    assert own_text(text) == own


def test_of_a_long_quote_above_an_answer_the_end_is_kept() -> None:
    """It stands in the mail that is quoted, too."""
    quote = [f"> line {n}" for n in range(40)]

    assert own_text("\n".join([*quote, "Yes."])).split("\n") == ["> […]", *quote[-10:], "Yes."]


@pytest.mark.parametrize(
    ("flowed", "has_extra_space", "text"),
    [
        ("a \nb\nc", False, "a b\nc"),
        ("a \nb\nc", True, "ab\nc"),
        ("> a \n> b\nc", False, "> a b\nc"),
        (">> a \n> b", False, ">> a \n> b"),
        (" > no quote", False, "> no quote"),
        ("a \n\nb", False, "a \n\nb"),
        ("a \n-- \nb", False, "a \n-- \nb"),
    ],
)
def test_wrapped_lines_are_joined(flowed: str, has_extra_space: bool, text: str) -> None:
    """Within a quote of the same depth, but never with a signature or over a blank line."""
    assert unflowed(flowed, has_extra_space=has_extra_space) == text


@pytest.mark.parametrize(
    ("subject", "title"),
    [
        ("Re: Budget", "Budget"),
        ("AW: Re[2]: RE : Budget", "Budget"),
        ("Re:", "Re:"),
        ("Regarding: Budget", "Regarding: Budget"),
        ("=?utf-8?q?Gr=C3=BC=C3=9Fe?= aus =?utf-8?b?V2llbg==?=", "Grüße aus Wien"),
        ("=?utf-8?b?4oKs?=\n =?utf-8?b?IDEw?=", "€ 10"),
        ("=?unknown?q?a=E4b?=", "aäb"),
        ("=?utf-8?b?x?=", "=?utf-8?b?x?="),
    ],
)
def test_the_title_is_the_subject(subject: str, title: str) -> None:
    """Decoded, on one line, and without marks of replies, if there is anything else."""
    assert read(f"From: a@b.c\nSubject: {subject}\n\nText").title == title


@pytest.mark.parametrize(
    ("header", "date"),
    [
        ("Mon, 2 Nov 2026 09:15:00 +0100", "2026-11-02T08:15:00+00:00"),
        ("2 Nov 2026 09:15:00 -0000", "2026-11-02T09:15:00+00:00"),
        ("yesterday", "None"),
        ("Mon, 99 Nov 2026 09:15:00 +0100", "None"),
        ("Fri, 31 Dec 9999 23:59:00 -2300", "None"),
    ],
)
def test_dates_are_in_utc(header: str, date: str) -> None:
    """So that they can be compared; what is no date is left out."""
    found = read(f"{HEAD}Date: {header}\n\nText").metadata["date"]
    assert str(found).replace(" ", "T") == date


@pytest.mark.parametrize(
    ("header", "author", "sender"),
    [
        ("Ada <ada@b.c>", "Ada", "Ada <ada@b.c>"),
        ("ada@b.c", "ada@b.c", "ada@b.c"),
        ('"Löffler, Ada" <ada@b.c>', "Löffler, Ada", "Löffler, Ada <ada@b.c>"),
        ("Ada", "Ada", "Ada"),
        ("=?utf-8?B?w4RkYQ==?=", "Äda", "Äda"),
        ("(" * 5_000, "(" * 5_000, "(" * 5_000),
        ("", "", ""),
    ],
)
def test_whoever_wrote_it_is_its_author(header: str, author: str, sender: str) -> None:
    """By name, if there is one; what is no address is taken as it is."""
    metadata = read(f"From: {header}\nSubject: A\n\nText").metadata
    assert (metadata["author"], metadata["from"]) == (author, sender)


@pytest.mark.parametrize(
    "part",
    [
        "Content-Type: text/plain\n\nText",
        "Content-Type: text/html\n\n<p>Text",
        "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\nVGV4dA==",
        "Content-Type: text/plain; charset=x-no-such\n\nText",
        "Content-Type: multipart/alternative\n\nText",
        "Content-Type: multipart/signed; boundary=c\n\n--c\n\nText\n--c\n"
        "Content-Type: application/pgp-signature; name=signature.asc\n\nx\n--c--",
        "Content-Type: multipart/alternative; boundary=c\n\n--c\n\nText\n--c\n"
        "Content-Type: text/html\n\n<p>HTML text\n--c--",
    ],
)
def test_a_text_is_read_whatever_its_wrapping(part: str) -> None:
    """Text or HTML, encoded or signed, or one of several parts, of which one is missing."""
    assert read(mixed(part)).text == "Text"
    assert read(f"From: a@b.c\n{part}").text == "Text"
    assert not read(mixed(part)).members


def test_a_short_answer_is_enough_of_a_plain_text() -> None:
    """What is quoted below counts, where it is compared with the page that says the same."""
    quoted = "a question, and the reasons for it. " * 20
    found = read(
        f"{HEAD}Content-Type: multipart/alternative; boundary=c\n\n"
        f"--c\n\nYes.\n\n> {quoted}\n--c\nContent-Type: text/html\n\n<p>Yes.<p>{quoted}\n--c--"
    )

    assert found.text == "Yes."


CALENDAR = """BEGIN:VCALENDAR
METHOD:REQUEST
BEGIN:VTIMEZONE
DTSTART:19700101T000000
END:VTIMEZONE
BEGIN:VEVENT
SUMMARY:Budget\\, again
DTSTART;TZID=Europe/Vienna:20261102T091500
DTEND:20261102T090000Z
LOCATION:Room 12\\nAnnex
ORGANIZER;CN="Ada: the first":mailto:ada@example.com
DESCRIPTION:Bring the num
 bers.
BEGIN:VALARM
DESCRIPTION:Reminder
END:VALARM
END:VEVENT
END:VCALENDAR
"""
MEETING = (
    "summary: Budget, again\nstart: 2026-11-02 09:15 Europe/Vienna\nend: 2026-11-02 09:00 UTC\n"
    "location: Room 12\nAnnex\norganizer: Ada: the first"
)


def test_an_invitation_says_when_and_where() -> None:
    """Also if there is nothing else in the mail; then with its description."""
    alone = f"{HEAD}Content-Type: text/calendar; method=REQUEST\n\n{CALENDAR}"
    beside = (
        f'{HEAD}Content-Type: multipart/alternative; boundary="b"\n\n--b\n\nCome!\n'
        f"--b\nContent-Type: text/calendar\n\n{CALENDAR}--b--\n"
    )

    assert read(alone).text == f"{MEETING}\ndescription: Bring the numbers."
    assert read(beside).text == f"Come!\n\n{MEETING}"
    assert read(beside).members == ()


@pytest.mark.parametrize(
    "part", [f"Content-Disposition: attachment\n\n{CALENDAR}", "\nBEGIN:VCALENDAR\nEND:VCALENDAR\n"]
)
def test_a_calendar_that_is_attached_or_invites_nobody_is_a_file(part: str) -> None:
    """It may be one of a whole year."""
    found = read(mixed("\nCome!", f"Content-Type: text/calendar\n{part}"))

    assert (found.text, [member.name for member in found.members]) == ("Come!", ["attachment.ics"])


def test_a_text_that_fits_no_encoding_is_read_all_the_same() -> None:
    """As mail programs do: nobody can save a mail again as UTF-8."""
    text = "Grüße aus Köln, Zürich und Łódź"
    mail = f"{HEAD}Content-Type: text/plain; charset=utf-8\n\n{text}"

    assert read_mail(mail.encode() + b" \xff").text == f"{text} \N{REPLACEMENT CHARACTER}"


def test_files_are_called_by_their_names_alone() -> None:
    """Without folders, and each by another one; type and bytes are as they were sent."""
    data = base64.b64encode(b"\0data").decode()
    found = read(
        mixed(
            "\nText",
            f"Content-Type: a/b; name=x/../y.b\nContent-Transfer-Encoding: base64\n\n{data}",
            "Content-Type: a/b; name=y.b\n\nother",
            "Content-Type: application/octet-stream; name=C:\\z\n\nz",
            "Content-Type: application/pdf\n\nx",
            "Content-Type: image/png\n\nno name",
            "Content-Type: image/png; name=logo.png\nContent-ID: <logo>\n\nin the text",
            "Content-Type: image/png; name=photo.png\n\nphoto",
            "Content-Type: a/b; name=empty.b\n\n",
        )
    )

    assert [(m.name, m.media_type, m.data) for m in found.members] == [
        ("y.b", "a/b", b"\0data"),
        ("y-2.b", "a/b", b"other"),
        ("z", "", b"z"),
        ("attachment.pdf", "application/pdf", b"x"),
        ("photo.png", "image/png", b"photo"),
    ]


def test_a_mail_in_a_mail_is_a_file_as_it_was_sent() -> None:
    """Called by its subject; its headers and its text are unchanged."""
    inner = "Subject: =?utf-8?q?a/b?=\nX-Long: " + "word " * 30 + "\n\nFrom here\n"
    (member,) = read(mixed(f"Content-Type: message/rfc822\n\n{inner}")).members

    assert (member.name, member.media_type) == ("a_b.eml", "message/rfc822")
    assert member.data == inner.encode()


@pytest.mark.parametrize(
    "message",
    [
        "Content-Type: application/pkcs7-mime; smime-type=enveloped-data\n\nx",
        "Content-Type: multipart/encrypted; boundary=b\n\n--b\n\nx\n--b--",
        "Subject: a\n\n-----BEGIN PGP MESSAGE-----\n\nx\n-----END PGP MESSAGE-----",
    ],
)
def test_an_encrypted_mail_says_so(message: str) -> None:
    """Nothing of it is embedded."""
    with pytest.raises(DocumentError, match="it is encrypted"):
        read(f"From: a@b.c\n{message}")


def test_a_signature_of_pgp_around_a_text_is_no_text() -> None:
    """Neither what begins it nor what ends it."""
    signed = (
        "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nText\n"
        "-----BEGIN PGP SIGNATURE-----\n\niQIzBAEB\n=abcd\n-----END PGP SIGNATURE-----\n"
    )

    assert read(f"{HEAD}\n{signed}").text == "Text"


def test_a_forwarded_mail_is_read_with_what_is_quoted() -> None:
    """That is what it was sent for."""
    text = "See below.\n\nFrom: A\nSent: B\nTo: C\n\nShall we?"

    assert read(f"From: a@b.c\nSubject: Fwd: Budget\n\n{text}").text == text


@pytest.mark.parametrize(
    "above", ["---------- Forwarded message ---------", "Begin forwarded message:"]
)
def test_a_mail_that_is_passed_on_needs_no_such_subject(above: str) -> None:
    """Programs say so above it, and people write another subject."""
    quoted = "From: A\nSubject: B\nTo: C"
    text = f"See below.\n\n{above}\n\n{quoted}\n\nShall we?"
    page = f"See below.<p>{above}<blockquote type=cite>Shall we?</blockquote>"

    assert read(f"{HEAD}\n{text}").text == text
    assert read(f"{HEAD}Content-Type: text/html\n\n{page}").text.endswith("Shall we?")
    assert read(f"{HEAD}\nYes.\n\n{quoted}\n\n{text}").text == "Yes."
    answer = f"Yes.<p>On 2 Nov 2026, Ada wrote:<blockquote type=cite>{page}</blockquote>"
    assert read(f"{HEAD}Content-Type: text/html\n\n{answer}").text == "Yes."


@pytest.mark.parametrize(
    "quote",
    [
        "<div>Am 2.11.2026, 9:15, schrieb Ada:</div><blockquote type=cite>A?</blockquote><br>",
        "<div>Am 2.11.2026, 9:15, schrieb Ada:</div><br>",
        '2.11.2026, 9:15, "Ada" &lt;a@b.c&gt;:<br><blockquote style="margin:0">A?</blockquote>',
        "<div>From: A<br>Sent: B<br>To: C<br><br>A?</div><p>B.",
        "<br>Date: A<br>From: B<br>Subject: C<br>A?",
    ],
)
def test_a_page_has_its_quotes_left_out(quote: str) -> None:
    """At the end, with the line that says whose it is, or below the headers of a mail."""
    assert read(f"{HEAD}Content-Type: text/html\n\n<div>Yes.</div>{quote}").text == "Yes."


def test_a_page_of_nothing_but_a_quote_is_read() -> None:
    """Also below the line that says whose it is."""
    page = "<div>Am 2.11.2026, 9:15, schrieb Ada:</div><blockquote type=cite>A?</blockquote>"
    found = read(f"{HEAD}Content-Type: text/html\n\n{page}")

    assert found.text == "Am 2.11.2026, 9:15, schrieb Ada:\n\nA?"
    assert found.remark == "all of it is quoted, or a signature"


def test_what_somebody_quotes_of_others_stays_in_a_page() -> None:
    """If no line above says that it is of a mail."""
    page = "<p>Kant says:<blockquote>Sapere aude!</blockquote>"

    assert read(f"{HEAD}Content-Type: text/html\n\n{page}").text == "Kant says:\n\nSapere aude!"


def test_answers_between_quotes_stay_in_a_page() -> None:
    """With the questions that they answer."""
    page = "<blockquote type=cite>Shall we?</blockquote><p>Yes.</p>"

    assert read(f"{HEAD}Content-Type: text/html\n\n{page}").text == "Shall we?\n\nYes."


@pytest.mark.parametrize(
    ("mail", "message"),
    [
        ("Just a text.\n\nNo mail.", "it is no mail"),
        ("Content-Type: message/rfc822\n\n" * 2_000, "nested too deeply"),
    ],
)
def test_what_is_no_mail_is_said(mail: str, message: str) -> None:
    """In one clause."""
    with pytest.raises(DocumentError, match=message):
        read(mail)
