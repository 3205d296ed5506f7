# Two commands need nothing done before: `make demo` and `make test`. PYTHON=… chooses the Python of the environment.

PYTHON ?=
CI ?=
export CI

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
PEERS := $(VENV)/peers
PYTEST := $(BIN)/python -m pytest

.PHONY: help demo test check lint format types imports peers soak fuzz bench pictures test-sid coverage clean
.DEFAULT_GOAL := help

help:
	@echo 'make demo      a front-end and a back-end talk through vhostspy (nothing is installed)'
	@echo 'make test      everything: environment, real peers from Debian, format, lint, types, imports, tests'
	@echo 'make check     the same without real peers: what to run before a commit'
	@echo 'make format    put the code into its form'
	@echo 'make coverage  which lines the tests run'
	@echo 'make soak      every real pair ten times, and what lasts long'
	@echo 'make fuzz      search long for bytes that break something'
	@echo 'make bench     measure, against programs in C and other readers of captures'
	@echo 'make pictures  draw the screen for the documents, from real sessions'
	@echo 'make test-sid  newer real peers, from a Debian sid chroot'
	@echo 'make clean     remove the environment and all caches'

# straight from the checkout, by any Python: an unfit one says so in a sentence
demo:
	@$(or $(PYTHON),$$(.ci/python 2>/dev/null || echo python3)) -m vhostspy demo

test: lint types imports peers
	$(PYTEST)

check: lint types imports
	$(PYTEST) -m 'not peers and not soak and not fuzz and not sid'

$(READY): pyproject.toml .ci/environment
	@.ci/environment $(PYTHON)
	@touch $@

# the programs that the real-peer tests run; without apt or root those tests skip, and say why
peers: $(PEERS)
$(PEERS): $(READY) $(wildcard tests/peers/install.sh)
	@if [ -e tests/peers/install.sh ]; then sh tests/peers/install.sh; fi
	@touch $@

lint: $(READY)
	$(BIN)/ruff format --check --output-format=concise
	$(BIN)/ruff check

format: $(READY)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# pyright brings the node it runs on from PyPI; where there is none for this machine that is said, and fails only in CI
types: $(READY)
	$(BIN)/mypy
	@if $(BIN)/pyright --version >/dev/null 2>&1; then echo $(BIN)/pyright; $(BIN)/pyright --project pyproject.toml; \
	else echo 'pyright does not start here: the types were checked by mypy ALONE' >&2; [ '$(CI)' != true ]; fi

imports: $(READY)
	$(BIN)/lint-imports --no-logo

soak: peers
	$(PYTEST) tests/peers -m 'peers and not soak and not sid' --repeat 10 --ignore tests/peers/test_replay.py
	$(PYTEST) tests/peers/test_replay.py -m 'not sid' -k s-here --repeat 20
	$(PYTEST) tests/peers/test_replay.py -m 'not sid' -k 'not s-here' --repeat 3
	$(PYTEST) -m 'soak and not sid'

# FUZZ='--seconds 60 payload': what, and how long. Led by coverage where there is an atheris for this Python
fuzz: $(READY)
	-$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary atheris --editable '.[fuzz]'
	$(PYTEST) -m '(hypothesis or fuzz) and not peers' --hypothesis-profile=fuzz
	$(BIN)/python -m tests.fuzz $(FUZZ)

# BENCH=--quick only sees that it runs. Other writers of pcapng are yardsticks: without them, their rows are skipped
bench: $(READY)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check dpkt python-pcapng || true
	@failed=; for part in ladder reading replaying rings screen; do \
	    echo $(BIN)/python -m benchmarks.$$part $(BENCH); \
	    $(BIN)/python -m benchmarks.$$part $(BENCH) || failed="$$failed $$part"; \
	done; [ -z "$$failed" ] || { echo "failed:$$failed" >&2; exit 1; }

pictures: $(READY)
	$(BIN)/python -m tests.tui.draw docs/tui

# SID=--stale where the mirror stands still
test-sid: peers
	sh tests/peers/sid.sh $(SID)
	$(PYTEST) -m sid
	$(PYTEST) tests/peers/test_replay.py -m sid -k a-sid --repeat 20

# not by a pytest plug-in: ours would be imported before it counts
coverage: $(READY)
	$(BIN)/coverage run -m pytest -m 'not peers and not soak and not fuzz and not sid'
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
