# What a person types here. `make` alone lists it.
#
# `make demo` and `make test` each keep a virtual environment of their own, built from a lock file and
# rebuilt when that file changes. System packages are installed where this user may (scripts/system-packages).

SHELL := /bin/sh
MAKEFLAGS += --no-print-directory
.NOTPARALLEL:
.DEFAULT_GOAL := help
export PYTHON

# The tool that resolves the lock files. It has a virtual environment of its own; nothing else needs it.
UV := 0.13.8
TEST := .venv/test/bin
# Tests wait for programs a quarter of their time: one process more than the two cores of a small machine.
PROCESSES := 3
SECONDS := 60
SEEDS := 500
FROM := 0

.PHONY: help
help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

.PHONY: demo
demo: demo-setup ## run the whole chain with simulated hardware (ARGS=--exit: end after the proof)
	@.venv/demo/bin/tallyman demo $(ARGS)

.PHONY: demo-setup
demo-setup: system-demo .venv/demo/.installed ## set up what the demo needs, without running it

.PHONY: test
test: lint types ## run everything: style, types, import rules, tests, coverage (ARGS for pytest)
	@$(TEST)/python -m pytest -n $(PROCESSES) --dist loadfile --no-loadscope-reorder --cov --cov-report=term-missing:skip-covered $(ARGS)

.PHONY: lint
lint: test-setup ## check style
	@$(TEST)/ruff check --quiet .
	@$(TEST)/ruff format --quiet --check .
	@echo "ruff: clean"

.PHONY: types
types: test-setup ## check types
	@$(TEST)/mypy --no-error-summary
	@echo "mypy: clean"

.PHONY: test-setup
test-setup: system-test .venv/test/.installed ## set up what the tests need, without running them

.PHONY: fuzz
fuzz: .venv/fuzz/.installed ## fuzz every decoder for SECONDS=60 each (ARGS=m100: only that one)
	@.venv/fuzz/bin/python -m tests.fuzz --seconds $(SECONDS) $(ARGS)

.PHONY: mutation
mutation: .venv/mutation/.installed ## change the cores in one place at a time: does a test notice? (ARGS='sync.engine*': only there)
	@.venv/mutation/bin/python -m tests.mutation $(ARGS)

.PHONY: simulate
simulate: test-setup ## simulate SEEDS=500 warehouses in which everything goes wrong, FROM=0 on (ARGS=--help)
	@$(TEST)/python -m tests.simulation --seeds $(SEEDS) --from $(FROM) $(ARGS)

.PHONY: torture
torture: test-setup ## kill agents 1,000 times and central 200 times under load, then count (ARGS=--help)
	@$(TEST)/python -m tests.faults.torture $(ARGS)

.PHONY: contract
contract: test-setup ## write docs/asyncapi.json and docs/schemas again, from the models
	@$(TEST)/python -m docs.generator $(ARGS)

.PHONY: lock
lock: .venv/lock/.installed ## resolve the lock files again (ARGS=--upgrade: to the newest versions)
	@scripts/lock requirements.lock demo build $(ARGS)
	@scripts/lock requirements-dev.lock dev $(ARGS)
	@scripts/lock requirements-fuzz.lock fuzz $(ARGS)
	@scripts/lock requirements-mutation.lock mutation $(ARGS)

.PHONY: clean
clean: ## remove the virtual environments and the caches
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage htmlcov dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: system-demo system-test
system-demo system-test: system-%:
	@scripts/system-packages $*

.venv/demo/.installed: requirements.lock pyproject.toml scripts/make-venv
	@scripts/make-venv .venv/demo requirements.lock

.venv/test/.installed: requirements-dev.lock pyproject.toml scripts/make-venv
	@scripts/make-venv .venv/test requirements-dev.lock

.venv/fuzz/.installed: requirements-fuzz.lock pyproject.toml scripts/make-venv
	@scripts/make-venv .venv/fuzz requirements-fuzz.lock

.venv/mutation/.installed: requirements-mutation.lock pyproject.toml scripts/make-venv
	@scripts/make-venv .venv/mutation requirements-mutation.lock

.venv/lock/.installed: Makefile
	@"$$(scripts/find-python)" -m venv --clear .venv/lock
	@.venv/lock/bin/python -m pip install -qq --disable-pip-version-check uv==$(UV)
	@touch $@
