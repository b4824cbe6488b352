"""Mailboxes: where a mail ends, and what each is called."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedding_assets.corpus.formats.mail.mbox import read_mbox
from embedding_assets.corpus.formats.mail.member_names import MAX_NAME_CHARS, safe_name, unique
from embedding_assets.errors import DocumentError

SEPARATOR = b"From ada@example.com Mon Nov  2 09:15:00 2026\n"


def test_a_line_that_begins_with_from_is_no_mail() -> None:
    """Only with a time, and with headers behind; quoted ones are as they were written."""
    mail = b"A: b\n\nFrom here\n\nFrom 10:00 on\nwe wait.\n>From now\n>>From then\n"
    (member,) = read_mbox(SEPARATOR + mail).members

    assert member.data == mail.replace(b">From", b"From")


def test_a_mail_has_its_name_wherever_it_stands() -> None:
    """By its id, or by its content; so one more mail before it changes nothing."""
    one, two = b"Message-Id: <a/b@c>\n\nx\n", b"A: b\n\nmessage-id: <no@header>\n"
    names = [member.name for member in read_mbox(SEPARATOR + one + SEPARATOR + two).members]

    assert names[0] == "a_b@c.eml"
    assert [member.name for member in read_mbox(SEPARATOR + two).members] == names[1:]


@pytest.mark.parametrize("data", [b"", b"Subject: a mail\n\nNo mailbox.\n", b"From 10:00\n\n"])
def test_a_file_without_mails_is_no_mailbox(data: bytes) -> None:
    """It says what is missing."""
    with pytest.raises(DocumentError, match="there is no mail in it"):
        read_mbox(data)


@given(names=st.lists(st.one_of(st.text(), st.sampled_from(["a.b", "a-2.b", "a", "a-2"]))))
def test_names_are_safe_and_no_two_are_the_same(names: list[str]) -> None:
    """Whatever they were; and who is the only one of a name keeps it."""
    safe = [safe_name(name) for name in names]
    found = list(unique(safe))

    assert len(set(found)) == len(found) == len(names)
    assert not any(set(name) & set('/\\:*?"<>|\n\0') for name in found)
    assert all(len(name) <= MAX_NAME_CHARS for name in safe)
    assert [a for a, b in zip(found, safe, strict=True) if a == b] == list(dict.fromkeys(safe))
