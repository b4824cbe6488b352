"""Which quota a refusal is about, and when to ask again, from what Gemini says.

Belongs here: reading ``google.rpc`` details and, where they are missing, the message. Does not
belong here: what follows from it (model/room.py).

Details come as JSON, or as the text of a protocol buffer inside a message (python-genai #1172), so
their words are sought wherever they are. "Check your plan and billing details" is said of any.
"""

import re
from datetime import timedelta

from embedding_assets.errors import Quota

# The first that is found counts.
_SIGNS = (
    (Quota.STORAGE, r"file_?storage"),
    (
        Quota.CREDITS,
        r"credits? (\w+ ){0,3}(deplet|exhaust|used up)|insufficient credit|billing_(disabled|not)"
        r"|billing (\w+ ){0,3}(disabled|not (active|enabled))|(enable|requires|without) billing",
    ),
    (Quota.SPEND, r"spend"),
    (Quota.TOKENS, r"enqueued"),
    (Quota.REQUESTS, r"per ?_?(minute|day)|_requests\b"),
)
_NAMES_A_QUOTA = re.compile(r"quota_?(id|metric|limit)|violations|errorinfo", re.IGNORECASE)
# "59s", "3.5s" in JSON, "seconds: 59" in a text, "Please retry in 59.3s." in a message.
_DELAY = re.compile(r"(?:retryDelay|seconds|retry in)[^\w-]+(\d+(?:\.\d+)?)", re.IGNORECASE)
# File storage is refused with 2**63 - 1 seconds: no quota is longer than a day.
_LONGEST_DELAY_S = 86_400


def quota_of(said: str) -> Quota | None:
    """The quota that message and details name; None if they name none at all."""
    for quota, sign in _SIGNS:
        if re.search(sign, said, re.IGNORECASE):
            return quota
    return Quota.UNKNOWN if _NAMES_A_QUOTA.search(said) else None


def delay_of(said: str) -> timedelta | None:
    """How long to wait, if it says so and it makes sense."""
    found = _DELAY.search(said)
    if found is None or not 0 < float(found[1]) <= _LONGEST_DELAY_S:
        return None
    return timedelta(seconds=float(found[1]))
