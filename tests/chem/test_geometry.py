import ase
import numpy as np
import pytest
from ase.build import molecule
from scipy.spatial.transform import Rotation

from schnetgen_pyg.chem import geometry
from schnetgen_pyg.chem.bonds import connectivity
from schnetgen_pyg.data.conversion import to_ase


def test_bonds_are_those_of_the_chemistry(isomers):
    structures = [*(to_ase(d) for d in isomers[::150]), molecule("H2"), molecule("CH4")]
    atoms = geometry.collect(structures)
    expected = []
    for start, single in enumerate(structures):
        offset = np.flatnonzero(atoms.structure == start)[0]
        for bond in connectivity(single).GetBonds():
            ends = sorted((bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()))
            expected.append((offset + ends[0], offset + ends[1]))
    assert sorted(map(tuple, atoms.bonds().T.tolist())) == sorted(expected)


@pytest.mark.parametrize(
    ("name", "counts"), [("CH4", (4, 6, 0)), ("C2H6", (7, 12, 9)), ("C2H2", (3, 2, 1))]
)
def test_numbers_of_angles_and_torsions(name, counts):
    atoms = molecule(name)
    bonds = geometry.collect([atoms]).bonds()
    size = len(atoms)
    found = geometry.angles(bonds, size), geometry.torsions(bonds, size)
    assert (bonds.shape[1], found[0].shape[1], found[1].shape[1]) == counts


def test_values_are_those_of_ase(isomers):
    atoms = to_ase(isomers[3])
    bonds = geometry.collect([atoms]).bonds()
    triples = geometry.angles(bonds, len(atoms))
    chains = geometry.torsions(bonds, len(atoms))
    assert np.allclose(
        geometry.angle_values(atoms.positions, triples), atoms.get_angles(triples.T), atol=1e-6
    )
    ours = geometry.torsion_values(atoms.positions, chains) % 360
    theirs = atoms.get_dihedrals(chains.T)
    assert np.allclose(np.cos(np.radians(ours - theirs)), 1, atol=1e-6)


def moved(atoms: ase.Atoms) -> ase.Atoms:
    result = atoms.copy()
    result.positions = atoms.positions @ Rotation.random(rng=1).as_matrix().T + [1, 2, 3]
    return result


@pytest.mark.parametrize("heavy", [False, True])
def test_rmsd_of_what_is_the_same(isomers, heavy):
    atoms = to_ase(isomers[5])
    assert geometry.rmsd(atoms, moved(atoms), heavy) < 1e-6
    far = atoms.copy()
    far.positions[0] += 0.5
    there, back = geometry.rmsd(atoms, far, heavy), geometry.rmsd(far, moved(atoms), heavy)
    assert there == pytest.approx(back, abs=1e-6)
    assert 0.01 < there < 0.5


def test_rmsd_over_symmetries():
    """A third of a methyl group's turn, and exchange of equal ends, change nothing; a mirror image
    is another structure."""
    ethane = molecule("C2H6")
    turned = ethane.copy()
    turned.positions[[2, 3, 4]] = ethane.positions[[3, 4, 2]]
    assert geometry.rmsd(ethane, turned) < 1e-6
    assert len(geometry.symmetries(connectivity(ethane))) == 1 + 72
    acid = molecule("HCOOH")
    exchanged = acid.copy()
    oxygens = np.flatnonzero(acid.numbers == 8)
    exchanged.positions[oxygens] = acid.positions[oxygens[::-1]]
    # The two oxygens differ by their hydrogen.
    assert geometry.rmsd(acid, exchanged, heavy=True) > 0.05
    chiral = ase.Atoms(
        "CHFOH",
        [[0, 0, 0], [0.6, 0.6, 0.6], [-0.8, -0.8, 0.8], [-0.8, 0.8, -0.8], [-1.5, 1.2, -1.3]],
    )
    mirrored = chiral.copy()
    mirrored.positions[:, 0] *= -1
    assert geometry.rmsd(chiral, mirrored) > 0.1


def test_rmsd_without_heavy_atoms():
    assert np.isnan(geometry.rmsd(molecule("H2"), molecule("H2"), heavy=True))


def test_a_bound_on_symmetries(monkeypatch):
    monkeypatch.setattr(geometry, "MAX_SYMMETRIES", 5)
    ethane = molecule("C2H6")
    assert len(geometry.symmetries(connectivity(ethane))) == 6
    assert geometry.rmsd(ethane, moved(ethane)) < 1e-6


def test_changes_are_what_was_changed():
    before = molecule("H2O2")
    after = before.copy()
    hydrogens = np.flatnonzero(before.numbers == 1)
    oxygens = np.flatnonzero(before.numbers == 8)
    bonded = [min(oxygens, key=lambda o, h=h: before.get_distance(o, h)) for h in hydrogens]
    chain = [hydrogens[0], bonded[0], bonded[1], hydrogens[1]]
    after.rotate_dihedral(*chain, 30, indices=[hydrogens[1]])
    found = geometry.changes(before, after)
    assert found["torsions_mean"] == pytest.approx(30, abs=1e-4)
    assert found["bonds_max"] < 1e-6
    after.set_distance(
        bonded[0], hydrogens[0], before.get_distance(bonded[0], hydrogens[0]) + 0.1, fix=0
    )
    assert geometry.changes(before, after)["bonds_max"] == pytest.approx(0.1, abs=1e-6)
    assert geometry.changes(ase.Atoms("He"), ase.Atoms("He")) == {}
