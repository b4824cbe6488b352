"""The asset that readers see: search_index, with the gates before it as its checks.

Belongs here: what publishing a month loads, calls, stores and reports.
Does not belong here: the gates (model/gates.py) and the flip (pipeline/publish.py).
"""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from functools import partial
from statistics import median
from typing import Any

import dagster as dg

from embedding_assets.clock import utc_now
from embedding_assets.defs.asset_checks import nothing_to_check
from embedding_assets.defs.catalog import build_catalog, version_tags
from embedding_assets.defs.failures import fails_in_words
from embedding_assets.defs.partitions import build_months, forget_shards
from embedding_assets.defs.pictures import draw_pictures
from embedding_assets.defs.resources import IndexResource
from embedding_assets.defs.tags import RunTags
from embedding_assets.errors import PublishingError, StorageError
from embedding_assets.gemini.client import open_client
from embedding_assets.model.gates import Gate, GateName
from embedding_assets.model.generations import Generation, GenerationState, Progress
from embedding_assets.money.bill import describe_bill, describe_dollars
from embedding_assets.money.prices import sync_cost_usd
from embedding_assets.pipeline.agreement import embed_again
from embedding_assets.pipeline.publish import (
    Publication,
    generation_to_serve,
    look_at_gates,
    publish_generation,
    read_publication,
)
from embedding_assets.pipeline.retention import apply_retention
from embedding_assets.settings.values import Settings
from embedding_assets.store.index import Index
from embedding_assets.store.jobs import JobWait
from embedding_assets.wording import count

_GATES = {
    GateName.FINISHED: "Nothing of the generation is under way or unplanned.",
    GateName.COVERAGE: "At least publishing.min_coverage of its chunks have a vector.",
    GateName.SHRINKAGE: "It has not lost more than publishing.max_shrinkage of what is published.",
    GateName.SELF_RETRIEVAL: "Sampled chunks are found by the vectors that were bought for them.",
    GateName.AGREEMENT: "Sampled texts, embedded again, get the vectors that are stored for them.",
}


def build_search_index(settings: Settings) -> dg.AssetsDefinition:
    """The published index by month; the settings decide its calendar."""
    return dg.multi_asset(
        name="search_index",
        specs=[build_catalog(settings)["search_index"]],
        partitions_def=build_months(settings),
        check_specs=[
            dg.AssetCheckSpec(gate.value, asset="search_index", description=description)
            for gate, description in _GATES.items()
        ],
        can_subset=True,  # so that the checks may be left out: nothing may be there to check
    )(search_index)


@fails_in_words
def search_index(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    index: IndexResource,
) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
    """Publish a generation if its gates are open; without the asset only look at the gates."""
    tags, now = RunTags.parse(context.run.tags), utc_now()
    if not context.selected_asset_keys:
        yield from _gate_checks_alone(context, settings, index)
        return
    with index.open() as opened:
        to_publish = _to_publish(opened, context.partition_key, tags)
        generation = to_publish or _to_record(context, opened)
        if generation is None:
            return
        progress = opened.generations.progress(generation, limits=settings.limits)
        is_again = to_publish is not None and _was_served(context.instance, generation)
        if to_publish is not None:
            allow = _waived(generation, tags)
            gates = _judged_gates(opened, generation, progress, settings, allow)
            for gate in gates:
                if gate.name in _selected_checks(context):
                    yield _gate_check(generation, gate, is_only_warning=gate.name in allow)
            publish_generation(opened, generation, gates, allow=allow, now=now)
        published = read_publication(opened, generation, progress)
        summary = _summary(published, is_again=is_again)
        context.log.info(summary)
        pictures = draw_pictures(context, opened, published)
        numbers = _numbers(published, settings)
        removed, retention = _remove_superfluous(context, opened, settings, now)
        yield dg.MaterializeResult(
            "search_index",
            tags=version_tags(generation),
            metadata={"summary": summary, **pictures, **numbers, **retention},
        )
    # The month is recorded: what goes wrong here does not turn it red.
    forget_shards(context.instance, removed)


def _judged_gates(
    index: Index,
    generation: Generation,
    progress: Progress,
    settings: Settings,
    allow: Collection[GateName],
) -> tuple[Gate, ...]:
    """The gates, after some texts were embedded again unless nobody wants to know."""
    now, trouble = utc_now(), None
    if GateName.AGREEMENT not in allow:
        connect = partial(open_client, settings)
        trouble = embed_again(index, generation, progress, settings, connect=connect, now=now)
    return look_at_gates(index, generation, progress, settings, trouble=trouble, now=now)


def is_recorded(instance: dg.DagsterInstance, generation: Generation) -> bool:
    """Whether the newest materialization of the generation's month is of this generation.

    Not if the run that published it was killed before it could say so.
    """
    month = dg.AssetRecordsFilter(
        asset_key=dg.AssetKey("search_index"), asset_partitions=[generation.month]
    )
    for record in instance.fetch_materializations(month, limit=1).records:
        found = record.asset_materialization
        recorded = found.metadata.get("generation") if found else None
        return recorded is not None and recorded.value == generation.generation_id
    return False


def _to_record(context: dg.AssetExecutionContext, index: Index) -> Generation | None:
    """The generation that readers see, if it is the month's and Dagster does not know of it."""
    month, published = context.partition_key, index.generations.published()
    if published is None or published.month != month or is_recorded(context.instance, published):
        seen = published.month if published else "nothing"
        context.log.warning(f"{month} is not being built, so nothing changed; readers see {seen}")
        return None
    context.log.warning(
        f"readers see generation {published.generation_id} of {month} already, but the run that "
        "published it ended before it was recorded: this makes up for the record"
    )
    return published


def _was_served(instance: dg.DagsterInstance, generation: Generation) -> bool:
    """Whether it was published before, and that is on record."""
    if generation.state is GenerationState.PUBLISHED:
        return is_recorded(instance, generation)
    return generation.state is GenerationState.RETIRED


def _gate_checks_alone(
    context: dg.AssetExecutionContext, settings: Settings, index: IndexResource
) -> Iterator[dg.AssetCheckResult]:
    """What a person asks for who executes the checks: of no month, and nothing is published.

    The generation that is being built is looked at, else the one that readers see.
    """
    selected = _selected_checks(context)
    if not index.exists:
        yield from (nothing_to_check(name) for name in selected)
        return
    with index.open() as opened:
        generation = opened.generations.building() or opened.generations.published()
        if generation is None:
            yield from (nothing_to_check(name) for name in selected)
            return
        # A gate that is still shut keeps nothing from anybody while nobody wants to pass.
        is_early = generation.state is GenerationState.BUILDING
        progress = opened.generations.progress(generation, limits=settings.limits)
        for gate in look_at_gates(opened, generation, progress, settings, now=utc_now()):
            if gate.name in selected:
                yield _gate_check(generation, gate, is_only_warning=is_early)


def _selected_checks(context: dg.AssetExecutionContext) -> list[str]:
    return sorted(key.name for key in context.selected_asset_check_keys)


def _to_publish(index: Index, month: str, tags: RunTags) -> Generation | None:
    """The month's generation that is being built, or the one of it that a person named."""
    if tags.generation is not None:
        return _named(index, month, tags.generation)
    generation = index.generations.building()
    return generation if generation is not None and generation.month == month else None


def _named(index: Index, month: str, generation_id: int) -> Generation:
    """Raises PublishingError for one of another month: this partition would record it."""
    generation = generation_to_serve(index, generation_id)
    if generation.month != month:
        raise PublishingError(
            f"generation {generation_id} is of {generation.month}, and this run is for {month}: "
            f"launch it for {generation.month}, or `embedding-assets publish {generation_id}`"
        )
    return generation


def _waived(generation: Generation, tags: RunTags) -> frozenset[GateName]:
    """The gates that a person opened; all, for a generation that was served before."""
    return frozenset(GateName) if generation.state is GenerationState.RETIRED else tags.allow


def _gate_check(
    generation: Generation, gate: Gate, *, is_only_warning: bool
) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=gate.name.value,
        asset_key="search_index",
        passed=gate.is_open,
        severity=dg.AssetCheckSeverity.WARN if is_only_warning else dg.AssetCheckSeverity.ERROR,
        description=f"{generation.month}: {gate.verdict}",
        metadata=dict(gate.numbers),
    )


def _summary(published: Publication, *, is_again: bool) -> str:
    """One sentence, numbers only: it is shown on terminals and posted to wherever alerts go."""
    progress, bill = published.progress, published.bill
    again = " again" if is_again else ""
    n_without = progress.n_chunks - progress.n_embedded
    without = f" ({n_without:,} without a vector)" if n_without else ""
    content = (
        f"{published.generation.month} is published{again}: {count(progress.n_chunks, 'chunk')} of "
        f"{count(progress.n_documents, 'document')}{without}"
    )
    if is_again:
        return content  # what it cost was told when it was published first
    if not bill.n_requests:
        billed = f"; {describe_bill(bill)}" if bill.n_compared else "; nothing billed"
        return f"{content}, none of them sent{billed}"
    return f"{content}, {published.n_sent:,} of them sent; {describe_dollars(bill)}"


def _numbers(published: Publication, settings: Settings) -> dict[str, Any]:
    """For Dagster's own charts by month."""
    generation, progress, bill = published.generation, published.progress, published.bill
    share_sent = published.n_sent / progress.n_chunks if progress.n_chunks else 0.0
    sync_usd = sync_cost_usd(bill.billed_tokens, generation.spec.model, settings.prices)
    return {
        "dagster/row_count": progress.n_embedded,
        "generation": generation.generation_id,
        "documents": progress.n_documents,
        "chunks": progress.n_chunks,
        "chunks_failed": progress.n_failed,
        "coverage": progress.coverage,
        "chunks_sent": published.n_sent,
        "share_reused": round(1 - share_sent, 4),
        "requests_sent": bill.n_requests,
        "estimated_tokens": bill.estimated_tokens,
        "billed_tokens": bill.billed_tokens,
        "estimated_cost_usd": float(bill.estimated_usd),
        "billed_cost_usd": float(bill.billed_usd),
        # Without a price nothing is claimed; it is never zero.
        **({} if sync_usd is None else {"sync_cost_usd": float(sync_usd)}),
        "without_reuse_cost_usd": float(published.without_reuse_usd),
        **_wait_metadata(published.waits),
        "index": dg.MetadataValue.path(str(settings.index_path)),
    }


def _wait_metadata(waits: Sequence[JobWait]) -> dict[str, int | float]:
    """Without a batch job there is no waiting time, not even 0."""
    if not waits:
        return {"batch_jobs": 0}
    seconds = [wait.seconds for wait in waits]
    return {
        "batch_jobs": len(seconds),
        "median_wait_seconds": round(median(seconds), 1),
        "longest_wait_seconds": round(max(seconds), 1),
    }


def _remove_superfluous(
    context: dg.AssetExecutionContext, index: Index, settings: Settings, now: datetime
) -> tuple[Sequence[str], dict[str, Any]]:
    """The shards of which only the bill is left, and the metadata.

    Readers have the new generation already: what goes wrong here is only a warning.
    """
    try:
        removed = apply_retention(index, settings, now=now)
    except (StorageError, OSError) as exc:
        context.log.warning(f"old generations stay until the next publication: {exc}")
        return [], {"retention": f"put off: {exc}"}
    context.log.info(removed.summary)
    sentence = {"retention": removed.summary} if removed.is_anything else {}
    return removed.shard_keys, {**sentence, "bytes_freed": removed.n_bytes}
