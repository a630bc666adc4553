# Everything a fresh clone needs: `make demo` and `make test` set themselves up.
PYTHON ?= python3
BIN := .venv/bin
DEMO_STEPS ?= 300
DEMO_MOLECULES ?= 128
DEMO := runs/demo

.PHONY: demo test slow notebooks pictures docs lint types extensions reference wheel clean

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "schnetgen_pyg needs Python 3.11 or newer; name one: make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -c constraints.txt torch
	$(BIN)/pip install --quiet -c constraints.txt -e ".[dev,docs,xtb]"
	touch $@

# Train a small model on the embedded data, generate with the bundled one, judge, draw.
demo: .venv/installed
	rm -rf $(DEMO)
	$(BIN)/schnetgen train --data c7h10o2-xtb --preset small --steps $(DEMO_STEPS) --out $(DEMO)/training
	cp $(DEMO)/training/loss.png $(DEMO)/loss.png
	$(BIN)/schnetgen generate --formula C7H10O2 --num $(DEMO_MOLECULES) --seed 0 --out $(DEMO)/generated.extxyz
	$(BIN)/schnetgen evaluate $(DEMO)/generated.extxyz --test c7h10o2-xtb --out $(DEMO)
	$(BIN)/schnetgen report $(DEMO) --test c7h10o2-xtb --checkpoint c7h10o2
	@echo "Look at $(DEMO): report.html, best.png, loss.png, table.txt, valid.sdf, generated.extxyz"

test: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist worksteal

# What takes longer: processes, clusters, kernels by their interpreter, the GPU script on a CPU.
slow: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "slow and not gpu and not reference"

notebooks: .venv/installed
	$(BIN)/pytest --nbmake notebooks

# What is committed as it was made: the film of the README, and the notebooks with their output.
pictures: .venv/installed
	$(BIN)/schnetgen generate --formula C7H10O2 --num 1 --seed 5 --out runs/film/one.extxyz
	$(BIN)/schnetgen view runs/film/one.extxyz --out docs/pictures/building.gif
	$(BIN)/python notebooks/execute.py

docs: .venv/installed
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going -b html docs build/docs
	@echo "Open build/docs/index.html"

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: .venv/installed
	$(BIN)/mypy

# torch-scatter and torch-cluster are built from source (about nine minutes on two cores).
extensions: .venv/installed
	$(BIN)/pip install --quiet -c constraints.txt setuptools wheel ninja
	$(BIN)/pip install --quiet --no-build-isolation -c constraints.txt torch-scatter torch-cluster

# Agreement with graph-pes by copied weights, in an environment of its own: it pins e3nn.
reference:
	$(PYTHON) -m venv build/reference
	build/reference/bin/pip install --quiet -c constraints.txt torch
	build/reference/bin/pip install --quiet -c constraints.txt -e . pytest graph-pes
	build/reference/bin/pytest -m reference tests/representations

wheel: .venv/installed
	$(BIN)/python -m build --wheel

clean:
	rm -rf .venv build dist *.egg-info runs
