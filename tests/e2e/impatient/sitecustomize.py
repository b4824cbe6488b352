"""A daemon that looks around every second: Dagster's own has no setting for how seldom it does.

Python imports this by itself when the directory is on PYTHONPATH. As shipped, a backfill is looked
at every 30 seconds and sensors every 5 (dagster 1.13): most of what a test would wait for.
"""

import sys

if "dagster._daemon" in sys.orig_argv:
    import dagster._daemon.controller
    import dagster._daemon.sensor

    dagster._daemon.controller.DEFAULT_DAEMON_INTERVAL_SECONDS = 1
    dagster._daemon.sensor.MIN_INTERVAL_LOOP_TIME = 1
