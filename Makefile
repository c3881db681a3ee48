# What a new machine needs: Python 3.11 or newer, and make. Everything else is installed into .venv (and, as root on
# Debian or Ubuntu, the few system packages that `.ci/system-packages` names).

VENV := .venv
BIN := $(VENV)/bin
NOTEBOOK := examples/first-cell.ipynb
PYTEST_OPTIONS ?=
# So many processes run the tests. Most of them start kernels, workers and browsers, which keep a processor busy.
AT_ONCE ?= $(shell nproc)
PYTEST = $(BIN)/python -m pytest -q -n $(AT_ONCE) $(PYTEST_OPTIONS)
LABEXTENSION := package.json yarn.lock $(shell find labextension/src labextension/style labextension/schema -type f)

.DEFAULT_GOAL := help
.PHONY: help demo lab labcheck test nightly pythons chaos check lint types wheel bench clean torch

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*##/\1:/p' Makefile

demo: $(VENV)/.demo  ## run the first notebook on a worker, then a tour of the simulated cloud, and tell what happened
	@$(BIN)/python examples/run_demo.py $(NOTEBOOK)
	@printf '\n== Second part: a machine that costs (simulated) money\n'
	@$(BIN)/cellferry demo
	@printf '\nOpen it in JupyterLab:\n  $(BIN)/jupyter-lab $(NOTEBOOK)\n'

lab: $(VENV)/.demo  ## open the first notebook in JupyterLab
	$(BIN)/jupyter-lab $(NOTEBOOK)

test: $(VENV)/.test torch labcheck  ## install what the tests need and run all of them
	.ci/system-packages chromium postgresql iproute2 nftables openssh-server util-linux curl openssl gcc libc6-dev
	$(PYTEST) -m "not nightly"

nightly: $(VENV)/.test torch  ## what is slow and rarely breaks: run it before an issue is called resolved
	.ci/system-packages chromium postgresql iproute2 nftables openssh-server util-linux curl openssl gcc libc6-dev
	$(PYTEST) -m nightly

pythons: $(VENV)/.test  ## the fast tests on every supported Python, 3.11 to 3.15; gets those that are missing (PYTHONS='3.14')
	.ci/pythons $(PYTHONS)

chaos: $(VENV)/.test  ## 200 seeded runs of a notebook to which things happen (CHAOS='--seeds 20', CHAOS='--seed 7')
	.ci/system-packages iproute2 nftables openssh-server postgresql util-linux gcc libc6-dev
	PYTHONPATH=tests $(BIN)/python -m chaos $(CHAOS)

check: $(VENV)/.test lint types  ## lint, types and the fast tests: under two minutes
	$(PYTEST) -m "not slow and not browser and not nightly"

labcheck: $(VENV)/.node  ## the extension for JupyterLab: its types, its form and its tests
	PATH="$(CURDIR)/$(BIN):$$PATH" sh -c 'jlpm types && jlpm format:check && jlpm test'

lint: $(VENV)/.test  ## ruff
	$(BIN)/ruff check --extend-exclude '*.ipynb' .

types: $(VENV)/.test  ## mypy, strict
	$(BIN)/mypy

wheel: $(VENV)/.test  ## build the source archive and, from that, the wheel into dist/
	rm -rf dist
	$(BIN)/python -m build --outdir dist .

bench: $(BIN)/python  ## time this project beside its peers, in an environment of their own
	.ci/system-packages openssh-server rsync postgresql
	$(BIN)/python -m benchmarks $(BENCH)

clean:  ## remove what the other targets made
	rm -rf node_modules .yarn labextension/lib src/cellferry/labextension
	rm -rf $(VENV) .venv-bench dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis benchmarks/results
	find src tests examples benchmarks -name __pycache__ -prune -exec rm -rf {} +

$(BIN)/python:
	.ci/make-venv $(VENV)

$(VENV)/.demo: $(BIN)/python pyproject.toml $(LABEXTENSION)
	.ci/install $(VENV) -e '.[demo]'
	@touch $@

$(VENV)/.test: $(BIN)/python pyproject.toml $(LABEXTENSION)
	.ci/install $(VENV) -e '.[test,check]'
	@touch $@ $(VENV)/.demo

$(VENV)/.node: $(VENV)/.test package.json yarn.lock
	.ci/node $(VENV)
	@touch $@

torch: $(VENV)/.test  ## torch for its tests, where this machine offers its CPU build
	.ci/install-torch $(VENV)
