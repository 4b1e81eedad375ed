# Every target does its own set-up: a virtual environment in .venv with pinned packages, installed by uv.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
READY_DEV := .venv/.ready-dev
LAUNCH := $(BIN)/accelerate launch --num_processes 1 --num_machines 1 --mixed_precision no --dynamo_backend no
UV = $(shell command -v uv || echo $(BIN)/uv)
# pip's index and folders of packages hold for uv too
INDEX = $(or $(PIP_INDEX_URL),$(shell $(BIN)/python -m pip config get global.index-url 2>/dev/null))
FROM_PIP = $(if $(INDEX),--default-index $(INDEX)) $(addprefix --find-links ,$(PIP_FIND_LINKS))
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest
INSTALL = $(UV) pip install --python $(BIN)/python $(FROM_PIP) -c constraints.txt

# uv compiles nothing: what is imported is compiled once, then kept
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo demo-mt5 test test-ddp test-ui test-ray test-faults test-docs wheel-check docs bench bench-long bench-gpu quality clean

$(BIN)/python:
	@echo "making .venv (once; 1.5 to 6 GB, torch is the largest part)"
	@$(PYTHON) -m venv .venv
	@command -v uv >/dev/null || { echo "installing uv into .venv"; $(BIN)/python -m pip install --quiet --disable-pip-version-check uv; }

# what users need
$(READY): setup.cfg constraints.txt | $(BIN)/python
	$(INSTALL) -e .
	@touch $(READY)

# and what developers need; the published code is a test oracle only, its own dependency pins are ignored
$(READY_DEV): setup.cfg constraints.txt | $(BIN)/python
	$(INSTALL) -e ".[dev]"
	$(INSTALL) --no-deps kronos-model-arch==0.1.0
	@touch $(READY) $(READY_DEV)

demo: $(READY)
	$(LAUNCH) examples/finetune_btc.py

demo-mt5: $(READY)
	$(BIN)/python examples/train_emotion_summary.py

# three on two cores: tests wait for the processes that they kill, for about a quarter of the time
test: quality
	$(PYTEST) -n 3

test-ddp: $(READY_DEV)
	$(PYTEST) -m distributed

# the page of kronos-ft ui, in a real browser
test-ui: $(READY_DEV)
	@command -v chromium >/dev/null || { echo "make test-ui needs Chromium: apt-get install -y chromium"; exit 2; }
	$(INSTALL) --quiet -e ".[dev,ui]" playwright
	$(PYTEST) -m "ui or not ui" tests/kronos_ft/ui

# a cluster of Ray with two nodes of one core, on this machine
test-ray: $(READY_DEV)
	$(INSTALL) --quiet -e ".[dev,ray,sweep]"
	$(PYTEST) -m ray tests/ray

# every fault, 50 kills each, and all examples of every property; writes the table of docs/reliability.md
test-faults: $(READY_DEV)
	$(PYTEST) -n 2 -m "fault or thorough or hypothesis" --hypothesis-profile=everything --kills=50 --fault-table=benchmarks/results/faults.json tests
	$(BIN)/python -m tests.fault_table benchmarks/results/faults.json docs/reliability.md

# every command and every Python block of README and docs/, on small data, beside a Hub on this machine; the notebooks
test-docs: $(READY_DEV)
	$(INSTALL) --quiet -e ".[dev,tracking]"
	$(PYTEST) -n 2 -m docs tests/docs

# builds the wheel, installs it into a new environment, and runs the demonstrations from outside of the repository
wheel-check: $(READY_DEV)
	$(PYTEST) -m wheel tests/docs

# the site, from disk and without a network: site/index.html; a broken link fails
docs: $(READY_DEV)
	$(INSTALL) --quiet -e ".[dev,docs]"
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# beside the published code, in one table; the long ones are run by name: make bench-long NAME=tokenizer_run
bench: $(READY_DEV)
	$(BIN)/python -m benchmarks.bench

bench-long: $(READY_DEV)
	$(BIN)/python -m benchmarks.bench --only $(NAME)

bench-gpu: $(READY_DEV)
	$(BIN)/python -m benchmarks.bench --gpu

quality: $(READY_DEV)
	$(BIN)/ruff check --output-format concise .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/lint-imports --no-cache

clean:
	rm -rf .venv build dist site *.egg-info
