# Two commands do everything on a machine with Python 3.11 and make:
#   make demo   install, then make a two-second clip with sound from a prompt
#   make test   install, then lint, check the architecture, run all tests

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PROMPT ?= A red rubber ball bounces on the grass
DEMO ?= demo.mp4
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: install demo test lint format clean

install: $(STAMP)

# torch first and pinned: a bare "torch" would pull gigabytes of CUDA packages onto a machine without a GPU.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and "Python 3.11 to 3.13 is needed, this is " + sys.version)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@

demo: install
	$(BIN)/openreels generate "$(PROMPT)" --output $(DEMO) --seed 1
	$(BIN)/openreels inspect $(DEMO)

# One process a core, one thread each: tiny tensors gain nothing from threads.
test: install lint
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto --dist loadfile

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) dist .pytest_cache .ruff_cache .hypothesis
