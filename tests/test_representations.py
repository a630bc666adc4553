"""One contract for every representation, and agreement with other implementations by weights."""

import itertools

import pytest
import torch
import torch_geometric.nn.models as pyg
from torch_geometric.data import Data

from schnetgen_pyg import InputError
from schnetgen_pyg.graphs import Graph, radius_pairs
from schnetgen_pyg.representations import REPRESENTATIONS, SchNet
from schnetgen_pyg.steps import partial_molecules, step_graph

from .conftest import batch_of

CUTOFF = 4.0
SMALL = {
    "schnet": {"hidden_channels": 12, "num_filters": 10, "num_interactions": 2},
    "dtnn": {"hidden_channels": 12, "num_factors": 10, "num_interactions": 2},
    "painn": {"hidden_channels": 12, "num_interactions": 3},
}


@pytest.fixture(params=REPRESENTATIONS)
def network(request):
    """A small network in float64 with no parameter at zero, where symmetries are trivial."""
    network = REPRESENTATIONS[request.param](cutoff=CUTOFF, **SMALL[request.param]).double()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in network.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter += noise / max(parameter.shape[-1], 10) ** 0.5
    return network


def graph_of(pos, ptr=None, cutoff=CUTOFF, cell=None, reach=2) -> Graph:
    """All pairs within the cutoff, also with the images of atoms in a periodic cell."""
    ptr = torch.tensor([0, pos.shape[0]]) if ptr is None else ptr
    if cell is None:
        later, earlier = radius_pairs(pos, ptr, cutoff)
        shift = torch.zeros_like(pos[later])
    else:
        atoms, steps = range(pos.shape[0]), range(-reach, reach + 1)
        found = [
            (a, b, n)
            for a, b, n in itertools.product(atoms, atoms, itertools.product(steps, repeat=3))
            if a > b or (a == b and n > (0, 0, 0))
        ]
        later, earlier = torch.tensor([(a, b) for a, b, _ in found]).T
        shift = torch.tensor([n for *_, n in found], dtype=pos.dtype) @ cell
    vector = pos[later] - pos[earlier] + shift
    near = vector.detach().norm(dim=1) < cutoff
    later, earlier, vector = later[near], earlier[near], vector[near]
    edge_index = torch.stack([torch.cat([earlier, later]), torch.cat([later, earlier])])
    pair = torch.arange(later.numel())
    return Graph(vector.norm(dim=1), vector, edge_index, torch.cat([pair, pair]))


def molecules(sizes=(9, 1, 6)) -> Data:
    """Random atoms, no two of them on top of each other."""
    batch = batch_of(sizes)
    grid = torch.cartesian_prod(*[torch.arange(3)] * 3).double()
    places = [grid[torch.randperm(27)[:size]] for size in sizes]
    batch.pos = 1.5 * torch.cat(places) + 0.3 * torch.rand_like(batch.pos).double()
    return batch


def features(network, z, pos, ptr=None, **keywords):
    return network(z, graph_of(pos, ptr, **keywords))


def agree(a, b, tolerance=1e-10):
    assert torch.allclose(a, b, rtol=tolerance, atol=tolerance * float(b.detach().abs().max()))


def rotation() -> torch.Tensor:
    matrix, _ = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))
    return matrix * torch.linalg.det(matrix)


@pytest.mark.parametrize("reflected", [False, True])
def test_rotation_reflection_translation(network, reflected):
    batch = molecules()
    matrix = -rotation() if reflected else rotation()
    moved = batch.pos @ matrix + torch.tensor([1.0, -20.0, 3.0])
    before = features(network, batch.z, batch.pos, batch.ptr)
    assert before.shape == (16, network.hidden_channels)
    assert network.cutoff == CUTOFF
    assert before[:9].std(0).max() > 1e-3  # not a constant
    agree(features(network, batch.z, moved, batch.ptr), before)


def test_permutation(network):
    batch = molecules([9])
    order = torch.randperm(9)
    before = features(network, batch.z, batch.pos)
    agree(features(network, batch.z[order], batch.pos[order]), before[order])


def test_a_batch_is_its_molecules(network):
    batch = molecules()
    together = features(network, batch.z, batch.pos, batch.ptr)
    alone = [features(network, m.z, m.pos) for m in batch.to_data_list()]
    agree(together, torch.cat(alone))


def test_distant_fragments_are_additive(network):
    batch = molecules([5, 4])
    far = batch.pos + 100.0 * (batch.batch == 1).unsqueeze(1)
    agree(features(network, batch.z, far), features(network, batch.z, batch.pos, batch.ptr))


def test_single_atoms(network):
    z = torch.tensor([6, 8])
    pos = torch.tensor([[0.0, 0, 0], [100.0, 0, 0]], dtype=torch.float64, requires_grad=True)
    x = features(network, z, pos)
    assert x.isfinite().all()
    assert not torch.allclose(x[0], x[1])
    assert not torch.autograd.grad(x.sum(), pos)[0].any()


def test_smooth_at_the_cutoff(network):
    """Features and their slope are continuous where an atom enters."""
    z = torch.tensor([6, 8, 1])
    values, slopes = [], []
    for distance in (CUTOFF - 1e-6, CUTOFF + 1e-6):
        pos = torch.tensor([[0, 0, 0], [-0.5, 1.1, 0], [distance, 0, 0]], dtype=torch.float64)
        pos.requires_grad_()
        values.append(features(network, z, pos))
        slopes.append(torch.autograd.grad(values[-1].square().sum(), pos)[0])
    agree(*values, 1e-9)
    agree(*slopes, 1e-5)


def test_forces_are_the_negative_gradient(network):
    """Against central differences, twice: of the energy, and of the squared forces, which
    training on forces differentiates."""
    batch = molecules([6, 1])
    readout = torch.randn(network.hidden_channels, dtype=torch.float64)

    scale = features(network, batch.z, batch.pos, batch.ptr).detach().abs().max()

    def energy(pos):
        return (torch.tanh(features(network, batch.z, pos, batch.ptr) / scale) @ readout).sum()

    def squared_forces(pos):
        pos = pos if pos.requires_grad else pos.detach().requires_grad_()
        return torch.autograd.grad(energy(pos), pos, create_graph=True)[0].square().sum()

    pos = batch.pos.clone().requires_grad_()
    for function in (energy, squared_forces):
        gradient = torch.autograd.grad(function(pos), pos)[0]
        direction = torch.randn_like(gradient)
        direction = direction / direction.norm()
        step = 1e-4
        difference = [function(batch.pos + n * step * direction).detach() for n in (1, -1, 2, -2)]
        slope = (8 * (difference[0] - difference[1]) - (difference[2] - difference[3])) / 12 / step
        assert abs(slope - (gradient * direction).sum()) < 1e-6 * gradient.norm()
        assert gradient.norm() > 1e-4


def test_force_training_gives_finite_gradients(network):
    batch = molecules([5, 1, 2])
    pos = batch.pos.clone().requires_grad_()
    energy = torch.tanh(features(network, batch.z, pos, batch.ptr)).sum()
    forces = torch.autograd.grad(energy, pos, create_graph=True)[0]
    (energy + forces.square().sum()).backward()
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    assert gradients
    assert all(g.isfinite().all() for g in [*gradients, pos.grad])


def test_periodic_cells(network):
    """Atoms that see their own images and several of each other; a doubled cell is the same."""
    z = torch.tensor([11, 17])
    cell = torch.tensor([[2.6, 0, 0], [0.4, 2.9, 0], [0.1, -0.3, 3.1]], dtype=torch.float64)
    pos = torch.tensor([[0.0, 0, 0], [1.2, 1.5, 1.4]], dtype=torch.float64)
    once = features(network, z, pos, cell=cell)
    double = torch.cat([pos, pos + cell[0]])
    twice = features(
        network, z.repeat(2), double, cell=cell * torch.tensor([[2.0], [1.0], [1.0]]), reach=2
    )
    agree(twice, once.repeat(2, 1))


def test_state_dict_round_trip(network):
    batch = molecules([7])
    name = next(name for name, kind in REPRESENTATIONS.items() if type(network) is kind)
    other = REPRESENTATIONS[name](cutoff=CUTOFF, **SMALL[name]).double()
    other.load_state_dict(network.state_dict())
    before = features(network, batch.z, batch.pos)
    assert torch.equal(features(other, batch.z, batch.pos), before)


@pytest.mark.parametrize("name", REPRESENTATIONS)
def test_settings_that_mean_nothing_are_refused(name):
    with pytest.raises(InputError, match=r"cutoff must be positive.* -1"):
        REPRESENTATIONS[name](cutoff=-1.0)
    with pytest.raises(InputError, match=r"hidden_channels must be at least 1, got 0"):
        REPRESENTATIONS[name](hidden_channels=0)


@pytest.mark.parametrize("name", sorted(set(REPRESENTATIONS) - {"schnet", "painn"}))
def test_padded_blocks_are_refused_by_networks_on_edges(name):
    batch = batch_of([4])
    with pytest.raises(InputError, match="dense=False"):
        REPRESENTATIONS[name]()(batch.z, whole_molecules(batch, 5.0, True))


@pytest.mark.parametrize("kind", ["schnet", "painn"])
def test_no_cutoff_needs_a_last_distance(kind):
    with pytest.raises(InputError, match="max_distance"):
        REPRESENTATIONS[kind](cutoff=None)
    batch = batch_of([5])
    network = REPRESENTATIONS[kind](cutoff=None, max_distance=15.0)
    assert network(batch.z, whole_molecules(batch, None, False)).isfinite().all()


def test_copies_of_pairs_are_pairs():
    """Edges of partial molecules, which share their pairs, against each of them alone."""
    batch = molecules([5, 3])
    steps = torch.tensor([0, 0, 1]), torch.tensor([3, 5, 2])
    partial = partial_molecules(batch, *steps)
    graph = step_graph(batch, partial, CUTOFF, dense=False)
    assert graph.copied
    for name in ("schnet", "painn", "dtnn"):
        network = REPRESENTATIONS[name](cutoff=CUTOFF, **SMALL[name]).double()
        torch.nn.init.normal_(next(network.parameters()))
        alone = features(network, partial.z, partial.pos, partial.ptr)
        agree(network(partial.z, graph), alone)


def whole_molecules(batch: Data, cutoff, dense):
    counts = batch.ptr.diff()
    partial = partial_molecules(batch, torch.arange(len(counts)), counts)
    return step_graph(batch, partial, cutoff, dense=dense)


@pytest.mark.parametrize("dense", [True, False])
def test_schnet_agrees_with_torch_geometric(dense):
    """Features with copied weights, on the same edges."""
    batch = batch_of([9, 4, 1, 12])
    graph = graph_of(batch.pos, batch.ptr)
    theirs = pyg.SchNet(
        hidden_channels=24,
        num_filters=20,
        num_interactions=3,
        num_gaussians=30,
        cutoff=CUTOFF,
        interaction_graph=lambda pos, batch: (graph.edge_index, graph.to_edges(graph.distance)),
    )
    ours = SchNet(24, 20, 3, 30, CUTOFF)
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
    agree(ours(batch.z, whole_molecules(batch, CUTOFF, dense)), captured[0], 1e-5)


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
