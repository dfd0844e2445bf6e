# Heimdall Training Service. `make` lists what can be made.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
# The first Python of 3.11 or later that runs; `make PYTHON=/path/to/python3 ...` names another.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && command -v $$p && break; done)
TORCH := torch==2.13.0
POWER_TABLE ?= $(HEIMDALL_POWDER_FRS)
# Arguments for `heimdall up`, `heimdall demo` or pytest.
ARGS ?=

export HEIMDALL_HOME ?= $(CURDIR)/.heimdall

.PHONY: help
help: ## List what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: venv
venv: $(VENV)/.installed ## Make the virtual environment with the locked dependencies

$(VENV)/.installed: requirements.lock pyproject.toml client/pyproject.toml
	@test -n "$(PYTHON)" && "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "error: Heimdall needs Python 3.11 or later; python3 is $$(python3 --version 2>&1 || true)" >&2; \
		echo "       Name one: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@test -x $(BIN)/python || { echo "making $(VENV) with $(PYTHON)"; "$(PYTHON)" -m venv $(VENV); }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e . -e ./client
	@touch $@

.PHONY: demo
demo: venv ## Recordings in, a registered ONNX model out, in five steps (ARGS="--sessions 1000")
	@$(BIN)/heimdall demo $(ARGS)

.PHONY: demo-powder
demo-powder: venv ## The same on measured power tables (POWER_TABLE=folder)
	@$(BIN)/heimdall demo --power-table $(POWER_TABLE) $(ARGS)

.PHONY: up
up: venv ## Start the whole service on this machine; Ctrl-C stops it (ARGS="--port 8080 --detach")
	@$(BIN)/heimdall up $(ARGS)

.PHONY: down
down: venv ## Stop it; the data stay
	@$(BIN)/heimdall down

.PHONY: status
status: venv ## Show its processes
	@$(BIN)/heimdall status

.PHONY: check-static
check-static: venv ## Lint, format, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The tests that import torch, and the rest: side by side, so that only one of two processes imports it.
WITH_TORCH := $(addprefix tests/unit/,evaluation features networks)
# These import Lightning or MLflow, which takes longer than most tests together: only in `make test`.
NOT_QUICK := $(addprefix tests/unit/,export tracking training test_pipeline.py test_prediction.py test_train.py)
QUICK := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m "not slow" -p no:cacheprovider

.PHONY: check
check: check-static ## The same and the quick unit tests: under a minute
	@$(QUICK) $(WITH_TORCH) $(ARGS) & torch=$$!; \
	$(QUICK) tests/unit $(addprefix --ignore=,$(WITH_TORCH) $(NOT_QUICK)) $(ARGS); wait $$torch

.PHONY: test
test: venv ## Every test with coverage: under 15 minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --cov --cov-report=term --cov-report=xml --cov-fail-under=85 --dist loadfile $(ARGS)

CHROMIUM ?= $(shell command -v chromium || command -v chromium-browser || echo /usr/bin/chromium)

.PHONY: e2e
e2e: venv $(VENV)/.e2e-installed ## The dashboard in Chromium against the whole service; pictures in build/e2e
	@test -x "$(CHROMIUM)" || { echo "error: there is no Chromium at $(CHROMIUM)" >&2; \
		echo "       Install one (apt-get install chromium) or name one: make CHROMIUM=/path/to/chromium e2e" >&2; exit 1; }
	CHROMIUM=$(CHROMIUM) OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/e2e -n0 $(ARGS)

$(VENV)/.e2e-installed: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[e2e]' -e ./client
	@touch $@

.PHONY: chaos
chaos: venv ## Faults of sixteen families against real services and trainers, 40 minutes (ARGS="--slice": five)
	$(BIN)/python -m tests.chaos $(ARGS)

.PHONY: soak
soak: venv ## Two hours of small jobs, cancels, kills; then nothing may have grown (ARGS="--minutes 30")
	$(BIN)/python -m tests.soak $(ARGS)

BENCH := $(BIN)/python -m benchmarks

.PHONY: bench
bench: bench-training bench-export ## The short benchmarks, one after another

.PHONY: bench-training
bench-training: venv ## Front end, training loop, networks against bounds and rivals: half an hour
	$(BENCH).frontend
	$(BENCH).training_loop --backbone atto --sessions 1000 --epochs 3 --rounds 5
	$(BENCH).import_check
	$(BENCH).worlds --sessions 4000 --val 500 --test 2000 --epochs 12
	@if test -n "$$HEIMDALL_POWDER_FRS"; then $(BENCH).powder --seeds 1 --components 8 --point-estimate median; \
		else echo "HEIMDALL_POWDER_FRS names no folder: measurements left out"; fi

.PHONY: bench-training-full
bench-training-full: venv bench-training ## The figures of docs/benchmarks.md: hours; what is done is kept
	$(BENCH).worlds
	$(BENCH).worlds --world b
	$(BENCH).worlds --components 8
	$(BENCH).worlds --world b --components 8
	$(BENCH).hyperparameters --seeds 1
	$(BENCH).receivers --epochs 8
	$(BENCH).powder_limit
	$(BENCH).powder_limit --receivers 25
	$(BENCH).powder
	$(BENCH).powder --components 8 --point-estimate median
	$(BENCH).powder --receivers 25 --epochs 200 --batch-size 16 --learning-rate 1e-3 --seeds 1 --fuse \
		--point-estimate median

.PHONY: bench-export
bench-export: venv ## ONNX Runtime against PyTorch, and the time an export takes
	$(BENCH).export

.PHONY: bench-api
bench-api: venv ## The API under 50 callers, beside a bare route and MLflow: five minutes
	$(BENCH).api $(ARGS)

.PHONY: bench-events
bench-events: venv ## 500 followers of the stream of events
	$(BENCH).event_streams $(ARGS)

.PHONY: reference
reference: venv ## Write docs/reference from the code
	$(BIN)/python -m api.reference docs/reference/api.md
	$(BIN)/python -m heimdall_core.cli.reference docs/reference/cli.md

.PHONY: format
format: venv ## Format the code and mend what ruff can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: lock
lock: ## Write requirements.lock from what is installed
	@$(BIN)/python -m pip freeze --exclude-editable | sed -E 's/^(torch==[0-9.]+)\+.*/\1/' \
		| grep -vE '^(axe-playwright-python|greenlet|playwright|pyee)==' > requirements.lock
	@echo "requirements.lock: $$(wc -l < requirements.lock) packages"

.PHONY: clean
clean: ## Remove what the tools leave (not the environment, not the data)
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage* coverage.xml htmlcov build dist client/build client/dist
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
