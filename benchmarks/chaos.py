"""Chaos: reindexes in which everything fails that can fail, and the worker is killed all the time.

    python benchmarks/chaos.py [--rounds 30] [--late 5] [--seed 0] [--documents 400] [--jobs 1]
                               [--keep DIR]

Round 17 alone is `--first 17 --rounds 1 --late 0`: the same corpus, fault rules and moments of
the kills. What these then hit depends on how fast the machine is, so that no two runs are quite the
same.

A round makes a corpus of its own and reindexes it twice with the console command. The first run is
left in peace and meets a flawless emulator: it says which vectors there must be and what they
cost. The second one meets an emulator with every fault on; SIGKILL ends it at random moments, and
it is started again until it is done; an answer that it holds, because what was downloaded was no
result file five times in a row, is read again, as it says. The exit code is 1 unless, in every
round, each request was billed once, each vector is there and equal to the undisturbed one, the
counts of every shard add up, and ``embedding-assets doctor`` finds nothing wrong.

In the late rounds jobs are seen for the first time after they were given up and their shard was
submitted again. One that had answered by then is paid for twice, whatever anyone does: nothing else
may be, and ``doctor`` has to name each of them, and nothing else.
"""

import argparse
import json
import math
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from embedding_assets.cli.processes import child
from embedding_assets.doctor.findings import Check
from embedding_assets.emulator.bill import Bill
from embedding_assets.emulator.errors import Quota
from embedding_assets.emulator.faults.kinds import Endpoint, FaultKind
from embedding_assets.emulator.faults.rules import Fault
from embedding_assets.emulator.settings import EmulatorSettings
from embedding_assets.emulator.state import State

COMMAND = Path(sys.executable).with_name("embedding-assets")
MONTH = "2026-01"
MAX_RESTARTS = 20
RUN_TIMEOUT_S = 300
MAX_SHOWN = 5

# What may be under way at the same time; the emulator enforces what the settings take for granted.
# A shard is some 27,000 tokens by the estimate: three 429s in a row halve this to less than one.
MAX_JOBS = 5
MAX_ENQUEUED_TOKENS = 140_000
N_REFUSALS = 6

# How late things are, and how long they are waited for.
TIMEOUT_S = 3
LATE_JOB_S, UNCONFIRMED_GRACE_S = 2.0, 5.0
LATE_OUTPUT_S, OUTPUT_GRACE_S = 3.0, 60.0
BACKOFF_S = 1.0
LATENCY_S, JOB_DEADLINE_S = 1.0, 8.0

# In the late rounds: seen after the grace, in time to be cancelled or with its answers.
LATE_LATENCY_S, LATE_DEADLINE_S = 32.0, 300.0
SEEN_IN_TIME_S, SEEN_TOO_LATE_S = 14.0, 38.0
# A job that can be seen for so long and has not answered is cancelled, kills or not.
CANCELLED_WITHIN_S = 12.0

_BY_JOB = partial(Fault, probability=0.06)
_BY_CALL = partial(Fault, probability=0.08)
_BY_LINE = partial(Fault, probability=0.01)
_REFUSAL = partial(Fault, kind=FaultKind.CALL_ERROR, probability=0.01, endpoint=Endpoint.CREATE)
_REFUSED_WHOLE = partial(Fault, kind=FaultKind.JOB_FAILED, code=3, probability=0.03)
FAULTS = (
    _BY_LINE(kind=FaultKind.ERROR_LINE),
    _BY_LINE(kind=FaultKind.MISSING_LINE),
    _BY_LINE(kind=FaultKind.WRONG_DIMENSION),
    _BY_LINE(kind=FaultKind.NAN_VALUE),
    _BY_LINE(kind=FaultKind.DUPLICATE_LINE),
    _BY_LINE(kind=FaultKind.MALFORMED_LINE),
    _BY_LINE(kind=FaultKind.UNKNOWN_KEY),
    _BY_LINE(kind=FaultKind.KEY_IN_METADATA),
    _BY_LINE(kind=FaultKind.USAGE_METADATA),
    _BY_LINE(kind=FaultKind.EMBEDDINGS_LIST),
    _BY_LINE(kind=FaultKind.STATUS_LINE),
    _BY_CALL(kind=FaultKind.CREATE_THEN_DROP),
    _BY_CALL(kind=FaultKind.CREATE_LATE, delay_s=LATE_JOB_S),
    _BY_CALL(kind=FaultKind.LIST_OVERLAP),
    _BY_CALL(kind=FaultKind.LIST_DOUBLED),
    _BY_CALL(kind=FaultKind.LIST_REPEATS),
    _BY_CALL(kind=FaultKind.LIST_NULL),
    _BY_CALL(kind=FaultKind.LIST_FOREIGN),
    _BY_CALL(kind=FaultKind.UPLOAD_BROKEN),
    _BY_CALL(kind=FaultKind.DOWNLOAD_TRUNCATED),
    _BY_CALL(kind=FaultKind.DOWNLOAD_BROKEN),
    _BY_CALL(kind=FaultKind.DOWNLOAD_TRICKLES),
    _BY_CALL(kind=FaultKind.SIGN_IN_PAGE),
    _BY_CALL(kind=FaultKind.EMPTY_DOWNLOAD),
    _BY_CALL(kind=FaultKind.ERROR_DOCUMENT),
    _BY_CALL(kind=FaultKind.INLINED_RESULTS),
    _BY_CALL(kind=FaultKind.CALL_ERROR, endpoint=Endpoint.FILES_GET, status=404),
    _REFUSAL(status=400),
    _REFUSAL(status=403),
    Fault(kind=FaultKind.CALL_ERROR, probability=0.03, endpoint=Endpoint.CREATE, status=429),
    _REFUSAL(quota=Quota.REQUESTS),
    _REFUSAL(quota=Quota.SPEND),
    _REFUSAL(quota=Quota.STORAGE, endpoint=Endpoint.UPLOAD),
    Fault(kind=FaultKind.CALL_ERROR, probability=0.03, status=503),
    Fault(kind=FaultKind.CALL_ERROR, probability=0.02, status=500),
    _BY_JOB(kind=FaultKind.JOB_FAILED),
    _BY_JOB(kind=FaultKind.JOB_FAILED, answered=0.3),
    _REFUSED_WHOLE(),
    _REFUSED_WHOLE(answered=0.5),
    _BY_JOB(kind=FaultKind.JOB_EXPIRED),
    _BY_JOB(kind=FaultKind.JOB_EXPIRED, answered=0.8),
    _BY_JOB(kind=FaultKind.JOB_CANCELLED),
    _BY_JOB(kind=FaultKind.JOB_PARTIAL),
    _BY_JOB(kind=FaultKind.JOB_STUCK),
    _BY_JOB(kind=FaultKind.LATE_OUTPUT, delay_s=LATE_OUTPUT_S),
    Fault(kind=FaultKind.KEY_QUOTED, probability=0.01, status=503),
    Fault(kind=FaultKind.REDIRECTED, probability=0.01),
)
_SEEN_LATE = partial(Fault, kind=FaultKind.CREATE_LATE, probability=0.3, times=3)
LATE_FAULTS = (
    _SEEN_LATE(delay_s=SEEN_IN_TIME_S),
    _SEEN_LATE(delay_s=SEEN_TOO_LATE_S),
    Fault(kind=FaultKind.CALL_ERROR, probability=0.03, status=503),
    Fault(kind=FaultKind.CALL_ERROR, probability=0.02, status=500),
)

# Words, and some that a careless program would stumble over.
WORDS = r"""
    amber basin cedar delta ember fjord gravel harbour island juniper kettle lantern meadow nectar
    orchard pebble quarry river saffron timber umbrella violin willow
    größe naïve 東京 медведь 🦓 "key":"chunk_7" {} \n <b>& ' ; --
"""
LICENCE = "This paragraph is in many documents and is to be bought once. " * 6


# --- what a round is and what it found ----------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What was asked for on the command line, for every round."""

    seed: int
    n_documents: int
    keep: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What goes wrong in a round, and when the worker is killed in it."""

    name: str
    faults: tuple[Fault, ...]
    latency_s: float = LATENCY_S
    deadline_s: float = JOB_DEADLINE_S
    kills: tuple[int, int] = (3, 6)
    first_kill_s: float = 0.5
    last_kill: float = 1.5
    """Of the length of the undisturbed run; the disturbed one is longer, and is hit at its end."""


def chaos(random: Random) -> Scenario:
    """Everything by chance, and a shard in ten that is refused until it is split."""
    last_digit = f"{random.randrange(10)}/1/"  # of a display name's shard, and the attempt
    too_big = Fault(
        kind=FaultKind.CALL_ERROR,
        endpoint=Endpoint.CREATE,
        status=429,
        match=last_digit,
        times=N_REFUSALS,
    )
    return Scenario(name="round", faults=(too_big, *FAULTS))


def late(_: Random) -> Scenario:
    """Jobs that are seen after their shard was submitted again."""
    return Scenario(
        name="late",
        faults=LATE_FAULTS,
        latency_s=LATE_LATENCY_S,
        deadline_s=LATE_DEADLINE_S,
        kills=(2, 4),
        first_kill_s=6.0,
        last_kill=4.0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A data directory with its settings, its emulator's state and its worker's log."""

    directory: Path
    docs: Path
    deadline_s: float

    @property
    def config(self) -> Path:
        return self.directory / "settings.toml"

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def emulator_dir(self) -> Path:
        return self.directory / "emulator"

    @property
    def log(self) -> Path:
        return self.directory / "worker.log"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """An undisturbed run: what is published, what was paid, how long it took."""

    published: frozenset[tuple[Any, ...]]  # uri, position, text, vector
    n_vectors: int
    tokens: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteJob:
    """A job as the emulator knows it, with all that it cost when everything has come to its end."""

    name: str
    created_at: float
    seen_at: float
    ended_at: float
    purchases: tuple[tuple[str, int], ...]  # sha256 of a text, tokens
    is_on_record: bool  # in the ledger, as an attempt's job

    @property
    def was_given_up(self) -> bool:
        """It was seen for the first time when its attempt had been released."""
        return self.seen_at - self.created_at >= UNCONFIRMED_GRACE_S

    @property
    def tokens(self) -> int:
        return sum(tokens for _, tokens in self.purchases)

    @property
    def fate(self) -> str:
        """What became of a job that was given up."""
        if self.is_on_record:
            return "adopted"
        return "paid for twice" if self.purchases else "cancelled"

    @property
    def is_paid_in_vain(self) -> bool:
        """Nobody could prevent it: it was given up, and had answered when it was seen."""
        could_be_cancelled = self.ended_at - self.seen_at >= CANCELLED_WITHIN_S
        return self.was_given_up and self.fate == "paid for twice" and not could_be_cancelled


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What one round was, and what was wrong with it."""

    name: str
    number: int
    violations: tuple[str, ...]
    kills: Counter[str]  # by what the worker was doing
    n_starts: int
    faults: Counter[str]  # those that struck, by name
    n_jobs: int
    n_splits: int
    given_up: tuple[RemoteJob, ...]
    tokens_billed: int
    tokens_necessary: int
    n_expected: int
    n_present: int
    seconds: float

    def __str__(self) -> str:
        verdict = "FAILED" if self.violations else "ok"
        return (
            f"{self.name:<5} {self.number:>3}  {verdict:<6}  {self.kills.total()} kills  "
            f"{self.n_starts:>2} starts  {self.faults.total():>3} faults  {self.n_jobs:>3} jobs  "
            f"{self.n_splits} splits  billed {self.tokens_billed:,} / {self.tokens_necessary:,} = "
            f"{self.tokens_billed / self.tokens_necessary:.3f}  "
            f"vectors {self.n_present:,} / {self.n_expected:,}  {self.seconds:.0f} s"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--late", type=int, default=5, help="rounds with late jobs, afterwards")
    parser.add_argument("--first", type=int, default=1, help="number of the first round")
    parser.add_argument("--seed", type=int, default=0, help="decides corpora, faults and kills")
    parser.add_argument("--documents", type=int, default=400, help="of eight chunks each")
    parser.add_argument("--jobs", type=int, default=1, help="rounds at the same time")
    parser.add_argument("--keep", type=Path, help="where the files of failed rounds are kept")
    arguments = parser.parse_args()
    options = Options(seed=arguments.seed, n_documents=arguments.documents, keep=arguments.keep)
    is_clean = True
    for scenario, n_rounds in ((chaos, arguments.rounds), (late, arguments.late)):
        numbers = range(arguments.first, arguments.first + n_rounds)
        reports = []
        for report in play(scenario, numbers, options, n_jobs=arguments.jobs):
            reports.append(report)
            print_report(report)
        if reports:
            print_summary(reports)
        is_clean = is_clean and not any(report.violations for report in reports)
    sys.exit(not is_clean)


def play(
    scenario: Callable[[Random], Scenario],
    numbers: Sequence[int],
    options: Options,
    *,
    n_jobs: int,
) -> Iterator[Report]:
    """Play the rounds, some at a time; reports come in the order in which they end."""
    with ProcessPoolExecutor(n_jobs) as pool:
        futures = [pool.submit(play_round, scenario, number, options) for number in numbers]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def play_round(
    choose_scenario: Callable[[Random], Scenario], number: int, options: Options
) -> Report:
    """One corpus, reindexed in peace and in chaos."""
    random = Random(f"{options.seed}/{number}")
    scenario = choose_scenario(random)
    with tempfile.TemporaryDirectory(prefix="chaos-") as name:
        directory = Path(name)
        docs = directory / "docs"
        write_corpus(docs, random, options.n_documents)
        in_peace, in_chaos = (
            Site(directory=directory / name, docs=docs, deadline_s=scenario.deadline_s)
            for name in ("peace", "chaos")
        )
        is_kept = options.keep is not None
        try:
            reference = reindex_in_peace(in_peace)
            report = reindex_in_chaos(number, scenario, in_chaos, reference, random)
            is_kept = is_kept and bool(report.violations)
        finally:
            if is_kept and options.keep is not None:
                kept = options.keep / f"seed-{options.seed}-{scenario.name}-{number}"
                shutil.copytree(directory, kept, dirs_exist_ok=True)
    return report


def print_report(report: Report) -> None:
    """A round in one line, each violation and each job that was given up in another."""
    print(report, flush=True)
    for job in report.given_up:
        seen_after_s, ended_after_s = job.seen_at - job.created_at, job.ended_at - job.created_at
        print(
            f"           {job.name}, given up: seen after {seen_after_s:.0f} s, ended after "
            f"{ended_after_s:.0f} s, {job.fate}, {job.tokens:,} tokens",
            flush=True,
        )
    for violation in report.violations:
        print(f"           WRONG: {violation}", flush=True)


def print_summary(reports: Sequence[Report]) -> None:
    """Totals over all rounds."""
    n_failed = sum(bool(report.violations) for report in reports)
    billed = sum(report.tokens_billed for report in reports)
    necessary = sum(report.tokens_necessary for report in reports)
    kills = sum((report.kills for report in reports), Counter[str]())
    faults = sum((report.faults for report in reports), Counter[str]())
    given_up = [job for report in reports for job in report.given_up]
    print(f"\n{len(reports)} rounds, {n_failed} failed")
    print(f"jobs created         {sum(report.n_jobs for report in reports):,}")
    print(f"shards split         {sum(report.n_splits for report in reports):,}")
    print(f"tokens billed        {billed:,}")
    print(f"tokens necessary     {necessary:,}, ratio {billed / max(1, necessary):.6f}")
    if given_up:
        in_vain = sum(job.tokens for job in given_up if job.is_paid_in_vain)
        print(
            f"jobs given up        {len(given_up):,}: {_listed(Counter(j.fate for j in given_up))}"
        )
        print(f"tokens paid twice    {in_vain:,}, by jobs that had answered when they were seen")
    print(f"vectors expected     {sum(report.n_expected for report in reports):,}")
    print(f"vectors present      {sum(report.n_present for report in reports):,}")
    print(f"worker starts        {sum(report.n_starts for report in reports):,}")
    print(f"SIGKILLs             {kills.total():,}: {_listed(kills)}")
    print(f"faults that struck   {faults.total():,}: {_listed(faults)}\n")


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.most_common())


# --- the corpus ---------------------------------------------------------------------------------


def write_corpus(docs: Path, random: Random, n_documents: int) -> None:
    """Write documents of some eight chunks; one in ten is a copy, three in ten have a licence."""
    docs.mkdir()
    texts: list[str] = []
    for number in range(n_documents):
        is_copy = texts and random.random() < 0.1
        texts.append(random.choice(texts) if is_copy else _text(number, random))
        (docs / f"{number:05}.md").write_text(texts[-1], encoding="utf-8")


def _text(number: int, random: Random) -> str:
    sections = [f"# Document {number}"]
    for section in range(random.randrange(5, 12)):
        words = random.choices(WORDS.split(), k=random.randrange(35, 50))
        sections.append(f"## Section {section}\n\n{random.getrandbits(64):x} {' '.join(words)}")
    if random.random() < 0.3:
        sections.append(f"## Licence\n\n{LICENCE}")
    return "\n\n".join(sections)


# --- the processes ------------------------------------------------------------------------------


@contextmanager
def emulator(
    site: Site, *, faults: Sequence[Fault], seed: int, latency_s: float = LATENCY_S
) -> Iterator[None]:
    """Run an emulator for a site, and write the site's settings with its address."""
    site.directory.mkdir()
    arguments = [
        "embedding_assets.emulator",
        f"--state-dir={site.emulator_dir}",
        f"--latency={latency_s}",
        f"--seed={seed}",
        f"--max-concurrent-jobs={MAX_JOBS}",
        f"--max-enqueued-tokens={MAX_ENQUEUED_TOKENS}",
        *(f"--fault={json.dumps(asdict(fault))}" for fault in faults),
    ]
    with child(arguments, is_piped=True) as process:
        ready = process.stdout.readline() if process.stdout else ""
        write_settings(site, base_url=ready.strip().rpartition(" ")[2])
        yield


def write_settings(site: Site, *, base_url: str) -> None:
    """Small jobs, short waits, and so many attempts that nothing is given up."""
    sections: dict[str, dict[str, object]] = {
        "corpus": {"paths": [str(site.docs)]},
        "chunking": {"max_chars": 400},
        "embedding": {"dimensions": 64},
        "gemini": {"base_url": base_url, "timeout_s": TIMEOUT_S, "download_timeout_s": TIMEOUT_S},
        "limits": {
            # A synchronous call that dies with its process is paid for and lost.
            "route": "batch",
            "max_requests_per_job": 300,
            "max_concurrent_jobs": MAX_JOBS,
            "max_enqueued_tokens": MAX_ENQUEUED_TOKENS,
            "max_job_attempts": 50,
            "max_chunk_attempts": 50,
            "job_deadline_h": site.deadline_s / 3600,
            "backoff_s": BACKOFF_S,
            "unconfirmed_grace_s": UNCONFIRMED_GRACE_S,
            "output_grace_s": OUTPUT_GRACE_S,
            "run_retry_s": 1,
        },
        # What is embedded again on purpose would be in the way of counting what was bought twice.
        "publishing": {"min_coverage": 1, "agreement_samples": 0},
        "schedule": {"first_month": MONTH, "poll_interval_s": 1},
    }
    lines = [f"data_dir = {json.dumps(str(site.data))}"]
    for section, settings in sections.items():
        lines.append(f"[{section}]")
        lines += [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    site.config.write_text("\n".join(lines) + "\n", encoding="utf-8")


@contextmanager
def worker(site: Site) -> Iterator[subprocess.Popen[bytes]]:
    """``embedding-assets reindex`` in a group of its own, which is killed when the block ends."""
    with site.log.open("ab") as log:
        process = subprocess.Popen(
            [COMMAND, "-c", site.config, "reindex", "--month", MONTH],
            env=_environ(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _environ() -> Mapping[str, str]:
    """Ours, without what would choose other settings, another instance or the real Gemini."""
    chosen = ("EMBEDDING_ASSETS_", "DAGSTER_", "GEMINI_", "GOOGLE_")
    return {name: value for name, value in os.environ.items() if not name.startswith(chosen)}


def run_until_done(site: Site) -> int | None:
    """Let the worker run to its end; its exit code, or None if it had to be killed."""
    with worker(site) as process:
        try:
            return process.wait(RUN_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return None


def run_and_kill(site: Site, *, after_s: float) -> str | int:
    """Kill the worker so many seconds after its start; what it was doing, or its exit code."""
    n_bytes = site.log.stat().st_size if site.log.exists() else 0
    with worker(site) as process:
        try:
            return process.wait(after_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
    said = site.log.read_bytes()[n_bytes:]
    return run_under_way(site, process.pid) or ("between runs" if said else "starting")


def run_under_way(site: Site, pid: int) -> str | None:
    """The job of the Dagster run that a process was in when it was killed."""
    query = (
        "SELECT r.pipeline_name FROM runs r JOIN run_tags t ON t.run_id = r.run_id"
        " WHERE r.status = 'STARTED' AND t.key = 'embedding_assets/pid' AND t.value = ?"
    )
    found = rows(site.data / "dagster" / "history" / "runs.db", query, str(pid))
    return str(found[0][0]) if found else None


# --- the two runs -------------------------------------------------------------------------------


def reindex_in_peace(site: Site) -> Reference:
    """The undisturbed run. Raises RuntimeError if even that does not succeed."""
    started = time.monotonic()
    with emulator(site, faults=(), seed=0):
        code = run_until_done(site)
    seconds = time.monotonic() - started
    bill, _ = read_emulator(site)
    if code != 0 or bill.bought_twice:
        raise RuntimeError(f"the undisturbed run failed ({code}): {_last_words(site)}")
    found = published(site)
    return Reference(
        published=found,
        n_vectors=len({text for _, _, text, _ in found}),
        tokens=bill.tokens,
        seconds=seconds,
    )


def reindex_in_chaos(
    number: int, scenario: Scenario, site: Site, reference: Reference, random: Random
) -> Report:
    """The disturbed run, killed and restarted until it is done, and all there is to check."""
    started = time.monotonic()
    moments = [
        random.uniform(scenario.first_kill_s, scenario.last_kill * reference.seconds)
        for _ in range(random.randint(*scenario.kills))
    ]
    seed = random.getrandbits(31)
    with emulator(site, faults=scenario.faults, seed=seed, latency_s=scenario.latency_s):
        ends = [run_and_kill(site, after_s=after_s) for after_s in moments]
        codes = finish(site)
        if wait_until_all_is_seen(site):
            codes += finish(site)
        jobs = remote_jobs(site)
        findings = judge_with_doctor(site, jobs)
    bill, faults = read_emulator(site)
    found = published(site)
    violations = (
        *judge_worker(site, [*(end for end in ends if isinstance(end, int)), *codes]),
        *judge_bill(bill, jobs, reference),
        *judge_published(found, reference),
        *judge_ledger(site, reference),
        *findings,
    )
    return Report(
        name=scenario.name,
        number=number,
        violations=violations,
        kills=Counter(end for end in ends if isinstance(end, str)),
        n_starts=len(ends) + len(codes),
        faults=faults,
        n_jobs=bill.jobs_created,
        n_splits=sum(count for (count,) in rows(site.data / "index.db", _SPLITS)),
        given_up=tuple(job for job in jobs if job.was_given_up),
        tokens_billed=bill.tokens,
        tokens_necessary=reference.tokens,
        n_expected=reference.n_vectors,
        n_present=len({text for _, _, text, _ in found}),
        seconds=time.monotonic() - started,
    )


def finish(site: Site) -> list[int | None]:
    """Start the worker until it is done, and do what it asks a person to do; its exit codes."""
    codes: list[int | None] = []
    while 0 not in codes and len(codes) < MAX_RESTARTS:
        codes.append(run_until_done(site))
        held = [str(key) for (key,) in rows(site.data / "index.db", _HELD)]
        if held:
            run_command(site, "collect", *held, "--again")
    return codes


def wait_until_all_is_seen(site: Site) -> bool:
    """Wait until no job is hidden any more; whether any was given up."""
    jobs = remote_jobs(site)
    time.sleep(max([0.0, *(job.seen_at - time.time() for job in jobs)]))
    return any(job.was_given_up for job in jobs)


# --- looking ------------------------------------------------------------------------------------


def rows(path: Path, query: str, *parameters: str) -> list[tuple[Any, ...]]:
    """Ask a SQLite file; no rows while there is no file or no such table."""
    if not path.exists():
        return []
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as connection:
        try:
            return connection.execute(query, parameters).fetchall()
        except sqlite3.OperationalError as exc:
            if "no such table" not in str(exc):
                raise
            return []


def published(site: Site) -> frozenset[tuple[Any, ...]]:
    """What readers see."""
    query = "SELECT uri, position, text, vector FROM published_chunks"
    return frozenset(rows(site.data / "index.db", query))


def read_emulator(site: Site) -> tuple[Bill, Counter[str]]:
    """The bill, when every job has come to its end, and the faults that struck, by name."""
    with State(site.emulator_dir, settings=EmulatorSettings(), clock=_long_after) as state:
        state.wait_idle()
        struck: Counter[str] = Counter()
        for record in state.faults.records():
            struck[_name_of(record.fault)] += record.n_struck
        return state.bill(), +struck


def remote_jobs(site: Site) -> list[RemoteJob]:
    """Every job that was ever created, oldest first."""
    state, index = site.emulator_dir / "state.db", site.data / "index.db"
    purchases: dict[str, list[tuple[str, int]]] = {}
    for batch_id, *purchase in rows(state, "SELECT batch_id, sha256, tokens FROM due_purchases"):
        purchases.setdefault(batch_id, []).append((purchase[0], purchase[1]))
    on_record = {name for (name,) in rows(index, "SELECT job_name FROM batch_jobs")}
    query = "SELECT batch_id, created_at, visible_at, ends_at FROM batches ORDER BY position"
    return [
        RemoteJob(
            name=f"batches/{batch_id}",
            created_at=created_at,
            seen_at=max(created_at, visible_at),
            ended_at=math.inf if ends_at is None else ends_at,
            purchases=tuple(purchases.get(batch_id, ())),
            is_on_record=f"batches/{batch_id}" in on_record,
        )
        for batch_id, created_at, visible_at, ends_at in rows(state, query)
    ]


def _name_of(fault: Fault) -> str:
    if fault.kind is not FaultKind.CALL_ERROR:
        return str(fault.kind)
    return f"{fault.status} on {fault.endpoint or 'any call'}"


def _long_after() -> float:
    """Whatever is late, and whatever still runs, is there and billed by this time."""
    return time.time() + 3600


def run_command(site: Site, *words: str) -> subprocess.CompletedProcess[str]:
    """What ``embedding-assets`` says to these words."""
    return subprocess.run(
        [COMMAND, "-c", site.config, *words],
        env=_environ(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
        check=False,
    )


# --- judging ------------------------------------------------------------------------------------


def judge_worker(site: Site, codes: Sequence[int | None]) -> Iterator[str]:
    """It ends by itself with 0 in the end, before that with 1, and never with a traceback."""
    if codes[-1] != 0:
        yield f"not done after {MAX_RESTARTS} starts; it said: {_last_words(site)}"
    for code in sorted({str(code) for code in codes} - {"0", "1"}):
        meaning = f"nothing for {RUN_TIMEOUT_S} s" if code == "None" else f"exit code {code}"
        yield f"the worker: {meaning}; it said: {_last_words(site)}"
    if "Traceback" in site.log.read_text(encoding="utf-8", errors="replace"):
        yield "there is a traceback in the worker's log"


def _last_words(site: Site) -> str:
    lines = site.log.read_text(encoding="utf-8", errors="replace").splitlines()
    return " | ".join(lines[-MAX_SHOWN:])


def judge_with_doctor(site: Site, jobs: Sequence[RemoteJob]) -> list[str]:
    """It names the jobs that were paid for in vain, each once, and has nothing else to say."""
    done = run_command(site, "doctor", "--json")
    try:
        report = json.loads(done.stdout)
    except ValueError:
        return [f"doctor: exit code {done.returncode}: {done.stderr[-300:].strip()}"]
    unnamed = [job.name for job in jobs if job.is_paid_in_vain]
    said = [] if done.returncode == bool(unnamed) else [f"doctor: exit code {done.returncode}"]
    for finding in report["findings"]:
        if finding["severity"] != "wrong":
            continue
        named = next((name for name in unnamed if name in finding["message"].split()), None)
        if finding["check"] == Check.DUPLICATE_JOBS and named is not None:
            unnamed.remove(named)
        else:
            said.append(f"doctor: {finding['check']}: {finding['message']}")
    said += [f"doctor does not name {name}, which was paid for in vain" for name in unnamed]
    if report["gemini_not_looked_at"]:
        said.append(f"doctor: Gemini was not looked at: {report['gemini_not_looked_at']}")
    return said


def judge_bill(bill: Bill, jobs: Sequence[RemoteJob], reference: Reference) -> Iterator[str]:
    """But for what nobody can prevent, nothing is bought twice or that was not necessary."""
    in_vain = sum(job.tokens for job in jobs if job.is_paid_in_vain)
    wanted = [purchase for job in jobs if not job.is_paid_in_vain for purchase in job.purchases]
    times = Counter(sha256 for sha256, _ in wanted)
    n_twice = sum(count > 1 for count in times.values())
    if n_twice:
        n_tokens = sum(tokens for _, tokens in wanted) - sum(dict(wanted).values())
        yield f"{n_twice:,} texts were bought more than once, {n_tokens:,} tokens too many"
    elif bill.tokens != reference.tokens + in_vain:
        yield (
            f"{bill.tokens:,} tokens were billed, {reference.tokens:,} were necessary and "
            f"{in_vain:,} could not be helped"
        )


def judge_published(found: frozenset[tuple[Any, ...]], reference: Reference) -> Iterator[str]:
    """Every chunk of every document is there with the vector that it has in peace."""
    for what, some in (
        ("are not there or differ", reference.published - found),
        ("are there and should not be, or differ", found - reference.published),
    ):
        if some:
            places = sorted((Path(uri).name, position) for uri, position, _, _ in some)
            yield f"{len(some):,} published chunks {what}: {places[:MAX_SHOWN]}"


def judge_ledger(site: Site, reference: Reference) -> Iterator[str]:
    """Every shard's requests add up, nothing is left open, and every request's tokens are known."""
    index = site.data / "index.db"
    for key, planned, counted, pending, state in rows(index, _SHARDS):
        if planned != counted:
            yield f"shard {key} was planned with {planned} requests and has {counted}"
        if state == "open" or (state == "settled" and pending):
            yield f"shard {key} is {state} with {pending} pending requests"
    for key, attempt, state in rows(index, _UNFINISHED_JOBS):
        yield f"attempt {attempt} of shard {key} is still {state}"
    n_embedded, tokens = next(iter(rows(index, _EMBEDDED)), (0, 0))
    if (n_embedded, tokens) != (reference.n_vectors, reference.tokens):
        yield (
            f"the index has {n_embedded:,} embedded requests for {tokens:,} tokens on record, "
            f"{reference.n_vectors:,} for {reference.tokens:,} are right"
        )


_SHARDS = """
SELECT s.key, s.n_requests, count(r.chunk_id),
    count(CASE WHEN r.outcome = 'pending' THEN 1 END), s.state
FROM shards s LEFT JOIN requests r USING (shard_id) GROUP BY s.shard_id
"""
_HELD = """
SELECT s.key FROM shards s JOIN batch_jobs j ON j.shard_id = s.shard_id WHERE j.state = 'held'
"""

# Its requests are in later shards of the same plan, though no attempt of it was refused for good.
_SPLITS = """
SELECT count(DISTINCT whole.shard_id) FROM shards whole
JOIN requests r ON r.shard_id = whole.shard_id
JOIN requests again ON again.chunk_id = r.chunk_id AND again.shard_id > whole.shard_id
JOIN shards part ON part.shard_id = again.shard_id AND part.generation_id = whole.generation_id
WHERE whole.state = 'abandoned' AND NOT EXISTS (
    SELECT 1 FROM batch_jobs j WHERE j.shard_id = whole.shard_id AND j.state = 'refused'
)
"""
_UNFINISHED_JOBS = """
SELECT s.key, j.attempt, j.state FROM batch_jobs j JOIN shards s USING (shard_id)
WHERE j.state IN ('unconfirmed', 'pending', 'running', 'succeeded')
"""
_EMBEDDED = "SELECT count(*), sum(billed_tokens) FROM requests WHERE outcome = 'embedded'"


if __name__ == "__main__":
    main()
