# Two commands on a fresh machine: `make demo` and `make test`. Both set up .venv first, with the versions of
# constraints.txt. Besides: `make lint`, `make docs` (build/site), `make build` (dist/), `make clean`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OUT ?= out
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: setup demo test lint docs build clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) --editable ".[dev]"
	@echo "Compiling kernels once by a first prediction ..."
	$(BIN)/vmat-rt predict sample_data/head_neck_openkbp --out $(VENV)/first-run >/dev/null
	touch $@

demo: setup
	@for ct in sample_data/*/CT; do study=$${ct%/CT}; \
	  echo; echo "== vmat-rt predict $$study --out $(OUT)"; \
	  $(BIN)/vmat-rt predict "$$study" --out $(OUT) || [ $$? -eq 3 ] || exit 1; \
	done
	@echo; echo "Open the report.html files under $(OUT)/ in a browser."

test: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: setup
	$(PIP) --editable ".[docs]"
	$(BIN)/mkdocs build --strict

build: setup
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*

clean:
	rm -rf $(VENV) $(OUT) build dist *.egg-info
