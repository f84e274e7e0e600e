# `make run` and `make test` set everything up by themselves; nothing else is needed but Python 3.11 or newer.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO ?= demo
SUBJECTS ?= 2000
DATABASES ?= deepface,faiss,lance,delta
export OPENBLAS_NUM_THREADS = 1

.PHONY: setup run test test-all lint typecheck bench evaluation model-card flink-demo scale stores-table clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "lethe needs Python 3.11 or newer; say which with: make PYTHON=/path/to/python3"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench,dev]'
	touch $@

run: setup
	test -f $(DEMO)/job.toml || $(BIN)/lethe demo $(DEMO) --subjects $(SUBJECTS) --databases $(DATABASES)
	$(BIN)/lethe run $(DEMO)/job.toml --execute

test: setup
	$(BIN)/pytest -n 2 -m "not slow"

test-all: setup
	$(BIN)/pytest -n 2

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

typecheck: setup
	$(BIN)/mypy

bench: setup
	$(BIN)/python benchmarks/score.py
	$(BIN)/python benchmarks/purge.py
	$(BIN)/python benchmarks/job.py

# docs/scale.md, from what `make bench` measured.
scale: setup
	$(BIN)/python benchmarks/scale.py

# The table of docs/stores.md: what is still readable after a store's own delete, and after lethe.
stores-table: setup
	$(BIN)/python benchmarks/residue.py

# The demo on this machine, on Flink's embedded cluster and on a real one of three processes; outputs must be the same bytes.
flink-demo: setup
	$(BIN)/python examples/flink/compare.py --work build/flink-demo

model-card: setup
	$(BIN)/python benchmarks/model_card.py

evaluation: setup
	$(BIN)/python benchmarks/evaluate.py

clean:
	rm -rf $(DEMO) build dist .pytest_cache .hypothesis .mypy_cache .ruff_cache
