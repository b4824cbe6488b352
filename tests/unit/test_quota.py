"""Quotas: which one a refusal is about, and how long to wait, from what Gemini was seen to say."""

import json
from datetime import timedelta
from typing import Any

import pytest

from embedding_assets.errors import Quota
from embedding_assets.gemini.quota import delay_of, quota_of

EXCEEDED = (
    "You exceeded your current quota, please check your plan and billing details. For more "
    "information on this error, head to: https://ai.google.dev/gemini-api/docs/rate-limits. To "
    "monitor your current usage, head to: https://ai.dev/usage?tab=rate-limit."
)
HELP = {
    "@type": "type.googleapis.com/google.rpc.Help",
    "links": [
        {"description": "Learn more about Gemini API quotas", "url": "https://ai.google.dev"}
    ],
}


def said(message: str, *details: dict[str, Any]) -> str:
    """The body of a refusal."""
    return json.dumps({"error": {"code": 429, "message": message, "details": details}})


def violation(quota_id: str, metric: str = "x") -> dict[str, Any]:
    return {
        "@type": "type.googleapis.com/google.rpc.QuotaFailure",
        "violations": [
            {"quotaMetric": f"generativelanguage.googleapis.com/{metric}", "quotaId": quota_id}
        ],
    }


def error_info(reason: str, **metadata: str) -> dict[str, Any]:
    return {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": reason,
        "metadata": metadata,
    }


# python-genai #1172: the details of file storage come as the text of a protocol buffer.
STORAGE_AS_TEXT = {
    "@type": "type.googleapis.com/google.rpc.DebugInfo",
    "detail": '[google.rpc.error_details_ext] { details { violations { quota_metric: "x/'
    'file_storage_bytes" quota_id: "FileStorageBytesPerProject" } } details { retry_delay { '
    "seconds: 9223372036854775807 } } }",
}


PER_MINUTE = "EmbedContentRequestsPerMinutePerProjectPerModel"
FREE_TIER = (
    f"{EXCEEDED}\n* Quota exceeded for metric: x/embed_content_free_tier_requests, limit: 100"
)
RATE_LIMIT = error_info("RATE_LIMIT_EXCEEDED", quota_limit="BatchEmbedContentsRequestsPerMinute")
STORAGE = violation("FileStorageBytesPerProject", "file_storage_bytes")


@pytest.mark.parametrize(
    ("quota", "body"),
    [
        (None, said(EXCEEDED)),
        (None, said(EXCEEDED, HELP)),
        (None, said("Resource has been exhausted (e.g. check quota).")),
        (Quota.TOKENS, said("Too many enqueued tokens for this model.")),
        (Quota.TOKENS, said(EXCEEDED, violation("BatchEnqueuedTokensPerProjectPerModel"))),
        (Quota.REQUESTS, said(EXCEEDED, violation(PER_MINUTE))),
        (Quota.REQUESTS, said(EXCEEDED, violation("EmbedContentInputTokensPerMinutePerProject"))),
        (Quota.REQUESTS, said(EXCEEDED, violation("EmbedContentRequestsPerDayPerProject"))),
        (Quota.REQUESTS, said(FREE_TIER)),
        (Quota.REQUESTS, said("Quota exceeded.", RATE_LIMIT)),
        (Quota.STORAGE, said(EXCEEDED, STORAGE)),
        (Quota.STORAGE, said(EXCEEDED, STORAGE_AS_TEXT)),
        (Quota.SPEND, said("Your project has reached its spend-based rate limit: $10.")),
        (Quota.SPEND, said("Monthly spending cap exceeded.")),
        (Quota.CREDITS, said("Your prepayment credits are depleted.")),
        (Quota.CREDITS, said("You have insufficient credits.")),
        (Quota.CREDITS, said("Billing is disabled.", error_info("BILLING_DISABLED"))),
        (Quota.CREDITS, said("This API method requires billing to be enabled.")),
        (Quota.CREDITS, said("Please enable billing on your project in Google AI Studio.")),
        (Quota.UNKNOWN, said(EXCEEDED, violation("NobodyKnowsThisOne"))),
        (Quota.UNKNOWN, said("No.", error_info("SOME_REASON"))),
    ],
)
def test_the_quota_is_named_by_details_or_message(quota: Quota | None, body: str) -> None:
    """What every refusal says of plan and billing is no sign; a name that is not known is one."""
    assert quota_of(body) is quota


@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        (said(EXCEEDED), None),
        (said(EXCEEDED, {"@type": "RetryInfo", "retryDelay": "59s"}), 59),
        (said(EXCEEDED, {"@type": "RetryInfo", "retryDelay": "0.5s"}), 0.5),
        (said(EXCEEDED, {"@type": "RetryInfo", "retryDelay": {"seconds": "7"}}), 7),
        (said(f"{EXCEEDED} Please retry in 12.25s."), 12.25),
        (said(EXCEEDED, {"@type": "RetryInfo", "retryDelay": "9223372036854775807s"}), None),
        (said(EXCEEDED, STORAGE_AS_TEXT), None),
        (said(EXCEEDED, {"@type": "RetryInfo", "retryDelay": "0s"}), None),
        (said(EXCEEDED, {"@type": "RetryInfo", "retryDelay": "-3s"}), None),
        (said(EXCEEDED, {"@type": "RetryInfo"}), None),
    ],
)
def test_how_long_to_wait(body: str, seconds: float | None) -> None:
    """Seconds up to a day, in any of the forms that were seen; anything else is no help."""
    assert delay_of(body) == (None if seconds is None else timedelta(seconds=seconds))
