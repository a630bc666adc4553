"""2-D graphs that travel with their structures."""

import torch
from torch_geometric.data import Batch, Data

from schnetgen_pyg.chem.molecular_graphs import MolecularGraph
from schnetgen_pyg.chem.molecules import to_rdkit
from schnetgen_pyg.data.conversion import as_data
from schnetgen_pyg.data.graph_features import GRAPH, GraphBatch, with_graphs
from schnetgen_pyg.data.molecules import Molecules
from schnetgen_pyg.generator.orders import bonded, reorder
from tests.molecules import embedded

TEXTS = ["C[C@H](O)/C=C/C", "O=[N+]([O-])c1ccccc1", "O"]


def edges_of(found, positions):
    """Bonds by the positions of their atoms, which no order changes, and what is said of them."""
    keys = [tuple(row) for row in positions.mul(1e3).round().long().tolist()]
    rows = zip(*found.edge_index.tolist(), found.edge_attr.tolist(), strict=True)
    return {(keys[a], keys[b]): row for a, b, row in rows}


def test_rows_make_the_same_graph_in_any_order():
    atoms = [embedded(text) for text in TEXTS]
    data = with_graphs(as_data(atoms))
    whole = Molecules(data)[[2, 0, 1]]
    plain = GraphBatch.of_graphs([MolecularGraph.of_mol(to_rdkit(atoms[k])) for k in (2, 0, 1)])
    order = bonded(whole, torch.Generator().manual_seed(0))
    assert (order != torch.arange(len(order))).any()
    mixed = reorder(whole, order)
    owner = torch.repeat_interleave(mixed.ptr.diff())
    found = GraphBatch.of_rows(mixed[GRAPH], owner, mixed.ptr)
    assert torch.equal(found.x, plain.x[order])
    assert edges_of(found, mixed.pos) == edges_of(plain, whole.pos)


def test_what_is_no_molecule_has_none_and_what_is_there_stays():
    broken = Data(z=torch.tensor([6, 1]), pos=torch.tensor([[0.0, 0, 0], [0, 0, 1.1]]))
    good = as_data([embedded("CO")])[0]
    given = Data(z=good.z, pos=good.pos, **{GRAPH: torch.zeros(6, 3)})
    found = with_graphs([broken, good, given])
    assert found[0] is None
    assert found[1][GRAPH].shape[0] == 6
    assert not found[2][GRAPH].any()
    assert GRAPH not in good  # a copy


def test_batches_by_pyg_are_the_same():
    data = with_graphs(as_data([embedded(text) for text in TEXTS]))
    one, other = Batch.from_data_list(data), Molecules(data)[[0, 1, 2]]
    assert torch.equal(one[GRAPH], other[GRAPH])
