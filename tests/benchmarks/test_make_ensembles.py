"""Ensembles of conformers from SMILES."""

import json
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
from rdkit.Chem import rdMolTransforms

from schnetgen_pyg import load, to_rdkit
from schnetgen_pyg.chem.identity import smiles
from schnetgen_pyg.data.conversion import to_ase

SMILES = ["C[C@H](O)CF", "no SMILES", "CC=O"]


@pytest.mark.slow
@pytest.mark.usefixtures("fresh_processes")
def test_ensembles_are_different_minima_of_the_molecule(script, tmp_path, monkeypatch, capsys):
    pytest.importorskip("tblite")
    ensembles = script("make_ensembles")
    pd.DataFrame({"smiles": SMILES}).to_csv(tmp_path / "smiles.csv", index=False)

    def run(num, name):
        options = ["--molecules", tmp_path / "smiles.csv", "--num", num, "--conformers", 6]
        options += ["--out", tmp_path / name]
        monkeypatch.setattr("sys.argv", ["make_ensembles.py", *map(str, options)])
        ensembles.main()
        log = (tmp_path / name).with_suffix(".jsonl")
        return [json.loads(line) for line in log.read_text().splitlines()]

    records = run(3, "all.extxyz")
    assert "of 2 of 3 molecules" in capsys.readouterr().out
    assert {r["smiles"]: r.get("failure") for r in records}["no SMILES"] == "SMILES"
    found = [to_ase(data) for data in load(tmp_path / "all.extxyz")]
    numbers = sorted({atoms.info["molecule"] for atoms in found})
    assert len(numbers) == 2
    for number in numbers:
        own = [atoms for atoms in found if atoms.info["molecule"] == number]
        assert sum(atoms.info["weight"] for atoms in own) == pytest.approx(1.0, abs=1e-6)
        energy = [atoms.get_potential_energy() for atoms in own]
        assert (np.diff(energy) >= 0).all()
        assert {smiles(to_rdkit(atoms), stereo=True) for atoms in own} == {own[0].info["smiles"]}
    assert len(found) > 2
    # A run that goes on has nothing left to do.
    monkeypatch.setattr(ensembles, "make", Mock(side_effect=AssertionError))
    assert run(3, "all.extxyz") == records


def test_minima_of_mmff94s_are_different_and_of_the_same_molecule(script):
    """Embeddings of butane, each twice, end in its anti and gauche forms."""
    ensembles = script("make_ensembles")
    mol = ensembles.embedded("CCCC", 10, 0)
    positions = [conformer.GetPositions() for conformer in mol.GetConformers()]
    doubled = ensembles.with_conformers(mol, [*positions, *[1.01 * pos for pos in positions]])
    found = ensembles.minima_of_mmff94s(doubled)
    assert 2 <= found.GetNumConformers() <= 3 < doubled.GetNumConformers()
    turns = {
        round(abs(rdMolTransforms.GetDihedralDeg(one, 0, 1, 2, 3)), -1)
        for one in found.GetConformers()
    }
    assert turns in ({60, 180}, {70, 180})
