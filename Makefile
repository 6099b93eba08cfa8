# The ways into the project. `make help` lists them; every one works in an empty clone with Python 3.11 alone.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VENV ?= .venv
BIN := $(VENV)/bin
LOCKS := deploy/requirements
NODE_PEERS := tests/integration/node_peers

# PYTHON=... names an interpreter; otherwise the first of these that runs and is 3.11.
PYTHON ?= $(shell for p in python3.11 python3 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null && echo "$$p" && break; done)

# Where pip is told to look, a hospital's mirror for one, uv looks too.
MIRROR = $${UV_DEFAULT_INDEX:-$${PIP_INDEX_URL:-$$($(BIN)/python -m pip config get global.index-url 2>/dev/null || true)}}
UV = UV_DEFAULT_INDEX="$(MIRROR)" $(BIN)/uv
# Files of the lock only, checked by their hashes. `--only-binary` where nothing needs to be built.
INSTALL = $(UV) pip install --quiet --python $(BIN)/python --require-hashes
# Debian 12 has Python 3.11.2, the oldest we run on; hashes of every platform are listed.
COMPILE = $(UV) pip compile --quiet --python-platform x86_64-manylinux_2_28 --python-version 3.11.2 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header --no-annotate $(if $(UPGRADE),--upgrade)

.PHONY: help setup demo test lint types bench accept lock clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-6s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(VENV)/.dev  ## everything for development into .venv

demo: $(VENV)/.service  ## the main job end to end, on a synthetic case
	@$(BIN)/sphero demo $(ARGS)

# Test files run side by side; most of their time they wait for the services that they started. WORKERS=0 runs one after the other.
WORKERS ?= 3

test: $(VENV)/.dev $(if $(shell command -v npm),$(NODE_PEERS)/node_modules/.installed)  ## all tests; ARGS="-k name" narrows them
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(VENV)/.dev  ## ruff, and who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo

types: $(VENV)/.dev  ## mypy --strict
	$(BIN)/mypy

bench: $(VENV)/.dev  ## measured ratios, one table
	$(BIN)/python -m tests.bench $(ARGS)

accept: $(VENV)/.dev  ## real smears through the whole service (needs ../shared/data and Chromium); ARGS="-k name"
	SPHERO_ACCEPTANCE="$${SPHERO_ACCEPTANCE:-runs/acceptance}" $(BIN)/python -m pytest -s tests/acceptance $(ARGS)

# Each stamp says that the virtual environment holds at least what its lock lists.
$(VENV)/.service: $(LOCKS)/service.txt $(VENV)/.uv pyproject.toml
	@echo "Installing the service into $(VENV) (once; a minute or two)"
	@$(INSTALL) --only-binary :all: -r $<
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(LOCKS)/dev.txt $(VENV)/.uv pyproject.toml
	@echo "Installing service, training and test tools into $(VENV) (once; some minutes)"
	@$(INSTALL) --build-constraints $(LOCKS)/bootstrap.txt -r $<
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $(VENV)/.service $@

$(VENV)/.uv: $(LOCKS)/bootstrap.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 is needed and was not found: install it (Debian 12: apt-get install \
	python3 python3-venv) or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { echo "$(PYTHON) is not Python 3.11" >&2; \
	exit 1; }
	@"$(PYTHON)" -c 'import ensurepip' 2>/dev/null || { echo "$(PYTHON) cannot make virtual environments: install its \
	venv module (Debian 12: apt-get install python3-venv)" >&2; exit 1; }
	@test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r $<
	@touch $@

# HL7 peers of other makers for the tests; where they cannot be had, the tests name them as skipped.
$(NODE_PEERS)/node_modules/.installed: $(NODE_PEERS)/package-lock.json
	@cd $(NODE_PEERS) && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error && touch node_modules/.installed || \
	echo "npm could not install the HL7 peers of $(NODE_PEERS); their tests are skipped" >&2

lock: $(VENV)/.uv  ## writes the locks anew; UPGRADE=1 takes newer versions
	$(COMPILE) $(LOCKS)/bootstrap.in -o $(LOCKS)/bootstrap.txt
	$(COMPILE) pyproject.toml --extra service --extra train --extra dev -o $(LOCKS)/dev.txt
	$(COMPILE) pyproject.toml --extra service --extra train --constraints $(LOCKS)/dev.txt -o $(LOCKS)/train.txt
	$(COMPILE) pyproject.toml --extra service --constraints $(LOCKS)/dev.txt -o $(LOCKS)/service.txt

clean:  ## removes the virtual environment and what tools cached
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
