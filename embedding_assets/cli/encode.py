"""What programs read: our values as JSON and CSV.

Belongs here: which fields of a value are shown, in which order and under which names, and how
numbers and moments are written. Does not belong here: what people read (show/).
"""

import csv
import io
import json
from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass
from datetime import datetime
from decimal import Decimal
from operator import attrgetter
from typing import Any

# Of each value: where its fields are found, by the name of its class. The last part of a path is
# the name, without n_, unless another one stands before it. Of what has a star, which is a mapping,
# there is a field for each key. What is not here is shown whole.
_SHAPES = {
    "Status": """
        published building n_open_shards n_live_jobs n_unconfirmed_jobs n_finished_jobs
        n_given_up_shards held_answers backing_off_until refusals held_since over_budget
        publication_due_at n_elsewhere doubt waits""",
    "Throttle": "quota message until=not_before n_refusals max_enqueued_tokens",
    "GenerationStatus": """
        generation=generation.generation_id generation.month generation.spec.provider
        generation.spec.model generation.spec.dimensions progress.n_documents progress.n_chunks
        progress.n_embedded progress.n_pending progress.n_failed progress.n_unplanned
        progress.coverage bill.n_shards bill.n_requests bill.estimated_tokens bill.billed_tokens
        bill.estimated_usd bill.billed_usd bill.sync_usd bill.without_reuse_usd""",
    "ListedGeneration": """
        generation=generation.generation_id generation.month generation.state
        generation.spec.provider generation.spec.model generation.spec.dimensions
        generation.spec.task_type generation.chunker generation.n_documents generation.n_chunks
        n_embedded bill.n_requests bill.billed_tokens bill.billed_usd generation.created_at
        generation.published_at""",
    "Statement": "by rows=lines totals",
    "Line": """
        *labels bill.n_shards bill.n_requests bill.n_embedded bill.n_failed bill.n_compared
        bill.estimated_tokens bill.billed_tokens bill.uncounted_tokens bill.estimated_usd
        bill.billed_usd
        estimate_error_percent=bill.comparable_error bill.sync_usd bill.without_reuse_usd
        chunks_not_bought=bill.n_not_bought bill.saved_usd""",
    "Estimate": """
        spec.provider spec.model spec.dimensions files progress.n_documents
        unreadable_documents=n_unreadable unreadable progress.n_chunks reused=progress.n_embedded
        under_way=progress.n_pending given_up=progress.n_failed packed.n_requests packed.n_bytes
        packed.n_tokens token_basis n_jobs route route_reason sync_usd_per_million=price.sync_usd
        batch_usd_per_million=price.batch_usd price_source=price.source costs.sync_usd
        costs.batch_usd costs.saving_usd cost_usd duration.n_waves duration.minutes_from
        duration.minutes_to agreement_texts=agreement.n_texts
        agreement_tokens=agreement.n_tokens agreement_cost_usd=agreement.cost_usd
        over_budget notes last_estimate=last_bill""",
    "Bill": "estimated_tokens billed_tokens off_by_percent=estimate_error",
    "Calculation": """
        assumptions.n_documents assumptions.tokens_per_document assumptions.reindexes_per_year
        sync_usd_per_million=assumptions.price.sync_usd
        batch_usd_per_million=assumptions.price.batch_usd price_source=assumptions.price.source
        scenarios yearly""",
    "Scenario": """
        n_documents n_tokens n_requests route costs.sync_usd costs.batch_usd costs.saving_usd""",
    "Costs": "sync_usd batch_usd saving_usd",
    "Census": "n_files tallies",
    "Report": "n_wrong n_repaired gemini_not_looked_at=not_looked_at findings",
    "Finding": "check severity message next_step is_repairable repaired",
    "CanaryReport": """
        provider proves_something_about_the_live_service=is_live n_unexpected observations""",
}


def exact_usd(amount: Decimal) -> str:
    """All digits, no exponent, and no zeros at the end."""
    return f"{amount.normalize():f}"


def plain_usd(amount: Decimal) -> str:
    """All digits, no exponent; zeros at the end as the price has them."""
    return f"{amount:f}"


def encode(value: Any, *, usd: Callable[[Decimal], str] = exact_usd) -> Any:
    """Plain values: a dictionary for each of ours, dollars and moments as text."""
    match value:
        case Decimal():
            return usd(value)
        case datetime():
            return value.isoformat()
        case list() | tuple():
            return [encode(each, usd=usd) for each in value]
        case _ if is_dataclass(value):
            return _shaped(value, usd)
    return value


def _shaped(value: Any, usd: Callable[[Decimal], str]) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    own = " ".join(field.name for field in fields(value))
    for word in _SHAPES.get(type(value).__name__, own).split():
        name, _, path = word.rpartition("=")
        found = attrgetter(path.removeprefix("*"))(value)
        name = name or path.rpartition(".")[2].removeprefix("n_")
        if path.startswith("*"):
            shown |= found
        elif name.endswith("_percent") and found is not None:
            shown[name] = round(100 * found, 2)
        else:
            shown[name] = encode(found, usd=usd)
    return shown


def json_of(value: Any, *, usd: Callable[[Decimal], str] = exact_usd) -> str:
    """For programs, and readable."""
    return json.dumps(encode(value, usd=usd), ensure_ascii=False, indent=2)


def csv_of(values: Iterable[Any]) -> str:
    """A heading and a row for each value; nothing at all without one."""
    rows = encode(tuple(values))
    if not rows:
        return ""
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=rows[0], restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
