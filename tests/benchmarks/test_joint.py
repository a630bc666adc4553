"""The benchmark of one network for both, from the command to its table."""

import pytest

from schnetgen_pyg.data.writers import write

from .conftest import called


@pytest.mark.slow
def test_rows_and_table(script, molecules, files, tmp_path, monkeypatch, fresh_processes):
    labelled = []
    for number, one in enumerate(molecules):
        atoms = one.copy()
        atoms.info |= {"my_mu": 0.1 * number, "gap": float(atoms.positions.std())}
        labelled.append(atoms)
    write(tmp_path / "train.extxyz", labelled[:6])
    write(tmp_path / "test.extxyz", labelled[6:])
    options = ["--checkpoint", files / "tiny.safetensors", "--data", tmp_path / "train.extxyz"]
    options += ["--test", tmp_path / "test.extxyz", "--keys", "mu=my_mu", "--targets", "mu", "gap"]
    options += ["--labels", 3, "--pool", 6, "--steps", 2, "--generator_steps", 2, "--num", 2]
    options += ["--seeds", 0, "--jobs", 1]
    name, record = called(monkeypatch, script("joint"), tmp_path, *options)
    ways = ["scratch", "fine-tuned", "joint", "continued"]
    rows = [f"{way}, 3, 0" for way in ways]
    assert name == "joint"
    assert list(record["rows"]) == ["checkpoint", *rows, "generator, 0, 0"]
    for row in rows:
        assert {"mu_mae (D)", "gap_mae (eV)"} < record["rows"][row]["test"].keys()
    for row in ("checkpoint", *rows[2:], "generator, 0, 0"):
        assert 0 <= record["rows"][row]["quality"]["valid"] <= 1
    _, again = called(monkeypatch, script("joint"), tmp_path, *options)
    assert again["rows"] == record["rows"]
    table = script("tables_of_properties").joint(record)
    assert "| 3 | scratch |" in table
    assert "| 3 | continued |" in table


def test_labelled_molecules_are_their_share(script):
    joint = script("joint")
    found = joint.repeated(["a"] * 10, ["b"] * 90, 0.2)
    assert len(found) == 20 + 90
    assert len(joint.repeated(["a"] * 50, ["b"] * 50, 0.2)) == 100
