# Every target has a plain-Python equivalent for machines without make: see CONTRIBUTING.md.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# A process for each core; one that has nothing left to do takes tests from another.
SPREAD := -n logical --maxprocesses 8 --dist worksteal

.PHONY: app demo docs test test-fast test-slow lint format clean

demo: $(STAMP)
	$(BIN)/mapfield demo

app: $(STAMP)
	$(BIN)/mapfield app

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict --config-file .mkdocs.yml
	@echo "open dist/manual/index.html"

test: $(STAMP)
	$(BIN)/python -m pytest $(SPREAD)

test-fast: $(STAMP)
	$(BIN)/python -m pytest $(SPREAD) -m "not slow and not long and not gpu and not network"

# Two thousand random inputs, and programs that are killed at two hundred moments.
test-slow: $(STAMP)
	$(BIN)/python -m pytest $(SPREAD) -m long

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) dist runs

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || \
		{ echo "error: mapfield needs Python 3.11 or newer; run 'make PYTHON=python3.11 $(MAKECMDGOALS)'"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@$(BIN)/python -c "import pathlib; pathlib.Path('$(STAMP)').touch()"
