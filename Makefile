# Everything a developer or a user of a checkout does. `make help` lists it.
#
#   PYTHON=python3.12   the interpreter to make the environment with (3.10 to 3.14)
#   VENV=.venv          where the environment lies
#   RUNTIME=cpu|gpu     which ONNX Runtime (found out by itself: gpu where nvidia-smi works)

PYTHON ?= python3
VENV ?= .venv
RUNTIME ?= $(shell nvidia-smi -L >/dev/null 2>&1 && echo gpu || echo cpu)
CAMERA ?=
PORT ?= 8765

PY := $(VENV)/bin/python
MEDIA := $(or $(TEST_MEDIA),.cache/media)
PACKAGES := capture engines exporters service

SEEN := $(if $(CAMERA),--camera 'camera=webcam:$(CAMERA)',--demo)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run setup install media debian test check format proof mutants bench golden soak clean

help:  ## list what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.ran-$(RUNTIME) media  ## set up and serve the demo clip (CAMERA=0: a webcam) on http://127.0.0.1:8765 (PORT=…)
	@MIEN_SERVER__DEMO='$(MEDIA)/single_face.mp4' $(VENV)/bin/mien serve --port $(PORT) $(SEEN)

setup: $(VENV)/.developed-$(RUNTIME)  ## make the environment a developer needs (.venv)

install: $(VENV)/.ran-$(RUNTIME)  ## make the environment a user needs (.venv)

media: $(VENV)/.ran-$(RUNTIME)  ## fetch the clips that the demo, the virtual rig and tests look at
	@$(PY) -m tests.media >/dev/null

debian:  ## install the Debian packages that the tests want (chromium …), where that is allowed
	@$(PYTHON) deploy/environment.py debian test || echo "make: going on without: the tests that want them are skipped"

# A worker for each core, at most four (each takes a gigabyte), and one thread of OpenMP in each: its threads spin where they wait.
# A file's tests are one worker's, for they share what its fixtures start. ARGS='-n 0': no workers.
test: debian setup media  ## the quick tests (under 10 minutes)
	@OMP_NUM_THREADS=1 $(PY) -m pytest -n logical --maxprocesses 4 --dist loadfile --durations 10 $(ARGS)

check: setup  ## lint, format, types, import rules
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) -m mypy --python-version 3.12
	$(VENV)/bin/lint-imports --no-logo

format: setup  ## put the code in its format
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

proof: setup media  ## the long tests (under 45 minutes): every export, engine builds, clean installs, kills, fuzz
	@$(PYTHON) deploy/environment.py debian proof || echo "make: going on without: the tests that want them are skipped"
	@OMP_NUM_THREADS=1 $(PY) -m pytest -m proof -n logical --maxprocesses 4 --dist loadfile --durations 10 $(ARGS)

mutants: setup media  ## put faults into the core, tell which the tests catch; ARGS='service/session.py', '--sample 150 --seed 1'
	@$(PY) -m tests.mutants $(ARGS)

bench: setup media  ## measure speed; ARGS='NAME…' for some
	@$(PY) -m benchmarks $(ARGS)

soak: setup media  ## run for hours and watch memory
	@$(PY) -m benchmarks soak $(ARGS)

golden: setup media  ## write the goldens anew: shows what changes and asks why (REASON='…'); never in CI
	@if [ -n "$$CI" ]; then echo "make golden: not in CI: goldens are changed by a person who reads the difference" >&2; exit 2; fi
	@$(PY) -m tests.goldens.rewrite

clean:  ## remove the environment, caches and builds (test media stay)
	rm -rf $(VENV) .venv-ci build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find $(PACKAGES) tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# --- the environment: deploy/environment.py has its steps -----------------------------------------------------------------------------

ENVIRONMENT := $(PYTHON) deploy/environment.py --venv $(VENV) --runtime $(RUNTIME)
RECIPE := pyproject.toml deploy/environment.py deploy/constraints.txt

$(VENV)/.ran-$(RUNTIME): $(RECIPE)
	@rm -f $(VENV)/.ran-* $(VENV)/.developed-*
	@$(ENVIRONMENT) user
	@touch $@

$(VENV)/.developed-$(RUNTIME): $(RECIPE)
	@rm -f $(VENV)/.ran-* $(VENV)/.developed-*
	@$(ENVIRONMENT) developer
	@touch $(VENV)/.ran-$(RUNTIME) $@
