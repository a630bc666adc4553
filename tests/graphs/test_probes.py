"""Probes see the atoms and are not seen."""

import pytest
import torch

from schnetgen_pyg.graphs.neighbors import neighbor_graph
from schnetgen_pyg.graphs.probes import probe_graph
from schnetgen_pyg.representations import REPRESENTATIONS
from tests.conftest import batch_of

POINTS = torch.tensor([[0.4, 1.9, 0.3], [-1.7, 0.2, 0.8], [0.4, 1.9, 0.5], [40.0, 0, 0]]).double()


def network_of(name):
    torch.manual_seed(0)
    network = REPRESENTATIONS[name](hidden_channels=16, cutoff=3.5)
    for weight in network.parameters():  # DTNN begins with messages of zero
        torch.nn.init.normal_(weight, std=0.3)
    return network.double()


@pytest.mark.parametrize("name", REPRESENTATIONS)
def test_atoms_do_not_notice_probes_nor_probes_each_other(name):
    batch = batch_of([7])
    z, pos, network = batch.z, batch.pos.double(), network_of(name)
    numbers = torch.tensor([1, 6, 8, 1])
    alone = network.from_positions(z, pos)
    x = network(torch.cat([z, numbers]), probe_graph(pos, POINTS, network.cutoff))
    assert torch.allclose(x[:7], alone, atol=1e-10)
    for k, number in enumerate(numbers):
        single = probe_graph(pos, POINTS[k : k + 1], network.cutoff)
        one = network(torch.cat([z, number[None]]), single)[7]
        assert torch.allclose(x[7 + k], one, atol=1e-10)


@pytest.mark.parametrize("name", ["gmnn", "allegro"])
def test_a_probe_is_an_atom_where_messages_go_one_block_only(name):
    """Features of these networks are of an atom and its neighbours alone: whether the neighbours
    see the probe does not matter."""
    batch = batch_of([7])
    z, pos, network = batch.z, batch.pos.double(), network_of(name)
    whole = network.from_positions(torch.cat([z, z.new_tensor([8])]), torch.cat([pos, POINTS[:1]]))
    x = network(torch.cat([z, z.new_tensor([8])]), probe_graph(pos, POINTS[:1], network.cutoff))
    assert torch.allclose(x[7], whole[7], atol=1e-10)
    assert not torch.allclose(x[:7], whole[:7])


@pytest.mark.parametrize("cutoff", [2.5, None])
def test_edges(cutoff):
    pos = batch_of([6]).pos.double()
    graph = probe_graph(pos, POINTS, cutoff)
    among = neighbor_graph(pos, torch.tensor([0, 6]), cutoff)
    source, target = graph.edges
    places = torch.cat([pos, POINTS])
    assert torch.allclose(graph.edge_vector(), places[target] - places[source])
    assert torch.allclose(graph.to_edges(graph.distance), graph.edge_vector().norm(dim=1))
    assert (source < 6).all()
    near = torch.cdist(POINTS, pos) < (cutoff or 1e9)
    assert int((target >= 6).sum()) == int(near.sum())
    assert int((target < 6).sum()) == among.edges.shape[1]
