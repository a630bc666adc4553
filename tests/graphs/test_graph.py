"""A user's own edges, and sums of messages in every layout."""

import pytest
import torch

from schnetgen_pyg import InputError
from schnetgen_pyg.graphs.graph import Graph
from schnetgen_pyg.graphs.neighbors import neighbor_graph
from schnetgen_pyg.representations import REPRESENTATIONS
from tests.conftest import batch_of

WATER = torch.tensor([[0.0, 0, 0], [0.9, 0.1, 0], [-0.3, 0.9, 0]], dtype=torch.float64)
BOTH = torch.tensor([[1, 0, 2, 0], [0, 2, 0, 1]])


def test_any_order_of_edges():
    graph = Graph.from_edge_index(BOTH, WATER)
    assert graph.num_nodes == 3
    assert graph.edges.tolist() == [[0, 0, 1, 2], [1, 2, 0, 0]]
    assert torch.equal(graph.vector, WATER[1:] - WATER[0])
    vector = WATER[BOTH[1]] - WATER[BOTH[0]]
    own = Graph.from_edge_index(BOTH, vector=vector, num_nodes=4)
    assert torch.equal(own.vector, graph.vector)
    assert torch.equal(own.distance, graph.distance)


def test_no_edges():
    graph = Graph.from_edge_index(torch.empty(2, 0, dtype=torch.long), WATER)
    for name in ("schnet", "painn", "gmnn"):
        network = REPRESENTATIONS[name](hidden_channels=8).double()
        assert network(torch.tensor([8, 1, 1]), graph).isfinite().all()


def test_derivatives_reach_the_positions():
    batch = batch_of([6])
    z, pos = batch.z, batch.pos.double()
    network = REPRESENTATIONS["schnet"](hidden_channels=8, num_filters=8, cutoff=3.0).double()
    ours = neighbor_graph(pos, torch.tensor([0, 6]), 3.0).edges
    forces = []
    for edges in (None, ours[:, torch.randperm(ours.shape[1])]):
        at = pos.clone().requires_grad_()
        if edges is None:
            x = network.from_positions(z, at)
        else:
            x = network(z, Graph.from_edge_index(edges, at))
        forces.append(torch.autograd.grad(x.square().sum(), at)[0])
    assert torch.allclose(*forces)


def test_images_of_a_cell():
    """Edges of a crystal as matscipy or ASE list them: an atom sees itself, and others twice."""
    z, cell = torch.tensor([11, 17]), 2.8 * torch.eye(3, dtype=torch.float64)
    pos = torch.tensor([[0.1, 0, 0], [1.5, 1.3, 1.4]], dtype=torch.float64)
    graph = neighbor_graph(pos, torch.tensor([0, 2]), 4.0, cell[None])
    shuffled = torch.randperm(graph.edges.shape[1])
    vector = graph.edge_vector()[shuffled]
    own = Graph.from_edge_index(graph.edges[:, shuffled], vector=vector, num_nodes=2)
    for name in ("schnet", "painn", "dimenetpp"):
        network = REPRESENTATIONS[name](cutoff=4.0).double()
        assert torch.allclose(network(z, own), network(z, graph))


@pytest.mark.parametrize(
    ("edges", "options", "said"),
    [
        (BOTH[:, :3], {"pos": WATER}, "needs the one back, and 1 → 0 has none"),
        (BOTH[:, 1:], {"pos": WATER}, "needs the one back, and 0 → 1 has none"),
        (BOTH[:, [0, 1, 2, 3, 0, 3]], {"pos": WATER}, "is given twice"),
        (torch.tensor([[1], [1]]), {"pos": WATER}, "leads from atom 1 to itself"),
        (BOTH + 1, {"pos": WATER}, "must name nodes from 0 to 2, got 1 to 3"),
        (BOTH.T, {"pos": WATER}, r"shape \[2, num_edges\]"),
        (BOTH.float(), {"pos": WATER}, "whole numbers"),
        (BOTH, {}, "either `pos` or the `vector`"),
        (BOTH, {"vector": WATER[[0, 1, 2, 0]]}, "give `num_nodes`"),
        (BOTH, {"vector": WATER, "num_nodes": 3}, r"vector must be of shape .* = \[4, 3\]"),
        (BOTH, {"vector": torch.ones(4, 3), "num_nodes": 3}, "not opposite"),
        (BOTH, {"pos": WATER, "num_nodes": 5}, "that of `pos`, 3"),
    ],
)
def test_what_is_no_graph_is_refused(edges, options, said):
    with pytest.raises(InputError, match=said):
        Graph.from_edge_index(edges, **options)


def test_positions_that_do_not_fit_are_refused():
    network = REPRESENTATIONS["schnet"](hidden_channels=8)
    with pytest.raises(InputError, match=r"`pos` must have shape \[num_atoms, 3\] = \[3, 3\]"):
        network.from_positions(torch.tensor([8, 1, 1]), WATER[:2])
    with pytest.raises(InputError, match="batch_size is 1"):
        network.from_positions(torch.tensor([8, 1, 1]), WATER, torch.tensor([0, 1, 1]), None, 1)
