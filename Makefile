# Each target does all of its own set-up: Python 3.11+ with pip is enough.
PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2
BIN := $(VENV)/bin

.PHONY: demo test test-all lint bench bench-losses bench-metrics weights clean

demo: $(VENV)/.ready
	$(BIN)/multifocal demo --out $(or $(OUT),demo)

# Each of the JOBS processes takes tests from the other when it has none left, and computes with one thread.
test: $(VENV)/.browser
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal

test-all: $(VENV)/.browser
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m ""

lint: $(VENV)/.ready
	$(BIN)/ruff check . && $(BIN)/ruff format --check src tests tools
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pydoclint --quiet --config pyproject.toml src/multifocal

bench: $(VENV)/.ready
	$(BIN)/python tools/bench_augment.py
	$(BIN)/python tools/bench_training.py
	$(BIN)/python tools/bench_prediction.py

bench-losses: $(VENV)/.ready
	$(BIN)/python tools/bench_losses.py --write docs/bench-losses.md

# With PANOPTICA=interpreter of an environment that has panoptica, it takes part.
bench-metrics: $(VENV)/.ready
	OMP_NUM_THREADS=1 $(BIN)/python tools/bench_metrics.py $(if $(PANOPTICA),--panoptica-python $(PANOPTICA))
	$(BIN)/python tools/bench_cohorts.py

# The models that come with the package, on one core in about half an hour: the same machine, the same bytes.
weights: $(VENV)/.ready
	$(BIN)/python tools/build_weights.py

# The pins keep a CPU machine that has the CPU wheel of torch from fetching the CUDA build, and fetch it on a GPU machine.
$(VENV)/.ready: pyproject.toml constraints.txt tools/fit_torchvision.py
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, found " + sys.version) if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(BIN)/python tools/fit_torchvision.py
	touch $@

# A browser for the tests of reports; without one they are skipped.
$(VENV)/.browser: $(VENV)/.ready tools/fit_browser.py
	$(BIN)/python tools/fit_browser.py
	touch $@

clean:
	rm -rf $(VENV) demo test-output weights
