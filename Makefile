# Everything runs from a bare checkout with Python 3.11 or newer, without root. `make` alone lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

BIN := .venv/bin
PYTHON := $(BIN)/python
INSTALLED := .venv/.installed
# Alone in a network namespace nothing of a test run reaches the network, or is reached from it.
NETNS := $(PYTHON) -m tests.cluster.controlplane.netns --
CLUSTER_REPORT := build/cluster-tests.xml
# More words for pytest, such as PYTEST_FLAGS="-k budget -x"; "-n 0" keeps a debugger's terminal.
PYTEST_FLAGS ?=
PARALLEL := -n auto --maxprocesses 8 --dist worksteal
# These mostly wait. Each process has a control plane of its own, of 1.5 GB, that a module's tests share.
PARALLEL_CLUSTER := -n 2 --dist loadfile

.PHONY: help
help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(INSTALLED): requirements/dev.txt pyproject.toml
	@scripts/make_venv.sh

.PHONY: demo
demo: $(INSTALLED) ## See a power budget being kept, without a cluster (FLAGS="..." for the command's options).
	@$(BIN)/wattkeeper demo $(FLAGS)

.PHONY: test
test: test-unit test-cluster ## Run every test; those on the real control plane skip without Go.

.PHONY: test-unit
test-unit: $(INSTALLED) ## Run the tests that need nothing but Python.
	$(BIN)/pytest tests/unit tests/contract -m "not cluster" $(PARALLEL) $(PYTEST_FLAGS)

.PHONY: test-cluster
test-cluster: $(INSTALLED) ## Run the tests on a real control plane (REQUIRE_CLUSTER=1: fail where they would skip).
	@if $(PYTHON) -c 'import sys; from tests.cluster.controlplane.build import find_go; sys.exit(find_go() is None)'; then \
	  echo "building the control plane's programs, about 20 minutes the first time"; \
	  $(PYTHON) -m tests.cluster.controlplane.build > /dev/null; \
	fi
	$(BIN)/pytest tests/contract -m cluster $(PYTEST_FLAGS)  # Go fetches KEDA's modules here: not yet cut off.
	$(NETNS) $(BIN)/pytest tests/cluster $(PARALLEL_CLUSTER) --junitxml=$(CLUSTER_REPORT) $(PYTEST_FLAGS)
	@if [ "$${REQUIRE_CLUSTER:-}" = 1 ]; then $(PYTHON) -m scripts.require_ran $(CLUSTER_REPORT); fi

.PHONY: worlds
worlds: $(INSTALLED) ## Hold the long properties against N times (10) as many random worlds.
	WORLDS=$(or $(N),10) $(BIN)/pytest $$(grep -rl random_worlds tests/unit --include='test_*.py') $(PARALLEL) $(PYTEST_FLAGS)

.PHONY: lint
lint: $(INSTALLED) ## Check style, types and who imports whom.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports

.PHONY: format
format: $(INSTALLED) ## Format, and repair what can be repaired without thought.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: generate
generate: $(INSTALLED) ## Make definitions, stubs and references anew from their sources.
	$(PYTHON) scripts/generate_stubs.py
	$(PYTHON) -m scripts.generate

.PHONY: picture
picture: $(INSTALLED) ## Draw README's picture of the demo anew.
	$(PYTHON) -m scripts.demo_picture

.PHONY: bench
bench: $(INSTALLED) ## Measure, and compare with the declared aims (rows go to bench-results/).
	$(PYTHON) -m tests.perf.run

.PHONY: faults
faults: $(INSTALLED) ## Break what can break, N times (20) from SEED (1) on, and check every invariant each second.
	@$(PYTHON) -m tests.faults --seeds $(or $(N),20) --first $(or $(SEED),1)

.PHONY: wheel
wheel: $(INSTALLED) ## Build the wheel and check what is in it.
	rm -rf build/lib build/bdist.* dist/wattkeeper-*
	$(PYTHON) -m build --wheel --no-isolation --outdir dist .
	$(BIN)/check-wheel-contents --toplevel wattkeeper,scaler,kserve_hooks,admission dist/wattkeeper-*.whl

.PHONY: image
image: wheel ## Build the container image (IMAGE=name:tag, with docker or podman as DOCKER).
	$(or $(DOCKER),docker) build --tag $(or $(IMAGE),wattkeeper:dev) .

.PHONY: lock
lock: ## Pin every dependency anew, with hashes (needs uv).
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-annotate --custom-compile-command "make lock" -o requirements/dev.txt

.PHONY: cluster-up
cluster-up: $(INSTALLED) ## Start a real control plane on loopback, to try things by hand.
	$(PYTHON) -m tests.cluster.controlplane.up

.PHONY: cluster-down
cluster-down: $(INSTALLED) ## Stop it.
	$(PYTHON) -m tests.cluster.controlplane.down

.PHONY: record-hpa
record-hpa: $(INSTALLED) ## Record what a real HPA does, for the simulated one to be held to.
	$(PYTHON) -m tests.cluster.controlplane.build > /dev/null
	$(NETNS) $(PYTHON) -m tests.cluster.record_hpa
