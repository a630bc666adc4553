"""What an encoder of 2-D graphs must keep to."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from rdkit import Chem
from torch import nn

from schnetgen_pyg.chem.molecular_graphs import MolecularGraph
from schnetgen_pyg.data.graph_features import GraphBatch
from schnetgen_pyg.testing.expect import expect

#: Molecules with charges, rings, stereochemistry, and of a single atom.
SMILES = ("C[C@H](O)/C=C/c1ccccc1[N+](=O)[O-]", "O=C1N[C@@H]2CS[C@@H](C)[C@@H]2N1", "[Na+]", "O")


def check_graph_encoder(encoder: nn.Module, smiles: Sequence[str] = SMILES) -> None:
    """Whether a network ``encoder(x, edge_index, edge_attr, batch)`` of 2-D graphs gives vectors of
    atoms [num_atoms, channels] and molecules [num_molecules, channels] that are finite, follow a
    permutation of the atoms, are the same alone, in a batch and beside parts that no bond connects,
    and reach its weights.

    Args:
        encoder: an untrained one will do.
        smiles: of some molecules, different ones.

    Raises:
        AssertionError: with what is wrong.
    """
    encoder = encoder.eval()
    mols = [Chem.AddHs(Chem.MolFromSmiles(text)) for text in smiles]
    graphs = [MolecularGraph.of_mol(mol) for mol in mols]
    whole = GraphBatch.of_graphs(graphs)
    atoms, molecules = encoder(*whole)
    fits = len(atoms) == len(whole.x) and len(molecules) == len(graphs)
    expect(fits and atoms.dim() == molecules.dim() == 2, "vectors of atoms and molecules expected")
    finite = bool(atoms.isfinite().all()) and bool(molecules.isfinite().all())
    expect(finite, "a vector is not finite")
    apart = torch.pdist(molecules.detach()).min() if len(graphs) > 1 else 1.0
    expect(float(apart) > 1e-4, "different molecules have the same vector")
    for place, (mol, graph) in enumerate(zip(mols, graphs, strict=True)):
        own = whole.batch == place
        single = GraphBatch.of_graphs([graph])
        for alone in (encoder(*single), encoder(*single[:3])):
            same = _close(alone[0], atoms[own]) and _close(alone[1][0], molecules[place])
            expect(same, f"{smiles[place]}: other vectors alone than in a batch")
        order = torch.randperm(len(graph), generator=torch.Generator().manual_seed(0))
        turned = MolecularGraph.of_mol(Chem.RenumberAtoms(mol, order.tolist()))
        there = encoder(*GraphBatch.of_graphs([turned]))
        same = _close(there[0], atoms[own][order]) and _close(there[1][0], molecules[place])
        expect(same, f"{smiles[place]}: vectors do not follow a permutation of the atoms")
    # As one graph of several parts.
    joined = encoder(*whole._replace(batch=torch.zeros_like(whole.batch)))
    finite = bool(joined[0].isfinite().all()) and joined[1].shape[0] == 1
    expect(finite, "a graph of several parts has no finite vectors")
    (atoms.square().sum() + molecules.square().sum()).backward()
    reached = [p.grad is not None and bool(p.grad.isfinite().all()) for p in encoder.parameters()]
    expect(any(reached), "no weight gets a finite gradient")


def _close(one: torch.Tensor, other: torch.Tensor) -> bool:
    return torch.allclose(one, other, atol=1e-4)
