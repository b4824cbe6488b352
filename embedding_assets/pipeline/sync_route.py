"""The synchronous route: a shard embedded at once, at the full price.

Belongs here: calls of up to 100 texts, pacing, resuming, and a result file in the Batch API's own
format, so that collection has one path. Does not belong here: when to take it (plan.py).
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import orjson
from filelock import FileLock
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from embedding_assets.clock import Clock
from embedding_assets.errors import (
    AnswerCountError,
    RateLimitedError,
    RefusedError,
    UnavailableError,
)
from embedding_assets.files import room_for
from embedding_assets.gaps import Gap, pass_gap
from embedding_assets.gemini.client import MAX_TEXTS_PER_CALL, GeminiClient, SyncAnswer
from embedding_assets.model.batch_jobs import BatchJob, JobState
from embedding_assets.model.passages import Passage
from embedding_assets.model.request_file import ShardFile, chunk_id_of, custom_id
from embedding_assets.model.results import MISSING_LINE, UNUSABLE_CODES, parse_results
from embedding_assets.model.shards import Shard
from embedding_assets.model.spec import EmbeddingSpec
from embedding_assets.model.tokens import DEFAULT
from embedding_assets.pipeline.collect import disk_errors, result_path
from embedding_assets.store.index import Index

_CANARY = "ok"
_STOPPED = "most of what was answered is of no use, so no more was asked for"
_INVALID_ARGUMENT = 3  # google.rpc.Code
_DATA_LOSS = 15
_MAX_VALUE_BYTES = 25  # a float64 as JSON, "-2.2250738585072014e-308", and its comma
_MAX_KEY_AND_MESSAGE_BYTES = 4_000

# What leaves evenly does not arrive evenly: a call that is faster on its way than the one a minute
# before it would find that minute full.
_SHARE_OF_LIMIT = 0.97

# After the client's own retries, which take seconds. A 429 is about a whole minute, and so is
# what the last of these waits outlives.
_MAX_TRIES = 4
_FIRST_WAIT_S = 15.0
_MAX_WAIT_S = 60.0


@dataclass(slots=True, kw_only=True)
class Pacer:
    """Keeps under a number of texts a minute: each text of a call counts as one request.

    A call's share of the minute passes before it is sent, not after it. So the pace holds from
    one process to the next, too, which does not know what the one before it has sent.
    """

    texts_per_minute: int
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _last_at: float | None = field(default=None, init=False)

    def wait_for(self, n_texts: int) -> None:
        """Return when these texts may be sent."""
        now = self.clock()
        since = now if self._last_at is None else self._last_at
        free_at = since + n_texts * 60 / (self.texts_per_minute * _SHARE_OF_LIMIT)
        if free_at > now:
            self.sleep(free_at - now)
        self._last_at = max(free_at, now)


@contextmanager
def alone(results_dir: Path) -> Iterator[None]:
    """One process at a time: the rate limit is the project's, and no text is sent by two."""
    results_dir.mkdir(parents=True, exist_ok=True)
    with FileLock(results_dir / ".sync_route.lock"):
        yield


def embed_shard(
    index: Index,
    gemini: GeminiClient,
    shard: Shard,
    file: ShardFile,
    *,
    results_dir: Path,
    pacer: Pacer,
    clock: Clock,
) -> BatchJob:
    """Embed a shard's requests and leave their results as if a batch job had succeeded.

    Killed midway, it goes on with what was not answered yet. A text that Gemini refuses becomes
    an error line. Raises RefusedError if Gemini refuses everything, on the record if it did so
    from the first text on; and RateLimitedError, OutcomeUnknownError or ResultFileError, after
    which it can be called again.
    """
    with disk_errors(shard, results_dir), alone(results_dir):
        job = index.jobs.reserve(shard, requests_sha256=file.sha256, now=clock())
        began_at = clock()  # not when it was reserved: that may be another month's money
        destination = result_path(results_dir, job)
        # By shard, not by attempt: what a refused attempt paid for is good for the next one.
        partial = results_dir / f"{shard.key}-{file.sha256[:16]}.partial"
        if destination.exists():  # killed between the last two steps below
            destination.replace(partial)
        answered = _answered(partial)
        pending = index.shards.pending_requests(shard)
        requests = [request for request in pending if request[0] not in answered]
        try:
            is_understood = _embed_into(partial, gemini, shard.spec, requests, pacer)
        except RateLimitedError:
            raise
        except RefusedError as exc:
            # With answers that are paid for it stays reserved: or they would be planned again.
            if not partial.stat().st_size:
                index.jobs.move(job, JobState.REFUSED, error_message=str(exc), ended_at=clock())
            raise
        partial.replace(destination)
        pass_gap(Gap.ANSWERS_KEPT)
        return index.jobs.move(
            job,
            JobState.SUCCEEDED,
            submitted_at=began_at,
            ended_at=clock(),
            error_message=None if is_understood else _STOPPED,
        )


def _answered(partial: Path) -> set[int]:
    """The chunks whose answers an earlier process wrote; what a kill spoilt is cut off."""
    if not partial.exists():
        return set()
    answered: set[int] = set()
    n_good_bytes = 0
    with partial.open("rb") as lines:
        for line in lines:
            chunk_id = _key_of(line)
            if chunk_id is None:
                break
            answered.add(chunk_id)
            n_good_bytes += len(line)
    os.truncate(partial, n_good_bytes)
    return answered


def _key_of(line: bytes) -> int | None:
    if not line.endswith(b"\n"):
        return None
    with suppress(orjson.JSONDecodeError, KeyError, TypeError):
        return chunk_id_of(orjson.loads(line)["key"])
    return None


def _embed_into(
    partial: Path,
    gemini: GeminiClient,
    spec: EmbeddingSpec,
    requests: Sequence[tuple[int, Passage]],
    pacer: Pacer,
) -> bool:
    """Append the answers, call by call: each is on disk before the next one is paid for.

    False if it was stopped, because most of what has come is of no use: what is the matter then
    is found when it is collected.
    """
    partial.touch()
    balance = 0  # answers of use, less the others
    with partial.open("r+b") as results:
        for start in range(0, len(requests), MAX_TEXTS_PER_CALL):
            call = requests[start : start + MAX_TEXTS_PER_CALL]
            with room_for(len(call) * _max_line_bytes(spec), results):
                for lines in _embed(gemini, spec, call, pacer):
                    pass_gap(Gap.ANSWERED)
                    results.writelines(lines)
                    results.flush()
                    os.fsync(results.fileno())
                    pass_gap(Gap.ANSWER_WRITTEN)
                    balance += _balance(lines, call, spec)
            if balance < 0:
                return False
    return True


def _balance(
    lines: Sequence[bytes], call: Sequence[tuple[int, Passage]], spec: EmbeddingSpec
) -> int:
    """How many more lines of a call are of use than not."""
    requested = [chunk_id for chunk_id, _ in call]
    outcomes = parse_results(lines, requested=requested, dimensions=spec.dimensions).outcomes
    n_useless = sum(each.error_code in UNUSABLE_CODES - {MISSING_LINE} for each in outcomes)
    return len(lines) - 2 * n_useless


def _max_line_bytes(spec: EmbeddingSpec) -> int:
    return _MAX_KEY_AND_MESSAGE_BYTES + spec.dimensions * _MAX_VALUE_BYTES


def _embed(
    gemini: GeminiClient, spec: EmbeddingSpec, requests: Sequence[tuple[int, Passage]], pacer: Pacer
) -> Iterator[list[bytes]]:
    """Result lines, a call's at a time, halving calls around a text that Gemini refuses.

    Of too few vectors nobody can say whose they are: none is used, and all are on the bill.
    """
    texts = [spec.document_text(passage) for _, passage in requests]
    try:
        answer = _ask(gemini, spec, texts, pacer)
    except RateLimitedError:
        raise
    except AnswerCountError as exc:
        tokens = _apportion(exc.billed_tokens, texts)
        yield [
            _error_line(chunk_id, str(exc), n_tokens, code=_DATA_LOSS)
            for (chunk_id, _), n_tokens in zip(requests, tokens, strict=True)
        ]
        return
    except RefusedError as exc:
        if len(requests) > 1:
            middle = len(requests) // 2
            yield from _embed(gemini, spec, requests[:middle], pacer)
            yield from _embed(gemini, spec, requests[middle:], pacer)
            return
        # Raises RefusedError if it is not the text that Gemini refuses but us, say a bad key.
        answer = _ask(gemini, spec, [_CANARY], pacer)
        n_tokens = answer.billed_tokens or DEFAULT.estimate(_CANARY)
        yield [_error_line(requests[0][0], str(exc), n_tokens)]
        return
    tokens = _apportion(answer.billed_tokens, texts)
    yield [
        _result_line(chunk_id, vector, n_tokens)
        for (chunk_id, _), vector, n_tokens in zip(requests, answer.vectors, tokens, strict=True)
    ]


def _ask(
    gemini: GeminiClient, spec: EmbeddingSpec, texts: Sequence[str], pacer: Pacer
) -> SyncAnswer:
    """The answer to one call. What may soon be over is waited for; after that it is raised."""
    retrying = Retrying(
        retry=retry_if_exception(_passes_soon),
        stop=stop_after_attempt(_MAX_TRIES),
        wait=wait_exponential_jitter(initial=_FIRST_WAIT_S, max=_MAX_WAIT_S, jitter=_FIRST_WAIT_S),
        sleep=pacer.sleep,
        reraise=True,
    )
    return retrying(_ask_once, gemini, spec, texts, pacer)


def _passes_soon(exc: BaseException) -> bool:
    """A 503, or a 429 that is not about money or a whole day."""
    if not isinstance(exc, RateLimitedError):
        return isinstance(exc, UnavailableError)
    is_long = exc.retry_after is not None and exc.retry_after.total_seconds() > _MAX_WAIT_S
    return not is_long and not exc.quota.is_for_people


def _ask_once(
    gemini: GeminiClient, spec: EmbeddingSpec, texts: Sequence[str], pacer: Pacer
) -> SyncAnswer:
    pacer.wait_for(len(texts))
    return gemini.embed(
        texts, model=spec.model, dimensions=spec.dimensions, task_type=spec.document_task_type
    )


def _apportion(billed_tokens: int | None, texts: Sequence[str]) -> Sequence[int | None]:
    """Each text's share of the tokens billed for the call, by estimate; the sum is exact.

    None if Gemini did not say how many.
    """
    if not billed_tokens:
        return [None] * len(texts)
    weights = [DEFAULT.estimate(text) for text in texts]
    total, running, shares = sum(weights), 0, []
    for weight in weights:
        before = billed_tokens * running // total
        running += weight
        shares.append(billed_tokens * running // total - before)
    return shares


def _result_line(chunk_id: int, vector: Sequence[float], n_tokens: int | None) -> bytes:
    response = {**_counted(n_tokens), "embedding": {"values": vector}}
    return orjson.dumps(
        {"key": custom_id(chunk_id), "response": response}, option=orjson.OPT_APPEND_NEWLINE
    )


def _error_line(
    chunk_id: int, message: str, n_tokens: int | None, *, code: int = _INVALID_ARGUMENT
) -> bytes:
    """With the tokens that it took to find out whose fault it was."""
    line = {
        "key": custom_id(chunk_id),
        "error": {"code": code, "message": message},
        "response": _counted(n_tokens),
    }
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


def _counted(n_tokens: int | None) -> dict[str, str]:
    return {} if n_tokens is None else {"tokenCount": str(n_tokens)}
