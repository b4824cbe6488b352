"""A daemon that looks around every second, and runs that begin at once: Dagster has no settings.

Python imports this by itself when the directory is on PYTHONPATH. As shipped (dagster 1.13), a
backfill is looked at every 30 seconds and sensors every 5, which is most of what a test would wait
for; and every run, and every minute a code server, imports everything anew, which is most of what
it would compute. Here runs are forked from a process that has done so.
"""

import sys

if "dagster._daemon" in sys.orig_argv:
    import dagster._daemon.controller
    import dagster._daemon.sensor

    dagster._daemon.controller.DEFAULT_DAEMON_INTERVAL_SECONDS = 1
    dagster._daemon.controller.RELOAD_WORKSPACE_INTERVAL = 3600
    dagster._daemon.sensor.MIN_INTERVAL_LOOP_TIME = 1

if "grpc" in sys.orig_argv:
    import multiprocessing

    _FORKING = multiprocessing.get_context("forkserver")
    _FORKING.set_forkserver_preload(
        [
            "dagster._cli",
            "dagster._grpc.server",
            "embedding_assets.definitions",
            "google.genai",
            "matplotlib.figure",
            "pandas",
        ]
    )
    multiprocessing.get_context = lambda method=None: _FORKING  # type: ignore[assignment]
