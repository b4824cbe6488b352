"""Gemini as this project needs it: the only module that knows the google-genai SDK.

Belongs here: domain verbs on files, batch jobs and embeddings; retries where a repetition is
harmless, and never on the creation of a job; the translation of every foreign error.
Does not belong here: what to do next (pipeline/), whom to talk to (connection.py), what the JSON of
jobs and files says (operations.py).

The SDK (3.4) drops ``error``, ``output`` variants and statistics of a batch operation, and its
pager fails on an empty page, so batches are read as raw JSON through its HTTP client.
It takes half a second to import, so that only who talks to Gemini does.
"""

import hashlib
import json
import logging
import os
import re
import warnings
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from embedding_assets.errors import (
    AnswerCountError,
    FileGoneError,
    GeminiError,
    OutcomeUnknownError,
    Quota,
    RateLimitedError,
    RefusedError,
    UnavailableError,
)
from embedding_assets.gemini.connection import Connection, connect, stays_at
from embedding_assets.gemini.listing import Listing
from embedding_assets.gemini.operations import inlined_results, read_file, read_job
from embedding_assets.gemini.quota import delay_of, quota_of
from embedding_assets.model.batch_jobs import RemoteFile, RemoteJob
from embedding_assets.model.results import INVALID_ARGUMENT
from embedding_assets.redaction import cleared, redact_file, redacted, redacted_record
from embedding_assets.settings.values import Settings

if TYPE_CHECKING:
    from google.genai import errors, types

MAX_TEXTS_PER_CALL = 100  # batchEmbedContents answers 400 above

_PAGE_SIZE = 100
_DOWNLOAD = ":download"  # how the path of a result file's bytes ends
# Given explicitly, or the SDK would let GOOGLE_GEMINI_BASE_URL redirect the key and the corpus.
_GOOGLE_BASE_URL = "https://generativelanguage.googleapis.com/"
_MAX_MESSAGE_CHARS = 300
_KEY = re.compile(r"""AIza[\w-]+|(?<=api_key:)[^'"\s]+""")
_JOB_PREFIX = "batches/"
_BILLING_CODES = (400, 402, 403)
# A process reads the key from its environment, which is as it was when the process was started.
_BAD_KEY = (
    "Gemini refuses the API key: set GEMINI_API_KEY (if GOOGLE_API_KEY is set, that one counts) to "
    "a valid key and restart, a running web UI keeps the old one"
)
_FORBIDDEN = (
    "Gemini does not let this API key do that: allow it in the key's Google Cloud project, or set "
    "GEMINI_API_KEY to another key and restart"
)


class _JobMissingError(RefusedError):
    """Gemini does not know the job (404)."""


_ByCode = dict[int, type[RefusedError]]
# What else than a refusal a code means. Of a file that is not there 403 says the same as 404.
_REFUSALS: _ByCode = {}
_FILE_REFUSALS: _ByCode = {403: FileGoneError, 404: FileGoneError}
_JOB_REFUSALS: _ByCode = {404: _JobMissingError}


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """When to repeat calls that are harmless to repeat: exponentially later, with jitter."""

    attempts: int = 4
    initial_delay_s: float = 1.0
    max_delay_s: float = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncAnswer:
    """Vectors in the order of the texts, as they came, and the tokens billed for all of them.

    ``billed_tokens`` is None if the service did not say.
    """

    vectors: tuple[tuple[float, ...], ...]
    billed_tokens: int | None


@contextmanager
def open_client(settings: Settings) -> Iterator["GeminiClient"]:
    """A client of whoever answers by these settings and the environment, closed afterwards.

    Raises SettingsError without a key and without a running emulator.
    """
    connection = connect(
        settings.gemini.base_url, address_file=settings.emulator_address_file, environ=os.environ
    )
    client = GeminiClient(
        connection,
        api_version=settings.gemini.api_version,
        timeout_s=settings.gemini.timeout_s,
        download_timeout_s=settings.gemini.download_timeout_s,
    )
    with closing(client):
        yield client


class GeminiClient:
    """One connection to Gemini, or to what answers in its place."""

    def __init__(
        self,
        connection: Connection,
        *,
        api_version: str,
        timeout_s: float,
        download_timeout_s: float = 1800.0,
        retries: RetryPolicy | None = None,
    ) -> None:
        import httpx2
        from google import genai
        from google.genai import types

        from embedding_assets.gemini.deadline import bound_answer

        base_url = connection.base_url or _GOOGLE_BASE_URL
        # It logs the answers for which it tries again.
        logging.getLogger("google_genai._api_client").addFilter(redacted_record)

        def bound(response: Any) -> None:
            if response.status_code in (301, 302, 303) and response.request.method != "GET":
                # Followed, it would become a GET, and the answer to that one of its own.
                raise httpx2.ProtocolError(f"redirected to {response.headers.get('location')}")
            is_file = response.request.url.path.endswith(_DOWNLOAD)
            bound_answer(response, download_timeout_s if is_file else timeout_s)

        self.provider = connection.provider
        policy = retries or RetryPolicy()
        # For uploads and downloads: the SDK does not retry transport errors there.
        self._retrying = Retrying(
            retry=retry_if_exception_type(OutcomeUnknownError),
            stop=stop_after_attempt(policy.attempts),
            wait=wait_exponential_jitter(initial=policy.initial_delay_s, max=policy.max_delay_s),
            reraise=True,
        )
        self._client = genai.Client(
            api_key=connection.api_key,
            vertexai=False,  # or GOOGLE_GENAI_USE_VERTEXAI in the environment would decide
            http_options=types.HttpOptions(
                base_url=base_url,
                client_args={"event_hooks": {"request": [stays_at(base_url)], "response": [bound]}},
                api_version=api_version,
                timeout=int(timeout_s * 1000),
                retry_options=types.HttpRetryOptions(
                    attempts=policy.attempts,
                    initial_delay=policy.initial_delay_s,
                    max_delay=policy.max_delay_s,
                ),
            ),
        )

    def close(self) -> None:
        self._client.close()

    # --- files ------------------------------------------------------------------------------

    def upload(self, path: Path, *, display_name: str) -> str:
        """Upload a JSONL file and return its name at Gemini, ``files/…``.

        Raises OutcomeUnknownError if it did not arrive whole; uploading again is harmless.
        """
        return self._retrying(self._upload, path, display_name)

    def _upload(self, path: Path, display_name: str) -> str:
        from google.genai import types

        with _translated(f"upload of {path.name}"):
            file = self._client.files.upload(
                file=str(path),
                config=types.UploadFileConfig(display_name=display_name, mime_type="jsonl"),
            )
        if not file.name:
            raise OutcomeUnknownError(f"upload of {path.name}: Gemini gave the file no name")
        _verify(file, path)
        return file.name

    def has_file(self, name: str) -> bool:
        """Whether an uploaded file is still there; Gemini keeps it for 48 hours."""
        try:
            with _translated(f"look-up of {name}", _FILE_REFUSALS):
                self._client.files.get(name=name)
        except FileGoneError:
            return False
        return True

    def delete_file(self, name: str) -> None:
        """Delete an uploaded file; one that is gone already is no error."""
        with suppress(FileGoneError), _translated(f"deletion of {name}", _FILE_REFUSALS):
            self._client.files.delete(name=name)

    def list_files(self) -> Listing[RemoteFile]:
        """All files that were uploaded to the project and are still there, a page at a time."""
        return Listing("files", partial(self._page, "files"), read_file)

    def download(self, name: str, destination: Path) -> None:
        """Stream a result file to ``destination``.

        Of a job, ``batches/…``, it is what lies in its operation, in the lines of a result file.
        Raises FileGoneError if Gemini does not have it (any more).
        """
        is_inlined = name.startswith(_JOB_PREFIX)
        stated = self._write_inlined(name, destination) if is_inlined else name
        if stated is not None:
            self._download_file(stated, destination)
        redact_file(destination)

    def _download_file(self, name: str, destination: Path) -> None:
        try:
            self._retrying(self._download, name, destination)
        except FileGoneError:
            # A blocked key gets 403, too: then this raises, and nobody gives the file up.
            self._get_json("batches?pageSize=1")
            raise

    def _download(self, name: str, destination: Path) -> None:
        # Given as text: files.get on a result file is refused, its id is too long.
        with _translated(f"download of {name}", _FILE_REFUSALS):
            self._client.files.download(file=name, destination=str(destination))

    def _write_inlined(self, job_name: str, destination: Path) -> str | None:
        """Write what lies in a job's operation; or say which file has it by now."""
        try:
            operation = self._get_json(job_name, _JOB_REFUSALS)
        except _JobMissingError as exc:
            raise FileGoneError(str(exc)) from exc
        answers = inlined_results(operation)
        if answers is not None:
            lines = (json.dumps(each).encode() + b"\n" for each in answers)
            destination.write_bytes(b"".join(lines))
            return None
        job = read_job(operation)
        if job is None or not job.has_output or job.result_file_name is None:
            raise FileGoneError(f"the operation of {job_name} has no results")
        return job.result_file_name

    # --- batch jobs -------------------------------------------------------------------------

    def create_embeddings_job(
        self, *, model: str, input_file_name: str, display_name: str
    ) -> RemoteJob:
        """Create a batch job. Not idempotent at Google, so never repeated here.

        Raises RateLimitedError or RefusedError for a definite no, FileGoneError for one that
        may be about the file (403, 404), and OutcomeUnknownError when a job may exist: look
        for ``display_name`` in ``list_jobs`` before trying again.
        """
        from google.genai import types

        once = types.HttpOptions(retry_options=types.HttpRetryOptions(attempts=1))
        action = f"creation of batch job {display_name}"
        # Of enqueued tokens Gemini says nothing but that a quota is exceeded.
        unnamed = Quota.TOKENS
        with _translated(action, _FILE_REFUSALS, unnamed), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the SDK says at every call that it is experimental
            job = self._client.batches.create_embeddings(
                model=model,
                src={"file_name": input_file_name},
                config=types.CreateEmbeddingsBatchJobConfig(
                    display_name=display_name, http_options=once
                ),
            )
        if not job.name:
            raise OutcomeUnknownError(f"{action}: no name came back")
        return RemoteJob(
            name=job.name,
            display_name=display_name,
            state_name=job.state.name if job.state else "JOB_STATE_PENDING",
            model=model,
            created_at=job.create_time,
            ended_at=job.end_time,
        )

    def list_jobs(self) -> Listing[RemoteJob]:
        """All batch jobs of the project, newest first, a page at a time."""
        return Listing("operations", partial(self._page, "batches"), _quotable_job)

    def get_job(self, name: str) -> RemoteJob | None:
        """One batch job; None if Gemini says it does not know it, which is more than no answer."""
        try:
            answer = self._get_json(name, _JOB_REFUSALS)
        except _JobMissingError:
            return None
        return _quotable_job(answer | {"name": name})  # under which it was found

    def cancel_job(self, name: str) -> None:
        """Ask for a job to be cancelled; its state will show later whether it was.

        Harmless to repeat, and for a job that has ended or is not known.
        """
        action = f"cancellation of {name}"
        with suppress(_JobMissingError), _translated(action, _JOB_REFUSALS):
            self._client.batches.cancel(name=name)

    def _page(self, path: str, token: str) -> dict[str, Any]:
        query = urlencode({"pageSize": _PAGE_SIZE, "pageToken": token})
        return self._get_json(f"{path}?{query}")

    def _get_json(self, path: str, refusals: _ByCode = _REFUSALS) -> dict[str, Any]:
        with _translated(f"GET {path.partition('?')[0]}", refusals):
            body = self._client._api_client.request("get", path, {}).body
            return _parsed(body or "{}")

    # --- synchronous embedding --------------------------------------------------------------

    def embed(
        self, texts: Sequence[str], *, model: str, dimensions: int, task_type: str | None
    ) -> SyncAnswer:
        """Embed up to 100 texts at once, at the full price.

        Raises AnswerCountError if another number of vectors comes back than texts were sent, or
        what comes cannot be read: all of them may be paid for.
        """
        from google.genai import types

        # Each text its own Content: gemini-embedding-2 makes one vector of a list of strings.
        contents = [types.Content(parts=[types.Part(text=text)]) for text in texts]
        config = types.EmbedContentConfig(task_type=task_type, output_dimensionality=dimensions)
        with _translated(f"embedding of {len(texts)} texts"):
            try:
                response = self._client.models.embed_content(
                    model=model, contents=contents, config=config
                )
            except (KeyError, ValueError) as exc:
                raise AnswerCountError(
                    f"{len(texts)} texts were sent, and what came back is no answer: "
                    f"{_quotable(repr(exc))}",
                    billed_tokens=None,
                ) from cleared(exc)
        vectors = tuple(tuple(e.values or ()) for e in response.embeddings or ())
        usage = response.usage_metadata
        billed_tokens = usage.prompt_token_count if usage else None
        if len(vectors) != len(texts):
            raise AnswerCountError(
                f"{len(texts)} texts were sent, {len(vectors)} vectors came back",
                billed_tokens=billed_tokens,
            )
        return SyncAnswer(vectors=vectors, billed_tokens=billed_tokens)


def _verify(file: "types.File", path: Path) -> None:
    """Compare what Gemini says it got with what is on disk."""
    n_bytes = path.stat().st_size
    if file.size_bytes is not None and file.size_bytes != n_bytes:
        raise OutcomeUnknownError(
            f"upload of {path.name}: {file.size_bytes} bytes arrived of {n_bytes}"
        )
    if file.sha256_hash:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256")
        # Real answers have base64 of the hex digits, the documentation means that of the bytes.
        expected = (b64encode(digest.hexdigest().encode()), b64encode(digest.digest()))
        if file.sha256_hash.encode() not in expected:
            raise OutcomeUnknownError(f"upload of {path.name}: the digest differs on arrival")


@contextmanager
def _translated(
    action: str, refusals: _ByCode = _REFUSALS, unnamed: Quota = Quota.UNKNOWN
) -> Iterator[None]:
    """Turn the errors of SDK and transport into ours; a code that ``refusals`` lacks is refused.

    ``unnamed`` is the quota that a 429 is about if it does not say.
    """
    import httpx2
    from google.genai import errors

    try:
        yield
    except errors.APIError as exc:
        raise _translation(exc, action, refusals, unnamed) from cleared(exc)
    except httpx2.HTTPError as exc:
        raise OutcomeUnknownError(f"{action}: {type(exc).__name__}: {exc}") from cleared(exc)
    except (KeyError, ValueError) as exc:
        # The SDK's upload and parsing raise these when an answer is not what it expects.
        detail = _quotable(repr(exc))
        raise OutcomeUnknownError(f"{action}: unexpected answer: {detail}") from cleared(exc)


def _translation(
    exc: "errors.APIError", action: str, refusals: _ByCode, unnamed: Quota
) -> GeminiError:
    detail = _quotable(exc.message or "no reason given")
    message = f"{action}: Gemini answered {exc.code} {exc.status}: {detail}"
    said = json.dumps(exc.details)
    quota = quota_of(said)
    # Billing is refused with other codes, too; what is said of an argument may quote anything.
    can_be_billing = exc.code in _BILLING_CODES and exc.status != INVALID_ARGUMENT
    if exc.code == 429 or (can_be_billing and quota is Quota.CREDITS):
        return RateLimitedError(
            message, code=exc.status, quota=quota or unnamed, retry_after=delay_of(said)
        )
    code = exc.status
    if exc.code == 401 or re.search("api[ _]key", detail, re.IGNORECASE):
        message, code = f"{_BAD_KEY} ({message})", None
    elif exc.code == 403 and 403 not in refusals:
        message = f"{_FORBIDDEN} ({message})"
    # 499 is said of a call that was given up on Gemini's side: it may have been carried out, like
    # one that met its own traces (409).
    if 400 <= exc.code < 500 and exc.code not in (408, 409, 499):
        return refusals.get(exc.code, RefusedError)(message, code=code)
    return UnavailableError(message) if exc.code == 503 else OutcomeUnknownError(message)


def _quotable(said: object) -> str:
    """Google names a suspended key in full, and what it says goes into logs and alerts.

    That key need not be one of this process.
    """
    return _KEY.sub("…", redacted(str(said)))[:_MAX_MESSAGE_CHARS]


def _quotable_job(operation: object) -> RemoteJob | None:
    job = read_job(operation)
    if job is None or job.error_message is None:
        return job
    return replace(job, error_message=_quotable(job.error_message))


def _parsed(body: str) -> dict[str, Any]:
    """The JSON object; raises ValueError for anything else."""
    try:
        parsed = json.loads(body)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(parsed, dict):
        raise ValueError(f"{type(parsed).__name__} is no object")
    return parsed
