"""Interrupts: SIGINT and SIGTERM while Dagster runs things in this process.

Belongs here: not losing a signal. Does not belong here: what is interrupted (headless.py).
"""

import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import dagster as dg

_INTERRUPTS = (KeyboardInterrupt, dg.DagsterExecutionInterruptedError)


@contextmanager
def unswallowed_interrupts() -> Iterator[Callable[[], None]]:
    """A function that raises KeyboardInterrupt if SIGINT or SIGTERM came since it was last called.

    Dagster replaces the handlers while a run lasts, and a signal that comes as the run begins or
    ends is forgotten. So is one that hits a garbage collection: Python only prints it. The
    wake-up descriptor is told of every signal, whoever handles it.

    After a run Dagster gives SIGTERM the handler of SIGINT, which is to ignore it if the process
    was started in the background of a script. So both have one handler that tells them apart.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    heard = {number for number, handler in handlers.items() if handler is not signal.SIG_IGN}

    def interrupt(number: int, _: FrameType | None) -> None:
        if number in heard:
            raise KeyboardInterrupt

    with _woken() as signals:

        def check() -> None:
            if heard & signals():
                raise KeyboardInterrupt

        try:
            for number in handlers:
                signal.signal(number, interrupt)
            yield check
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)


@contextmanager
def _woken() -> Iterator[Callable[[], set[int]]]:
    """A function that says which signals have come since it was last called."""
    reader, writer = socket.socketpair()
    reader.setblocking(False)
    writer.setblocking(False)
    before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    hook_before, sys.unraisablehook = sys.unraisablehook, _print_unless_interrupt

    def signals() -> set[int]:
        with suppress(BlockingIOError):
            return set(reader.recv(4096))
        return set()

    try:
        yield signals
    finally:
        sys.unraisablehook = hook_before
        signal.set_wakeup_fd(before)
        reader.close()
        writer.close()


def _print_unless_interrupt(unraisable: "sys.UnraisableHookArgs") -> None:
    if not issubclass(unraisable.exc_type, _INTERRUPTS):
        sys.__unraisablehook__(unraisable)
