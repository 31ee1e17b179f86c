# Every recipe is one line that can be pasted. Bare `make` prints this list.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help setup serve demo test clients check fix bench bench-check bench-peers soak fuzz history docs lock

help: ## print this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 13

setup: .venv/.installed ## create .venv and install everything, hash-checked

.venv/.installed: requirements/dev.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tellstream needs Python 3.11 or newer; run: make setup PYTHON=python3.x")' && $(PYTHON) -m venv .venv && $(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements/dev.txt && $(BIN)/pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e . && touch $@

serve: setup ## run the server with what the environment offers
	$(BIN)/tellstream serve

demo: setup ## start a server on a free port, stream one answer through it, check it, stop
	$(BIN)/tellstream demo

test: setup ## run the tests, four at a time: much of it is waiting for processes and timers
	$(BIN)/python -m pytest -n 4 --dist worksteal

clients: ## install the official clients that `make test` then runs (needs node and npm)
	cd tests/clients && npm ci --prefix node && (npm ci --prefix node22 || echo "no Node 22 for this machine: its tests are skipped") && $(PYTHON) -m venv python/.venv && python/.venv/bin/pip install -q --disable-pip-version-check --require-hashes -r python/requirements.txt

check: setup ## formatting, lint, types, import directions
	$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy && $(BIN)/python -m pytest tests/test_architecture.py

fix: setup ## format and apply safe lint fixes
	$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

bench: setup ## what a stream costs in CPU, latency and memory, with each event log (needs cc)
	$(BIN)/python benchmarks/run.py

bench-peers: setup ## the same beside nginx, LiteLLM and Portkey (installs the last two; needs npm)
	$(BIN)/python benchmarks/run.py --peers

bench-check: setup ## instructions per event, against the committed figures (UPDATE=1 writes them)
	$(BIN)/python benchmarks/check.py $(if $(UPDATE),--update)

soak: setup ## 30 minutes of mixed load on a server, which must be as before afterwards (MINUTES, LOG)
	SOAK_MINUTES=$(or $(MINUTES),30) SOAK_LOG=$(or $(LOG),memory) $(BIN)/python -m pytest -s tests/soak

fuzz: setup ## a longer search for input that breaks a decoder
	PYTHONPATH=tests $(BIN)/python fuzz/decoders.py

history: setup ## 250 seeded runs of kills, outages and cuts, checked against the log
	HISTORY_RUNS=200 $(BIN)/python -m pytest -s tests/history

docs: setup ## regenerate the generated pages of docs/
	$(BIN)/python -m tellstream.docs && PYTHONPATH=tests $(BIN)/python -m faults.page

lock: ## recompute requirements/*.txt (needs uv)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --all-extras pyproject.toml -o requirements/runtime.txt && uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --all-extras --group dev pyproject.toml -c requirements/runtime.txt -o requirements/dev.txt
