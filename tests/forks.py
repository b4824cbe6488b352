"""Processes forked from one that has imported everything: a new interpreter takes seconds for it.

There is one such server a test process, so that what it has imported is said here, once.
"""

import multiprocessing

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    [
        "embedding_assets.cli.app",
        "embedding_assets.definitions",
        "embedding_assets.defs.headless",
        "embedding_assets.defs.plots",
        "embedding_assets.doctor.examine",
        "google.genai",
        # Which it loads late, when a process without rights may not read them any more.
        "encodings.idna",
        "importlib.readers",
        "matplotlib.figure",
        "pandas",
        "tests.integration.worker",
    ]
)
