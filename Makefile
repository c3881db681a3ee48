# What users and CI run. `make demo` and `make test` need nothing but Python 3.11 or newer.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
APT := DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends
# on the command line of every install: a prompt would hang a headless run
PIP := $(BIN)/python -m pip install --disable-pip-version-check --no-input -q

.PHONY: help demo lab test check lint types wheel bench clean debian

help:  ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "cellferry needs Python 3.11 or newer: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) 2>/dev/null || { \
	  rm -rf $(VENV); \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then apt-get update -q && $(APT) python3-venv && $(PYTHON) -m venv $(VENV); \
	  else echo "Python cannot make virtual environments here. On Debian and Ubuntu: sudo apt-get install python3-venv"; exit 1; fi; }

$(VENV)/.demo: pyproject.toml $(BIN)/python
	$(PIP) -e '.[demo]'
	@touch $@

# torch first and by itself: this version has a CPU build on machines that carry one, any other is a large CUDA build.
$(VENV)/.test: pyproject.toml $(BIN)/python
	$(PIP) torch==2.13.0 || $(PIP) torch
	$(PIP) -e '.[test,check]'
	@touch $@

demo: $(VENV)/.demo  ## run the first notebook headless, show what ran where
	$(BIN)/python examples/run_demo.py

lab: $(VENV)/.demo  ## open the example in JupyterLab
	$(BIN)/jupyter lab examples/first-cell.ipynb

debian:
	@command -v chromium >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then apt-get update -q && $(APT) chromium; \
	  else echo "The browser tests need Chromium. On Debian and Ubuntu: sudo apt-get install chromium"; exit 1; fi; }

test: $(VENV)/.test debian  ## everything: install what the tests need, run all of them
	$(BIN)/python -m pytest -q $(TESTS)

check: $(VENV)/.test lint types  ## what a commit should pass: lint, types, the fast tests
	$(BIN)/python -m pytest -q -m "not slow and not browser" tests/capture tests/parcels tests/test_architecture.py tests/test_exports.py tests/test_docs.py

lint: $(VENV)/.test  ## ruff
	$(BIN)/ruff check src tests benchmarks examples

types: $(VENV)/.test  ## mypy, strict
	$(BIN)/mypy

wheel: $(VENV)/.test  ## build the wheel and the source archive
	$(BIN)/python -m build -q

bench: $(BIN)/python  ## against the peers, in an environment of its own
	$(BIN)/python -m benchmarks $(BENCH)

clean:  ## remove environments, builds, caches
	rm -rf .venv .venv-bench dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
