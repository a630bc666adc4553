"""The benchmark of crystals, from small files to its JSON, which a second call keeps."""

import json
import re
import sys

import numpy as np
import pytest

from schnetgen_pyg.data.conversion import to_ase

KILOBAR = 1602.1766  # of 1 eV/Å³
CUBIC = ((0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5))


@pytest.fixture
def folder(tmp_path):
    """Perovskites whose formation energy goes by the element in the middle, and copper."""
    rng = np.random.default_rng(0)
    for name, number in (("val", 24), ("test", 6)):
        middle = rng.choice([22, 40, 26, 44], number)
        np.savez(
            tmp_path / f"perov_5_{name}.npz",
            n_atoms=np.full(number, 5, dtype=np.uint8),
            z=np.stack([np.full(number, 20), middle, *3 * [np.full(number, 8)]], 1).ravel(),
            frac=np.tile(CUBIC, (number, 1)).astype(np.float32),
            cell=np.tile(4 * np.eye(3, dtype=np.float32), (number, 1, 1)),
            heat_ref=middle / 22.0 + 0.1 * rng.normal(size=number),
            material_id=np.arange(number).astype(str),
        )
    pos = np.tile([[0, 0, 0], [0, 1.8, 1.8], [1.8, 0, 1.8], [1.8, 1.8, 0]], (12, 1))
    np.savez(
        tmp_path / "mlearn_Cu_test.npz",
        n_atoms=np.full(12, 4),
        z=np.full(48, 29, dtype=np.uint8),
        pos=(pos + 0.05 * rng.normal(size=pos.shape)).astype(np.float32),
        cell=np.tile(3.6 * np.eye(3, dtype=np.float32), (12, 1, 1)),
        energy_eV=rng.normal(size=12) - 16,
        forces_eV_A=rng.normal(size=(48, 3)).astype(np.float32),
        virial_stress=np.tile(np.arange(1.0, 7.0) * KILOBAR, (12, 1)).astype(np.float32),
    )
    return tmp_path


def test_readers(folder, script):
    crystals = script("crystals")
    cell = crystals.perovskites(folder / "perov_5_val.npz")[3]
    atoms = to_ase(cell)
    assert atoms.pbc.all()
    assert atoms.get_distance(1, 2, mic=True) == pytest.approx(2.0)
    assert cell.heat_ref > 0
    copper = crystals.metals(folder / "mlearn_Cu_test.npz")
    assert copper[0].diagonal.tolist() == [pytest.approx([-1.0, -2.0, -3.0], rel=1e-4)]
    train, test, single = crystals.parts_of("Cu", folder, seed=0)
    assert (len(train), len(test), single) == (9, 3, True)
    assert not {float(one.energy) for one in train} & {float(one.energy) for one in test}


def test_rows(folder, monkeypatch, script):
    command = ["crystals.py", f"--data={folder}", "--parts", "perov_5", "Cu", "--steps=4"]
    command += ["--settings", '{"hidden_channels": 8}', "--representations", "painn"]
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", command)
    parts = []
    for _ in range(2):
        script("crystals").main()
        record = json.loads((folder / "runs/benchmarks/crystals.json").read_text())
        parts.append(record["parts"])
    assert parts[0] == parts[1]
    cells, copper = parts[0]["perov_5"]["painn"], parts[0]["Cu"]["painn"]
    assert cells["test"]["heat_ref_mae (eV)"] > 0
    assert {*cells["groups"]} == {"untrained", "trained", "added"}
    assert copper["split_test_part"]
    assert copper["stress_diagonal_mae_gpa"] > 100  # labels of 160 to 480 GPa
    tell = script("tables_of_crystals").crystals
    table = tell(record)
    cell = record["parts"]["perov_5"]["painn"]
    formation = rf"{cell['test']['heat_ref_mae (eV)']:.3f} \| {cell['guess_mae']:.3f} \|"
    assert re.search(rf"\| `painn` \| 24 \| 4 \| \d* \| {formation}", table)
    assert f"| {copper['stress_diagonal_mae_gpa']:.2f} |" in table
    assert re.search(r"Cu\\\* \| `painn` \| 9 \| 4 \|", table)
    # Each figure is under its name, whatever the order in the record is.
    cell["groups"]["trained"]["all dimensions"]["accuracy"] = 0.77
    cell["groups"] = {k: dict(reversed(v.items())) for k, v in cell["groups"].items()}
    (row,) = re.findall(r"^\| `painn`, trained \|(.*)\|$", tell(record), re.MULTILINE)
    assert "77%" in row.split("|")[1]
    run = next(folder.glob("runs/crystals/perov_5-painn-*"))
    assert (run / "embeddings.csv").read_text().startswith("element,atomic_number,group")
