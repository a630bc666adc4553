import ase
import numpy as np
import pytest
from ase.build import molecule

from schnetgen_pyg.data.conversion import to_ase
from schnetgen_pyg.evaluation.judges import openbabel
from schnetgen_pyg.evaluation.judges import records as conventions

BROKEN = ase.Atoms("CH4", [[0, 0, 0], [9, 0, 0], [0, 9, 0], [0, 0, 9], [9, 9, 0]])


@pytest.mark.parametrize("name", ["CH4", "C2H4", "C2H2", "HCN", "H2O", "NH3", "C2H6", "CH3OH"])
def test_ordinary_molecules_are_stable(name):
    assert conventions.stable_atoms(molecule(name)).all()


def test_orders_follow_from_lengths():
    """A C–C distance read off the published tables, with their margins: 1.64, 1.39 and 1.23 Å."""
    for length, order in ((1.65, 0), (1.63, 1), (1.40, 1), (1.38, 2), (1.24, 2), (1.22, 3)):
        pair = ase.Atoms("C2", [[0, 0, 0], [length, 0, 0]])
        missing = 4 - order
        # So many hydrogens at each carbon make it stable.
        for side, end in ((-1, 0.0), (1, length)):
            for k in range(missing):
                turn = 2 * np.pi * k / max(missing, 1)
                # Beyond each other's reach, 1.09 Å from the carbon.
                place = [end + side * 0.5, 0.97 * np.cos(turn), 0.97 * np.sin(turn)]
                pair += ase.Atoms("H", [place])
        assert conventions.stable_atoms(pair)[:2].all(), length


def test_an_atom_too_far():
    atoms = molecule("CH4")
    atoms.positions[1] *= 1.5
    stable = conventions.stable_atoms(atoms)
    assert stable.tolist() == [False, False, True, True, True]


def test_elements_outside_the_tables():
    assert conventions.stable_atoms(molecule("SiH4")) is None
    record = conventions.judge(molecule("SiH4"))
    assert "stable_atoms" not in record
    assert "edm" not in conventions.shares([record])


def test_openbabel():
    pytest.importorskip("openbabel")
    assert conventions.openbabel_failure(molecule("C6H6")) == ""
    assert conventions.openbabel_failure(BROKEN) == "valence"
    two = molecule("CH4") + ase.Atoms(molecule("CH4").symbols, molecule("CH4").positions + 9)
    assert conventions.openbabel_failure(two) == "fragments"


def test_without_openbabel(monkeypatch):
    monkeypatch.setattr(openbabel, "_openbabel", lambda: None)
    assert conventions.openbabel_failure(molecule("CH4")) is None
    record = conventions.judge(molecule("CH4"))
    assert "openbabel" not in record
    assert "openbabel" not in conventions.shares([record])


def test_shares(isomers):
    good = [to_ase(data) for data in isomers[:8]]
    records = [*conventions.judge_all([*good, BROKEN]), {"failure": "timeout"}]
    found = conventions.shares(records)
    assert found["rdkit"]["valid"] == 0.8
    assert found["edm"]["molecules"] == 0.8
    assert found["edm"]["structures"] == 10
    assert found["edm"]["atoms"] == pytest.approx(8 * 19 / (8 * 19 + 5))
    assert conventions.shares([])["rdkit"]["valid"] == 0


def test_real_molecules_are_stable(isomers):
    structures = [to_ase(data) for data in isomers[::60]]
    found = conventions.shares(conventions.judge_all(structures))
    assert found["edm"]["atoms"] > 0.99
    assert found.get("openbabel", {"valid": 1})["valid"] > 0.9
