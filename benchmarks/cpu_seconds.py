"""Run a command and say how many seconds of CPU it took, with every process that came of it.

    python benchmarks/cpu_seconds.py .venv/bin/pytest -n auto

The shell's own ``time`` forgets what nobody waits for: the children of a process that is killed.
Here they are adopted (Linux).
"""

import ctypes
import os
import resource
import subprocess
import sys
import time

_PR_SET_CHILD_SUBREAPER = 36
_PATIENCE_S = 30  # for what outlives the command


def main() -> int:
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    began = time.monotonic()
    exit_code = subprocess.run(sys.argv[1:], check=False).returncode
    wall = time.monotonic() - began
    _reap(until=time.monotonic() + _PATIENCE_S)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"{used.ru_utime + used.ru_stime:.0f} seconds of CPU in {wall:.0f} seconds")
    return exit_code


def _reap(*, until: float) -> None:
    """Wait for all that is left, as long as there is time."""
    while time.monotonic() < until:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
