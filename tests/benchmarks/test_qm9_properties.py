"""The benchmark of properties, from the command to its JSON, which a second call keeps."""

import json
import os
import subprocess
import sys
from pathlib import Path

import ase.io

from schnetgen_pyg.data.conversion import to_ase
from tests.potentials.test_columns import spread, with_info

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "qm9_properties.py"


def test_rows(tmp_path):
    data = with_info(30, mu=spread, gap=lambda k, one: 2 * spread(k, one))
    ase.io.write(tmp_path / "a.extxyz", [to_ase(one) for one in data])
    command = [sys.executable, str(SCRIPT), "--data=a.extxyz", "--targets", "mu", "gap"]
    command += ["--settings", '{"hidden_channels": 8}', "--labels", "20", "--test=5", "--steps=3"]
    rows = []
    for _ in range(2):
        known = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=tmp_path, env=known, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        record = json.loads((tmp_path / "runs/benchmarks/qm9_properties.json").read_text())
        rows.append(record["rows"])
    assert rows[0] == rows[1]
    (row,) = rows[0].values()
    assert row["training_seconds"] > 0
    assert row["test"]["num_structures"] == 5
    assert {"mu_mae (D)", "gap_mae (eV)"} < row["test"].keys()
