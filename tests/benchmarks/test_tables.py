"""The README shows what was measured, and its Python runs."""

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_tables_are_those_of_the_results():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        from tables import render
    finally:
        sys.path.pop(0)
    text = (ROOT / "README.md").read_text()
    assert render(text) == text, "run python benchmarks/tables.py"


@pytest.mark.parametrize("number", [0, 1])
def test_python_snippets_run(number, capsys):
    snippets = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    code = snippets[number].replace("num_molecules=100", "num_molecules=4")
    names: dict = {}
    exec(code, names)
    assert "valid" in capsys.readouterr().out if number == 0 else names["log_p"].shape == (4, 300)


def test_snippet_of_the_potentials_runs():
    snippets = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    names: dict = {}
    exec(next(code for code in snippets if "PotentialCalculator" in code), names)
    assert names["forces"].shape == (3, 3)
