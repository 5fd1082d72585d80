# Each target makes its own .venv, installs what it needs, and does its job.
PYTHON ?= python3
BIN := .venv/bin
PYTEST_WORKERS ?= 2

.PHONY: demo test slow install lint format types docs clean

.venv/installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	rm -rf build
	$(BIN)/python -m pip install --quiet ".[test]"
	touch $@

# A regular, non-editable install of the working tree: what users have, and what the type checker sees.
install: .venv/installed
	@rm -rf build
	@$(BIN)/python -m pip install --quiet --no-deps --force-reinstall .
	@rm -rf build

demo: install
	$(BIN)/preimage demo

test: install
	$(BIN)/python -m pytest -n $(PYTEST_WORKERS)

# What takes a minute or is a dozen processes of its own; `make test` leaves it out.
slow: install
	$(BIN)/python -m pytest -n $(PYTEST_WORKERS) -m slow

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# From another folder, so that the installed copy is checked and not the checkout.
types: install
	cd .venv && bin/mypy --strict --config-file ../pyproject.toml \
		-p preimage.harness -p preimage.adapters -p preimage.benchmarks -p preimage.leaderboard

docs: install
	$(BIN)/python docs/reference.py

clean:
	rm -rf .venv build site preimage.db preimage.db-wal preimage.db-shm *.egg-info
