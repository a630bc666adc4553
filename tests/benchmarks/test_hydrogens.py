"""Hydrogens that are put back are compared as they should be, whoever put them there."""

import json

import numpy as np
import pytest
from rdkit import Chem

from schnetgen_pyg.data.writers import write

from ..molecules import embedded
from .conftest import called


@pytest.fixture
def hydrogens(script):
    return script("hydrogens")


@pytest.fixture
def ethanol(hydrogens):
    return hydrogens.Molecule.of(embedded("CCO"))


def turned(molecule, atom, degrees):
    """The hydrogens of a molecule, those of one atom turned about its bond."""
    found = [points.copy() for points in molecule.hydrogens]
    center = molecule.heavy[atom]
    axis = center - molecule.heavy[molecule.rotors[atom]]
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.radians(degrees)
    turn = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    found[atom] = (found[atom] - center) @ turn.T + center
    return np.concatenate(found)


def test_ethanol_has_two_rotors(ethanol):
    assert ethanol.rotors == {0: 1, 2: 1}
    assert [len(points) for points in ethanol.hydrogens] == [3, 2, 1]
    assert Chem.MolToSmiles(ethanol.mol) == "CCO"


def test_equal_hydrogens_are_exchanged(hydrogens, ethanol):
    """Their order says nothing, nor does a third of a turn of a methyl group."""
    wanted = np.concatenate(ethanol.hydrogens)
    assert hydrogens.deviation(ethanol, wanted[::-1]) == pytest.approx(0, abs=1e-9)
    third = hydrogens.deviation(ethanol, turned(ethanol, 0, 120))
    assert third < 0.1  # all of the three are alike, but not to the last digit
    shifted = wanted.copy()
    shifted[0, 1] += 0.3
    assert hydrogens.deviation(ethanol, shifted) == pytest.approx(0.3 / np.sqrt(6))


@pytest.mark.parametrize(("atom", "degrees"), [(0, 60), (0, -23), (2, 180), (2, 77)])
def test_rotamers_are_forgiven(hydrogens, ethanol, atom, degrees):
    new = turned(ethanol, atom, degrees)
    assert hydrogens.deviation(ethanol, new) > 0.1
    assert hydrogens.deviation(ethanol, new, turn=True) == pytest.approx(0, abs=1e-6)


def test_a_turn_forgives_nothing_else(hydrogens, ethanol):
    """A bond that is too long stays so; nor are mirrored or unturnable hydrogens forgiven."""
    longer = np.concatenate(ethanol.hydrogens)
    center = ethanol.heavy[2]
    longer[-1] += 0.2 * (longer[-1] - center) / np.linalg.norm(longer[-1] - center)
    assert hydrogens.deviation(ethanol, longer, turn=True) == pytest.approx(0.2 / np.sqrt(6))
    middle = [points.copy() for points in ethanol.hydrogens]
    middle[1] += 0.5  # of CH2, which is no rotor
    moved = np.concatenate(middle)
    plain = hydrogens.deviation(ethanol, moved)
    assert plain > 0.1
    assert hydrogens.deviation(ethanol, moved, turn=True) == pytest.approx(plain)


def test_other_numbers_are_below_no_threshold(hydrogens, ethanol):
    wanted = np.concatenate(ethanol.hydrogens)
    values = [hydrogens.deviation(ethanol, one) for one in (wanted, wanted[1:], None)]
    assert values[1:] == [np.inf, np.inf]
    row = hydrogens.summary(values)
    assert row["below_0.05"] == row["below_0.5"] == row["numbers_right"] == pytest.approx(1 / 3)
    assert row["median"] == pytest.approx(0, abs=1e-9)


def test_peers_put_hydrogens_where_they_belong(hydrogens):
    """With known bond orders; bare atoms of glyoxal have none of RDKit's."""
    molecules = [hydrogens.Molecule.of(embedded(text)) for text in ("CC=O", "c1cc[nH]c1", "CC#N")]
    peers = [hydrogens.Way(True, hydrogens.by_rdkit)]
    if hydrogens.importlib.util.find_spec("openbabel"):
        peers.append(hydrogens.Way(True, hydrogens.by_openbabel))
    for way in peers:
        row = hydrogens.measured(molecules, way, num_energies=0)
        assert row["rmsd"]["numbers_right"] == 1
        assert row["rotamers_forgiven"]["below_0.5"] == 1


def test_from_the_command_to_the_table(script, hydrogens, files, tmp_path, monkeypatch):
    """A model without training: refused molecules count as not right, rows are kept."""
    tables = script("tables_of_targets")
    molecules = [embedded(text) for text in ("CCO", "CC=O", "CS")]  # it knows no sulfur
    write(tmp_path / "test.extxyz", molecules)
    options = ["--checkpoint", files / "tiny.safetensors", "--test", tmp_path / "test.extxyz"]
    options += ["--num", 3, "--energies", 0]
    name, record = called(monkeypatch, hydrogens, tmp_path, *options)
    assert name == "hydrogens_tiny"
    ours = record["rows"]["ours, bond orders known"]
    assert ours["refused"] == 1
    assert 0 < ours["rmsd"]["numbers_right"] < 0.7  # of three, one is refused
    rdkit = record["rows"]["RDKit, bond orders known"]
    assert rdkit["rmsd"]["numbers_right"] == 1
    assert "| RDKit, bond orders known | " in tables.hydrogens("qm9", record)
    again = called(monkeypatch, hydrogens, tmp_path, *options)[1]
    assert json.dumps(again["rows"]) == json.dumps(record["rows"])
