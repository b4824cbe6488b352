"""An index, an emulator and the steps of a reindex, for tests that need most of them.

Belongs here: what a user or a sensor would do next, in one word. No assertion, no fault.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from embedding_assets.corpus.chunks import Chunker
from embedding_assets.corpus.documents import Document
from embedding_assets.emulator.faults.kinds import FaultKind
from embedding_assets.emulator.faults.rules import Fault
from embedding_assets.emulator.state import State
from embedding_assets.gemini.client import GeminiClient
from embedding_assets.model.batch_jobs import BatchJob, JobState, needs_job
from embedding_assets.model.gates import Gate, GateName
from embedding_assets.model.generations import Generation, Progress
from embedding_assets.model.request_file import ShardFile
from embedding_assets.model.results import ParsedResults
from embedding_assets.model.shards import Shard
from embedding_assets.model.spec import EmbeddingSpec
from embedding_assets.pipeline.adoption import Lookout
from embedding_assets.pipeline.agreement import embed_again
from embedding_assets.pipeline.batch_route import submit_batch_job
from embedding_assets.pipeline.budget import look_into_purse
from embedding_assets.pipeline.build import BuildSummary, build_generation
from embedding_assets.pipeline.collect import collect_results, collect_shard, result_path
from embedding_assets.pipeline.decide import decide_submissions
from embedding_assets.pipeline.plan import Plan, make_plan, write_plan
from embedding_assets.pipeline.poll import PollSummary, jobs_to_look_at, poll_jobs
from embedding_assets.pipeline.publish import look_at_gates, publish_generation
from embedding_assets.pipeline.retention import Removed, apply_retention
from embedding_assets.pipeline.submit import submission_limits, submit_shard, write_requests
from embedding_assets.pipeline.sync_route import Pacer, embed_shard
from embedding_assets.settings.values import Budget, Limits, Settings
from embedding_assets.store.index import Index
from tests.factories import NOW, SPEC, a_document

GRACE = timedelta(minutes=10)
OUTPUT_GRACE = timedelta(hours=1)


def a_text(number: int) -> str:
    """A short text unlike any other."""
    return f"Note {number} on the art of naming things, which is number {number} of a series."


def documents(texts: Mapping[str, str]) -> list[Document]:
    """A document for each uri and text, its content hash that of the text."""
    return [
        a_document(uri=uri, text=text, sha256=hashlib.sha256(text.encode()).hexdigest())
        for uri, text in texts.items()
    ]


def notes(numbers: Iterable[int]) -> list[Document]:
    """Documents of one chunk each."""
    return documents({f"notes/{number:04d}.md": a_text(number) for number in numbers})


def a_book(n_chunks: int) -> Document:
    """One document of many chunks, if split at 100 characters."""
    text = "\n\n".join(a_text(number) for number in range(n_chunks))
    return documents({"books/naming.txt": text})[0]


class StandingClock:
    """The emulator's clock: it begins at NOW and moves when told to."""

    def __init__(self) -> None:
        self.now = NOW.timestamp()

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> datetime:
        """The time by then."""
        self.now += seconds
        return datetime.fromtimestamp(self.now, UTC)


class Switchboard:
    """One server for all tests: starting one for each would take longer than they."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self.app: ASGIApp = Starlette()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What a result file brought."""

    n_embedded: int
    n_failed: int
    n_unknown_lines: int
    n_duplicate_lines: int
    billed_tokens: int


@dataclass(slots=True)
class FakeTime:
    """A monotonic clock that only sleeping moves."""

    now: float = 0.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def a_pacer(time: FakeTime | None = None) -> Pacer:
    """The pace of a real account on a clock that takes no time."""
    time = time or FakeTime()
    return Pacer(texts_per_minute=1500, clock=time.clock, sleep=time.sleep)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """One index file, one emulator, and the settings of a small reindex."""

    index: Index
    gemini: GeminiClient
    emulator: State
    settings: Settings

    @property
    def results_dir(self) -> Path:
        return self.settings.results_dir

    def changed(self, **limits: Any) -> "World":
        """The same world under other limits."""
        changed = Limits(**{**self.settings.limits.model_dump(), **limits})
        return replace(self, settings=self.settings.model_copy(update={"limits": changed}))

    def with_budget(self, max_cost_usd: Decimal) -> "World":
        """The same world with that much to spend."""
        budget = Budget(max_cost_usd=max_cost_usd)
        return replace(self, settings=self.settings.model_copy(update={"budget": budget}))

    def strike(self, kind: FaultKind, **rule: Any) -> None:
        """Put a fault in force at the emulator."""
        self.emulator.faults.add(Fault(kind=kind, **rule))

    # --- the steps of a reindex -------------------------------------------------------------

    def build_summary(
        self,
        corpus: Iterable[Document],
        *,
        month: str = "2026-11",
        spec: EmbeddingSpec = SPEC,
        max_chars: int = 2000,
        has_path: bool = False,
    ) -> BuildSummary:
        return build_generation(
            self.index,
            corpus,
            month=month,
            spec=spec,
            chunker=Chunker(
                max_chars=max_chars, max_tokens=spec.max_text_tokens, has_path=has_path
            ),
            now=NOW,
        )

    def build(self, corpus: Iterable[Document], **changes: Any) -> Generation:
        return self.build_summary(corpus, **changes).generation

    def make_plan(self, generation: Generation) -> Plan:
        return make_plan(self.index, generation, self.settings)

    def plan(self, generation: Generation) -> list[Shard]:
        return write_plan(self.index, self.make_plan(generation), now=NOW)

    def write(self, shard: Shard) -> ShardFile:
        return write_requests(self.index, shard, shards_dir=self.settings.shards_dir)

    def submit(
        self, shard: Shard, *, now: datetime = NOW, lookout: Lookout | None = None
    ) -> BatchJob:
        return submit_batch_job(
            self.index,
            self.gemini,
            shard,
            self.write(shard),
            limits=submission_limits(self.settings),
            lookout=lookout or self.lookout(now),
            clock=lambda: now,
        )

    def lookout(self, now: datetime = NOW) -> Lookout:
        """A new run's look at Gemini."""
        return Lookout(index=self.index, gemini=self.gemini, clock=lambda: now)

    def submit_shard(self, shard: Shard, *, now: datetime = NOW) -> BatchJob:
        """Submit a shard as a run does: by its route, if there is room and need."""
        job = self.index.jobs.newest_job(shard)
        if job is not None and not needs_job(job):
            return job
        return submit_shard(
            self.index,
            self.gemini,
            shard,
            self.write(shard),
            self.settings,
            a_pacer(),
            lookout=self.lookout(now),
            clock=lambda: now,
        )

    def chosen(self) -> tuple[str, ...]:
        """The shards that the sensor would have submitted now."""
        ledger, provider = self.index.jobs.ledger(), self.gemini.provider
        return decide_submissions(
            ledger.at(provider),
            room=ledger.room_at(provider, submission_limits(self.settings)),
            purse=look_into_purse(self.index, self.settings, provider=provider, now=NOW),
            now=NOW,
        ).shard_keys

    def embed(self, shard: Shard, *, pacer: Pacer | None = None) -> BatchJob:
        return embed_shard(
            self.index,
            self.gemini,
            shard,
            self.write(shard),
            results_dir=self.results_dir,
            pacer=pacer or a_pacer(),
            clock=lambda: NOW,
        )

    def poll(self, *, now: datetime = NOW) -> PollSummary:
        """Look at Gemini after all results have been computed."""
        self.emulator.wait_idle()
        jobs = jobs_to_look_at(self.index, provider=self.gemini.provider, now=now)
        return poll_jobs(self.index, self.gemini, jobs, limits=self.settings.limits, now=now)

    def collect(
        self, shard: Shard, job: BatchJob | None = None, *, now: datetime = NOW
    ) -> Collected:
        results = collect_results(
            self.index,
            self.gemini,
            shard,
            job or self.job(shard),
            self.settings,
            now=now,
        )
        n_embedded = sum(outcome.vector is not None for outcome in results.outcomes)
        return Collected(
            n_embedded=n_embedded,
            n_failed=len(results.outcomes) - n_embedded,
            n_unknown_lines=results.n_unknown,
            n_duplicate_lines=results.n_duplicate,
            billed_tokens=sum(outcome.billed_tokens for outcome in results.outcomes),
        )

    def collect_shard(self, shard: Shard, *, now: datetime = NOW) -> ParsedResults | None:
        return collect_shard(self.index, self.gemini, shard, self.settings, now=now)

    def finish(self, shard: Shard) -> Collected:
        """From a submitted shard to vectors."""
        self.poll()
        return self.collect(shard)

    def compare(self, generation: Generation, *, now: datetime = NOW) -> str | None:
        """Embed sampled texts again; why not, if they could not be."""
        return embed_again(
            self.index,
            generation,
            self.progress(generation),
            self.settings,
            connect=lambda: nullcontext(self.gemini),
            now=now,
        )

    def gates(self, generation: Generation, *, now: datetime = NOW) -> dict[GateName, Gate]:
        gates = look_at_gates(
            self.index, generation, self.progress(generation), self.settings, now=now
        )
        return {gate.name: gate for gate in gates}

    def publish(
        self, generation: Generation, *, allow: Collection[GateName] = (), now: datetime = NOW
    ) -> None:
        gates = list(self.gates(generation).values())
        publish_generation(self.index, generation, gates, allow=allow, now=now)

    def retain(self, *, now: datetime = NOW) -> Removed:
        return apply_retention(self.index, self.settings, now=now)

    def embed_all(self, corpus: Iterable[Document], **changes: Any) -> Generation:
        """A generation all of whose shards were submitted once and collected."""
        generation = self.build(corpus, **changes)
        for shard in self.plan(generation):
            self.submit(shard)
            self.finish(shard)
        return generation

    def reindex(self, corpus: Iterable[Document], **changes: Any) -> Generation:
        """The whole way by the batch route, to what readers see."""
        generation = self.embed_all(corpus, **changes)
        self.publish(generation)
        return generation

    # --- what became of it ------------------------------------------------------------------

    def job(self, shard: Shard) -> BatchJob:
        """The shard's newest attempt."""
        job = self.index.jobs.newest_job(shard)
        assert job is not None
        return job

    def result_path(self, shard: Shard) -> Path:
        """Where the newest attempt's results are kept."""
        return result_path(self.results_dir, self.job(shard))

    def partial_path(self, shard: Shard) -> Path:
        """Where the synchronous route keeps its answers until it has all of them."""
        return self.results_dir / f"{shard.key}-{self.write(shard).sha256[:16]}.partial"

    def state(self, shard: Shard) -> JobState:
        return self.job(shard).state

    def progress(self, generation: Generation) -> Progress:
        return self.index.generations.progress(generation, limits=self.settings.limits)

    def missing(self, generation: Generation) -> list[str]:
        """The texts that a plan would buy."""
        found = self.index.generations.missing_chunks(generation, limits=self.settings.limits)
        return [passage.text for _, passage in found]
