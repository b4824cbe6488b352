"""Kept versions: what is listed for a document that cannot be read now.

Belongs here: whether its last good version stands in, and until when. Does not belong here: why it
cannot be read (documents.py, given.py).
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from embedding_assets.corpus.documents import EPOCH, Document
from embedding_assets.corpus.snapshots import Previous


def with_kept(
    uri: str,
    documents: Sequence[Document],
    previous: Previous,
    *,
    now: datetime,
    keep_for: timedelta,
) -> list[Document]:
    """The documents of what has this uri, each that cannot be read in its last good version.

    If all of it cannot be read, those of the files in it are as unreadable as that.
    """
    documents = _with_lost_members(uri, documents, previous)
    return [_in_place_of(each, previous, now=now, keep_for=keep_for) for each in documents]


def _with_lost_members(
    uri: str, documents: Sequence[Document], previous: Previous
) -> Sequence[Document]:
    broken = documents[0] if len(documents) == 1 else None
    if broken is None or broken.uri != uri or broken.error_message is None:
        return documents
    members = [each for each in previous.known_in(uri) if each.within and each.has_text]
    return [broken, *(replace(broken, uri=each.uri, within=each.within) for each in members)]


def _in_place_of(
    document: Document, previous: Previous, *, now: datetime, keep_for: timedelta
) -> Document:
    """The document, or if it cannot be read its last good version, while that is kept.

    That is until ``keep_for`` after the first snapshot that could not read it.
    """
    known = previous.known.get(document.uri)
    if document.error_message is None or known is None:
        return document
    since = known.unreadable_since or now
    until = since + keep_for
    good = previous.document(document.uri) if known.has_text and now < until else None
    if good is None:
        return replace(document, unreadable_since=since)
    version = "last good version"
    if good.modified_at != EPOCH:
        version = f"version of {good.modified_at:%Y-%m-%d}"
    return replace(
        good,
        signature="",
        unreadable_since=since,
        error_message=f"{document.error_message}; its {version} is kept until {until:%Y-%m-%d}",
    )
