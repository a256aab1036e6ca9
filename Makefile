# Every target works from a bare clone: what it needs, it makes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Where it is set, as containers like to, each of the hundreds of processes of `make test` would compile everything anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup dev test pictures browser check bench chaos format lock clean

help: ## what there is
	@awk 'BEGIN {FS = ":.*## "} /^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## .venv with the locked dependencies, the project and its example plugin in it
	@echo "Ready: $(BIN)/qirsh --help"

# Done again only when a lock changed, or what the plugin announces to the server.
# The build backend is locked too, so nothing is fetched without a hash.
# The lock is whole, so pip resolves nothing: it knows no overrides of pyproject.toml.
$(STAMP): requirements-dev.lock requirements.lock examples/textpay/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Qirsh needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1 || echo missing)."; \
		echo "Install one and name it: make setup PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
		echo "'$(PYTHON)' comes without venv. On Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
		--editable . --editable examples/textpay
	@touch $@

dev: $(STAMP) ## everything on this machine: database, sandbox PSPs, API, worker, demo shop
	@exec $(BIN)/qirsh dev $(ARGS)

# Two for each core: a test of real processes waits most of its time.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(2 * (os.cpu_count() or 1))')

test: $(STAMP) browser ## the whole test suite, on every core
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

pictures: $(STAMP) browser ## what payers see, each face as a picture in pictures/
	PICTURES=pictures $(BIN)/python -m pytest -q -n 2 tests/browser/test_pictures.py

# The machine's own, else the one that Playwright brings along, else Debian's. Without any, the tests say what they miss.
browser: $(STAMP)
	@for name in chromium chromium-browser google-chrome google-chrome-stable; do \
		command -v $$name >/dev/null && exit; done; $(BIN)/playwright install --only-shell chromium \
		|| { test "$$(id -u)" = 0 && apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; } \
		|| echo "No Chromium can be had here: the tests of tests/browser skip, and say so."

check: $(STAMP) ## linters, types and the arrows of ARCHITECTURE.md
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@if command -v tsc >/dev/null; then tsc -p src/qirsh/checkout; \
		else echo "NOT CHECKED: the types of what payers' browsers run. It needs tsc: apt install node-typescript"; fi
	$(BIN)/python -m pytest -q tests/unit/test_architecture.py

bench: $(STAMP) ## how fast it is, beside honest contenders in the same run (needs wrk)
	$(BIN)/python -m bench $(ARGS)

chaos: $(STAMP) ## payments while everything is being broken, judged by the PSPs' books; see docs/reliability.md
	$(BIN)/python -m chaos $(ARGS)

format: $(STAMP) ## put the code in its usual shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: ## resolve the dependencies anew (needs uv)
	uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --custom-compile-command 'make lock' \
		pyproject.toml --output-file requirements.lock
	uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --custom-compile-command 'make lock' \
		pyproject.toml --group dev --constraint requirements.lock --output-file requirements-dev.lock

clean: ## remove what the targets made, except data
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache
