# Two commands on a fresh machine with Python 3.11 (or 3.12) and make:
#   make demo    everything once, on synthetic street scenes, in minutes
#   make test    every check that a change has to pass

# The first that runs: a version manager's shim may be on the PATH and lead nowhere.
PYTHON ?= $(shell for p in python3.11 python3.12 python3; do $$p -c '' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test docs large arm64 tensorrt soak fast lint clean

demo: $(VENV)/.demo-installed
	$(BIN)/edgeseg demo

# A worker that crashed is not replaced: xdist's other one would wait for the lost tests for ever.
test: lint
	$(BIN)/python -m pytest -m "not large and not soak" -n 2 --max-worker-restart 0 --dist loadfile --no-loadscope-reorder --durations=40

large: $(VENV)/.dev-installed ## larger sizes of what the tests cover already
	$(BIN)/python -m pytest -m large

soak: $(VENV)/.dev-installed ## the loop under random faults for EDGESEG_SOAK_MINUTES (20), and three long runs
	$(BIN)/python -m pytest -m soak --timeout=0 -s

arm64: $(VENV)/.dev-installed ## the vehicle half in an emulated arm64 Linux: downloads 150 MB, takes minutes
	PYTHONPATH=.:tests $(BIN)/python -m arm64 $(ARM64_OPTIONS)

# NVIDIA's wheels are proprietary: nothing else needs them. The bindings are those of JetPack 6.1 and of two later versions.
TENSORRT_BINDINGS := tensorrt-cu12-bindings==10.3.0 tensorrt-cu12-bindings==10.16.1.11 tensorrt-cu13-bindings==11.4.0.106

tensorrt: $(VENV)/.dev-installed ## exports through TensorRT-RTX's builder, TensorRT's names in three versions: downloads 300 MB, needs no GPU
	$(PIP_INSTALL) -e '.[tensorrt,tensorrt-rtx]'
	for wheel in $(TENSORRT_BINDINGS); do $(BIN)/python -m pip download --quiet --no-deps --dest build/tensorrt $$wheel || exit; done
	EDGESEG_TENSORRT_WHEELS=build/tensorrt $(BIN)/python -m pytest tests/export/test_tensorrt_engines.py tests/edgeseg/test_tensorrt_api.py

docs: $(VENV)/.dev-installed ## the guides as a site, in build/site; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

fast: lint ## what takes seconds
	$(BIN)/python -m pytest -m "not heavy and not large and not soak"

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
	@# The scores are held against it. Alone: one of its requirements puts a typing.py of Python 3.6 beside our packages.
	$(PIP_INSTALL) --no-deps cityscapesscripts pyquaternion
	@touch $@ $(VENV)/.demo-installed

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
