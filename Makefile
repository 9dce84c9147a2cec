# Everything runs in .venv, made on first use; a second call installs again only when pyproject.toml or
# constraints.txt changed. Paths are relative so that the checkout may lie in a folder with spaces in its name.

# The interpreter to build .venv with; empty: the first of PYTHONS that is new enough and can make environments.
PYTHON ?=
PYTHONS = python3.11 python3.12 python3.13 python3.14 python3 python
VENV ?= .venv
PYTEST_ARGS ?= -n 2 --dist worksteal
BENCH_ARGS ?=

RUN = $(VENV)/bin/python
PIP_INSTALL = $(RUN) -m pip install --quiet --disable-pip-version-check --no-input --constraint constraints.txt
RUNTIME = $(VENV)/.installed-runtime
DEV = $(VENV)/.installed-dev

# Exit 0 where the package can be installed.
PROBE = import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help quickstart test test-fast lint types bench clean distclean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile
	@echo '  variables: PYTHON=python3.12  PYTEST_ARGS="-k name"  BENCH_ARGS="..."'

quickstart: $(RUNTIME) ## install the package and run its first example end to end
	$(VENV)/bin/hypertail quickstart

test: $(DEV) ## run the tests, examples included
	OMP_NUM_THREADS=1 $(RUN) -m pytest $(PYTEST_ARGS)

test-fast: $(DEV) ## run the tests that take less than three seconds each
	OMP_NUM_THREADS=1 $(RUN) -m pytest -m "not slow and not crash and not fuzz" $(PYTEST_ARGS)

lint: $(DEV) ## check style and formatting
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

types: $(DEV) ## check type annotations
	$(RUN) -m mypy

bench: $(DEV) ## run every script in benchmarks/
	@set -e; found=; for script in benchmarks/[a-z]*.py; do \
		if [ -f "$$script" ]; then found=1; echo "== $$script"; $(RUN) "$$script" $(BENCH_ARGS); fi; \
	done; if [ -z "$$found" ]; then echo 'No script in benchmarks/.' >&2; exit 1; fi

clean: ## delete caches and build products (results and .venv stay)
	rm -rf build dist src/hypertail.egg-info .pytest_cache .ruff_cache .mypy_cache
	find src tests examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## clean, and delete .venv too
	rm -rf $(VENV)

$(RUNTIME): pyproject.toml constraints.txt | $(RUN)
	@echo 'Installing hypertail (the first time takes a few minutes).'
	$(PIP_INSTALL) --editable .
	@touch $@

$(DEV): pyproject.toml constraints.txt | $(RUN)
	@echo 'Installing hypertail with its extras export, tune, trunks and dev (the first time takes a few minutes).'
	$(PIP_INSTALL) --editable '.[export,tune,trunks,dev]'
	@touch $(RUNTIME) $@

$(RUN):
	@chosen=; for candidate in $(if $(PYTHON),'$(PYTHON)',$(PYTHONS)); do \
		if "$$candidate" -c '$(PROBE)' >/dev/null 2>&1; then chosen=$$candidate; break; fi; \
	done; \
	if [ -z "$$chosen" ]; then \
		echo 'hypertail needs Python 3.11 or newer with the venv and ensurepip modules. Found:' >&2; \
		for candidate in $(if $(PYTHON),'$(PYTHON)',$(PYTHONS)); do \
			version=$$("$$candidate" --version 2>/dev/null) || version='not usable'; \
			echo "  $$candidate: $$version" >&2; \
		done; \
		echo 'Install one (on Debian and Ubuntu: python3.11 and python3.11-venv), or name it: make PYTHON=/path/to/python3.11' >&2; \
		exit 1; \
	fi; \
	echo "Creating $(VENV) with $$("$$chosen" --version) ($$chosen)"; \
	"$$chosen" -m venv --clear $(VENV)
