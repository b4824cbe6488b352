"""Interrupts: SIGINT and SIGTERM while Dagster runs things in this process.

Belongs here: not losing a signal. Does not belong here: what is interrupted (headless.py).
"""

import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import dagster as dg

_INTERRUPTS = (KeyboardInterrupt, dg.DagsterExecutionInterruptedError)


@contextmanager
def unswallowed_interrupts() -> Iterator[Callable[[], None]]:
    """A function that raises KeyboardInterrupt if SIGINT or SIGTERM came since it was last called.

    Dagster replaces the handlers while a run lasts, and a signal that comes as the run begins or
    ends is forgotten. So is one that hits a garbage collection: Python only prints it. The
    wake-up descriptor is told of every signal, whoever handles it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    reader, writer = socket.socketpair()
    reader.setblocking(False)
    writer.setblocking(False)
    before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    hook_before, sys.unraisablehook = sys.unraisablehook, _print_unless_interrupt

    def check() -> None:
        with suppress(BlockingIOError):
            if set(reader.recv(4096)) & {signal.SIGINT, signal.SIGTERM}:
                raise KeyboardInterrupt

    try:
        yield check
    finally:
        sys.unraisablehook = hook_before
        signal.set_wakeup_fd(before)
        reader.close()
        writer.close()


def _print_unless_interrupt(unraisable: "sys.UnraisableHookArgs") -> None:
    if not issubclass(unraisable.exc_type, _INTERRUPTS):
        sys.__unraisablehook__(unraisable)
