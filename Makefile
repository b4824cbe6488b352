# Everything happens in .venv; nothing is installed outside this directory.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: help setup demo test browser unit check chaos ui lock clean

help:            ## Show this list.
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

setup: $(INSTALLED)  ## Make the virtual environment with the pinned packages.

$(INSTALLED): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

demo: setup      ## Reindex the Python standard library's documentation, no key needed, and search it.
	$(BIN)/python examples/stdlib_documents.py data/demo/documents
	$(BIN)/embedding-assets --config demo.toml reindex
	$(BIN)/embedding-assets --config demo.toml search "compress a file with gzip" -k 3

test: check browser  ## Check style and types, then run every test.
	$(BIN)/pytest -n auto --dist loadgroup

# Never fails: without a browser its tests are skipped, and say so. BROWSER_TESTS_REQUIRED=1 makes
# them fail instead, BROWSER_TESTS_CHROMIUM names a browser elsewhere.
browser:         ## Install Chromium for the browser tests, as root with apt-get; else leave it.
	@{ chromium --version || chromium-browser --version || google-chrome --version || \
	  { test "$$(id -u)" = 0 && timeout 300 apt-get -qq update && \
	    DEBIAN_FRONTEND=noninteractive timeout 900 apt-get -qq install --yes chromium; }; \
	} >/dev/null 2>&1 || echo "no browser, and none could be installed: its tests are skipped"

unit: setup      ## Run the fast tests: no webserver, no daemon.
	$(BIN)/pytest -n auto tests/unit tests/emulator

check: setup     ## ruff, the walls of the house, mypy --strict.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/mypy

chaos: setup     ## Reindexes with every fault on and a worker that is killed all the time.
	$(BIN)/python benchmarks/chaos.py

ui: setup        ## The Dagster web UI and daemon at http://127.0.0.1:3000.
	$(BIN)/embedding-assets ui

lock: setup      ## Pin the newest versions that pyproject.toml allows.
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --group dev --no-emit-index-url \
	    --no-annotate --custom-compile-command "make lock" --upgrade -o requirements.lock pyproject.toml

clean:           ## Remove the virtual environment and everything the demo wrote.
	rm -rf $(VENV) data/demo
