import sys
import time

import ase
import numpy as np
import pytest
from ase.build import molecule
from rdkit import Chem
from rdkit.Chem import rdDistGeom

from schnetgen_pyg import load
from schnetgen_pyg.chem.identity import describe, fingerprint, smiles
from schnetgen_pyg.chem.perception import perceive
from schnetgen_pyg.data.conversion import to_ase
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.report.pictures import drawing_tools
from tests.conftest import METHANE


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("CH4", "C"),
        ("CH3CH2OH", "CCO"),
        ("C6H6", "c1ccccc1"),
        ("HCN", "C#N"),
        ("CO2", "O=C=O"),
        ("CH3COOH", "CC(=O)O"),
        ("H2CCO", "C=C=O"),
        ("C4H4O", "c1ccoc1"),
        ("bicyclobutane", "C1C2CC12"),
        ("H2", "[H][H]"),
    ],
)
def test_known_molecules(name, expected):
    perception = perceive(molecule(name))
    assert perception.valid, perception.failure
    assert smiles(perception.mol) == expected


@pytest.mark.parametrize(
    ("atoms", "failure"),
    [
        (molecule("CH3"), "radical"),
        (molecule("OH"), "radical"),
        (molecule("CH4") + ase.Atoms("H", [[9, 9, 9]]), "fragments"),
        (molecule("CH4") + ase.Atoms("H", [[0, 0, 1.0]]), "valence"),
        (METHANE + ase.Atoms("H", [[0.64, 0.64, 0.64]]), "clash"),
        (ase.Atoms("C"), "radical"),
        (ase.Atoms("H2", [[0, 0, 0], [0, 0, 1.5]]), "fragments"),
        (ase.Atoms("H4", [[0, 0, 0], [0, 0, 0.74], [3, 0, 0], [3, 0, 0.74]]), "fragments"),
    ],
)
def test_failures(atoms, failure):
    assert perceive(atoms).failure in (
        {failure, "bond orders"} if failure == "radical" else {failure}
    )


def test_every_embedded_isomer_is_what_it_says(isomers):
    import ase.io

    from schnetgen_pyg.data.datasets import EMBEDDED

    for atoms in ase.io.read(EMBEDDED / "c7h10o2-xtb.extxyz.gz", ":100"):
        assert describe(atoms)["smiles"] == atoms.info["smiles"]


def test_real_isomers_are_valid(shared):
    for name in ("train", "test"):
        structures = load(shared / "c7h10o2" / f"{name}.extxyz.gz")
        valid = sum(perceive(to_ase(data)).valid for data in structures)
        assert valid >= 0.999 * len(structures)


def test_identity_ignores_order_motion_and_hydrogens(isomers):
    atoms = to_ase(isomers[3])
    moved = atoms[np.random.default_rng(0).permutation(len(atoms))]
    moved.rotate(50, "x")
    moved.translate([1, 2, 3])
    moved.rattle(0.02, seed=1)
    assert describe(atoms) == describe(moved)
    a, b = (perceive(to_ase(data)).mol for data in isomers[:2])
    assert fingerprint(a) != fingerprint(b)


def test_mirror_images_differ_in_stereo_only():
    from rdkit import Chem
    from rdkit.Chem import AllChem

    mol = Chem.AddHs(Chem.MolFromSmiles("C[C@H](O)CC"))
    AllChem.EmbedMolecule(mol, randomSeed=1)
    numbers = [a.GetAtomicNum() for a in mol.GetAtoms()]
    image = ase.Atoms(numbers, mol.GetConformer().GetPositions())
    mirrored = ase.Atoms(numbers, image.positions * [1, 1, -1])
    a, b = describe(image), describe(mirrored)
    assert a["smiles"] == b["smiles"]
    assert a["stereo_smiles"] != b["stereo_smiles"]


def test_random_soups_are_answered_quickly():
    generator = np.random.default_rng(0)
    start = time.monotonic()
    for spread in (0.8, 1.2, 2.0):
        for _ in range(40):
            atoms = ase.Atoms("C7O2H10", generator.normal(0, spread, (19, 3)))
            assert perceive(atoms).failure
    assert time.monotonic() - start < 60


def test_a_system_without_libraries_for_drawing(monkeypatch):
    monkeypatch.setitem(sys.modules, "rdkit.Chem.Draw", None)
    monkeypatch.delattr("rdkit.Chem.Draw", raising=False)  # where another test has imported it
    with pytest.raises(InputError, match=r"RDKit cannot draw here .*libxrender1"):
        drawing_tools()


@pytest.mark.parametrize(
    "text",
    [
        *("[NH4+]", "C[NH3+]", "C[N+](C)(C)C", "[OH3+]", "c1cc[nH+]cc1", "C[C+](C)C"),
        *("CC(=O)[O-]", "C[S-]", "NCC(=O)[O-]", "F[B-](F)(F)F"),
    ],
)
def test_ions_are_perceived_with_their_charge(text):
    mol = Chem.AddHs(Chem.MolFromSmiles(text))
    rdDistGeom.EmbedMolecule(mol, randomSeed=1)
    numbers = [atom.GetAtomicNum() for atom in mol.GetAtoms()]
    atoms = ase.Atoms(numbers, mol.GetConformer().GetPositions())
    assert not perceive(atoms).valid
    charge = Chem.GetFormalCharge(mol)
    atoms.info["charge"] = charge
    assert smiles(perceive(atoms).mol) == Chem.CanonSmiles(text)
    for other in (charge + 1, charge - 1):  # an electron stays unpaired
        atoms.info["charge"] = other
        assert not perceive(atoms).valid


def test_stated_unpaired_electrons_make_a_radical():
    atoms = molecule("CH4")
    atoms.info["spin_multiplicity"] = 3
    assert perceive(atoms).failure == "radical"
    atoms.info["spin_multiplicity"] = 1
    assert perceive(atoms).valid
