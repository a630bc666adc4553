"""The benchmark of properties, from the command to its JSON, which a second call keeps."""

import json
import sys

import ase.io

from schnetgen_pyg.data.conversion import to_ase
from tests.targets.test_columns import spread, with_info


def test_rows(tmp_path, monkeypatch, script):
    data = with_info(30, mu=spread, gap=lambda k, one: 2 * spread(k, one))
    ase.io.write(tmp_path / "a.extxyz", [to_ase(one) for one in data])
    command = ["qm9_properties.py", "--data=a.extxyz", "--targets", "mu", "gap", "--test=5"]
    command += ["--settings", '{"hidden_channels": 8}', "--labels", "20", "--steps=3"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", command)
    rows = []
    for _ in range(2):
        script("qm9_properties").main()
        record = json.loads((tmp_path / "runs/benchmarks/qm9_properties.json").read_text())
        rows.append(record["rows"])
    assert rows[0] == rows[1]
    (row,) = rows[0].values()
    assert row["training_seconds"] > 0
    assert row["test"]["num_structures"] == 5
    assert {"mu_mae (D)", "gap_mae (eV)"} < row["test"].keys()
