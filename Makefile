# Licensed under the Apache License, Version 2.0. See LICENSE.
#
# make test   lint, types, unit and structural tests with their coverage gates, then the tests on real Airflow
# make demo   one clip, end to end, on Airflow and a local vendor
# make bench   signing, waits, imports, ledger, sizes, a simulation, beside what one would use instead: half an hour
# make bench-rivals  ours beside what one would write instead, on one real Airflow: 25 minutes
# make bench-bulk   how busy bulk runs keep the slots, on real Airflow: an hour; ARGS for one run of your own
# make bench-scale  10,000 items through the operator, and 100,000 lines looked up
# make chaos  the whole matrix of blows, with LocalExecutor and with Celery, then a soak of 90 minutes: some hours
# make matrix  the built wheel on Airflow 3.1, 3.2 and 3.3, and on the oldest of all it allows: hours; ARGS for a part
# make docs   the reference, from the docstrings, into .build/api
# make lint   ruff and mypy
# make clean  remove what the above made
#
# They need a Python of 3.11 or later and nothing else, and make their own virtual environments here.
# PYTHON=...   the Python to make them with            ARGS=...   more arguments for pytest or the demo

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: test unit engine bench bench-rivals bench-bulk bench-scale chaos matrix docs lint demo constraints clean

TEST_VENV := .venv-test
DEMO_VENV := .venv-demo
TEST_PYTHON := $(TEST_VENV)/bin/python
INSTALL := pyproject.toml constraints.txt scripts/venv.sh
# Sources for mypy: those of these folders that are there.
TYPED := airflow_provider_jimeng tests $(wildcard dags/*.py) $(wildcard demo/*.py)
# Money is decided in these: every branch of them is tested.
GATED := airflow_provider_jimeng/api/*,airflow_provider_jimeng/policy/*,airflow_provider_jimeng/ledger/*
AIRFLOW_VERSION := 3.3.2
ARGS ?=

test: lint unit engine

# They wait more than they work: four processes on two cores take a little more than half the time of two, and each has
# its own servers. A file stays in one process, since its tests share what is slow to make; tests/order.py says which
# go first. PROCESSES=0 runs them all in this one.
PROCESSES ?= 4
SPREAD := --dist loadfile --no-loadscope-reorder
unit: $(TEST_VENV)/.installed
	$(TEST_PYTHON) -m pytest -m "not engine" -n $(PROCESSES) $(SPREAD) --cov --cov-report= --durations=15 $(ARGS)
	$(TEST_PYTHON) -m coverage report --format=total | sed 's/^/Branch coverage of the package, %: /'
	$(TEST_PYTHON) -m coverage report --include='$(GATED)' --fail-under=100 --precision=2

# Two Airflows at once, since each waits for its vendor half of the time; a third would find no core.
ENGINES ?= 2
engine: $(TEST_VENV)/.installed
	$(TEST_PYTHON) -m pytest -m engine -n $(ENGINES) $(SPREAD) -o faulthandler_timeout=590 --durations=15 $(ARGS)

bench: $(TEST_VENV)/.installed
	mkdir -p .test/bench
	for each in signing waits imports sizes; do $(TEST_PYTHON) -m tests.benchmarks.$$each --records .test/bench/$$each.json; done
	for each in postgresql sqlite; do $(TEST_PYTHON) -m tests.benchmarks.ledger --database $$each --records .test/bench/ledger-$$each.json; done
	$(TEST_PYTHON) -m tests.benchmarks.simulation --slots 2000 --accounts 10 --raised --records .test/bench/simulation.json
	$(TEST_PYTHON) -m tests.benchmarks.table .test/bench/*.json

bench-rivals: $(TEST_VENV)/.installed
	$(TEST_PYTHON) -m tests.benchmarks.rivals $(ARGS)

BENCH := $(TEST_PYTHON) -m tests.benchmarks.bulk_engine
bench-bulk: $(TEST_VENV)/.installed
ifneq ($(ARGS),)
	$(BENCH) $(ARGS)
else
	$(BENCH) --mode worker --items 200 --seconds 20 --slots 10
	$(BENCH) --mode worker --items 200 --seconds 20 --slots 10 --learned
	$(BENCH) --mode deferred --items 200 --seconds 20 --slots 10
	$(BENCH) --mode deferred --items 100 --seconds 60 --slots 10
	$(BENCH) --mode mixed --items 60 --singles 50 --seconds 5 --slots 4
endif

bench-scale: $(TEST_VENV)/.installed
	$(TEST_PYTHON) -m tests.benchmarks.bulk_scale $(ARGS)

# Its records go to .test/chaos; the tables of docs/reliability.md are made of them.
CHAOS := $(TEST_PYTHON) -m tests.engine.chaos
chaos: $(TEST_VENV)/.installed
	mkdir -p .test/chaos
	$(CHAOS).matrix --executor local --records .test/chaos/local.jsonl $(ARGS)
	$(CHAOS).matrix --executor celery --records .test/chaos/celery.jsonl $(ARGS)
	$(CHAOS).table .test/chaos/local.jsonl .test/chaos/celery.jsonl
	$(CHAOS).soak --executor celery --records .test/chaos/soak.json

# Needs a Python 3.11, 3.12 and 3.13: on the PATH, or ARGS="--python 3.12=/path/to/python". Its environments stay in
# .test/matrix; ARGS="airflow-3.1 --parts hooks engine" runs a part of a row.
matrix: $(TEST_VENV)/.installed
	$(TEST_PYTHON) -m tests.matrix --records tests/data/matrix $(ARGS)
	$(TEST_PYTHON) -m tests.matrix.table --into docs/compatibility.md

docs: $(TEST_VENV)/.installed
	$(TEST_PYTHON) -m tests.docs.reference

lint: $(TEST_VENV)/.installed
	$(TEST_PYTHON) -m ruff check .
	$(TEST_PYTHON) -m ruff format --check .
	$(TEST_PYTHON) -m mypy $(TYPED)

demo: $(DEMO_VENV)/.installed
	$(DEMO_VENV)/bin/python demo/run.py $(ARGS)

$(TEST_VENV)/.installed: $(INSTALL)
	scripts/venv.sh $(TEST_VENV) dev

$(DEMO_VENV)/.installed: $(INSTALL)
	scripts/venv.sh $(DEMO_VENV) emulator,media

# The oldest first: make constraints PYTHONS="python3.11 python3.12 python3.13"
PYTHONS ?= python3
constraints:
	scripts/constraints.sh $(AIRFLOW_VERSION) $(PYTHONS)

clean:
	rm -rf $(TEST_VENV) $(DEMO_VENV) .demo .test .build dist .coverage htmlcov
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find airflow_provider_jimeng tests demo dags -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
