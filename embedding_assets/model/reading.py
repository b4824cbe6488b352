"""Reading: how a person wants an answer to be read that was read before.

Belongs here: the ways by name, light enough for the command line. Does not belong here: reading
(pipeline/collect.py).
"""

from enum import StrEnum


class Reading(StrEnum):
    """How a person wants an answer to be read that was read before."""

    AGAIN = "again"  # downloaded anew, and judged anew
    AS_IS = "as-is"  # what is understood is taken, the rest has failed and is sent again
