"""The gaps between an effect and its record, by name: where a test may kill the process.

Belongs here: the names, in the order in which a chunk meets them. Does not belong here: what is
done on either side of a gap (pipeline/).

What is promised must hold whichever gap a process dies in, so each of these is tried by a test.
"""

import os
import signal
from enum import StrEnum

DIE_IN_VARIABLE = "DIE_IN_GAP"


class Gap(StrEnum):
    """Where a process may die: after the first thing and before the second."""

    LISTED = "listed"  # a generation's documents are listed, it is not being built yet
    PLANNED = "planned"  # shards are planned, nothing is written for them
    REQUESTS_WRITTEN = "requests_written"  # the JSONL file is there, nothing is reserved
    RESERVED = "reserved"  # an attempt is reserved, nothing is uploaded
    UPLOADED = "uploaded"  # the file is at Gemini, its name is not on record
    UPLOAD_RECORDED = "upload_recorded"  # the name is on record, nothing is announced
    ANNOUNCED = "announced"  # a create call is on record, it was not made
    CREATED = "created"  # there is a job, its name is not on record
    CONFIRMED = "confirmed"  # the job is on record, what it tells of the limits is not
    POLLED = "polled"  # Gemini said how its jobs are, nothing of it is on record
    CANCEL_RECORDED = "cancel_recorded"  # a cancellation is on record, it was not asked for
    DOWNLOADED = "downloaded"  # the results are beside their place, not in it
    RESULTS_KEPT = "results_kept"  # the results are in their place, not in the index
    COLLECTED = "collected"  # the results are in the index, the uploaded file is still at Gemini
    ANSWERED = "answered"  # a synchronous call was answered, its answer is not on disk
    ANSWER_WRITTEN = "answer_written"  # a synchronous answer is on disk, others are not
    ANSWERS_KEPT = "answers_kept"  # the synchronous results are in their place, not on record
    COMPLETE = "complete"  # every chunk is settled, readers see the generation before
    PUBLISHED = "published"  # readers see the generation, nothing that is superfluous is removed
    GENERATIONS_REMOVED = "generations_removed"  # old ones have no documents, which are there
    DOCUMENTS_REMOVED = "documents_removed"  # nor are those, but their chunks are
    CHUNKS_FORGOTTEN = "chunks_forgotten"  # nor they, but the files are, and pages without use


def pass_gap(gap: Gap) -> None:
    """Go on; or die as by SIGKILL, if the environment asks for it here."""
    if os.environ.get(DIE_IN_VARIABLE) == gap:
        os.kill(os.getpid(), signal.SIGKILL)
