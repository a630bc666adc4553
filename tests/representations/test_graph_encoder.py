"""Encoders of 2-D graphs."""

import pytest
import torch
from rdkit import Chem
from torch import nn

from schnetgen_pyg.chem.molecular_graphs import MolecularGraph
from schnetgen_pyg.data.graph_features import GraphBatch
from schnetgen_pyg.representations.graph_encoder import GRAPH_LAYERS, GraphEncoder
from schnetgen_pyg.testing import check_graph_encoder


def vectors(encoder, *smiles):
    mols = [Chem.AddHs(Chem.MolFromSmiles(text)) for text in smiles]
    with torch.no_grad():
        return encoder(*GraphBatch.of_graphs([MolecularGraph.of_mol(mol) for mol in mols]))[1]


@pytest.mark.parametrize("layers", GRAPH_LAYERS)
def test_contract(layers):
    check_graph_encoder(GraphEncoder(layers, channels=16, num_layers=2))


def test_contract_refuses_what_depends_on_the_batch():
    class Normed(nn.Module):
        def __init__(self):
            super().__init__()
            self.inside = GraphEncoder(channels=16, num_layers=1)

        def forward(self, *graph):
            atoms, molecules = self.inside(*graph)
            return atoms - atoms.mean(0), molecules

    with pytest.raises(AssertionError, match="alone than in a batch"):
        check_graph_encoder(Normed())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("F[C@H](Cl)Br", "F[C@@H](Cl)Br"),
        ("C/C=C/C", "C/C=C\\C"),
        ("C/C(F)=N/O", "C/C(F)=N\\O"),
        ("C[C@H](O)[C@H](F)C", "C[C@H](O)[C@@H](F)C"),
        ("CC(=O)O", "CC(=O)[O-]"),
        ("C1CC1CCC", "C1CCCC1C"),
    ],
)
def test_what_differs_in_the_graph_differs_in_the_vector(one, other):
    first, second = vectors(GraphEncoder(channels=16, num_layers=3), one, other)
    assert (first - second).abs().max() > 1e-3


@pytest.mark.parametrize("other", ["Br[C@H](F)Cl", "Cl[C@@H](F)Br", "[C@@H](F)(Cl)Br"])
def test_the_same_stereochemistry_in_other_words(other):
    found = vectors(GraphEncoder(channels=16, num_layers=3), "F[C@H](Cl)Br", other)
    assert torch.allclose(*found, atol=1e-4)
