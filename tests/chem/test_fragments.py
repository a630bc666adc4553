"""Which atoms of a fragment are open, and what is known of the others."""

import ase
import ase.build
import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdDistGeom

from schnetgen_pyg.chem.fragments import OPEN, Fragment
from schnetgen_pyg.data.conversion import to_ase
from schnetgen_pyg.data.fragments import fragment
from schnetgen_pyg.errors import InputError

BENZENE = ase.build.molecule("C6H6")  # carbons first


def told(found):
    """Of heavy atoms: lacking, joined, hydrogens."""
    return [
        (int(found.lacking[k]), int(found.joined[k]), int(found.hydrogens[k]))
        for k in range(len(found))
        if found.numbers[k] != 1
    ]


CLOSED, ANY = (0, 0, 0), OPEN


@pytest.mark.parametrize(
    ("atoms", "expected"),
    [
        (BENZENE[[*range(6), *range(7, 12)]], [(1, ANY, ANY), *[CLOSED] * 5]),
        (BENZENE[:6], [(1, ANY, ANY)] * 6),
        (ase.build.molecule("C2H6")[[0, 1, 2, 3, 5, 6]], [(1, ANY, ANY)] * 2),
        (ase.build.molecule("C2H4")[[0, 1, 2, 3]], [CLOSED, (2, ANY, ANY)]),
        (ase.build.molecule("C2H2")[[0, 1, 3]], [CLOSED, (1, ANY, ANY)]),
        # The charges of a nitro group are no places to grow.
        (ase.build.molecule("CH3NO2")[[0, 1, 5, 6]], [(3, ANY, ANY), *[CLOSED] * 3]),
    ],
    ids=["phenyl", "ring", "ethane", "ethene", "ethyne", "nitro"],
)
def test_what_a_structure_lacks(atoms, expected):
    assert told(Fragment.of_atoms(atoms)) == expected


@pytest.mark.parametrize(
    ("smiles", "attach", "expected"),
    [
        ("c1cc[nH]c1", (), [*[(1, ANY, ANY)] * 3, (1, ANY, ANY), (1, ANY, ANY)]),
        ("*c1ccccc1", (), [(1, 1, 0), *[(1, 0, 1)] * 5]),
        ("*=C1CCC1", (), [(2, 1, 0), *[(2, 0, 2)] * 3]),
        ("CN", (0, 0), [(3, 2, 1), (2, 0, 2)]),
        ("*C(*)C", (), [(3, 2, 1), (3, 0, 3)]),
        ("C[NH3+]", (), [(3, ANY, ANY), (3, 0, 3)]),
        ("*[N+](=O)[O-]", (), [(1, 1, 0), CLOSED, CLOSED]),
    ],
)
def test_attachment_points_of_smiles(smiles, attach, expected):
    found = fragment(smiles, attach)
    assert told(found) == expected
    # What is lacking and what is there make whole valences.
    usual = {6: 4, 7: 3, 8: 2}
    for z, charge, valence in zip(found.numbers, found.formal_charge, found.valence, strict=True):
        assert valence == usual[int(z)] + (charge if z == 7 else -abs(charge))


def test_a_hydrogen_is_replaced():
    found = fragment(BENZENE, [7])
    assert len(found) == 11
    assert told(found) == [CLOSED, (1, 1, 0), *[CLOSED] * 4]
    assert (found.positions == BENZENE.positions[[k for k in range(12) if k != 7]]).all()


@pytest.mark.parametrize(
    ("source", "attach", "message"),
    [
        (BENZENE, (), "none of its atoms lacks a bond"),
        (BENZENE, (0,), r"point 0 \(C\) lacks no bond, and has hydrogens 6; name one of these"),
        (BENZENE, (12,), "point 12 is no atom of its 12"),
        (BENZENE, (7, 7), "or it is named twice"),
        ("C(F)(F)(F)F", (0,), "has no hydrogen to replace; name another atom"),
        ("c1ccccc", (), "is neither a file nor SMILES"),
        ("nothing.xyz", (), "no such file"),
        ("*", (), "dummy atom 0 has 0 bonds"),
        ("C*.*C", (), "do not say where these are"),
        (7, (), "expected a file, SMILES, an RDKit molecule, ASE Atoms or Data, got int"),
        (ase.Atoms("C2", [[0, 0, 0], [0, 0, 0]]), (), "coordinates|atoms 0 and 1"),
    ],
)
def test_bad_input(source, attach, message):
    with pytest.raises(InputError, match=message):
        fragment(source, attach)


def test_parts_that_overlap_and_bonds_that_are_none():
    mol = Chem.AddHs(Chem.MolFromSmiles("CO"))
    for distance, message in ((2.2, "2.20 Å apart and bonded"), (1.4, None)):
        conformer = Chem.Conformer(mol.GetNumAtoms())
        angle = np.linspace(0, 2 * np.pi, 5)[:3]
        around = np.stack([0.9 * np.cos(angle), 0.9 * np.sin(angle), 0 * angle - 0.5], 1)
        conformer.SetPositions(
            np.vstack([[[0, 0, 0], [0, 0, distance]], around, [[0.9, 0.0, distance + 0.3]]])
        )
        conformer.Set3D(True)
        mol.RemoveAllConformers()
        mol.AddConformer(conformer)
        if message:
            with pytest.raises(InputError, match=message):
                fragment(mol, [2])
        else:
            assert told(fragment(mol, [2])) == [(1, 1, 0), CLOSED]
    twice = ase.build.molecule("CH4")[:4]
    other = twice.copy()
    other.rotate(180, "x")
    other.translate([0.0, 0.0, 1.2])
    with pytest.raises(InputError, match=r"close all shells|not bonded"):
        Fragment.of_atoms(twice + other, (20,))


def test_files(tmp_path):
    """An SDF keeps its bond orders and its charges; the positions come back to the last bit."""
    mol = Chem.AddHs(Chem.MolFromSmiles("C[N+](=O)[O-]"))
    rdDistGeom.EmbedMolecule(mol, randomSeed=1)
    path = tmp_path / "nitro.sdf"
    with Chem.SDWriter(str(path)) as file:
        file.write(mol)
    found = fragment(path, [4])
    assert found.formal_charge.tolist()[:4] == [0, 1, 0, -1]
    assert told(found)[0] == (1, 1, 0)
    drawn = tmp_path / "drawn.sdf"
    drawn.write_text(Chem.MolToMolBlock(Chem.MolFromSmiles("CC")))
    with pytest.raises(InputError, match="no 3-D coordinates"):
        fragment(drawn)


def test_a_molecule_without_a_part(isomers):
    for data in isomers[:10]:
        atoms = to_ase(data)
        ends = [k for k in range(len(atoms)) if atoms.numbers[k] == 8]
        left = Fragment.without(atoms, ends)
        assert 8 not in left.numbers
        assert left.lacking.sum() >= 2
        assert (left.open == (left.lacking > 0)).all()
    with pytest.raises(InputError, match="0 of its 19 atoms"):
        Fragment.without(atoms, [])
    with pytest.raises(InputError, match="no atom 40"):
        Fragment.without(atoms, [40])


def test_hydrogens_left_out_are_to_come():
    closed = fragment(BENZENE, [7]).without_hydrogens()
    assert closed.numbers.tolist() == [6] * 6
    assert told(closed) == [(1, 0, 1), (1, 1, 0), *[(1, 0, 1)] * 4]
    is_open = fragment(BENZENE[[*range(6), *range(7, 12)]]).without_hydrogens()
    assert told(is_open) == [(1, ANY, ANY), *[(1, 0, 1)] * 5]
