"""Notebooks are committed with what they show, but not with what a machine says of itself."""

import subprocess
import sys
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")

SCRIPT = Path(__file__).parents[2] / "notebooks" / "execute.py"
CODE = """\
import sys, os
print("shown")
print(os.getcwd(), file=sys.stderr)
"""
LARGE = """\
import numpy as np
from PIL import Image
Image.fromarray(np.random.default_rng(0).integers(0, 255, (400, 400, 3), dtype=np.uint8))
"""


def run(path: Path, code: str) -> subprocess.CompletedProcess:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code, id="one")])
    nbformat.write(notebook, path)
    return subprocess.run([sys.executable, SCRIPT, path], capture_output=True, text=True)


def test_output_is_kept_and_paths_are_not(tmp_path):
    path = tmp_path / "small.ipynb"
    done = run(path, CODE)
    assert done.returncode == 0, done.stderr
    (cell,) = nbformat.read(path, as_version=4).cells
    assert [output["text"] for output in cell.outputs] == ["shown\n"]
    assert str(tmp_path) not in path.read_text()


def test_a_large_picture_is_refused(tmp_path):
    path = tmp_path / "large.ipynb"
    done = run(path, LARGE)
    assert done.returncode == 1
    assert "draw it smaller" in done.stderr
    (cell,) = nbformat.read(path, as_version=4).cells
    assert cell.outputs == []
