"""Geometries of molecules from their SMILES."""

import json

import ase
import pandas as pd
import pytest

from schnetgen_pyg import load
from schnetgen_pyg.chem.identity import smiles
from schnetgen_pyg.chem.perception import perceive

SMILES = ["CC(=O)Nc1ccccc1", "no SMILES", "CB(O)O", "O=[N+]([O-])c1ccsc1", "CCO"]


@pytest.mark.usefixtures("fresh_processes")
def test_lines_are_the_molecules_or_say_why_not(script, tmp_path, monkeypatch, capsys):
    druglike = script("make_druglike")
    pd.DataFrame({"smiles": SMILES}).to_csv(tmp_path / "smiles.csv.gz", index=False)

    def lines(first, num, name):
        options = ["--smiles", tmp_path / "smiles.csv.gz", "--level", "mmff94s"]
        options += ["--first", first, "--num", num, "--out", tmp_path / name]
        monkeypatch.setattr("sys.argv", ["make_druglike.py", *map(str, options)])
        druglike.main()
        log = (tmp_path / name).with_suffix(".jsonl")
        return [json.loads(line) for line in log.read_text().splitlines()]

    made = lines(0, 5, "all.extxyz")
    assert "molecules of 5 SMILES" in capsys.readouterr().out
    assert sorted(line["smiles"] for line in made) == sorted(SMILES)
    assert [line["smiles"] for line in made] != SMILES  # shuffled
    failures = {line["smiles"]: line["failure"] for line in made if "failure" in line}
    assert failures["no SMILES"] == "SMILES"
    assert failures["CB(O)O"] == "MMFF94s has no parameters"
    good = [line for line in made if "failure" not in line]
    assert len(good) == len(SMILES) - len(failures) == 3
    for line in good:
        found = perceive(ase.Atoms(line["numbers"], line["positions"]))
        assert smiles(found.mol) == line["smiles"]
    written = load(tmp_path / "all.extxyz")
    assert [data.info["smiles"] for data in written] == [line["smiles"] for line in good]
    assert [data.z.tolist() for data in written] == [line["numbers"] for line in good]
    assert lines(0, 5, "all.extxyz") == made  # it is there already
    # A part is the part of the whole.
    assert lines(2, 2, "part.extxyz") == made[2:4]


def test_a_molecule_whose_bonds_change_is_left_out(script, monkeypatch):
    druglike = script("make_druglike")
    monkeypatch.setattr(druglike, "relax_one", lambda atoms, config: pulled_apart(atoms))
    found = druglike.make("CCO", "gfn2-xtb", 0)
    assert found["failure"] == "bonds changed"
    assert "positions" not in found


def pulled_apart(atoms):
    return {"status": "converged", "energy_after": -1.0, "error": ""}, atoms.positions * 2


@pytest.mark.parametrize("seed", [0, 7])
def test_a_seed_gives_the_same_geometry(script, seed):
    make = script("make_druglike").make
    assert make("OCCN", "mmff94s", seed) == make("OCCN", "mmff94s", seed)
