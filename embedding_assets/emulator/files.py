"""Uploaded files: the resumable upload, the bytes on disk, and their expiry after 48 hours.

Result files are not here: they belong to their batch job, as they do at Google.
"""

import base64
import hashlib
import re
import secrets
import sqlite3
import string
from collections.abc import Callable
from dataclasses import asdict, dataclass
from http import HTTPStatus
from pathlib import Path

from embedding_assets.emulator.database import Database, fields_of
from embedding_assets.emulator.errors import ApiError, file_denied, invalid_argument

FILE_LIFETIME_S = 48 * 3600.0

_MAX_ID_CHARACTERS = 40
_ID = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A finished upload. Times are seconds of the emulator's clock."""

    file_id: str
    display_name: str | None
    mime_type: str
    size_bytes: int
    sha256: str
    """Base64 of the *hex digest*, as Google gives it."""
    created_at: float

    @property
    def expires_at(self) -> float:
        """From then on, it is as if the file had never been there."""
        return self.created_at + FILE_LIFETIME_S


class FileStore:
    """The files under one directory and their rows in the database."""

    def __init__(self, directory: Path, database: Database, clock: Callable[[], float]) -> None:
        self._files = directory / "files"
        self._uploads = directory / "uploads"
        self._files.mkdir(exist_ok=True)
        self._uploads.mkdir(exist_ok=True)
        self._database = database
        self._clock = clock

    def begin_upload(
        self,
        *,
        file_id: str | None,
        display_name: str | None,
        mime_type: str,
        declared_bytes: int | None,
    ) -> str:
        """Start an upload and return its id. Raises ApiError 400 or 409 for an unusable file id."""
        upload_id = random_id(40)
        with self._database.transaction() as connection:
            if file_id is not None:
                self._claim(file_id)
            file_id = file_id or random_id(12)
            connection.execute(
                "INSERT INTO uploads VALUES (?, ?, ?, ?, ?, ?)",
                (upload_id, file_id, display_name, mime_type, declared_bytes, self._clock()),
            )
        (self._uploads / upload_id).touch()
        return upload_id

    def upload_path(self, upload_id: str, *, offset: int) -> Path:
        """Where to append the next bytes. Raises ApiError 400 if they are not the next ones."""
        self._upload(upload_id)
        path = self._uploads / upload_id
        received = path.stat().st_size
        if offset != received:
            raise invalid_argument(f"The upload goes on at byte {received}, not at {offset}.")
        return path

    def finish_upload(self, upload_id: str) -> StoredFile:
        """Turn the bytes received into a file. Raises ApiError 400 if some are missing."""
        upload = self._upload(upload_id)
        path = self._uploads / upload_id
        size_bytes, declared = path.stat().st_size, upload["declared_bytes"]
        if declared is not None and size_bytes != declared:
            raise invalid_argument(f"{declared} bytes were announced, {size_bytes} received.")
        file = StoredFile(
            file_id=upload["file_id"],
            display_name=upload["display_name"],
            mime_type=upload["mime_type"],
            size_bytes=size_bytes,
            sha256=_digest(path),
            created_at=self._clock(),
        )
        with self._database.transaction() as connection:
            self._claim(file.file_id)
            path.replace(self._files / file.file_id)
            connection.execute("DELETE FROM uploads WHERE upload_id = ?", (upload_id,))
            connection.execute(
                "INSERT INTO files (file_id, display_name, mime_type, size_bytes, sha256,"
                " created_at) VALUES (:file_id, :display_name, :mime_type, :size_bytes, :sha256,"
                " :created_at)",
                asdict(file),
            )
        return file

    def get(self, file_id: str) -> StoredFile:
        """A live file. Raises ApiError 403 if there is none, 400 if the id is too long."""
        if len(file_id) > _MAX_ID_CHARACTERS:
            raise invalid_argument(f"File ID '{file_id}' cannot be more than 40 characters.")
        rows = self._database.rows(
            "SELECT * FROM files WHERE file_id = ? AND created_at > ?",
            (file_id, self._oldest_living()),
        )
        if not rows:
            raise file_denied(file_id)
        return _stored_file(rows[0])

    def path(self, file_id: str) -> Path:
        """The bytes of a live file. Raises as `get` does."""
        return self._files / self.get(file_id).file_id

    def page(self, *, before: int | None, size: int) -> tuple[list[StoredFile], int | None]:
        """Up to `size` live files, newest first, and the position to go on before, or None."""
        rows = self._database.rows(
            "SELECT * FROM files WHERE created_at > :oldest"
            " AND (:before IS NULL OR position < :before)"
            " ORDER BY position DESC LIMIT :size + 1",
            {"oldest": self._oldest_living(), "before": before, "size": size},
        )
        more = rows[size - 1]["position"] if len(rows) > size else None
        return [_stored_file(row) for row in rows[:size]], more

    def delete(self, file_id: str) -> None:
        """Remove a live file. Raises as `get` does."""
        with self._database.transaction():
            self._forget(self.get(file_id).file_id)

    def remove_expired(self) -> None:
        """Free the disk of expired files, and of uploads as old that were never finished."""
        oldest = (self._oldest_living(),)
        with self._database.transaction():
            for row in self._database.rows("SELECT * FROM files WHERE created_at <= ?", oldest):
                self._forget(row["file_id"])
            for row in self._database.rows(
                "DELETE FROM uploads WHERE begun_at <= ? RETURNING upload_id", oldest
            ):
                (self._uploads / row["upload_id"]).unlink(missing_ok=True)

    def _claim(self, file_id: str) -> None:
        if len(file_id) > _MAX_ID_CHARACTERS or not _ID.fullmatch(file_id):
            raise invalid_argument(
                f"File ID {file_id!r} must be up to 40 lowercase letters, digits or dashes,"
                " and neither begin nor end with a dash."
            )
        try:
            self.get(file_id)
        except ApiError:
            self._forget(file_id)  # an expired namesake makes room
        else:
            raise ApiError(HTTPStatus.CONFLICT, f"The File {file_id} already exists.")

    def _forget(self, file_id: str) -> None:
        self._database.change("DELETE FROM files WHERE file_id = ?", (file_id,))
        (self._files / file_id).unlink(missing_ok=True)

    def _upload(self, upload_id: str) -> sqlite3.Row:
        rows = self._database.rows("SELECT * FROM uploads WHERE upload_id = ?", (upload_id,))
        if not rows:
            raise ApiError(HTTPStatus.NOT_FOUND, f"There is no upload {upload_id}.")
        return rows[0]

    def _oldest_living(self) -> float:
        return self._clock() - FILE_LIFETIME_S


def random_id(n_characters: int) -> str:
    """An id nobody can guess, of lowercase letters and digits."""
    alphabet = string.ascii_lowercase + string.digits
    return "".join(secrets.choice(alphabet) for _ in range(n_characters))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return base64.b64encode(hashlib.file_digest(file, "sha256").hexdigest().encode()).decode()


def _stored_file(row: sqlite3.Row) -> StoredFile:
    return StoredFile(**fields_of(row, StoredFile))
