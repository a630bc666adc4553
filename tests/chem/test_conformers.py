"""Which conformers are the same."""

import numpy as np
from rdkit import Chem
from rdkit.Chem import AllChem

from schnetgen_pyg.chem.conformers import different, distances, with_conformers


def embedded(text, number=1):
    mol = Chem.AddHs(Chem.MolFromSmiles(text))
    AllChem.EmbedMultipleConfs(mol, number, randomSeed=3)
    return mol, [conformer.GetPositions() for conformer in mol.GetConformers()]


def test_symmetry_and_superposition_make_conformers_the_same():
    mol, (pos,) = embedded("CC(C)(C)c1ccccc1")
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    # The methyl groups, and the two sides of the ring, in another order.
    matches = mol.GetSubstructMatches(mol, uniquify=False, maxMatches=50)
    same = [pos @ turn + 1.0, pos[list(matches[-1])]]
    assert distances(with_conformers(mol, [pos, *same])).max() < 1e-3


def test_those_before_are_kept_and_stand_for_the_others():
    mol, found = embedded("CCCC(=O)O", 6)
    far = distances(mol)
    apart = int(far[0].argmax())
    nudged = found[0] + 0.01
    several = with_conformers(mol, [found[0], found[apart], nudged])
    kept, count = different(several, 0.9 * far[0, apart])
    assert kept.tolist() == [0, 1]
    assert count.tolist() == [2, 1]
    kept, count = different(several, 0.0)
    assert kept.tolist() == [0, 1, 2]


def test_a_single_heavy_atom_has_one_conformer():
    mol, found = embedded("N", 3)
    kept, count = different(with_conformers(mol, found), 0.1)
    assert (kept.tolist(), count.tolist()) == ([0], [3])
