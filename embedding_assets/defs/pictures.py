"""The pictures on search_index: its months, the waiting times of its jobs, a map of the corpus.

Belongs here: which numbers a picture is made of, and that one that cannot be drawn is no failure.
Does not belong here: drawing (plots.py) and finding numbers (store/).
"""

import base64
from collections import defaultdict
from collections.abc import Callable, Sequence

import dagster as dg

from embedding_assets.defs.plots import (
    MAX_POINTS,
    Month,
    Waits,
    draw_map,
    draw_months,
    draw_waits,
)
from embedding_assets.model.generations import Generation
from embedding_assets.money.bill import Bill, total
from embedding_assets.pipeline.publish import Publication
from embedding_assets.store.index import Index
from embedding_assets.store.jobs import JobWait


def draw_pictures(
    context: dg.AssetExecutionContext, index: Index, published: Publication
) -> dict[str, dg.MetadataValue[str]]:
    """As Markdown, which the UI shows as images, as far as the numbers suffice for them.

    Readers have the generation already: what goes wrong here is only a warning.
    """
    sketches: dict[str, tuple[str, Callable[[Index, Publication], bytes | None]]] = {
        "by_month": ("Chunks, requests and dollars by month", _by_month),
        "job_waits": ("Waiting times of batch jobs", _job_waits),
        "corpus_map": ("Map of the corpus", _corpus_map),
    }
    found: dict[str, dg.MetadataValue[str]] = {}
    for name, (title, draw) in sketches.items():
        try:
            png = draw(index, published)
        except Exception as exc:  # of whatever library: no picture is worth a red month
            context.log.warning(f"the picture {name} could not be drawn: {exc!r}")
            found[name] = dg.MetadataValue.text(f"could not be drawn: {exc!r}")
        else:
            if png is not None:
                data = base64.b64encode(png).decode()
                found[name] = dg.MetadataValue.md(f"![{title}](data:image/png;base64,{data})")
    return found


def _by_month(index: Index, published: Publication) -> bytes | None:
    generation = published.generation
    months = months_of(index, provider=generation.spec.provider)
    return draw_months(months, published=generation.month)


def months_of(index: Index, *, provider: str) -> list[Month]:
    """Every month that something was sent or published for, oldest first."""
    by_month: defaultdict[str, list[tuple[Generation, Bill]]] = defaultdict(list)
    for build, bill in index.bills.sent(provider=provider):
        by_month[build.month].append((build, bill))
    return [
        Month(
            month=month,
            n_chunks=_n_chunks_seen_last([build for build, _ in builds]),
            bill=total(bill for _, bill in builds),
        )
        for month, builds in sorted(by_month.items())
    ]


def _n_chunks_seen_last(builds: Sequence[Generation]) -> int:
    seen = [(build.published_at, build.n_chunks) for build in builds if build.published_at]
    return max(seen, default=(None, 0))[1]


def _job_waits(_: Index, published: Publication) -> bytes | None:
    if not published.waits:
        return None
    this_month = published.generation.month
    by_build: defaultdict[tuple[int, str], list[JobWait]] = defaultdict(list)
    for wait in published.earlier_waits:
        by_build[wait.generation_id, wait.month].append(wait)

    def waits_of(label: str, waits: Sequence[JobWait]) -> Waits:
        return Waits(
            label=label,
            answered_s=tuple(wait.seconds for wait in waits if wait.is_answered),
            unanswered_s=tuple(wait.seconds for wait in waits if not wait.is_answered),
        )

    earlier = [
        waits_of(f"{month}, earlier" if month == this_month else month, waits)
        for (_, month), waits in by_build.items()
    ]
    return draw_waits(waits_of(this_month, published.waits), earlier)


def _corpus_map(index: Index, published: Publication) -> bytes | None:
    with index.published.view_of(published.generation) as view:
        sample = view.sample(MAX_POINTS)
        places = view.places(sample.chunk_ids.tolist())
    if len(sample.chunk_ids) < 3:
        return None
    uris = [places[chunk_id].uri for chunk_id in sample.chunk_ids.tolist()]
    return draw_map(sample.matrix, uris, n_chunks=published.progress.n_chunks)
