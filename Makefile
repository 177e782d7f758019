# Everything that people and CI run. `make lab` and `make test` set up by themselves what they need, in .venv.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
# Set this to use an interpreter that `make setup` would not choose: make setup PYTHON=/opt/python3.13/bin/python3
PYTHON ?=
PIP := $(BIN)/python -m pip --disable-pip-version-check
TEST_PROCESSES ?= 6
EDGE_TESTS := $(wildcard tests/*/edge_node) tests/integration/system
PACKAGES := $(wildcard benchmarks control_plane deploy dns_router edge_node lab loadtests origin proto tests)

# Where it is set, each process of the tests, and most programs that they start, compile all modules anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help
help: ## show this
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/make \1\t\2/' | expand -t 20

.PHONY: setup
setup: $(VENV)/.compiling ## create .venv with everything in requirements.lock, and the command .venv/bin/cdnlab

$(VENV)/.installed: $(VENV)/.locked pyproject.toml
	$(PIP) install --quiet --quiet --no-deps --no-build-isolation --editable .
	touch $@

# Once, and nobody waits for it: edges run from source until it has ended. Not before tests, which would share the processors with it.
$(VENV)/.compiling: $(VENV)/.installed
	@[ -n "$${CI:-}" ] || { CDNLAB_EDGE_CODE=source $(BIN)/python -m deploy.compile_edge --in-background && touch $@; }

# Twice --quiet: errors only. A package index that is set up oddly is worth hundreds of warnings to pip, one for each package.
$(VENV)/.locked: requirements.lock | $(BIN)/python
	$(PIP) install --quiet --quiet --require-hashes --requirement requirements.lock
	touch $@

# Distributions build their /usr/bin/python3 with the optimisations that matter for a CDN (PGO, LTO); others often do not.
$(BIN)/python:
	@for candidate in "$(PYTHON)" /usr/bin/python3 python3.14 python3.13 python3.12 python3.11 python3; do \
	  path=$$(command -v "$$candidate" 2>/dev/null) || continue; \
	  "$$path" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	  echo "$$path -m venv $(VENV)"; \
	  exec "$$path" -m venv $(VENV); \
	done; \
	echo "make setup: no Python 3.11 or later with the modules venv and ensurepip was found." >&2; \
	echo "On Debian and Ubuntu: sudo apt install python3 python3-venv. Elsewhere: make setup PYTHON=/path/to/python3" >&2; \
	exit 1

.PHONY: lab
lab: setup ## the whole laboratory in a minute: three regions, viewers, an invalidation, a killed edge, a verdict, a report
	$(BIN)/cdnlab run quickstart

.PHONY: test
test: export CDNLAB_EDGE_CODE := source
test: $(VENV)/.installed ## all tests but whole scenarios, and those that need a Docker engine or a night
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder -m "not docker and not nightly and not scenarios"

# Much of a run is waiting for what its scenario says: several at a time.
.PHONY: test-scenarios
test-scenarios: export CDNLAB_EDGE_CODE := source
test-scenarios: $(VENV)/.installed ## whole runs of scenarios on processes: quick start, those with the tag `ci`, planted bugs
	$(BIN)/python -m pytest -n 3 --dist loadgroup -m "scenarios and not docker and not nightly" tests/integration/lab/experiments

# At night. What it finds becomes an `@example` or a test of its own.
.PHONY: test-nightly
test-nightly: export CDNLAB_DEPTH ?= 20
test-nightly: export CDNLAB_NEW_EXAMPLES ?= 1
test-nightly: export CDNLAB_EDGE_CODE := source
test-nightly: $(VENV)/.installed ## properties twenty times as far as `make test` (CDNLAB_DEPTH), with new examples, and the rare depths
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder --timeout 3600 tests/property
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder -m "nightly and not docker"

# By hand and at night: npm fetches Vite into a folder of the test's own.
.PHONY: test-vite
test-vite: export CDNLAB_VITE := 1
test-vite: setup ## a Vite development server with hot reload behind `cdnlab serve` (needs node, npm and a network)
	$(BIN)/python -m pytest -rs tests/integration/lab/commands/test_vite.py

# `make setup` has begun it, where a compiler is. A minute or two on two cores, again after each change of the sources; docs/decisions/0013-compiled-ahead-of-time.md.
.PHONY: compiled
compiled: setup ## edges compiled ahead of time: a quarter more hits and twice the misses a second (needs gcc and Python's headers)
	CDNLAB_EDGE_CODE=source $(BIN)/python -m deploy.compile_edge

.PHONY: test-compiled
test-compiled: export CDNLAB_EDGE_CODE := compiled
test-compiled: compiled ## the tests of edges once more, with their compiled modules
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder -m "not docker and not nightly" $(EDGE_TESTS)

# Each target runs for so long; a failing input is cut down and printed. Other cases: CDNLAB_FUZZ_SEED=7
.PHONY: fuzz
fuzz: export CDNLAB_FUZZ_SECONDS ?= 600
fuzz: setup ## what viewers and origins may send, for ten minutes per target (CDNLAB_FUZZ_SECONDS), beside strict readers
	$(BIN)/python -m pytest tests/fuzz

# At night. A seed that fails is told as a story; a search that was stopped says how to go on.
SEEDS ?= 100000
FROM ?= 0
MINUTES ?= 120
.PHONY: simulate
simulate: export CDNLAB_EDGE_CODE := source
simulate: setup ## the invalidation protocol over many more seeds than the tests take, on all cores (SEEDS, FROM, MINUTES)
	$(BIN)/python -m tests.simulation --seeds $(SEEDS) --from $(FROM) --minutes $(MINUTES)

# At night. A run that does not come to its expected verdict leaves its folder in runs/scenario-rounds.
ROUNDS ?= 3
SCENARIOS ?=
RUNNER ?= processes
.PHONY: scenarios
scenarios: export CDNLAB_EDGE_CODE := source
scenarios: setup ## every shipped scenario again and again, and its verdicts (ROUNDS, SCENARIOS="edge-loss pop-loss", RUNNER=docker)
	$(BIN)/python -m tests.integration.lab.scenario_rounds --rounds $(ROUNDS) --runner $(RUNNER) $(SCENARIOS)

.PHONY: check
check: $(VENV)/.installed ## linter, formatter, types, stale generated files, import rules, docs against the code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(PACKAGES)
	$(BIN)/python proto/generate.py --check
	$(BIN)/python -m deploy.compose_files --check
	$(BIN)/python -m pytest -q tests/test_architecture.py tests/test_request_lifecycle.py tests/test_documentation.py tests/test_workflow_example.py

# What is written down: docs/regression.md. With UPDATE=1 it is written anew; say in the commit why it differs.
COUNTERS := tests/integration/lab/regression/counters.json
UPDATE ?=
.PHONY: counters
counters: export CDNLAB_EDGE_CODE := source
counters: $(VENV)/.installed ## what four workloads cost, counted exactly, against the counts that are committed (UPDATE=1 writes them anew)
	@if [ -n "$(UPDATE)" ]; then $(BIN)/python -m tests.integration.lab.regression.write_counters $(COUNTERS); \
	else $(BIN)/cdnlab regress $(COUNTERS) . --counters; fi

MINUTES ?= 5
.PHONY: regress
regress: setup ## this commit and the one before it side by side: exact counters, then times (FIRST, SECOND, MINUTES)
	$(BIN)/cdnlab regress $(or $(FIRST),HEAD~1) $(or $(SECOND),HEAD) --minutes $(MINUTES)

.PHONY: bench-setup
bench-setup: ## install what `make bench` compares with: nginx, Varnish, Traffic Server, HAProxy, wrk, PostgreSQL (Debian, needs root or sudo)
	python3 benchmarks/install_peers.py

.PHONY: bench
bench: setup ## figures of this machine, beside nginx, Varnish, Traffic Server and HAProxy; results in runs/bench
	$(BIN)/python -m deploy.compile_edge || true
	$(BIN)/python -m benchmarks.peers
	$(BIN)/python -m benchmarks.invalidation_receipts
	$(BIN)/python -m benchmarks.control_plane_nodes
	$(BIN)/python -m benchmarks.control_plane_scale
	$(BIN)/python -m benchmarks.control_plane_scale --tls --parts change,storm,memory
	$(BIN)/python -m benchmarks.control_plane_scale --replica --rate 5 --parts change,minute,storm
	$(BIN)/python -m benchmarks.lab_start
	$(BIN)/python -m benchmarks.node_memory
	$(BIN)/python -m benchmarks.entry_overhead
	$(BIN)/python -m benchmarks.origin_throughput
	$(BIN)/python -m benchmarks.wan
	$(BIN)/python -m benchmarks.wan_load
	$(BIN)/python -m benchmarks.disk_store --sizes 1024

# For example: git worktree add ../before main && make bench-compare OTHER=../before. Both are compiled where both can be.
.PHONY: bench-compare
bench-compare: setup ## this checkout's edge beside the one of another checkout, OTHER=folder, in turn in one run; results in runs/bench
	@test -n "$(OTHER)" || { echo "make bench-compare: needs OTHER=folder of the other checkout" >&2; exit 1; }
	$(BIN)/python -m deploy.compile_edge || true
	cd "$(OTHER)" && PYTHONPATH="$$PWD" $(abspath $(BIN))/python -m deploy.compile_edge || true
	$(BIN)/python -m benchmarks.peers --compare "$(OTHER)"

.PHONY: proto
proto: setup ## generate the stubs beside the .proto files
	$(BIN)/python proto/generate.py

.PHONY: compose
compose: setup ## make deploy/compose.yaml and what it mounts from the default topology
	$(BIN)/python -m deploy.compose_files

# The system's certificates, so that it also works behind a proxy that has its own; no index address gets into the file.
.PHONY: lock
lock: ## resolve the dependencies of pyproject.toml anew, for every supported Python, with hashes (needs uv)
	@command -v uv >/dev/null || test -x $(BIN)/uv || { echo "make lock: needs uv: pipx install uv" >&2; exit 1; }
	uv=$$(command -v uv || echo $(BIN)/uv); \
	UV_CUSTOM_COMPILE_COMMAND="make lock" "$$uv" pip compile --quiet --native-tls --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --no-annotate --extra dev --output-file requirements.lock pyproject.toml

.PHONY: docker-test
docker-test: setup ## the compose lab in a real Docker engine
	$(BIN)/python -m pytest -m docker tests/docker

.PHONY: clean
clean: ## remove what the targets above made, but for the results in runs/
	@test ! -e .cdnlab/lab.json || { echo "make clean: a lab is running; cdnlab down first" >&2; exit 1; }
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
