"""The benchmark of transfer, from its command to the table."""

import json
import sys

import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from rdkit import Chem

from schnetgen_pyg.data.writers import write
from tests.molecules import embedded

SETS = {"qm9": ["CCO", "CO", "CC=O"], "qm7": ["CS", "CCS", "CSC"]}
GROUPS = {"azoxy": ["CN=O", "CCO"], "nitro": ["CC"], "neuro": ["CCN", "CS"], "sugars": ["OCCO"]}


def labelled(text):
    """An energy that its elements decide."""
    atoms = embedded(text)
    atoms.calc = SinglePointCalculator(atoms, energy=-float(atoms.numbers.sum()))
    return atoms


def test_committees_on_groups(script, tmp_path, monkeypatch):
    for name, texts in (SETS | GROUPS).items():
        write(tmp_path / f"{name}.extxyz.gz", [labelled(text) for text in texts])
    transfer = script("transfer")
    command = ["transfer.py", "--data", ".", "--sets", "qm9", "qm9+qm7", "--networks", "painn"]
    command += ["--num", "2", "--test", "1", "--members", "2", "--steps", "3", "--out", "trained"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", command)
    monkeypatch.setitem(transfer.NETWORKS, "painn", {"hidden_channels": 8, "num_interactions": 1})
    records = []
    for _ in range(2):
        transfer.main()
        records.append(json.loads((tmp_path / "runs/benchmarks/transfer.json").read_text()))
    assert records[0]["rows"] == records[1]["rows"]
    alone, mixed = records[0]["rows"].values()
    # What a set has no element of is left out: nitrogen of both, sulfur of the first.
    assert [alone["groups"][name]["left_out"] for name in GROUPS] == [1, 0, 2, 0]
    assert [mixed["groups"][name]["left_out"] for name in GROUPS] == [1, 0, 1, 0]
    assert alone["own"]["mae"] > 0
    assert alone["mean"] == pytest.approx(
        np.mean([alone["groups"][name]["mae"] for name in ("azoxy", "nitro", "sugars")])
    )
    assert (tmp_path / "runs/benchmarks/transfer.png").is_file()
    table = script("tables_of_potentials").transfer(records[0])
    assert "| qm9+qm7 | `painn` |" in table
    assert "azoxy 1 (1 left out)" in table


def test_pieces_are_closed_molecules_that_no_group_has(script):
    """Of a drug-like amide and of small molecules; what is avoided does not come, nothing twice."""
    transfer = script("make_transfer")
    large = "CC(=O)Nc1ccc(OCCN2CCOCC2)cc1"
    found = transfer.pieces(large)
    assert "CC(N)=O" in found or "CC=O" in found
    for text in found:
        mol = Chem.MolFromSmiles(text)
        assert transfer.LEAST <= mol.GetNumHeavyAtoms() <= transfer.HEAVY
        assert not any(a.GetNumRadicalElectrons() or not a.GetAtomicNum() for a in mol.GetAtoms())
    assert transfer.pieces("CC(N)O") == ["CC(N)O"]
    texts = [large, "CCO", "OCC", "C[C@H](F)Cl"]
    drawn = list(transfer.drug_like(texts, {"CC(F)Cl"}, seed=0))
    assert sorted(drawn) == sorted({*drawn})
    assert "CCO" in drawn
    assert "CC(F)Cl" not in drawn
    assert drawn == list(transfer.drug_like(texts, {"CC(F)Cl"}, seed=0))
