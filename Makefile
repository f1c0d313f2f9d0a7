# Everything installs into .venv, from pinned and hashed packages.
PYTHON ?= python3
ifeq ($(OS),Windows_NT)
BIN := .venv/Scripts
else
BIN := .venv/bin
endif
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes

.PHONY: run test lint bench demo lock clean help

run: .venv/run-installed ## install what is needed and start the gateway
	$(BIN)/ecluse serve $(ARGS)

test: .venv/test-installed ## run every test
	$(BIN)/python -m pytest

lint: .venv/test-installed ## formatting, lint, types, import contracts, the five largest files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@echo "The five largest files (lines):"
	@find src -name '*.py' -exec wc -l {} + | sort -rn | sed -n 2,6p

demo: .venv/run-installed ## show the cascade at work on real, tiny models
	$(BIN)/ecluse demo

bench: .venv/test-installed ## measure what the gateway costs, beside nginx
	$(BIN)/python -m benchmarks

lock: .venv/test-installed ## resolve the pinned and hashed packages anew
	sh requirements/lock.sh

.venv/bare:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Ecluse needs Python 3.11 or newer: make run PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	@touch $@

.venv/run-installed: .venv/bare requirements/run.txt pyproject.toml
	@echo "Installing into .venv (a minute or two the first time) …"
	$(INSTALL) -r requirements/run.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.venv/test-installed: .venv/run-installed requirements/test.txt
	$(INSTALL) -r requirements/test.txt
	@touch $@

clean: ## remove what was installed
	rm -rf .venv .bench-venv

help: ## list these
	@grep -E '^[a-z]+:.*##' Makefile | sed 's/:.*## /	/'
