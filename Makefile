# Every target prepares what it needs first; `make` alone lists them.
# PYTHON=python3.12 chooses the interpreter that makes .venv; TORCH_INDEX_URL=... adds an index for PyTorch builds.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup check format test test-deep demo contracts lock clean distclean

ROOT := $(abspath $(dir $(lastword $(MAKEFILE_LIST))))
BIN := $(ROOT)/.venv/bin
export PATH := $(BIN):$(PATH)
ifdef PYTHON
export PYTHON
endif

# Arguments of the demo, for example: make demo ARGS="--rounds 4 --trainers 3"
ARGS ?=
# DEMO_EXIT=1 ends the demo after its report instead of keeping its page up.
ifdef DEMO_EXIT
export DEMO_EXIT
endif

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1|\2/' \
	  | while IFS='|' read -r name text; do printf '  make %-11s %s\n' "$$name" "$$text"; done

setup: ## Prepare .venv and contracts/node_modules (does nothing when nothing changed)
	@scripts/setup

check: setup ## Style, types, import rules, spelling, house rules: about a minute
	@scripts/check

format: setup ## Bring the code into the house style
	@scripts/check --fix

test: setup ## The whole test-suite: unit, contracts, integration, end to end
	@scripts/test

test-deep: setup ## Long fuzzing and the tests marked deep (hours)
	@scripts/test_deep

demo: setup ## Train a model with honest nodes, a free-rider and Sybils on this machine, and pay them
	@$(BIN)/python -m emerit.devnet.demo $(ARGS)

contracts: setup ## Compile the contracts into src/emerit/chain/artifacts
	@$(BIN)/python scripts/compile_contracts

lock: setup ## Write requirements.lock anew from what .venv has
	@$(BIN)/python scripts/lock

clean: ## Remove caches and build outputs; keeps .venv, keys and data
	@rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist contracts/out contracts/cache
	@find src node validator tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## Also remove .venv and contracts/node_modules
	@rm -rf .venv contracts/node_modules .emerit/setup.log .emerit/setup.lock
