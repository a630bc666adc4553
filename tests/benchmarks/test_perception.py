"""The ceiling: every kind of difference from a stated SMILES is told from the others."""

import json

import ase.io
import numpy as np
import pandas as pd
import pytest
from ase.build import molecule

from tests.molecules import embedded

#: What is in the file, the SMILES that it states, and what the benchmark says of it.
CASES = [
    ("CC(C)=O", "CC(C)=O", "own SMILES"),
    ("C[C@H](N)C(=O)O", "OC(=O)C(C)N", "own SMILES"),
    ("CC(C)=O", "CC(O)=C", "other bonds"),
    ("CC(N)=O", "CC([O-])=[NH2+]", "fewer charges than its SMILES"),
    ("C[N+](=O)[O-]", "C[N+](=O)[O-]", "own SMILES"),
    ("CC=CC", "C[CH][CH]C", "its SMILES has unpaired electrons"),
    ("NC(N)=[NH2+]", "NC(N)=[NH2+]", "own SMILES"),
    ("CC(=O)C=C(C)[O-]", "CC(=O)[CH-]C(C)=O", "charges or double bonds elsewhere"),
]


def case(text, stated):
    atoms = embedded(text)
    atoms.info["smiles"] = stated
    return atoms


@pytest.fixture
def structures():
    radical = molecule("CH3")
    radical.info["smiles"] = "[CH3]"
    return [*(case(text, stated) for text, stated, _ in CASES), radical]


def test_kinds_of_failures(script, structures):
    perception = script("perception")
    found = [one["kind"] for one in perception.outcomes(structures, perception.OURS)]
    assert found == [*(kind for _, _, kind in CASES), perception.NOTHING]


def columns(structures):
    return {
        "n_atoms": np.array([len(atoms) for atoms in structures], dtype=np.uint8),
        "z": np.concatenate([atoms.numbers for atoms in structures]).astype(np.uint8),
        "pos": np.concatenate([atoms.positions for atoms in structures]).astype(np.float32),
    }


@pytest.mark.usefixtures("fresh_processes")
def test_every_set_is_read_and_the_table_made(script, structures, tmp_path, monkeypatch):
    perception = script("perception")
    structures = structures[:3] + structures[6:7]  # three neutral ones and an ion
    texts = [atoms.info["smiles"] for atoms in structures]
    neutral, qm9 = structures[:3], tmp_path / "qm9"
    qm9.mkdir()
    np.savez(qm9 / "geometries.npz", **columns(neutral))
    pd.DataFrame({"gdb_index": [1, 2, 3], "smiles": texts[:3]}).to_csv(
        qm9 / "smiles.csv.gz", index=False
    )
    ase.io.write(tmp_path / "isomers.extxyz", neutral)
    lines = [{"smiles": "C", "failure": "embedding"}]
    for atoms, text in zip(neutral, texts, strict=False):
        numbers, positions = atoms.numbers.tolist(), atoms.positions.tolist()
        lines.append({"smiles": text, "numbers": numbers, "positions": positions})
    (tmp_path / "made.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    twice = [atoms for atoms in structures for _ in range(2)]
    np.savez(
        tmp_path / "conformers.npz",
        **columns(twice),
        molecule=np.repeat(np.arange(4), 2),
        smiles=np.array(texts),
        charge=np.array([0, 0, 0, 1]),
    )
    files = [f"--qm9={qm9}", f"--isomers={tmp_path / 'isomers.extxyz'}"]
    files += [f"--druglike={tmp_path / 'made.jsonl'}", "--all"]
    files += [f"--conformers={tmp_path / 'conformers.npz'}"]
    folders = [f"--out={tmp_path / 'out'}", f"--results={tmp_path}"]
    monkeypatch.setattr("sys.argv", ["perception.py", *files, *folders])
    perception.main()
    record = json.loads((tmp_path / "perception.json").read_text())
    assert record["packages"]["rdkit"]
    for name, ions in (("qm9", 0), ("isomers", 0), ("druglike", 0), ("conformers", 1)):
        row = record["rows"][name]
        ours = row["readings"][perception.OURS]
        assert (ours["molecules"], row["ions"]) == (3 + ions, ions)
        assert ours["kinds"] == {"own SMILES": 2 + ions, "other bonds": 1}
        assert ours["failures"] == {"other bonds": [["CC(O)=C", "CC(C)=O"]]}
        assert ours["valid"] == 3 + ions
    table = script("tables_of_perception").perception(record)
    assert "| QM9, B3LYP, this package | 3 | 66.67% | 66.67% | 100.00% |" in table
    assert "| other bonds | 1 | 1 | 1 | 1 |" in table


def test_a_sample_is_that_of_its_seed(script):
    chosen = script("perception").chosen
    first = chosen(1000, 10, seed=0)
    assert len(set(first.tolist())) == 10
    assert (first == chosen(1000, 10, seed=0)).all()
    assert (first != chosen(1000, 10, seed=1)).any()
    assert chosen(5, 10, seed=0).tolist() == chosen(5, None, seed=0).tolist() == [0, 1, 2, 3, 4]
