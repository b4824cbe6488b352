"""What changed from one snapshot to the next, counted and said."""

from embedding_assets.corpus.changes import MAX_SAMPLES, Change, Changes, Comparison, Kind, Known
from embedding_assets.corpus.documents import Document
from tests.factories import a_document


def known(*documents: tuple[str, str], has_text: bool = True) -> dict[str, Known]:
    """What is remembered of documents by uri and content."""
    return {
        uri: Known(
            uri=uri,
            row=row,
            sha256=content,
            media_type="text/markdown",
            within="",
            has_text=has_text,
            signature="",
            extraction="1",
            unreadable_since=None,
        )
        for row, (uri, content) in enumerate(documents)
    }


def there_are(*documents: tuple[str, str]) -> list[Document]:
    return [a_document(uri=uri, sha256=content) for uri, content in documents]


def compare(earlier: dict[str, Known], documents: list[Document]) -> Changes:
    comparison = Comparison(earlier)
    comparison.look_at(documents)
    return comparison.changes()


def test_every_document_is_of_one_kind() -> None:
    """Those that are there add up; those that are gone are counted beside them."""
    earlier = known(("same", "1"), ("other", "2"), ("from", "3"), ("gone", "4"), ("bad", "5"))
    documents = there_are(("same", "1"), ("other", "new"), ("to", "3"), ("more", "6"))
    documents.append(a_document(uri="bad", sha256="5", error_message="kept"))

    changes = compare(earlier, documents)

    assert changes == Changes(
        added=1,
        changed=1,
        moved=1,
        unchanged=1,
        removed=1,
        unreadable=1,
        samples=(
            Change(kind=Kind.ADDED, uri="more"),
            Change(kind=Kind.CHANGED, uri="other"),
            Change(kind=Kind.MOVED, uri="to", from_uri="from"),
            Change(kind=Kind.REMOVED, uri="gone"),
            Change(kind=Kind.UNREADABLE, uri="bad"),
        ),
    )
    assert changes.documents == 5
    assert changes.samples[2] == Change(kind=Kind.MOVED, uri="to", from_uri="from")


def test_moves_are_paired_one_to_one() -> None:
    """Of three new documents with the content of two that are gone one is added."""
    earlier = known(("a", "same"), ("b", "same"))
    changes = compare(earlier, there_are(("x", "same"), ("y", "same"), ("z", "same")))

    assert (changes.moved, changes.added, changes.removed) == (2, 1, 0)
    origins = {change.uri: change.from_uri for change in changes.samples}
    assert origins == {"x": "a", "y": "b", "z": ""}


def test_a_copy_is_added() -> None:
    """What is still in its place has not moved."""
    changes = compare(known(("a", "same")), there_are(("a", "same"), ("copy", "same")))

    assert (changes.unchanged, changes.added, changes.moved) == (1, 1, 0)


def test_what_had_no_text_has_not_moved() -> None:
    """An unusable document is gone, and a readable one of the same bytes is new."""
    changes = compare(known(("a", "same"), has_text=False), there_are(("b", "same")))

    assert (changes.added, changes.removed) == (1, 1)


def test_what_becomes_readable_has_changed() -> None:
    """Also with the bytes that nobody could read before."""
    changes = compare(known(("a", "same"), has_text=False), there_are(("a", "same")))

    assert changes.changed == 1


def test_a_few_samples_are_enough() -> None:
    """A corpus that moves house does not fill the report."""
    changes = compare({}, there_are(*((f"{n}", f"{n}") for n in range(100))))

    assert changes.added == 100
    assert [change.uri for change in changes.samples] == [str(n) for n in range(MAX_SAMPLES)]


def test_the_summary_is_a_sentence() -> None:
    """Unreadable documents are mentioned if there are any."""
    changes = Changes(added=3, changed=2, moved=1, unchanged=1350, removed=1)
    assert changes.summary == (
        "1,356 documents: 3 added, 2 changed, 1 moved, 1,350 unchanged; 1 removed"
    )
    assert Changes(unreadable=1).summary == (
        "1 document: 0 added, 0 changed, 0 moved, 0 unchanged, 1 unreadable; 0 removed"
    )
