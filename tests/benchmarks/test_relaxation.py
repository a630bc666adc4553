"""The relaxation table: of different constitutions, and honest about where figures are from."""

import argparse
import json
import sys
from pathlib import Path

import pytest
from ase.build import molecule

ROOT = Path(__file__).parents[2]


@pytest.fixture
def scripts(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    import relaxation
    import tables_of_molecules

    return relaxation, tables_of_molecules


def test_the_lowest_of_each_constitution(scripts, tmp_path):
    pytest.importorskip("tblite")
    structures = [molecule("CH3OCH3")]
    for seed, size in enumerate((0.03, 0.02, 0.0, 0.01)):
        structures.append(molecule("CH3CH2OH"))
        structures[-1].rattle(size + 1e-4, seed=seed)
    options = argparse.Namespace(top=2, rank="gfn2-xtb", out=tmp_path)
    found = scripts[0].different_lowest(structures, options, {"jobs": 1})
    assert [record["structure"] for record in found.records] == [3, 0]
    assert [str(atoms.symbols) for atoms in found.after] == [
        str(structures[k].symbols) for k in (3, 0)
    ]
    assert [record["smiles_before"] for record in found.records] == ["CCO", "COC"]


def test_captions(scripts):
    """Of the table as it is, and where the peer is measured and constitutions differ."""
    record = json.loads((ROOT / "benchmarks" / "results" / "relaxation.json").read_text())
    first = next(iter(record["lowest"].values()))["relaxation"]["records"]
    for number, one in enumerate(first):
        one["smiles_before"] = f"C{number // 2}"
    record["different"] = None
    record["peer"].pop("file", None)
    text = scripts[1].relaxation(record)
    assert f"which are {len(first) // 2} constitutions" in text
    assert "quoted" in text
    record["different"] = len(first)
    record["peer"] |= {"file": "peer.db", "sha256": "0123456789abcdef", "kept": 0.9}
    text = scripts[1].relaxation(record)
    assert "and different constitutions" in text
    assert "G-SchNet, peer.db" in text
    assert "quoted" not in text
