# Everything runs from a bare checkout: the virtual environment is made, from the lock, by the first target that needs it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# A stack has eight processes and the tests start dozens of stacks: none should compile hanwave again.
unexport PYTHONDONTWRITEBYTECODE

# Where the fast set lies. tests/conftest.py refuses a test of it that lies elsewhere.
FAST := tests/attack tests/commands tests/fuzz tests/unit

.PHONY: demo check types fast test lock clean

$(VENV)/.installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

# Roll releases out to a fleet of 400, with real parts, in some three minutes.
demo: $(VENV)/.installed
	$(BIN)/python -m infra.demo

# The fast set, under two minutes: style, types, import contracts, and the tests of pure code. The types' checker has one
# processor for half a minute at first, so it runs beside the tests; what it says stands as one block among their dots.
check: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	@$(MAKE) --no-print-directory -j 2 types fast

types: $(VENV)/.installed
	$(BIN)/mypy

fast: $(VENV)/.installed
	$(BIN)/pytest -q -n 2 --dist worksteal -m "(unit or attack) and not long" --cov --cov-report=term:skip-covered $(FAST)

# The whole, under twenty minutes on two cores.
test: check
	$(BIN)/pytest -q -n 2 --dist loadfile -m "long or not (unit or attack or stack)"
	$(BIN)/pytest -q -n 2 --dist loadfile -m "stack and not attack"

# Renew the lock after a change to pyproject.toml.
lock: $(VENV)/.installed
	$(PYTHON) -m venv $(VENV)/lock
	$(VENV)/lock/bin/pip install --quiet uv
	$(VENV)/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--all-extras --output-file requirements.lock pyproject.toml requirements.build

clean:
	rm -rf $(VENV) .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build *.egg-info
