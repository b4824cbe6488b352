"""How errors of ours end a run: as sentences for people, on the partitions they concern.

Belongs here: the translation to dagster.Failure. Does not belong here: the errors (errors.py).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import dagster as dg

from embedding_assets.errors import EmbeddingAssetsError
from embedding_assets.wording import count


@contextmanager
def as_failure() -> Iterator[None]:
    """Show an error as its message; the stack trace says nothing that the message does not."""
    try:
        yield
    except EmbeddingAssetsError as exc:
        raise dg.Failure(description=str(exc), allow_retries=False) from exc


def fail_if(problems: Mapping[str, str], what: str) -> None:
    """End a run of many shards after the last one: ``problems`` is a message by shard key."""
    if problems:
        first = next(iter(problems.values()))
        raise dg.Failure(
            description=f"{count(len(problems), 'shard')} {what}; the first: {first}",
            metadata=dict(problems),
            allow_retries=False,
        )
