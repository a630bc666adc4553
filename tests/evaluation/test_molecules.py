import csv

import pytest
from ase.build import molecule

from schnetgen_pyg.evaluation.evaluation import Evaluation
from schnetgen_pyg.evaluation.judges import JUDGES, Record
from schnetgen_pyg.evaluation.molecules import write_molecules


def judged(atoms):
    """What the cheap judges say, without processes of their own."""
    from schnetgen_pyg.chem.perception import perceive

    perception = perceive(atoms)
    record = Record(JUDGES["rdkit"].judge(atoms, perception))
    record["edm"] = JUDGES["edm"].judge(atoms, perception)
    return record


@pytest.fixture
def structures():
    ethanol, water, broken = (molecule(name) for name in ("CH3CH2OH", "H2O", "CH4"))
    broken.positions[4] += 3
    ethanol.info = {"sample": 7, "log_prob": -3.5}
    return [ethanol, water, broken]


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_row_of_every_structure(structures, tmp_path):
    seen = {"train": [judged(molecule("CH3CH2OH"))], "test": [judged(molecule("CH4"))]}
    evaluation = Evaluation([judged(atoms) for atoms in structures], seen)
    write_molecules(tmp_path / "x.csv", [structures], [evaluation])
    ethanol, water, broken = table(tmp_path / "x.csv")
    assert (ethanol["structure"], ethanol["sample"], ethanol["smiles"]) == ("0", "7", "CCO")
    assert (ethanol["known_from"], ethanol["log_prob (nats)"]) == ("train", "-3.5")
    assert (water["known_from"], water["valid"], water["formula"]) == ("new", "True", "H2O")
    assert (broken["valid"], broken["failure"], broken["known_from"]) == ("False", "fragments", "")
    assert any(name.startswith("edm: ") and water[name] for name in water)
    assert "file" not in ethanol


def test_several_files_are_told_apart(structures, tmp_path):
    parts = [structures[:1], structures[1:]]
    evaluations = [Evaluation([judged(atoms) for atoms in part]) for part in parts]
    write_molecules(tmp_path / "x.csv", parts, evaluations)
    assert [row["file"] for row in table(tmp_path / "x.csv")] == ["0", "1", "1"]
    assert {row["known_from"] for row in table(tmp_path / "x.csv")} == {""}
