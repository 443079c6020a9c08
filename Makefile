# Two commands on a fresh machine with Python 3.11 (or 3.12) and make:
#   make demo    everything once, on synthetic street scenes, in minutes
#   make test    every check that a change has to pass

# The first that runs: a version manager's shim may be on the PATH and lead nowhere.
PYTHON ?= $(shell for p in python3.11 python3.12 python3; do $$p -c '' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test large fast lint clean

demo: $(VENV)/.demo-installed
	$(BIN)/edgeseg demo

test: lint
	$(BIN)/python -m pytest -m "not large" -n 2 --dist loadfile --no-loadscope-reorder --durations=40

large: $(VENV)/.dev-installed ## larger sizes of what the tests cover already
	$(BIN)/python -m pytest -m large

fast: lint ## what takes seconds
	$(BIN)/python -m pytest -m "not heavy and not large"

lint: $(VENV)/.dev-installed
	$(BIN)/pre-commit run --all-files

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "make: expected Python 3.11 or 3.12 on the PATH, found none"; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(v not in ((3, 11), (3, 12)) and f"make: expected Python 3.11 or 3.12, found {v[0]}.{v[1]}; name one with: make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=24' 'setuptools>=77'

$(VENV)/.demo-installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing edgeseg with training and export into $(VENV) (TensorFlow is about 600 MB) …"
	$(PIP_INSTALL) -e '.[export]'
	@touch $@

$(VENV)/.dev-installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing edgeseg with its development tools into $(VENV) (TensorFlow is about 600 MB) …"
	$(PIP_INSTALL) -e '.[dev]'
	@touch $@ $(VENV)/.demo-installed

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
