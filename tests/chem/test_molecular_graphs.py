"""2-D graphs of molecules, and what they say of positions; RDKit's embeddings are the judge."""

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem

from schnetgen_pyg.chem.molecular_graphs import ATOM_FIELDS, PARITY, MolecularGraph

STEREO = [
    "C[C@H](F)Cl",
    "O=C1N[C@@H]2CS[C@@H](CCCCC(=O)O)[C@@H]2N1",
    "C[C@H]1CC[C@@H](F)CC1",  # a ring whose centres have no CIP labels
    "C[S@](=O)CC",  # of three neighbours
    "C/C=C/C(F)=N/O",
    "C[C@H](F)/C=C\\[C@@H](O)C",
]


def embedded(text):
    mol = Chem.AddHs(Chem.MolFromSmiles(text))
    assert AllChem.EmbedMolecule(mol, randomSeed=1) == 0
    return MolecularGraph.of_mol(mol), mol.GetConformer().GetPositions()


@pytest.mark.parametrize("text", STEREO)
def test_signs_are_those_of_embedded_molecules(text):
    graph, pos = embedded(text)
    assert graph.handed or graph.sided
    for centre, a, b, c, sign in graph.handed:
        assert np.linalg.det(pos[[a, b, c]] - pos[centre]) * sign > 0
    for a, i, j, b, sign in graph.sided:
        axis = (pos[j] - pos[i]) / np.linalg.norm(pos[j] - pos[i])
        ends = pos[a] - pos[i], pos[b] - pos[j]
        one, other = (end - (end @ axis) * axis for end in ends)
        assert one @ other * sign > 0


@pytest.mark.parametrize("text", STEREO)
def test_mirror_images_are_told_apart(text):
    graph, pos = embedded(text)
    mirrored = pos * [1, 1, -1]
    assert graph.as_asked(pos)
    # The ring is its own mirror image, and double bonds do not change.
    assert graph.as_asked(mirrored) == (not graph.handed)


@pytest.mark.parametrize("text", [*STEREO, "C[N+](C)(C)CC(=O)[O-]", "c1ccc2[nH]ccc2c1"])
def test_reach_is_no_shorter_than_real_distances(text):
    graph, pos = embedded(text)
    distance = np.linalg.norm(pos[:, None] - pos, axis=2)
    assert (distance <= graph.reach).all()
    assert (graph.adjacency.sum(1) == [a.GetDegree() for a in graph.mol.GetAtoms()]).all()


def test_parity_turns_with_the_mirror_image_and_not_with_the_order():
    one, other = (
        MolecularGraph.of_mol(Chem.AddHs(Chem.MolFromSmiles(text)))
        for text in ("F[C@H](Cl)Br", "F[C@@H](Cl)Br")
    )
    assert {one.atoms[1, PARITY], other.atoms[1, PARITY]} == {1, 2}
    order = np.random.default_rng(0).permutation(len(one)).tolist()
    turned = MolecularGraph.of_mol(Chem.RenumberAtoms(one.mol, order))
    assert (turned.atoms == one.atoms[order]).all()


def test_fields_stay_in_their_ranges():
    text = "C[N+]1(C)CCCCCCCCCCC1.[O-]S(=O)(=O)c1ccc(I)cc1C#CC(=O)NP(=O)([O-])[O-]"
    graph = MolecularGraph.of_mol(Chem.AddHs(Chem.MolFromSmiles(text)))
    assert (graph.atoms >= 0).all()
    assert (graph.atoms < list(ATOM_FIELDS.values())).all()
    assert graph.charge == -2
