"""Conformers beside RDKit's."""

import json

import ase
import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem, rdMolTransforms

from schnetgen_pyg.data.writers import write
from tests.conftest import small_model
from tests.generator.conditions.test_graph import GIVEN

FINE = {"num_bins": 481, "max_distance": 12.0}


@pytest.fixture
def benchmark(script):
    return script("conformers")


def ensemble(text, torsion):
    """Two conformers that differ in a torsion (°), with the SMILES."""
    mol = Chem.AddHs(Chem.MolFromSmiles(text))
    AllChem.EmbedMolecule(mol, randomSeed=1)
    found = []
    for angle in (180.0, torsion):
        rdMolTransforms.SetDihedralDeg(mol.GetConformer(), 0, 1, 2, 3, angle)
        numbers = [atom.GetAtomicNum() for atom in mol.GetAtoms()]
        found.append(ase.Atoms(numbers, mol.GetConformer().GetPositions(), info={"smiles": text}))
    return mol, found


def test_the_nearest_is_found_over_the_symmetries(benchmark):
    mol, pair = ensemble("CC(C)CC", 60.0)  # atoms 0 and 2 are alike
    real = [atoms.positions for atoms in pair]
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    turn *= np.linalg.det(turn)
    swapped = real[0].copy()
    swapped[[0, 2]] = swapped[[2, 0]]
    found = benchmark.nearest(mol, [swapped @ turn + 1.0], real)
    assert found["precision"] == [pytest.approx(0.0, abs=1e-3)]
    assert found["recall"][0] == pytest.approx(0.0, abs=1e-3)
    assert benchmark.nearest(mol, [], real) == {"recall": [None, None], "precision": []}


def test_figures_of_records_that_are_known(benchmark):
    base = {"as_asked": 2, "made": 2, "failure": "", "seconds": 4.0}
    good = base | {"recall": [0.1, 0.7], "precision": [0.1, 0.2]}
    nothing = base | {"as_asked": 0, "made": 0, "failure": "no", "recall": [None], "precision": []}
    records = [
        {"name": "a", "asked": 4, "references": 2, "methods": {"x": good}},
        {"name": "b", "asked": 2, "references": 1, "methods": {"x": nothing}},
    ]
    found = benchmark.summary(records, "x", [0.5])
    assert found["cov_recall_0.5"] == pytest.approx((0.5 + 0.0) / 2)
    assert found["cov_precision_0.5"] == pytest.approx((1.0 + 0.0) / 2)
    assert found["mat_recall"] == pytest.approx(0.4)
    assert found["mat_recall_molecules"] == 1
    assert (found["asked"], found["made"], found["as_asked"]) == (6, 2, 2)
    assert found["failed"] == ["b: no"]
    assert found["seconds_a_conformer"] == pytest.approx((4 / 4 + 4 / 2) / 2)


def test_a_run_its_table_and_what_was_stopped(benchmark, script, tmp_path, monkeypatch):
    path, model = tmp_path / "all.extxyz", tmp_path / "model.safetensors"
    both = [ensemble("CCCO", 60.0)[1], ensemble("CC(C)C=O", 30.0)[1]]
    write(path, [atoms for own in both for atoms in own])
    small_model(**GIVEN, **FINE).save(model)

    def run(num):
        options = ["--checkpoint", model, "--references", path, "--name", "qm9", "--turns", 1]
        options += ["--relaxed", 0, "--molecules", num, "--out", tmp_path / "out"]
        options += ["--results", tmp_path / "results"]
        monkeypatch.setattr("sys.argv", ["conformers.py", *map(str, options)])
        benchmark.main()
        return json.loads((tmp_path / "results" / "conformers_qm9.json").read_text())

    stopped = []

    def until_the_second(one, *others):
        if stopped:
            raise KeyboardInterrupt
        stopped.append(one.name)
        return judged(one, *others)

    judged = benchmark.judged
    monkeypatch.setattr(benchmark, "judged", until_the_second)
    with pytest.raises(KeyboardInterrupt):
        run(2)
    asked = []
    monkeypatch.setattr(benchmark, "judged", lambda *a: (asked.append(a[0].name), judged(*a))[1])
    record = run(2)
    assert len(asked) == 1  # the other was there
    assert asked != stopped
    assert record["molecules"] == 2
    rows = record["rows"]
    assert [*rows] == ["SchNetGen", "ETKDGv3", "ETKDGv3 + MMFF94s"]
    assert {row["asked"] for row in rows.values()} == {8}  # two for each of two references each
    assert all(row["as_asked"] == row["made"] for row in rows.values())
    assert rows["ETKDGv3"]["made"] == 8
    table = script("tables_of_conformers").TABLES["conformers_qm9"](record)
    assert table.count("\n| ") == 4
    assert "COV-R at 0.5 Å" in table


def test_molecules_of_the_conformer_set(script, tmp_path):
    references = script("conformer_references").references
    _, pair = ensemble("CCCO", 60.0)
    (_, other) = ensemble("CC(C)C=O", 30.0)
    rows = [(0, atoms) for atoms in pair] + [(1, other[0])]
    arrays = {
        "molecule": [number for number, _ in rows],
        "n_atoms": [len(atoms) for _, atoms in rows],
        "z": np.concatenate([atoms.numbers for _, atoms in rows]),
        "pos": np.concatenate([atoms.positions for _, atoms in rows]),
        "names": ["good", "wrong"],
        "smiles": ["OCCC", "CCCC=O"],
        "charge": [0, 0],
    }
    np.savez(tmp_path / "x.npz", **arrays)
    good, wrong = references(tmp_path / "x.npz")
    assert (good.name, len(good.positions)) == ("good", 2)
    np.testing.assert_allclose(good.positions[1], pair[1].positions)
    assert wrong.mol is None
    assert wrong.failure == "its conformer is CC(C)C=O, not CCCC=O"
