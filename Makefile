# Which command does what on a fresh checkout. Needs: make, Python >= 3.11, Rust with cargo.
# Everything is built into .venv and target; nothing outside the checkout is changed.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: bench browser soak help setup demo test check engines fuzz clean

VENV := .venv
BIN := $(VENV)/bin
STEP := .ci/step
# Every cargo call sees the interpreter of .venv; otherwise PyO3 is configured twice and rebuilt.
export PYO3_PYTHON := $(CURDIR)/$(BIN)/python
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

RUST_SOURCES := Cargo.toml $(wildcard Cargo.lock) $(shell find rust -path rust/fuzz -prune -o \( -name "*.rs" -o -name Cargo.toml \) -print)

help:  ## Shows this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1|/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-14s %s\n", $$1, $$2}'

setup: $(VENV)/.core  ## Creates .venv with the locked packages and builds the Rust extension

$(VENV)/.created: .ci/venv
	@$(STEP) "create $(VENV)" .ci/venv $(VENV)
	@touch $@

$(VENV)/.packages: $(VENV)/.created requirements.lock
	@$(STEP) "install locked packages" $(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	@touch $@

# maturin asks pip for the dependencies once more; all are here, so pip must not look elsewhere. Set
# for this command alone: a variable of the target would also hold for its prerequisites.
$(VENV)/.core: $(VENV)/.packages pyproject.toml $(RUST_SOURCES)
	@PIP_NO_INDEX=1 PIP_QUIET=1 $(STEP) "build the Rust extension" $(BIN)/maturin develop --quiet --release --locked
	@touch $@

demo: setup  ## Runs the server and simulated fleets over TCP, asks DuckDB what happened, finds planted faults
	@$(STEP) "demo" $(BIN)/python -m autarco_ingest.demo
	@$(STEP) "demo of detection" $(BIN)/python -m autarco_portal.cli demo

test: setup  ## Runs the Rust and the Python tests
	@$(STEP) "cargo test" cargo test --workspace --locked --quiet
	@$(STEP) "pytest" $(BIN)/python -m pytest --quiet

# Pictures of the pages go to SHOTS, an existing directory, if it is given.
SHOTS :=

browser: setup  ## Uses the portal with a real browser, Chromium, which is installed if missing
	@$(STEP) "install Chromium" .ci/browser
	@AUTARCO_BROWSER=1 $(if $(SHOTS),AUTARCO_SHOTS="$(abspath $(SHOTS))") $(STEP) "browser" $(BIN)/python -m pytest --quiet tests/browser

check: setup  ## Checks format, lints, types, the stub against the binary, and import directions
	@$(STEP) "ruff format" $(BIN)/ruff format --check .
	@$(STEP) "ruff" $(BIN)/ruff check .
	@$(STEP) "mypy" $(BIN)/mypy
	@$(STEP) "stubtest" $(BIN)/python -m mypy.stubtest autarco_ingest._core
	@$(STEP) "import directions" $(BIN)/lint-imports
	@$(STEP) "cargo fmt" cargo fmt --all --check
	@$(STEP) "cargo clippy" cargo clippy --workspace --all-targets --locked --quiet -- -D warnings

ENGINES := .venv-engines

$(ENGINES)/.packages: .ci/engines.lock .ci/venv
	@$(STEP) "create $(ENGINES)" .ci/venv $(ENGINES)
	@$(STEP) "install locked engines" $(ENGINES)/bin/python -m pip install --quiet --require-hashes -r .ci/engines.lock
	@touch $@

engines: setup $(ENGINES)/.packages  ## Asks one table with DuckDB, Polars and Daft and compares the answers
	@AUTARCO_ENGINES=1 $(STEP) "engines" $(BIN)/python -m pytest --quiet tests/engines

# Seconds per target, and which of them (all).
SECONDS := 60
TARGETS :=

fuzz:  ## Searches for input that breaks the ingest core, 60 s per target (SECONDS=600 TARGETS=stream)
	@$(STEP) "fuzz" .ci/fuzz $(SECONDS) $(TARGETS)

BENCH_VENV := .venv-bench

$(BENCH_VENV)/.packages: .ci/bench.lock .ci/venv
	@$(STEP) "create $(BENCH_VENV)" .ci/venv $(BENCH_VENV)
	@$(STEP) "install locked peers" $(BENCH_VENV)/bin/python -m pip install --quiet --require-hashes -r .ci/bench.lock
	@touch $@

QUESTDB := target/questdb/.packages

# A peer that cannot be had here is left out of the comparison, which says so.
$(QUESTDB): .ci/questdb/pom.xml
	@if command -v mvn >/dev/null && command -v java >/dev/null; then \
	    if $(STEP) "fetch QuestDB" mvn --quiet --batch-mode --file .ci/questdb/pom.xml package; then touch $@; \
	    else echo "mvn could not fetch QuestDB: it is not compared" >&2; fi; \
	else \
	    echo "no mvn or no java found: QuestDB is not compared" >&2; \
	fi

FLEET := --package autarco-fleet --bins --examples

bench: setup $(BENCH_VENV)/.packages $(QUESTDB)  ## Measures speed beside peers and baselines, some 18 minutes; see benchmarks/results
	@$(STEP) "build the load fleet" cargo build --release --locked --quiet $(FLEET)
	@$(STEP) "measure" $(BIN)/python benchmarks/bench.py

soak: setup  ## Lets 10,000 sticks live a day in ten minutes and compares every record
	@$(STEP) "build the load fleet" cargo build --release --locked --quiet $(FLEET)
	@$(STEP) "soak" $(BIN)/python benchmarks/soak.py

clean:  ## Removes everything that was built here, and the demo's data
	rm -rf $(VENV) $(ENGINES) $(BENCH_VENV) target demo-data demo-portal-data .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests \( -name __pycache__ -o -name '_core*.so' \) -prune -exec rm -rf {} +
