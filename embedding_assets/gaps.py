"""The gaps between an effect and its record, by name: where a test may kill the process.

Belongs here: the names, in the order in which a chunk meets them. Does not belong here: what is
done on either side of a gap (pipeline/).

The promises must hold whichever gap a process dies in, so a test tries each of them.
"""

import os
import signal
from enum import StrEnum

DIE_IN_VARIABLE = "DIE_IN_GAP"


class Gap(StrEnum):
    """Where a process may die: after the first thing and before the second."""

    LISTED = "listed"  # a generation's documents are listed; it is still a draft
    PLANNED = "planned"  # shards are planned; none of their files is written
    REQUESTS_WRITTEN = "requests_written"  # the JSONL file is written; no attempt is reserved
    RESERVED = "reserved"  # an attempt is reserved; nothing is uploaded
    UPLOADED = "uploaded"  # the file is at Gemini; its name is not on record
    UPLOAD_RECORDED = "upload_recorded"  # the name is on record; no create call is announced
    ANNOUNCED = "announced"  # a create call is on record; it has not been made
    CREATED = "created"  # the job exists; its name is not on record
    CONFIRMED = "confirmed"  # the job is on record; what it teaches about the limits is not
    POLLED = "polled"  # Gemini has said how its jobs are; none of it is on record
    CANCEL_RECORDED = "cancel_recorded"  # a cancellation is on record; Gemini is not asked for it
    DOWNLOADED = "downloaded"  # the results are beside their place, not in it
    RESULTS_KEPT = "results_kept"  # the results are in their place, not in the index
    COLLECTED = "collected"  # the results are in the index; the uploaded file is still at Gemini
    ANSWERED = "answered"  # a synchronous call is answered; its answer is not on disk
    ANSWER_WRITTEN = "answer_written"  # one synchronous answer is on disk; others are not
    ANSWERS_KEPT = "answers_kept"  # all synchronous answers are in their place, not on record
    EMBEDDED_AGAIN = "embedded_again"  # sampled texts are embedded again; their vectors are lost
    COMPLETE = "complete"  # every chunk is settled; readers still see the generation before
    PUBLISHED = "published"  # readers see the generation; nothing superfluous is removed yet
    GENERATIONS_REMOVED = "generations_removed"  # old ones list nothing; their documents are there
    DOCUMENTS_REMOVED = "documents_removed"  # those are gone; their chunks are still there
    CHUNKS_FORGOTTEN = "chunks_forgotten"  # those are forgotten; free pages and files are left


def pass_gap(gap: Gap) -> None:
    """Go on, or die as if by SIGKILL if the environment names this gap."""
    if os.environ.get(DIE_IN_VARIABLE) == gap:
        os.kill(os.getpid(), signal.SIGKILL)
