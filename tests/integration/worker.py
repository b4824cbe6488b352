"""A reindex in a process of its own that may die in a gap, and goes on where another one died.

Belongs here: what the sensors would do next, without Dagster, in the order of the ledger.
Does not belong here: expectations.
"""

import os
import time
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from embedding_assets.clock import utc_now
from embedding_assets.corpus.chunks import Chunker
from embedding_assets.errors import NotYetError
from embedding_assets.gaps import DIE_IN_VARIABLE, Gap
from embedding_assets.gemini.client import GeminiClient, RetryPolicy
from embedding_assets.gemini.connection import Connection
from embedding_assets.model.generations import Generation
from embedding_assets.pipeline.adoption import Lookout
from embedding_assets.pipeline.agreement import embed_again
from embedding_assets.pipeline.budget import look_into_purse
from embedding_assets.pipeline.build import build_generation
from embedding_assets.pipeline.collect import collect_shard
from embedding_assets.pipeline.decide import decide_collections, decide_submissions
from embedding_assets.pipeline.isolate import isolate_texts
from embedding_assets.pipeline.plan import make_plan, write_plan
from embedding_assets.pipeline.poll import jobs_to_look_at, poll_jobs
from embedding_assets.pipeline.publish import look_at_gates, publish_generation
from embedding_assets.pipeline.retention import apply_retention
from embedding_assets.pipeline.submit import submission_limits, submit_shard, write_requests
from embedding_assets.pipeline.sync_route import Pacer
from embedding_assets.settings.values import Embedding, Limits, Publishing, Settings
from embedding_assets.store.index import Index, open_index
from tests.factories import SPEC
from tests.forks import PROCESSES
from tests.integration.world import documents

N_COMPARED = 2  # of the texts of one reindex, if batch jobs brought them

_POLL_S = 0.02
_TIMEOUT_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is to be reindexed, where, and how."""

    data_dir: Path
    base_url: str
    texts: Mapping[str, str]  # by uri
    limits: Mapping[str, Any]

    def run(self, *, die_in: Gap | None = None) -> int | None:
        """Reindex in a process of its own; its exit code, negative for the signal it died of."""
        process = self.start(die_in=die_in)
        process.join(_TIMEOUT_S)
        process.kill()
        return process.exitcode

    def start(self, *, die_in: Gap | None = None) -> BaseProcess:
        """The process that reindexes, running."""
        process = PROCESSES.Process(target=_reindex, args=(self, die_in))
        process.start()
        return process


def remove_superfluous(settings: Settings, *, die_in: Gap | None = None) -> int | None:
    """Apply retention in a process of its own; its exit code, negative for the signal."""
    process = PROCESSES.Process(target=_retain, args=(settings.model_dump(), die_in))
    process.start()
    process.join(_TIMEOUT_S)
    process.kill()
    return process.exitcode


def _retain(settings: Mapping[str, Any], die_in: Gap | None) -> None:
    if die_in is not None:
        os.environ[DIE_IN_VARIABLE] = die_in
    read = Settings(**settings)
    with open_index(read.index_path) as index:
        apply_retention(index, read, now=utc_now())


def _reindex(work: Work, die_in: Gap | None) -> None:
    if die_in is not None:
        os.environ[DIE_IN_VARIABLE] = die_in
    settings = Settings(
        data_dir=work.data_dir,
        embedding=Embedding(dimensions=SPEC.dimensions),
        publishing=Publishing(agreement_samples=N_COMPARED),
    )
    # A copy is not validated: no setting of a real one may have so little patience.
    settings = settings.model_copy(update={"limits": Limits(**work.limits)})
    client = GeminiClient(
        Connection(provider="emulator", base_url=work.base_url, api_key="secret-key"),
        api_version="v1beta",
        timeout_s=10,
        retries=RetryPolicy(attempts=3, initial_delay_s=0.001, max_delay_s=0.002),
    )
    with open_index(settings.index_path, create=True) as index:
        generation = _planned(index, work, settings)
        while index.jobs.ledger().statuses:
            _step(index, client, settings)
            time.sleep(_POLL_S)
        progress = index.generations.progress(generation, limits=settings.limits)
        now = utc_now()
        trouble = embed_again(
            index, generation, progress, settings, connect=lambda: nullcontext(client), now=now
        )
        gates = look_at_gates(index, generation, progress, settings, trouble=trouble, now=now)
        publish_generation(index, generation, gates, now=utc_now())
        apply_retention(index, settings, now=utc_now())


def _planned(index: Index, work: Work, settings: Settings) -> Generation:
    generation = index.generations.building()
    if generation is None:
        generation = build_generation(
            index,
            documents(work.texts),
            month="2026-11",
            spec=SPEC,
            chunker=Chunker(max_chars=2000, max_tokens=SPEC.max_text_tokens),
            now=utc_now(),
        ).generation
    if generation.planned_at is None:
        plan = make_plan(index, generation, settings)
        write_plan(index, plan, now=utc_now())
    return generation


def _step(index: Index, gemini: GeminiClient, settings: Settings) -> None:
    limits = submission_limits(settings)
    pacer = Pacer(texts_per_minute=10**9)
    now = utc_now()
    isolate_texts(index, provider="emulator", now=now)
    ledger = index.jobs.ledger()
    decision = decide_submissions(
        ledger.statuses,
        room=ledger.room_at("emulator", limits),
        purse=look_into_purse(index, settings, provider="emulator", now=now),
        now=now,
    )
    lookout = Lookout(index=index, gemini=gemini, clock=utc_now)
    for key in decision.shard_keys:
        shard = index.shards.get(key)
        file = write_requests(index, shard, shards_dir=settings.shards_dir)
        with suppress(NotYetError):
            submit_shard(
                index, gemini, shard, file, settings, pacer, lookout=lookout, clock=utc_now
            )
    jobs = jobs_to_look_at(index, provider="emulator", now=now)
    poll_jobs(index, gemini, jobs, limits=settings.limits, now=utc_now())
    statuses = index.jobs.ledger().statuses
    answered = decide_collections(statuses, limits=settings.limits, now=now)
    for key in answered.shard_keys:
        collect_shard(index, gemini, index.shards.get(key), settings, now=utc_now())
