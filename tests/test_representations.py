import pytest
import torch
import torch_geometric.nn.models as pyg
from torch_geometric.data import Data

from schnetgen_pyg.graphs import radius_pairs
from schnetgen_pyg.representations import SchNet
from schnetgen_pyg.steps import partial_molecules, step_graph

from .conftest import batch_of

pytestmark = pytest.mark.usefixtures("search")


def whole_molecules(batch: Data, cutoff, dense):
    counts = batch.ptr.diff()
    partial = partial_molecules(batch, torch.arange(len(counts)), counts)
    return step_graph(batch, partial, cutoff, dense=dense)


@pytest.mark.parametrize("dense", [True, False])
def test_schnet_agrees_with_torch_geometric(dense):
    """Features with copied weights, on the same edges."""
    cutoff = 4.0
    batch = batch_of([9, 4, 1, 12])
    pairs = radius_pairs(batch.pos, batch.ptr, cutoff)
    edge_index = torch.cat([pairs, pairs.flip(0)], 1)
    distance = (batch.pos[edge_index[0]] - batch.pos[edge_index[1]]).norm(dim=1)
    theirs = pyg.SchNet(
        hidden_channels=24,
        num_filters=20,
        num_interactions=3,
        num_gaussians=30,
        cutoff=cutoff,
        interaction_graph=lambda pos, batch: (edge_index, distance),
    )
    ours = SchNet(24, 20, 3, 30, cutoff)
    ours.embedding.weight.data[:100] = theirs.embedding.weight.data
    for block, reference in zip(ours.interactions, theirs.interactions, strict=True):
        block.filter_network.lin1.load_state_dict(reference.mlp[0].state_dict())
        block.filter_network.lin2.load_state_dict(reference.mlp[2].state_dict())
        block.conv.lin1.load_state_dict(reference.conv.lin1.state_dict())
        block.conv.lin2.load_state_dict(reference.conv.lin2.state_dict())
        block.lin.load_state_dict(reference.lin.state_dict())
    captured = []
    theirs.lin1.register_forward_pre_hook(lambda module, inputs: captured.append(inputs[0]))
    theirs(batch.z, batch.pos, batch.batch)
    features = ours(batch.z, whole_molecules(batch, cutoff, dense))
    assert torch.allclose(features, captured[0], atol=1e-5, rtol=1e-5)


def test_blocks_and_edges_give_the_same_gradients():
    batch = batch_of([7, 5])
    network = SchNet(12, 12, 2, 10, 5.0)
    gradients = []
    for dense in (True, False):
        network.zero_grad()
        network(batch.z, whole_molecules(batch, 5.0, dense)).square().sum().backward()
        gradients.append([p.grad.clone() for p in network.parameters()])
    for a, b in zip(*gradients, strict=True):
        assert torch.allclose(a, b, rtol=1e-3, atol=1e-4 * b.abs().max())


def test_smooth_at_the_cutoff():
    network = SchNet(12, 12, 2, 10, 3.0).double()
    features = []
    for distance in (2.9999, 3.0001):
        pair = Data(
            z=torch.tensor([6, 8]),
            pos=torch.tensor([[0.0, 0, 0], [distance, 0, 0]]).double(),
            ptr=torch.tensor([0, 2]),
        )
        features.append(network(pair.z, whole_molecules(pair, 3.0, False)))
    assert torch.allclose(*features, atol=1e-6)


def test_needs_a_last_centre():
    with pytest.raises(ValueError, match="max_distance"):
        SchNet(cutoff=None)
