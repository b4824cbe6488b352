"""Answers: whether what came for a shard is, as a whole, an answer to it.

Belongs here: telling a misunderstanding, which is about us, from a few texts that fail, and the
sentence about it. Does not belong here: single lines (results.py), what is done about it
(pipeline/collect.py).
"""

import json
import reprlib
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from embedding_assets.model.results import (
    MISSING_LINE,
    UNUSABLE_CODES,
    ParsedResults,
    RequestOutcome,
    is_error_document,
)
from embedding_assets.redaction import redacted
from embedding_assets.wording import count

# So few may be the texts' own fault, if their like was understood before; so many may be if
# nothing usable came of them before.
_FEW = 2
FEW_AGAIN = 20
# Of the answers that Gemini counts so many may be missing; it has them still.
_MAX_LOST_SHARE = 0.1
_MAX_SAMPLE_CHARS = 200

# The outline of a line: its names, and the beginnings of what is short. No text gets through.
_OUTLINE = reprlib.Repr()
_OUTLINE.maxstring = 24
_OUTLINE.maxlist = 1
_OUTLINE.maxdict = 8
_OUTLINE.maxlevel = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known of an answer before it is read."""

    n_answered: int | None = None  # requests, as Gemini counts them, that have no vector yet
    job_error: str | None = None  # why the job ended before all were answered
    failed_before: Collection[int] = ()  # chunks of which nothing usable ever came
    is_known_shape: bool = False  # answers of this spec were understood before
    was_lost_before: bool = False  # an answer to the same shard was paid for, and is gone


def is_result_file(results: ParsedResults) -> bool:
    """Whether these lines are an answer at all, and not a sign-in page, an error or nothing.

    What is none says nothing about the answer, which still lies at Gemini.
    """
    if results.n_lines == 1 and is_error_document(results.odd_line):
        return False
    return results.n_objects > 0 and results.n_objects * 2 >= results.n_lines


def reason_to_hold(results: ParsedResults, evidence: Evidence) -> str | None:
    """Why most of an answer cannot be used, if it cannot: then nothing like it is sent again.

    A text of which nothing usable came before is a poor witness, one that Gemini did not get to is
    none.
    """
    if not results.n_lines and evidence.n_answered == 0:
        return None  # nothing came, and by Gemini's own count there is nothing
    if not is_result_file(results):
        return f"what was downloaded is no result file: {_described(results)}"
    unusable = [each for each in results.outcomes if each.error_code in UNUSABLE_CODES]
    fresh = [each for each in unusable if each.chunk_id not in evidence.failed_before]
    n_understood = len(results.outcomes) - len(unusable)
    n_unanswered = _count_unanswered(results, unusable, evidence)
    n_unusable, n_fresh = len(unusable) - n_unanswered, len(fresh) - n_unanswered
    few = _FEW if evidence.is_known_shape else 0
    is_most = n_unusable > n_understood and (n_fresh > few or n_unusable > FEW_AGAIN)
    if not is_most and not _lacks_answers(results, evidence):
        return None
    counts = f"{n_unusable:,} of {count(len(results.outcomes), 'answer')} cannot be used"
    said = f"; Gemini counts {evidence.n_answered:,} as answered" if evidence.n_answered else ""
    reason = _reason_of(unusable, results, n_unanswered)
    return f"{counts}: {reason}; {_described(results)}{said}"


def _count_unanswered(
    results: ParsedResults, unusable: Collection[RequestOutcome], evidence: Evidence
) -> int:
    """How many of the missing lines are missing because Gemini did not answer."""
    n_missing = sum(each.error_code == MISSING_LINE for each in unusable)
    if evidence.n_answered:
        return max(0, n_missing - _count_lost(results, evidence))
    # A line that is nobody's is an answer to somebody.
    return max(0, n_missing - results.n_unknown) if evidence.job_error else 0


def _count_lost(results: ParsedResults, evidence: Evidence) -> int:
    """How many more answers Gemini counts than are here."""
    return max(0, (evidence.n_answered or 0) - sum(each.is_answer for each in results.outcomes))


def _lacks_answers(results: ParsedResults, evidence: Evidence) -> bool:
    """Whether a part of the file is missing: it would be paid for twice."""
    n_missing = sum(each.error_code == MISSING_LINE for each in results.outcomes)
    n_lost = min(n_missing, _count_lost(results, evidence))
    return n_lost > max(_FEW, _MAX_LOST_SHARE * len(results.outcomes))


def _reason_of(
    unusable: Collection[RequestOutcome], results: ParsedResults, n_unanswered: int
) -> str:
    """What most of them have in common, those aside that Gemini did not get to."""
    found = Counter(each.error_code for each in unusable)
    found[MISSING_LINE] -= n_unanswered
    [(code, _)] = found.most_common(1)
    if code == MISSING_LINE and results.n_unknown:
        return f"{results.n_unknown:,} lines have no key of this shard"
    return next(each.error_message or "" for each in unusable if each.error_code == code)


def _described(results: ParsedResults) -> str:
    lines = count(results.n_lines, "line")
    return f"one of {lines} is {outline(results.odd_line)}" if results.odd_line else lines


def outline(line: bytes) -> str:
    """What a line looks like, in a few words, without what it says."""
    text = redacted(line.decode("utf-8", "replace"))
    try:
        document: Any = json.loads(text)
    except (ValueError, RecursionError):
        document = text.strip()[:_MAX_SAMPLE_CHARS]
    return _OUTLINE.repr(document)[:_MAX_SAMPLE_CHARS]
