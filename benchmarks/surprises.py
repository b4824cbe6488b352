"""Surprises: what each kind of trouble costs, one at a time.

    python benchmarks/surprises.py [--only NAME ...] [--documents 60] [--restarts 3]

For each kind a small corpus is reindexed with the console command, and again as often as
``--restarts`` says, against an emulator that misbehaves in this one way and in no other. A row says
what was billed against what was necessary, our dollars against the server's, whether the month was
published, and what ``embedding-assets doctor`` says. The exit code is 1 if anything was bought that
need not be, or if a month that was not published looks sound to the doctor.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from embedding_assets.emulator.bill import Bill
from embedding_assets.emulator.errors import Quota
from embedding_assets.emulator.faults.kinds import Endpoint, FaultKind
from embedding_assets.emulator.faults.rules import Fault
from embedding_assets.emulator.server import Emulator, running
from embedding_assets.emulator.settings import EmulatorSettings

COMMAND = Path(sys.executable).with_name("embedding-assets")
PRICES = {"batch": Decimal("0.075"), "sync": Decimal("0.15")}  # a million tokens
TIMEOUT_S = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Surprise:
    """One kind of trouble, and the settings under which it is met."""

    name: str
    faults: tuple[Fault, ...] = ()
    route: str = "batch"
    limits: Mapping[str, Any] = field(default_factory=dict)
    n_compared: int = 0  # texts that are embedded again before the publication


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one surprise has cost."""

    surprise: Surprise
    n_necessary: int
    bill: Bill
    usd_here: Decimal
    n_published: int
    findings: tuple[str, ...]  # of the doctor, by check

    @property
    def usd_there(self) -> Decimal:
        tokens = {"batch": self.bill.batch_tokens, "sync": self.bill.sync_tokens}
        return sum((n * PRICES[route] / 1_000_000 for route, n in tokens.items()), Decimal(0))

    @property
    def is_good(self) -> bool:
        is_said = self.n_published > 0 or bool(self.findings)
        n_twice = sum(text.times - 1 for text in self.bill.bought_twice)
        return n_twice <= self.surprise.n_compared and is_said

    def cells(self) -> Iterator[str]:
        yield self.surprise.name
        compared = self.bill.sync_requests if self.surprise.n_compared else 0
        yield f"{self.bill.requests - compared} / {self.n_necessary}"
        yield f"${self.usd_here:.7f} / ${self.usd_there:.7f}"
        yield str(self.n_published)
        yield ", ".join(dict.fromkeys(self.findings)) or "nothing is wrong"


def _one(kind: FaultKind, name: str, *, n_compared: int = 0, **rule: Any) -> Surprise:
    return Surprise(name=name, faults=(Fault(kind=kind, **rule),), n_compared=n_compared)


def _quota(quota: Quota) -> Surprise:
    endpoint = Endpoint.UPLOAD if quota is Quota.STORAGE else Endpoint.CREATE
    return _one(FaultKind.CALL_ERROR, f"429: {quota}", quota=quota, endpoint=endpoint, times=2)


SURPRISES = (
    Surprise(name="none"),
    Surprise(name="none, synchronously", route="sync"),
    _one(FaultKind.KEY_IN_METADATA, "key under metadata"),
    _one(FaultKind.KEY_RENAMED, "key under another name"),
    _one(FaultKind.UNKNOWN_KEY, "keys of nobody", is_billed=True),
    _one(FaultKind.USAGE_METADATA, "tokens under usageMetadata"),
    _one(FaultKind.UNCOUNTED, "no token counts"),
    _one(FaultKind.EMBEDDINGS_LIST, "vector in a list"),
    _one(FaultKind.WRONG_DIMENSION, "vectors of another length", is_billed=True),
    _one(FaultKind.NAN_VALUE, "vectors with NaN", is_billed=True),
    _one(FaultKind.TEXT_VALUES, "numbers as texts"),
    _one(FaultKind.MALFORMED_LINE, "lines cut in half", is_billed=True),
    _one(FaultKind.MISSING_LINE, "no lines", is_billed=True),
    _one(FaultKind.STATUS_LINE, "errors as status", code=3, times=1),
    _one(FaultKind.SIGN_IN_PAGE, "a sign-in page once", times=1),
    _one(FaultKind.SIGN_IN_PAGE, "a sign-in page"),
    _one(FaultKind.EMPTY_DOWNLOAD, "an empty file"),
    _one(FaultKind.ERROR_DOCUMENT, "an error document"),
    _one(FaultKind.INLINED_RESULTS, "results in the operation"),
    Surprise(name="too few vectors", faults=(Fault(kind=FaultKind.TOO_FEW_VECTORS),), route="sync"),
    Surprise(
        name="no count, synchronously",
        faults=(Fault(kind=FaultKind.UNCOUNTED_ANSWER),),
        route="sync",
    ),
    _one(FaultKind.LIST_OVERLAP, "pages that overlap"),
    _one(FaultKind.LIST_DOUBLED, "jobs listed twice"),
    _one(FaultKind.LIST_REPEATS, "a page token that repeats"),
    _one(FaultKind.LIST_NULL, "a list that is null"),
    _one(FaultKind.LIST_FOREIGN, "foreign jobs that cannot be read"),
    _one(FaultKind.CREATE_REFUSED_LATE, "429, and a job all the same", times=2),
    _one(FaultKind.CREATE_THEN_DROP, "a creation that is not answered", times=1),
    _quota(Quota.TOKENS),
    _quota(Quota.REQUESTS),
    _quota(Quota.STORAGE),
    _quota(Quota.SPEND),
    _quota(Quota.CREDITS),
    _one(FaultKind.POISON_TEXT, "a text for which jobs fail", match="note 7 "),
    _one(
        FaultKind.POISON_TEXT, "a text for which jobs are refused", match="note 7 ", is_refused=True
    ),
    _one(FaultKind.KEY_QUOTED, "the key quoted", endpoint=Endpoint.LIST, times=1),
    _one(FaultKind.REDIRECTED, "a redirect elsewhere", endpoint=Endpoint.LIST, times=1),
    _one(FaultKind.DOWNLOAD_TRICKLES, "a download that trickles", times=1),
    _one(FaultKind.SWAPPED_VECTORS, "vectors of the neighbour", n_compared=50),
    _one(FaultKind.CHANGED_MODEL, "another model's vectors", n_compared=50),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--only", nargs="*", help="names of surprises; default: all")
    parser.add_argument("--documents", type=int, default=60, help="of one chunk each")
    parser.add_argument("--restarts", type=int, default=3, help="reindexes after the first")
    arguments = parser.parse_args()
    print("| surprise | billed / necessary | our bill / the server's | published | doctor |")
    print("|---|---|---|---|---|", flush=True)
    outcomes = []
    for surprise in SURPRISES:
        if not arguments.only or surprise.name in arguments.only:
            outcome = meet(surprise, arguments.documents, arguments.restarts)
            print(f"| {' | '.join(outcome.cells())} |", flush=True)
            outcomes.append(outcome)
    bad = [outcome.surprise.name for outcome in outcomes if not outcome.is_good]
    print(f"\n{len(outcomes)} surprises, {len(bad)} bad: {', '.join(bad) or 'none'}")
    sys.exit(bool(bad))


def meet(surprise: Surprise, n_documents: int, n_restarts: int) -> Outcome:
    """Reindex one corpus again and again under one kind of trouble."""
    with tempfile.TemporaryDirectory(prefix="surprise-") as name:
        directory = Path(name)
        _write_corpus(directory / "docs", n_documents)
        settings = EmulatorSettings(latency_s=0)
        with running(directory / "emulator", settings=settings) as emulator:
            for fault in surprise.faults:
                emulator.state.faults.add(fault)
            _write_settings(directory, surprise, emulator)
            for _ in range(1 + n_restarts):
                if _run(directory, "reindex").returncode == 0:
                    break
            return _outcome(surprise, directory, emulator, n_documents)


def _outcome(surprise: Surprise, directory: Path, emulator: Emulator, n_necessary: int) -> Outcome:
    costs = _json(directory, "costs")
    published = _json(directory, "status")["published"]
    findings = _json(directory, "doctor")["findings"]
    return Outcome(
        surprise=surprise,
        n_necessary=n_necessary,
        bill=emulator.state.bill(),
        usd_here=sum((Decimal(total["billed_usd"]) for total in costs["totals"]), Decimal(0)),
        n_published=published["embedded"] if published else 0,
        findings=tuple(each["check"] for each in findings),
    )


def _write_corpus(docs: Path, n_documents: int) -> None:
    docs.mkdir()
    for n in range(n_documents):
        text = f"# Note {n}\n\nThe lantern of note {n} hangs in harbour {n * 7}.\n"
        (docs / f"{n:03}.md").write_text(text, encoding="utf-8")


def _write_settings(directory: Path, surprise: Surprise, emulator: Emulator) -> None:
    limits = {"route": surprise.route, "backoff_s": 0.1, "run_retry_s": 1.0, **surprise.limits}
    sections: dict[str, Mapping[str, Any]] = {
        "corpus": {"paths": [str(directory / "docs")]},
        "gemini": {"base_url": emulator.base_url, "download_timeout_s": 5.0},
        "publishing": {"agreement_samples": surprise.n_compared},
        "limits": limits,
    }
    lines = [f"data_dir = {json.dumps(str(directory / 'data'))}"]
    for name, values in sections.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
    (directory / "settings.toml").write_text("\n".join(lines), encoding="utf-8")


def _run(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command: Sequence[str] = [str(COMMAND), "-c", str(directory / "settings.toml"), *words]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S, cwd=directory
    )


def _json(directory: Path, *words: str) -> Any:
    return json.loads(_run(directory, *words, "--json").stdout)


if __name__ == "__main__":
    main()
