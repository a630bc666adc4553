"""One contract for every representation, and agreement with other implementations by weights."""

import contextlib
import itertools
from dataclasses import replace

import numpy
import pytest
import torch
import torch_geometric.nn.models as pyg
from torch_geometric.data import Data

from schnetgen_pyg import InputError
from schnetgen_pyg.accelerated import disabled
from schnetgen_pyg.generator.steps import all_steps, partial_molecules, step_graph
from schnetgen_pyg.graphs.graph import Graph
from schnetgen_pyg.graphs.neighbors import radius_pairs
from schnetgen_pyg.representations import (
    DTNN,
    GMNN,
    REPRESENTATIONS,
    Allegro,
    DimeNetPlusPlus,
    EquivariantTransformer,
    PaiNN,
    SchNet,
)
from schnetgen_pyg.representations.allegro import all_couplings
from schnetgen_pyg.representations.dimenetpp import triplets
from schnetgen_pyg.testing import check_representation
from tests.conftest import batch_of

CUTOFF = 4.0
SMALL = {
    "schnet": {"hidden_channels": 12, "num_filters": 10, "num_interactions": 2},
    "dtnn": {"hidden_channels": 12, "num_factors": 10, "num_interactions": 2},
    "painn": {"hidden_channels": 12, "num_interactions": 3},
    "dimenetpp": {
        "hidden_channels": 12,
        "num_blocks": 2,
        "int_emb_size": 6,
        "basis_emb_size": 4,
        "out_emb_channels": 8,
        "num_spherical": 4,
        "num_radial": 3,
    },
    "equivariant_transformer": {
        "hidden_channels": 12,
        "num_layers": 2,
        "num_rbf": 10,
        "num_heads": 3,
    },
    "allegro": {"hidden_channels": 12, "num_tensor_features": 4, "num_layers": 3},
    "gmnn": {"hidden_channels": 12, "num_radial": 3},
}


@pytest.fixture(params=SMALL)
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
    pair = torch.cat([pair, pair])
    return Graph(vector.norm(dim=1), vector, edge_index, pair, num_nodes=pos.shape[0])


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
    print(f"largest difference {(a - b).abs().max():.1e} of {b.abs().max():.1e}")
    assert torch.allclose(a, b, rtol=tolerance, atol=tolerance * float(b.detach().abs().max()))


def rotation() -> torch.Tensor:
    matrix, _ = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))
    return matrix * torch.linalg.det(matrix)


@pytest.mark.parametrize("name", SMALL)
def test_contract(name):
    check_representation(REPRESENTATIONS[name](cutoff=CUTOFF, **SMALL[name]))


@pytest.mark.parametrize("kind", ["schnet", "painn", "dtnn"])
def test_contract_without_a_cutoff(kind):
    check_representation(REPRESENTATIONS[kind](**SMALL[kind], cutoff=None, max_distance=15.0))


class Broken(DTNN):
    """Every method of the contract, and one fault."""

    fault = ""

    def reset_parameters(self):
        if self.fault != "reset" or not hasattr(self, "made"):
            super().reset_parameters()
        self.made = True

    def forward(self, z, graph, *, extra=None):
        if self.fault == "direction":
            return super().forward(z, replace(graph, distance=graph.vector[:, 0].abs() + 1.0))
        x = super().forward(z, graph, extra=None if self.fault == "extra" else extra)
        if self.fault == "batch":
            return x + x.mean()
        if self.fault == "cutoff":
            return x + graph.sum_to_targets(x.new_ones(graph.edges.shape[1], 1), len(z))
        if self.fault == "forces":
            return x + super().forward(z, replace(graph, distance=graph.distance.detach()))
        if self.fault == "type":
            return x + torch.zeros(1)
        if self.fault == "pairs":  # as if every pair had one edge each way
            envelope = self.cutoff_function(graph.distance).repeat(2).unsqueeze(1)
            ends = graph.edges[1, : len(envelope)]
            return x.index_add(0, ends, envelope[: len(ends)].expand(-1, x.shape[1]))
        return x


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("direction", "changes under rotation"),
        ("extra", "`extra` changes nothing"),
        ("batch", "permutation|depends on the others"),
        ("cutoff", "jumps at the cutoff"),
        ("forces", "finite differences"),
        ("type", "gives torch.float64 with weights of torch.float32"),
        ("reset", "reset_parameters leaves"),
        ("pairs", "partial molecules as edges"),
    ],
)
def test_the_contract_finds_a_fault(fault, said):
    network = type(fault, (Broken,), {"fault": fault})(cutoff=CUTOFF, **SMALL["dtnn"])
    with pytest.raises(AssertionError, match=said):
        check_representation(network)


@pytest.mark.parametrize("original", [True, False])
def test_both_forms_of_schnet(original):
    check_representation(SchNet(cutoff=CUTOFF, original=original, **SMALL["schnet"]))


@pytest.mark.parametrize("name", ["schnet", "painn"])
@pytest.mark.parametrize("trick", ["pair_convolution", "padding"])
def test_tricks_change_no_gradients(name, trick):
    """Of the weights, for partial molecules or, with one edge each way, whole ones."""
    batch = molecules([6, 4])
    network = REPRESENTATIONS[name](cutoff=CUTOFF, **SMALL[name]).double()
    whole = torch.arange(2), torch.tensor([6, 4])
    steps = whole if trick == "pair_convolution" else all_steps(batch.ptr)
    partial = partial_molecules(batch, *steps)
    gradients = []
    for on in (True, False):
        network.zero_grad()
        dense = trick == "padding" and on
        with contextlib.nullcontext() if on else disabled(trick):
            graph = step_graph(batch, partial, CUTOFF, dense=dense)
            network(partial.z, graph).square().sum().backward()
        gradients.append([p.grad.clone() for p in network.parameters()])
    for a, b in zip(*gradients, strict=True):
        agree(a, b, 1e-9)


@pytest.mark.parametrize("name", ["schnet", "painn", "dtnn"])
def test_bfloat16(name):
    """Features; forces are not for half precision."""
    network = REPRESENTATIONS[name](cutoff=CUTOFF, **SMALL[name])
    batch = molecules([7, 1])
    arguments = batch.z, batch.pos, batch.batch
    exact = network.from_positions(*arguments)
    with torch.no_grad():
        found = network.bfloat16().from_positions(*arguments)
    assert found.dtype == torch.bfloat16
    assert (found - exact).abs().max() < 0.1 * exact.abs().max()


@pytest.mark.parametrize("name", sorted(set(SMALL) - {"schnet", "painn"}))
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
    ours = SchNet(
        hidden_channels=24, num_filters=20, num_interactions=3, num_gaussians=30, cutoff=CUTOFF
    )
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


def test_dimenetpp_agrees_with_torch_geometric(monkeypatch):
    """Features with the same state dict; the search and the triplets, for which torch_geometric
    needs pyg-lib and torch-sparse, are ours."""
    batch = molecules([7, 5])
    graph = graph_of(batch.pos, batch.ptr)
    ours = DimeNetPlusPlus(
        hidden_channels=16,
        num_blocks=2,
        int_emb_size=6,
        basis_emb_size=4,
        out_emb_channels=12,
        num_spherical=3,
        num_radial=3,
        cutoff=CUTOFF,
    )
    for block in ours.output_blocks:
        torch.nn.init.normal_(block.lin.weight)
    theirs = pyg.DimeNetPlusPlus(16, 16, 2, 6, 4, 12, 3, 3, CUTOFF)
    theirs.load_state_dict(ours.state_dict())

    def their_triplets(edge_index, num_nodes):
        kj, ji = triplets(graph, num_nodes)
        (j, i), k = edge_index, edge_index[0][kj]
        return i, j, i[ji], j[ji], k, kj, ji

    monkeypatch.setattr(pyg.dimenet, "radius_graph", lambda *_, **__: graph.edge_index)
    monkeypatch.setattr(pyg.dimenet, "triplets", their_triplets)
    every_atom = torch.arange(12)  # as its own molecule: no sum
    reference = theirs.double()(batch.z, batch.pos, every_atom)
    agree(ours.double()(batch.z, graph), reference, 1e-5)


def test_triplets_against_a_loop():
    batch = molecules([5, 1, 4])
    graph = graph_of(batch.pos, batch.ptr, 3.0)
    edges = list(enumerate(graph.edge_index.T.tolist()))
    expected = [(kj, ji) for ji, (j, i) in edges for kj, (k, end) in edges if end == j and k != i]
    found = torch.stack(triplets(graph, 10)).T.tolist()
    assert sorted(map(tuple, found)) == sorted(expected)


@pytest.mark.reference
def test_painn_agrees_with_graph_pes():
    """Features with copied weights; graph-pes has another cutoff function by default."""
    peer = pytest.importorskip("graph_pes")
    models = pytest.importorskip("graph_pes.models")
    batch, channels = molecules([12]), 24
    graph = graph_of(batch.pos)
    theirs = models.PaiNN(channels=channels, layers=3, cutoff=CUTOFF).double()
    ours = PaiNN(
        hidden_channels=channels, num_interactions=3, num_radial=20, cutoff=CUTOFF
    ).double()
    for z in batch.z.unique():
        ours.embedding.weight.data[z] = theirs.z_embedding(z.view(1))[0].detach()
    blocks = zip(theirs.interactions, theirs.updates, strict=True)
    for number, (interaction, update) in enumerate(blocks):
        bessel, linear = interaction.filter_generator.components[0]
        interaction.filter_generator.components[1] = ours.cutoff_function
        bessel.frequencies.data = ours.expansion.frequencies
        ours.filter_networks[number].weight.data = linear.weight.data * bessel.pre_factor
        ours.filter_networks[number].bias.data = linear.bias.data
        copy_linears(ours.messages[number].phi, interaction.Phi)
        # Theirs is (v, s, product) where ours is (s, v, product).
        copy_linears(ours.updates[number].gates, update.mlp)
        for values in ours.updates[number].gates[-1].parameters():
            v, s, product = values.data.clone().chunk(3)
            values.data = torch.cat([s, v, product])
        mix = [update.V._linear.weight.data, update.U._linear.weight.data]
        ours.updates[number].mix.weight.data = torch.cat(mix)
    captured = []
    theirs.read_out.register_forward_pre_hook(lambda module, inputs: captured.append(inputs[0]))
    theirs(
        peer.AtomicGraph(
            Z=batch.z,
            R=batch.pos,
            cell=torch.zeros(3, 3).double(),
            neighbour_list=graph.edge_index,
            neighbour_cell_offsets=torch.zeros(graph.edge_index.shape[1], 3).double(),
            properties={},
            other={},
            cutoff=CUTOFF,
        )
    )
    agree(ours(batch.z, graph), captured[0], 1e-5)


def copy_linears(ours, theirs):
    """Weights of the dense layers of one perceptron to another's, in their order."""
    layers = [
        [m for m in net.modules() if isinstance(m, torch.nn.Linear)] for net in (ours, theirs)
    ]
    for to, source in zip(*layers, strict=True):
        to.load_state_dict(source.state_dict())


@pytest.mark.reference
@pytest.mark.parametrize("vector_cutoff", [False, True])
def test_equivariant_transformer_agrees_with_torchmd_net(vector_cutoff):
    peer = pytest.importorskip("torchmdnet.models.torchmd_et")
    batch = molecules([8, 5])
    ours = EquivariantTransformer(
        hidden_channels=24,
        num_layers=2,
        num_rbf=16,
        num_heads=4,
        cutoff=CUTOFF,
        vector_cutoff=vector_cutoff,
    ).double()
    theirs = peer.TorchMD_ET(
        24, 2, 16, num_heads=4, cutoff_upper=CUTOFF, max_z=101, vector_cutoff=vector_cutoff
    )
    state = ours.state_dict()
    for name, value in theirs.state_dict().items():
        state.setdefault(name, value)  # the centres and widths of the radial functions
    theirs.load_state_dict(state)
    reference, *_ = theirs.double()(batch.z, batch.pos, batch.batch)
    agree(features(ours, batch.z, batch.pos, batch.ptr), reference, 1e-5)


@pytest.mark.reference
@pytest.mark.parametrize("parity", [True, False])
def test_allegro_agrees_with_nequip_allegro(parity):
    """Energies per atom, by a linear read-out of our features."""
    model = pytest.importorskip("allegro.model")
    from nequip.utils.global_state import set_global_state

    set_global_state()
    batch, elements = molecules([9]), ("H", "C", "O")
    graph = graph_of(batch.pos)
    ours = Allegro(
        hidden_channels=12,
        num_tensor_features=4,
        num_layers=3,
        cutoff=CUTOFF,
        parity=parity,
        avg_num_neighbors=7.0,
    ).double()
    theirs = model.AllegroModel(
        seed=0,
        model_dtype="float64",
        r_max=CUTOFF,
        type_names=elements,
        l_max=2,
        parity=parity,
        radial_chemical_embed={"_target_": "allegro.nn.TwoBodyBesselScalarEmbed"},
        scalar_embed_mlp_hidden_layers_width=12,
        num_layers=3,
        num_scalar_features=12,
        num_tensor_features=4,
        allegro_mlp_hidden_layers_width=12,
        readout_mlp_hidden_layers_width=12,
        avg_num_neighbors=7.0,
        do_derivatives=False,
    )
    modules = dict(theirs.named_modules())
    part = {name.rsplit(".", 1)[-1]: module for name, module in modules.items()}
    dense = {id(m): m for m in theirs.modules() if type(m).__name__ == "ScalarLinearLayer"}

    def weights(module):
        found = [m for m in module.modules() if id(m) in dense]
        return [(m.weight * m.alpha).detach().T for m in found]

    def fill(layers, module):
        layers = [m for m in layers.modules() if isinstance(m, torch.nn.Linear)]
        for layer, weight in zip(layers, weights(module), strict=True):
            layer.weight.data = weight.clone()

    types = torch.tensor([{1: 0, 6: 1, 8: 2}[z] for z in batch.z.tolist()])
    for kind in ("center", "neighbor"):
        table = getattr(ours, f"{kind}_embedding").weight.data
        table[[1, 6, 8]] = part[f"{kind}_embed"].weight.data
    fill(ours.basis, part["basis_linear"])
    fill(ours.two_body, part["scalar_embed_mlp"])
    fill(ours.tensor_weights, part["env_embed_linear"])
    fill(ours.first, part["first_layer_env_embed_projection"])
    for layer, latent, tp in zip(ours.layers, part["latents"], part["tps"], strict=True):
        fill(layer.latent, latent)
        # The paths are in the same order; the sign of a 3j symbol is free.
        couplings = all_couplings(*layer.tensor_product.irreps)
        if tp.w3j_is_ij_diagonal:
            couplings = couplings.diagonal(dim1=1, dim2=2).transpose(1, 2)
        signs = (couplings * tp.w3j).flatten(1).sum(1).sign()
        layer.tensor_product.weight.data = tp.weights.data.view(4, -1) * signs
    readout = weights(part["edge_readout"])
    ours.readout.weight.data = readout[0].clone()
    data = {
        "pos": batch.pos,
        "edge_index": graph.edge_index.flip(0),
        "atom_types": types,
        "batch": torch.zeros_like(types),
        "num_nodes": torch.tensor([9]),
    }
    reference = theirs(data)["atomic_energy"]
    agree(ours(batch.z, graph) @ readout[1].T / 2**0.5, reference, 1e-5)


@pytest.mark.reference
def test_gaussian_moments_agree_with_apax():
    """Invariants up to their order; apax divides vectors by distances plus 1e-5."""
    jax = pytest.importorskip("jax")
    descriptor = pytest.importorskip("apax.layers.descriptor.gaussian_moment_descriptor")
    basis = pytest.importorskip("apax.layers.descriptor.basis_functions")
    jax.config.update("jax_enable_x64", True)
    batch = molecules([9])
    graph = graph_of(batch.pos)
    ours = GMNN(cutoff=CUTOFF).double()
    settings = {"dtype": "fp64"}
    radial = basis.RadialFunction(
        basis_fn=basis.GaussianBasis(r_max=CUTOFF, **settings), n_species=101, **settings
    )
    theirs = descriptor.GaussianMomentDescriptor(radial_fn=radial, **settings)
    values = (graph.edge_vector().numpy(), batch.z.numpy(), graph.edge_index.numpy())
    # Their table has the element of the central atom first.
    table = ours.radial.coefficients.detach().transpose(0, 1).numpy()
    weights = {"radial_fn": {"atomic_type_embedding": table}}
    reference = torch.from_numpy(numpy.array(theirs.apply({"params": weights}, *values)))
    shortened = graph.vector * (graph.distance / (graph.distance + 1e-5)).unsqueeze(1)
    invariants = ours.invariants(batch.z, replace(graph, vector=shortened))
    agree(invariants.sort().values, reference.sort().values, 1e-5)
