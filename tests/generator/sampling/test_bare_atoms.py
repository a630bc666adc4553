"""Hydrogens for structures that lack them."""

import ase
import ase.build
import ase.io
import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdDistGeom

from schnetgen_pyg import InputError, SchNetGen, to_rdkit
from schnetgen_pyg.chem.identity import smiles
from schnetgen_pyg.chem.molecules import known_or_perceived
from schnetgen_pyg.cli import main
from schnetgen_pyg.data.bare import read_bare
from schnetgen_pyg.data.conversion import to_ase
from schnetgen_pyg.generator.sampling.bare_atoms import add_hydrogens
from tests.conftest import small_model


@pytest.fixture(scope="module")
def bundled():
    return SchNetGen.from_pretrained("qm9")


@pytest.fixture(scope="module")
def real(isomers):
    return [to_ase(data) for data in isomers[:40]]


def bare(atoms):
    return atoms[atoms.numbers != 1]


def test_every_molecule_gets_its_own_hydrogens_back(bundled, real):
    """As many as it had, on the atoms that had them; the others stay to the last bit."""
    made = list(add_hydrogens(bundled, [bare(atoms) for atoms in real]))
    same = 0
    for atoms, before in zip(made, real, strict=True):
        assert atoms.get_chemical_formula() == before.get_chemical_formula()
        assert (atoms.positions[:9] == before.positions[before.numbers != 1]).all()
        assert atoms.info["added"] == 10
        mol = known_or_perceived(atoms).mol
        same += mol is not None and smiles(mol) == smiles(to_rdkit(before))
    assert same >= 36


def test_whatever_comes_beside(bundled, real):
    """Molecules of any size, some of whose hydrogens are there, in any batch."""
    ring = ase.build.molecule("C6H6")
    some = [bare(real[0]), ring[[0, 1, 2, 3, 4, 5, 6, 8]], ase.Atoms("C"), ring, bare(real[1])]
    together = list(add_hydrogens(bundled, some, seed=3))
    parted = list(add_hydrogens(bundled, some, seed=3, batch_size=1))
    for one, other in zip(together, parted, strict=True):
        assert (one.numbers == other.numbers).all()
        assert abs(one.positions - other.positions).max() < 1e-4
    assert [atoms.info["added"] for atoms in together] == [10, 4, 4, 0, 10]
    assert (together[3].positions == ring.positions).all()


def test_molecules_of_a_cell(bundled, real):
    """Each by itself, also where the cell cuts one in two."""
    one = bare(real[2])
    other = one.copy()
    other.translate([7.0, 0.0, 0.0])
    cell = one + other
    cell.translate([4.0, 0.0, 0.0])
    cell.set_cell([14.0, 12.0, 12.0])
    cell.pbc = True
    cell.wrap()
    (made,) = add_hydrogens(bundled, [cell])
    assert made.info["added"] == 20
    assert made.pbc.all()
    assert (made.positions[: len(cell)] == cell.positions).all()
    distances = made.get_all_distances(mic=True)
    nearest = np.sort(distances[len(cell) :, : len(cell)], axis=1)
    assert nearest[:, 0].max() < 1.3
    with pytest.raises(InputError, match="goes on from cell to cell"):
        list(add_hydrogens(bundled, [ase.build.bulk("C", "diamond", 3.57)]))


def test_bond_orders_of_a_file_count(bundled, tmp_path):
    """Two hydrogens more where an SDF says single of what is short enough for a double bond."""
    mol = Chem.AddHs(Chem.MolFromSmiles("CC=O"))
    rdDistGeom.EmbedMolecule(mol, randomSeed=1)
    lacking = Chem.RWMol(Chem.RemoveHs(mol))
    lacking.GetBondBetweenAtoms(1, 2).SetBondType(Chem.BondType.SINGLE)
    for name, given, added in (("as.sdf", Chem.RemoveHs(mol), 4), ("single.sdf", lacking, 6)):
        with Chem.SDWriter(str(tmp_path / name)) as file:
            file.write(given)
        (made,) = add_hydrogens(bundled, read_bare(tmp_path / name))
        assert made.info["added"] == added


def test_on_the_command_line(real, tmp_path, capsys):
    ase.io.write(tmp_path / "bare.xyz", [bare(atoms) for atoms in real[:3]])
    given = ["hydrogens", str(tmp_path / "bare.xyz"), "--checkpoint", "c7h10o2"]
    assert main([*given, "--out", str(tmp_path / "with.sdf")]) == 0
    assert "3 structures with 30 new hydrogens" in capsys.readouterr().out
    ase.io.write(tmp_path / "other.xyz", ase.Atoms("CN", [[0, 0, 0], [0, 0, 1.47]]))
    given[1] = str(tmp_path / "other.xyz")
    assert main([*given, "--out", str(tmp_path / "x.sdf")]) == 2
    assert "other.xyz: structure 0: the model has never seen N" in capsys.readouterr().err


def test_models_that_cannot():
    with pytest.raises(InputError, match="does not decide on valence_state, hydrogens"):
        list(add_hydrogens(small_model(), [ase.Atoms("C")]))
