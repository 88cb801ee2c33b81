# make demo      render people, train on two workers, evaluate, open a report: no download, account or GPU
# make test      the test-suite, with coverage
# make check     formatting, lint, strict types
# make test-all  the long tests too
# make bench     measure every claim, write docs/benchmarks.md
# make lock      compile requirements.lock anew
# Each builds .venv itself when it is missing or stale; only python3 (3.11 or newer) has to be there.

PYTHON ?= python3
JOBS ?= 2
UV := $(shell command -v uv || echo .uv/bin/uv)
BIN := .venv/bin
export UV_LINK_MODE ?= copy
export RAY_USAGE_STATS_ENABLED := 0

.PHONY: demo test test-all check bench lock venv
.DEFAULT_GOAL := venv

venv: .venv/.built

.venv/.built: pyproject.toml requirements.lock
	@command -v uv >/dev/null || test -x .uv/bin/uv || ($(PYTHON) -m venv .uv && .uv/bin/python -m pip install --quiet uv)
	test -x $(BIN)/python || $(UV) venv --quiet --python $(PYTHON) .venv
	$(UV) pip install --quiet --python $(BIN)/python --constraint requirements.lock --editable '.[dev]'
	@touch $@

demo: .venv/.built
	$(BIN)/resight demo --out demo

test: .venv/.built
	@rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest -m "not slow and not ray" -n $(JOBS)
	$(BIN)/coverage run -m pytest -m "ray and not slow"
	@$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --format=total

test-all: .venv/.built
	$(BIN)/python -m pytest --timeout 3600

check: .venv/.built
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright

bench: .venv/.built
	$(BIN)/python benchmarks/run.py --out docs/benchmarks.md

lock: .venv/.built
	$(UV) pip compile pyproject.toml --all-extras --universal --generate-hashes --no-emit-index-url --no-annotate \
		--no-header --quiet --output-file requirements.lock
