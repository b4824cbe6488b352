"""Confined extraction: in a child process, which may take what a file's size allows and no more.

Belongs here: which types are read there, how much a file may take, what is said if that is not
enough. Does not belong here: what is extracted (extraction.py).
"""

import os
import pickle
import queue
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import BinaryIO, Self

from embedding_assets.corpus.census import Outcome
from embedding_assets.corpus.formats.extracted import Extracted
from embedding_assets.corpus.formats.extraction import Extraction
from embedding_assets.corpus.kinds import kind_of_type
from embedding_assets.errors import DocumentError, ProcessError
from embedding_assets.settings.values import KindGroup

# The HTML parser's time grows with the square of an element's depth and of a tag's attributes, its
# memory with that of the <font> that are never closed: 100 kB take 4 GB and half a minute. Of the
# other texts only a long one takes much.
MAX_UNCONFINED_BYTES = 1_000_000
UNCONFINED = frozenset({
    "application/x-ipynb+json", "text/asciidoc", "text/markdown", "text/mdx", "text/plain",
    "text/x-braces", "text/x-org", "text/x-python", "text/x-quarto", "text/x-rst", "text/x-script",
    "text/x-tex",
})  # fmt: skip

MAX_MEMORY_BYTES = 4_000_000_000

_READY = b"ready"
# What has nothing to do with memory.
_DEFECTS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a file of a kind may take; one that needs more is refused, and the others go on."""

    cpu_s: float
    cpu_s_per_mb: float
    memory_bytes: int
    memory_bytes_per_byte: int
    remedy: str

    def cpu_s_of(self, n_bytes: int) -> float:
        return self.cpu_s + self.cpu_s_per_mb * n_bytes / 1_000_000

    def memory_of(self, n_bytes: int) -> int:
        return min(self.memory_bytes + self.memory_bytes_per_byte * n_bytes, MAX_MEMORY_BYTES)


# A page takes 0.1 to 0.2 s of CPU time a megabyte and some 20 bytes a byte; one of nothing but the
# smallest elements 2 s and 170 bytes.
TEXT_LIMITS = Limits(
    cpu_s=2.0,
    cpu_s_per_mb=5.0,
    memory_bytes=100_000_000,
    memory_bytes_per_byte=250,
    remedy="its markup is broken or nested too deeply: repair it, or save the page as text",
)
# The parts of a mail are decoded one by one.
MAIL_LIMITS = replace(TEXT_LIMITS, remedy="it is damaged, or has too much in it: split it")
# Of what is packed: how much it becomes is not seen from its size.
PACKED_LIMITS = Limits(
    cpu_s=30.0,
    cpu_s_per_mb=10.0,
    memory_bytes=1_000_000_000,
    memory_bytes_per_byte=100,
    remedy="it is damaged, or unpacks to far more than it should: save it again, or split it",
)


_LIMITS = {
    KindGroup.MAIL: MAIL_LIMITS,
    KindGroup.OFFICE: PACKED_LIMITS,
    KindGroup.DATA: PACKED_LIMITS,
}


def limits_of(media_type: str) -> Limits:
    kind = kind_of_type(media_type)
    return _LIMITS.get(kind.group, TEXT_LIMITS) if kind else TEXT_LIMITS


class ConfinedReader:
    """Reads as its ``extraction`` does, and what needs it in children that end with the block.

    It may be called from any thread. A child is started for a file that needs one, ``n_children``
    at the most, and anew after a file that ended it.
    """

    def __init__(
        self,
        extraction: Extraction = Extraction(),  # noqa: B008 -- it is frozen
        *,
        n_children: int = 1,
        limits: Limits | None = None,
    ) -> None:
        """``limits`` are for files of every kind, instead of those that the kinds have."""
        self._extraction = extraction
        self._limits = limits
        self._children = tuple(_Child() for _ in range(n_children))
        self._idle: queue.LifoQueue[_Child] = queue.LifoQueue()  # first the one that is running
        for each in self._children:
            self._idle.put(each)
        self._is_closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self._is_closed = True
        for each in self._children:
            each.kill()
        # Each comes back once whoever waits for its answer has seen that there is none.
        for child in [self._idle.get() for _ in self._children]:
            child.end()
            self._idle.put(child)  # whoever still waits for one sees that it is too late

    def reason_against(self, media_type: str) -> Outcome | None:
        """As that of its ``extraction``."""
        return self._extraction.reason_against(media_type)

    def fingerprint_of(self, media_type: str) -> str:
        """As that of its ``extraction``."""
        return self._extraction.fingerprint_of(media_type)

    def extract(self, data: bytes, media_type: str, *, fallback_title: str) -> Extracted:
        """As that of its ``extraction``. Raises DocumentError for a file that takes too much, too.

        Raises ProcessError if there can be no child.
        """
        if media_type in UNCONFINED and len(data) <= MAX_UNCONFINED_BYTES:
            return self._extract_here(data, media_type, fallback_title)
        limits = self._limits or limits_of(media_type)
        child = self._idle.get()
        try:
            if self._is_closed:
                raise ProcessError("the processes that read documents have ended")
            return child.ask(limits, self._extraction, data, media_type, fallback_title)
        finally:
            self._idle.put(child)

    def _extract_here(self, data: bytes, media_type: str, fallback_title: str) -> Extracted:
        try:
            return self._extraction.extract(data, media_type, fallback_title=fallback_title)
        except (DocumentError, MemoryError, RecursionError):
            raise
        except Exception as exc:
            raise _defect(exc) from exc


def _defect(exc: Exception) -> DocumentError:
    """What no reader should have raised is one file's matter, too."""
    return DocumentError(
        f"its reader failed ({type(exc).__name__}: {exc}), which is a defect of this version: "
        "report it, or save the file as another kind"
    )


class _Child:
    """A process that reads one file after the other; started when there is one."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._is_killed = False

    def ask(
        self,
        limits: Limits,
        extraction: Extraction,
        data: bytes,
        media_type: str,
        fallback_title: str,
    ) -> Extracted:
        """What it answers. Raises DocumentError, also if the file ends it."""
        self._process = self._process or _start()
        if self._is_killed:  # while it was started
            self._process.kill()
        request = (limits, extraction, data, media_type, fallback_title)
        try:
            answer = _exchange(self._process, request)
        except (EOFError, BrokenPipeError, pickle.UnpicklingError) as exc:
            code = self.end()
            reason = f"ended its reader (exit code {code})"
            if code == -signal.SIGPROF:
                reason = f"takes more than {limits.cpu_s_of(len(data)):.1f} s of CPU time"
            elif code == -signal.SIGABRT:  # how a library that is not Python's ends without memory
                reason = _takes_more_than(limits.memory_of(len(data)))
            raise DocumentError(f"reading it {reason}; {limits.remedy}") from exc
        except BaseException:
            self.end()  # or the next file would get this one's answer
            raise
        if isinstance(answer, DocumentError):
            raise answer
        return answer

    def kill(self) -> None:
        """End the process, whoever waits for it; also the one that is being started."""
        self._is_killed = True
        if self._process is not None:
            self._process.kill()

    def end(self) -> int:
        """End the process, if there is one; its exit code."""
        process, self._process = self._process, None
        if process is None:
            return 0
        process.kill()
        process.communicate()
        return process.returncode


def _exchange(process: subprocess.Popen[bytes], request: object) -> Extracted | DocumentError:
    assert process.stdin is not None
    assert process.stdout is not None
    pickle.dump(request, process.stdin)
    process.stdin.flush()
    answer: Extracted | DocumentError = pickle.load(process.stdout)
    return answer


def _start() -> subprocess.Popen[bytes]:
    """A child that is ready: what keeps it from that is no document's fault."""
    try:
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__],  # -P: nothing of the working directory
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for its parent
        )
    except OSError as exc:
        raise ProcessError(f"the process that reads documents cannot be started: {exc}") from exc
    assert child.stdout is not None
    if child.stdout.read(len(_READY)) != _READY:
        child.kill()
        child.communicate()
        raise ProcessError(
            "the process that reads documents ended before it read any (exit code "
            f"{child.returncode}): can `{sys.executable} -P -m {__name__}` be run?"
        )
    return child


def _serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """What the child does until its parent has gone."""
    answers.write(_READY)
    answers.flush()
    while True:
        try:
            request = pickle.load(requests)
        except EOFError:
            return
        pickle.dump(_extract_within(*request), answers)
        answers.flush()


def _extract_within(
    limits: Limits, extraction: Extraction, data: bytes, media_type: str, fallback_title: str
) -> Extracted | DocumentError:
    memory_bytes = limits.memory_of(len(data))
    try:
        with _bounds(limits.cpu_s_of(len(data)), memory_bytes):
            return extraction.extract(data, media_type, fallback_title=fallback_title)
    except DocumentError as exc:
        return exc
    except _DEFECTS as exc:
        return _defect(exc)
    except Exception as exc:  # without memory the parser fails with an error of its own
        return DocumentError(
            f"reading it {_takes_more_than(memory_bytes)} "
            f"({str(exc) or type(exc).__name__}); {limits.remedy}"
        )


def _takes_more_than(memory_bytes: int) -> str:
    return f"takes more than {memory_bytes // 1_000_000:,} MB of memory"


@contextmanager
def _bounds(cpu_s: float, memory_bytes: int) -> Iterator[None]:
    """The block may take that much more than was taken before; one that needs longer is ended.

    Memory is bounded where /proc says how much was taken: not on macOS.
    """
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    with suppress(OSError, ValueError):
        n_pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = n_pages * resource.getpagesize() + memory_bytes
        resource.setrlimit(resource.RLIMIT_AS, (limit, most))
    signal.setitimer(signal.ITIMER_PROF, cpu_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


if __name__ == "__main__":
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    import_module("embedding_assets.corpus.formats.readers")  # or the first file would pay for it
    # Whatever a library prints is no answer.
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        _serve(sys.stdin.buffer, answers)
