"""Every error this package raises on purpose, as one tree.

    EmbeddingAssetsError
    ├── SettingsError            a setting is missing, unknown or out of range
    │   └── KeyUnusableError         the API key cannot be one, or may not be sent there
    ├── CorpusError              a corpus path cannot be used at all
    ├── DocumentError            one document cannot be read or has no text; the others go on
    ├── IndexMissingError        there is no index file, or nothing is published in it
    ├── IndexSchemaError         the index file was written by another version
    ├── StorageError             a disk is full, failing or not ours to write on
    ├── DatabaseDamagedError     what is in a database file is not what was written
    ├── BudgetExceededError      a plan costs more than the settings allow; nothing was written
    ├── LedgerError              a job state or transition that cannot be
    ├── NotYetError              nothing is wrong; it is done later without anybody's help
    │   ├── NoRoomError              our own limits do not admit another job now
    │   ├── BudgetReachedError       what is left of the budget is not enough for a call
    │   ├── IndexInDoubtError        another index may be at work under the same id
    │   ├── OtherProviderError       a shard was planned for somebody else than who answers now
    │   └── ResultsNotReadyError     a job has succeeded, its results cannot be had yet
    ├── ResultFileError          a downloaded result file is not what was asked for
    ├── AnswerHeldError          what was answered and paid for is not understood; it is kept
    ├── PublishingError          a generation is not fit to be published
    ├── ReindexError             a run of the reindex job failed; the message says where
    ├── ProcessError             a child process or a port could not be had
    └── GeminiError              Gemini, or the way to it
        ├── RefusedError         a definite no: nothing was done and nothing is owed
        │   ├── RateLimitedError     no for now: a quota is used up, or the money
        │   └── FileGoneError        the remote file expired or never was (403 on a file)
        ├── NotLookedError       its list of jobs cannot be read, and so nothing is created
        ├── AnswerCountError     another number of vectors came than texts were sent
        └── OutcomeUnknownError  time-out, dropped connection, 5xx: it may have been done
            └── UnavailableError     overloaded (503)

A message says what happened, to which thing, what was found against what was expected, and what
to do next. It never carries a key or a whole text. Errors of libraries are translated at the edge
that knows the library, with ``raise … from``.
"""

from datetime import timedelta
from enum import StrEnum

from embedding_assets.redaction import redacted


class EmbeddingAssetsError(Exception):
    """The root of the tree; the command line turns any of these into one line and exit code 2.

    Whatever a message quotes, it has no secret.
    """

    def __init__(self, message: str) -> None:
        super().__init__(redacted(message))


class SettingsError(EmbeddingAssetsError):
    """A setting is missing, unknown or out of range."""


class KeyUnusableError(SettingsError):
    """The API key in the environment cannot be one, or may not be sent where it is to go."""


class CorpusError(EmbeddingAssetsError):
    """A corpus path cannot be used at all."""


class DocumentError(EmbeddingAssetsError):
    """One document cannot be read or has no text."""


class IndexMissingError(EmbeddingAssetsError):
    """There is no index file, or nothing is published in it."""


class IndexSchemaError(EmbeddingAssetsError):
    """The index file was written by another version of this package."""


class StorageError(EmbeddingAssetsError):
    """A disk is full, failing or not ours to write on; what was being written is as before."""


class DatabaseDamagedError(EmbeddingAssetsError):
    """What is in a database file is not what was written: only a copy of it helps."""


class BudgetExceededError(EmbeddingAssetsError):
    """A plan costs more than the settings allow."""


class LedgerError(EmbeddingAssetsError):
    """A job state, or a transition between two, that cannot be."""


class NotYetError(EmbeddingAssetsError):
    """Nothing is wrong: the sensors do it later without anybody's help."""


class NoRoomError(NotYetError):
    """Our own limits do not admit another job now; there is room when others have ended."""


class BudgetReachedError(NotYetError):
    """What is left of the budget is not enough for a shard or a call; a person may allow more."""


class IndexInDoubtError(NotYetError):
    """Another index may be at work under the same id: a person says which of them goes on."""


class OtherProviderError(NotYetError):
    """A shard was planned for Gemini and the emulator answers, or the other way round."""


class ResultsNotReadyError(NotYetError):
    """A job has succeeded a moment ago, and its results cannot be had yet."""


class ResultFileError(EmbeddingAssetsError):
    """A downloaded result file is not what was asked for."""


class AnswerHeldError(EmbeddingAssetsError):
    """What was answered and paid for is not understood: it is kept, and nothing is sent again."""


class PublishingError(EmbeddingAssetsError):
    """A generation is not fit to be published."""


class ReindexError(EmbeddingAssetsError):
    """A run of the reindex job failed."""


class ProcessError(EmbeddingAssetsError):
    """A child process or a port could not be had."""


class GeminiError(EmbeddingAssetsError):
    """Gemini, or the way to it."""


class NotLookedError(GeminiError):
    """Gemini's list of jobs cannot be read: what is about to be created may be in it already."""


class AnswerCountError(GeminiError):
    """Another number of vectors came back than texts were sent; they may be billed all the same."""

    def __init__(self, message: str, *, billed_tokens: int | None) -> None:
        super().__init__(message)
        self.billed_tokens = billed_tokens


class RefusedError(GeminiError):
    """A definite no (4xx): nothing was done and nothing is owed.

    ``code`` is Gemini's name for it, like INVALID_ARGUMENT; None if it is said of the key.
    """

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code


class Quota(StrEnum):
    """What there is too little of, by what Gemini says when it refuses for now."""

    TOKENS = "tokens"  # enqueued, over all batch jobs of a model
    REQUESTS = "requests"  # a minute, or a day; also tokens a minute
    STORAGE = "storage"  # bytes of files
    SPEND = "spend"  # dollars in ten minutes, or in a month
    CREDITS = "credits"  # prepaid ones are used up, or there is no billing
    UNKNOWN = "unknown"  # it says something else, or nothing

    @property
    def is_for_people(self) -> bool:
        """Whether it is about money: that may go on until somebody does something."""
        return self in (Quota.SPEND, Quota.CREDITS)


class RateLimitedError(RefusedError):
    """No for now (429, or any code about billing): the same call may be accepted later.

    ``retry_after`` is how long Gemini wants us to wait, if it says so.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        quota: Quota = Quota.UNKNOWN,
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(message, code=code)
        self.quota = quota
        self.retry_after = retry_after


class FileGoneError(RefusedError):
    """The remote file expired or never was; Gemini answers 403 for both."""


class OutcomeUnknownError(GeminiError):
    """Time-out, dropped connection or 5xx: the call may or may not have been carried out."""


class UnavailableError(OutcomeUnknownError):
    """Gemini is overloaded (503): a minute later it may answer."""
