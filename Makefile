# Every target does its own set-up: a virtual environment in .venv with pinned packages.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
LAUNCH := $(BIN)/accelerate launch --num_processes 1 --num_machines 1 --mixed_precision no --dynamo_backend no

.PHONY: demo demo-mt5 test test-ddp test-ui test-faults test-docs wheel-check docs bench bench-long bench-gpu quality clean

# the published code, as a test oracle only; its own dependency pins are ignored
$(READY): setup.cfg constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps kronos-model-arch==0.1.0
	touch $(READY)

demo: $(READY)
	$(LAUNCH) examples/finetune_btc.py

demo-mt5: $(READY)
	$(BIN)/python examples/train_emotion_summary.py

test: quality
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

test-ddp: $(READY)
	$(BIN)/python -m pytest -m distributed

# the page of kronos-ft ui, in a real browser
test-ui: $(READY)
	@command -v chromium >/dev/null || { echo "make test-ui needs Chromium: apt-get install -y chromium"; exit 2; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,ui]" playwright
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "ui or not ui" tests/kronos_ft/ui

# every fault, 50 kills each; writes the table of docs/reliability.md
test-faults: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m fault --kills=50 --fault-table=benchmarks/results/faults.json tests
	$(BIN)/python -m tests.fault_table benchmarks/results/faults.json docs/reliability.md

# every command and every Python block of README and docs/, on small data, beside a Hub on this machine
test-docs: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,tracking]"
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m docs tests/docs

# builds the wheel, installs it into a new environment, and runs the demonstrations from outside of the repository
wheel-check: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m wheel tests/docs

# the site, from disk and without a network: site/index.html; a broken link fails
docs: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,docs]"
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# beside the published code, in one table; the long ones are run by name: make bench-long NAME=tokenizer_run
bench: $(READY)
	$(BIN)/python -m benchmarks.bench

bench-long: $(READY)
	$(BIN)/python -m benchmarks.bench --only $(NAME)

bench-gpu: $(READY)
	$(BIN)/python -m benchmarks.bench --gpu

quality: $(READY)
	$(BIN)/ruff check --output-format concise .
	$(BIN)/ruff format --check --quiet .

clean:
	rm -rf .venv build dist site *.egg-info
