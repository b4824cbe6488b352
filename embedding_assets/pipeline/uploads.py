"""Uploads, and what becomes of them when Gemini's file storage is full.

Belongs here: the one upload that is tried again with more room. Does not belong here: when a file
is uploaded (batch_route.py), and tidying up after a collection (collect.py).
"""

from pathlib import Path

from embedding_assets.errors import Quota, RateLimitedError
from embedding_assets.gemini.client import GeminiClient
from embedding_assets.model.batch_jobs import NAME_PREFIX, RemoteFile
from embedding_assets.store.index import Index
from embedding_assets.wording import count


def upload(index: Index, gemini: GeminiClient, path: Path, *, display_name: str) -> str:
    """Upload a file and return its name at Gemini; full storage is cleared once.

    Raises RateLimitedError that says what else there is in the storage.
    """
    try:
        return gemini.upload(path, display_name=display_name)
    except RateLimitedError as exc:
        if exc.quota is not Quota.STORAGE:
            raise
        _delete_unneeded(index, gemini)
    try:
        return gemini.upload(path, display_name=display_name)
    except RateLimitedError as exc:
        found = _contents(list(gemini.list_files()))
        raise RateLimitedError(
            f"{exc}; {found}", code=exc.code, quota=exc.quota, retry_after=exc.retry_after
        ) from exc


def _delete_unneeded(index: Index, gemini: GeminiClient) -> None:
    unneeded = index.jobs.over_and_done()
    for file in list(gemini.list_files()):
        if file.display_name in unneeded:
            gemini.delete_file(file.name)


def _contents(files: list[RemoteFile]) -> str:
    """How much of the storage is ours, and what a person can do."""
    ours = [file for file in files if file.display_name.startswith(NAME_PREFIX)]
    others = [file for file in files if not file.display_name.startswith(NAME_PREFIX)]
    return (
        f"of the uploads in it {_size(ours)} are of embedding-assets, and needed, {_size(others)} "
        "are not: delete those that you can spare, or wait 48 hours. Results of batch jobs count, "
        "too, are not listed and cannot be deleted; Gemini removes them in time"
    )


def _size(files: list[RemoteFile]) -> str:
    n_megabytes = sum(file.n_bytes for file in files) / 1e6
    return f"{n_megabytes:,.1f} MB in {count(len(files), 'file')}"
