"""What a representation of one's own must keep to."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import cumsum

from schnetgen_pyg.errors import InputError
from schnetgen_pyg.generator.steps import all_steps, partial_molecules, step_graph
from schnetgen_pyg.graphs.graph import Graph
from schnetgen_pyg.graphs.neighbors import neighbor_graph
from schnetgen_pyg.representations import PairRepresentation, Representation
from schnetgen_pyg.testing.expect import expect

Energy = Callable[[Tensor], Tensor]


def check_representation(network: Representation) -> None:
    """Whether a representation does what generators and potentials count on.

    Its features do not change where molecules are turned, mirrored or moved, follow a permutation
    of the atoms, do not depend on other molecules, and are smooth at the cutoff; their second
    derivatives, which training on forces takes, agree with finite differences. It computes in the
    type of its weights whatever torch's default is, and can be built, saved and loaded by its
    settings. Vector features, where it has them, turn with the molecules.

    Args:
        network: a small one, of any floating-point type; a copy in double precision with noise on
            its weights is tested.

    Raises:
        AssertionError: with what is wrong.
    """
    generator = torch.Generator().manual_seed(0)
    exact = _noisy(network, generator)
    z, pos, ptr = _molecules((9, 1, 6), exact.cutoff or 4.0, generator)
    _check_symmetries(exact, z, pos, ptr, generator)
    _check_alone(exact, z, pos, ptr)
    if exact.cutoff is not None:
        _check_cutoff(exact)
    _check_derivatives(exact, z[9:], pos[9:], ptr[1:] - 9, generator)
    _check_doors(network, z, pos, ptr)
    _check_settings(network, z, pos, ptr)
    if exact.cutoff is not None:
        _check_cells(exact)
    _check_partial_molecules(exact, z, pos, ptr)
    if isinstance(exact, PairRepresentation):
        _check_pairs(exact, z, pos, ptr)
    if exact.has_vectors:
        _check_vectors(exact, z, pos, ptr, generator)


def _noisy(network: Representation, generator: torch.Generator) -> Representation:
    """A copy in float64 without weights at zero, where everything is trivial."""
    exact = copy.deepcopy(network).double().eval()
    with torch.no_grad():
        for weight in exact.parameters():
            noise = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
            weight.add_(noise / max(weight.shape[-1], 10) ** 0.5)
    return exact


def _molecules(
    sizes: tuple[int, ...], cutoff: float, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Atoms near the places of a lattice, some within the cutoff and some not."""
    elements = torch.tensor([1, 6, 8])
    z = elements[torch.randint(3, (sum(sizes),), generator=generator)]
    lattice = torch.cartesian_prod(*[torch.arange(3)] * 3).double()
    places = [lattice[torch.randperm(27, generator=generator)[:size]] for size in sizes]
    spread = torch.rand(sum(sizes), 3, generator=generator, dtype=torch.float64)
    pos = cutoff / 2.7 * (torch.cat(places) + 0.2 * spread)
    return z, pos, cumsum(torch.tensor(sizes))


def _features(network: Representation, z: Tensor, pos: Tensor, ptr: Tensor | None = None) -> Tensor:
    ptr = torch.tensor([0, len(z)]) if ptr is None else ptr
    x: Tensor = network(z, neighbor_graph(pos, ptr, network.cutoff))
    return x


def _same(
    network: Representation, one: Tensor, other: Tensor, what: str, far: float = 1e-9
) -> None:
    scale = float(other.detach().abs().max()) + 1e-12
    largest = float((one - other).detach().abs().max())
    expect(
        largest <= far * scale,
        f"{type(network).__name__}: {what}: features of {scale:.3g} differ by {largest:.3g}",
    )


def _check_symmetries(
    network: Representation, z: Tensor, pos: Tensor, ptr: Tensor, generator: torch.Generator
) -> None:
    name, before = type(network).__name__, _features(network, z, pos, ptr)
    shape = (len(z), network.hidden_channels)
    expect(before.shape == shape, f"{name}: features must be {shape}, got {tuple(before.shape)}")
    expect(before[:9].std(0).max() > 1e-6, f"{name}: all atoms have the same features")
    turn = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))[0]
    shift = torch.tensor([1.0, -20.0, 3.0], dtype=torch.float64)
    for kind, matrix in (("rotation", turn * torch.linalg.det(turn)), ("reflection", -turn)):
        moved = _features(network, z, pos @ matrix + shift, ptr)
        _same(network, moved, before, f"changes under {kind} and translation")
    order = torch.randperm(9, generator=generator)
    permuted = _features(network, z[:9][order], pos[:9][order])
    _same(network, permuted, before[:9][order], "does not follow a permutation of the atoms")


def _check_alone(network: Representation, z: Tensor, pos: Tensor, ptr: Tensor) -> None:
    name, together = type(network).__name__, _features(network, z, pos, ptr)
    parts = zip(ptr[:-1].tolist(), ptr[1:].tolist(), strict=True)
    alone = torch.cat([_features(network, z[a:b], pos[a:b]) for a, b in parts])
    _same(network, together, alone, "a molecule depends on the others in its batch")
    single = torch.tensor([[0.0, 0, 0], [1e3, 0, 0]], dtype=torch.float64, requires_grad=True)
    if network.cutoff is not None:
        x = _features(network, torch.tensor([6, 8]), single)
        expect(x.isfinite().all(), f"{name}: an atom without neighbours has no finite features")
        slope = torch.autograd.grad(x.sum(), single, allow_unused=True)[0]
        still = slope is None or not slope.any()
        expect(still, f"{name}: atoms beyond the cutoff feel each other")
    zero = torch.zeros(len(z), network.hidden_channels, dtype=torch.float64)
    graph = neighbor_graph(pos, ptr, network.cutoff)
    _same(network, network(z, graph, extra=zero), together, "`extra` of zeros changes something")
    told = network(z, graph, extra=zero + torch.linspace(-1, 1, network.hidden_channels))
    expect(not torch.allclose(told, together), f"{name}: `extra` changes nothing")


def _check_cutoff(network: Representation) -> None:
    """Features and their slope where an atom enters."""
    assert network.cutoff is not None
    z, values, slopes = torch.tensor([6, 8, 1]), [], []
    for distance in (network.cutoff - 1e-6, network.cutoff + 1e-6):
        pos = torch.tensor([[0, 0, 0], [-0.5, 1.1, 0], [distance, 0, 0]], dtype=torch.float64)
        x = _features(network, z, pos.requires_grad_())
        values.append(x)
        slopes.append(torch.autograd.grad(x.square().sum(), pos)[0])
    _same(network, values[0], values[1], "jumps at the cutoff", 1e-8)
    _same(network, slopes[0], slopes[1], "its slope jumps at the cutoff", 1e-4)


def _check_derivatives(
    network: Representation, z: Tensor, pos: Tensor, ptr: Tensor, generator: torch.Generator
) -> None:
    """Against central differences: of an energy, and of its squared forces."""
    name = type(network).__name__
    readout = torch.randn(network.hidden_channels, generator=generator, dtype=torch.float64)
    scale = _features(network, z, pos, ptr).detach().abs().max()

    def energy(at: Tensor) -> Tensor:
        return (torch.tanh(_features(network, z, at, ptr) / scale) @ readout).sum()

    def squared_forces(at: Tensor) -> Tensor:
        at = at if at.requires_grad else at.detach().requires_grad_()
        return torch.autograd.grad(energy(at), at, create_graph=True)[0].square().sum()

    for function, what in ((energy, "forces"), (squared_forces, "derivatives of forces")):
        start = pos.clone().requires_grad_()
        gradient = torch.autograd.grad(function(start), start)[0]
        along = torch.randn(pos.shape, generator=generator, dtype=torch.float64)
        along, step = along / along.norm(), 1e-4
        a, b, c, d = (function(pos + n * step * along).detach() for n in (1, -1, 2, -2))
        slope = (8 * (a - b) - (c - d)) / 12 / step
        right = abs(slope - (gradient * along).sum()) < 1e-5 * gradient.norm()
        expect(gradient.isfinite().all(), f"{name}: {what} are not finite")
        expect(gradient.norm() > 0, f"{name}: {what} are zero")
        expect(right, f"{name}: {what} disagree with finite differences")
    network.zero_grad()
    at = pos.clone().requires_grad_()
    squared_forces(at).backward()
    finite = all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())
    expect(finite, f"{name}: training on forces gives weights that are not finite")


def _check_doors(network: Representation, z: Tensor, pos: Tensor, ptr: Tensor) -> None:
    """Unsorted batches, a user's own edges, other types and modes of torch."""
    name = type(network).__name__
    batch = torch.repeat_interleave(ptr.diff())
    own = next(network.parameters()).dtype
    with torch.no_grad():
        graph = neighbor_graph(pos.to(own), ptr, network.cutoff)
        expected = network(z, graph)
        order = torch.randperm(len(z), generator=torch.Generator().manual_seed(1))
        found = network.from_positions(z[order], pos[order], batch[order])
        _same(network, found, expected[order], "`from_positions` of an unsorted batch", 1e-4)
        shuffled = torch.randperm(graph.edges.shape[1], generator=torch.Generator().manual_seed(2))
        edges = Graph.from_edge_index(graph.edges[:, shuffled], pos.to(own))
        _same(network, network(z, edges), expected, "edges in another order", 1e-4)
    default, other = torch.get_default_dtype(), torch.float64
    try:
        torch.set_default_dtype(other if own != other else torch.float32)
        with torch.inference_mode():
            found = network.from_positions(z, pos, batch)
    finally:
        torch.set_default_dtype(default)
    expect(found.dtype == own, f"{name}: gives {found.dtype} with weights of {own}")
    _same(network, found, expected, "another default type of torch", 1e-4)


def _check_settings(network: Representation, z: Tensor, pos: Tensor, ptr: Tensor) -> None:
    name, own = type(network).__name__, next(network.parameters()).dtype
    with torch.no_grad():
        expected = _features(network, z, pos.to(own), ptr)
        fresh = network.new().to(own).train(network.training)
        fresh.load_state_dict(network.state_dict())
        _same(
            network, _features(fresh, z, pos.to(own), ptr), expected, "another one of its weights"
        )
        spoilt = {key: weight.add_(1.0).clone() for key, weight in fresh.named_parameters()}
        fresh.reset_parameters()
        kept = [key for key, w in fresh.named_parameters() if torch.equal(w, spoilt[key])]
        expect(not kept, f"{name}: reset_parameters leaves {', '.join(kept)} as they were")
    for wrong, message in (
        ({"hidden_channel": 8}, "hidden_channels"),
        ({"cutoff": -1.0}, "cutoff"),
    ):
        try:
            type(network)(**wrong)
        except InputError as error:
            expect(message in str(error), f"{name}: the error must name {message}, got: {error}")
        else:
            raise AssertionError(f"{name}: takes the setting {wrong}")


def _check_cells(network: Representation) -> None:
    """Atoms that see their own images and several of each other; a doubled cell is the same."""
    z = torch.tensor([6, 8])
    cell = torch.tensor([[2.6, 0, 0], [0.4, 2.9, 0], [0.1, -0.3, 3.1]], dtype=torch.float64)
    pos = torch.tensor([[0.0, 0, 0], [1.2, 1.5, 1.4]], dtype=torch.float64)
    once = network.from_positions(z, pos, cell=cell)
    double = torch.cat([cell[:1] * 2, cell[1:]])
    twice = network.from_positions(z.repeat(2), torch.cat([pos, pos + cell[0]]), cell=double)
    _same(network, twice, once.repeat(2, 1), "a doubled cell is another crystal")


def _check_pairs(network: PairRepresentation, z: Tensor, pos: Tensor, ptr: Tensor) -> None:
    name, graph = type(network).__name__, neighbor_graph(pos, ptr, network.cutoff)
    count = len(network.pair_filters(graph))
    expect(count == len(network.parity), f"{name}: {count} filters, {len(network.parity)} parities")
    before = network(z, graph)
    known = network(z, graph, network.filters(graph))
    _same(network, known, before, "`filters` of the same graph change something")
    if network.cutoff is not None:
        wide = neighbor_graph(pos, ptr, network.cutoff + 100.0)
        _same(network, network(z, wide), before, "pairs beyond the cutoff change something")


def _check_vectors(
    network: Representation, z: Tensor, pos: Tensor, ptr: Tensor, generator: torch.Generator
) -> None:
    name, graph = type(network).__name__, neighbor_graph(pos, ptr, network.cutoff)
    x, v = network.scalars_and_vectors(z, graph)
    _same(network, x, network(z, graph), "`scalars_and_vectors` has other scalars than `forward`")
    shape = (len(z), 3, network.hidden_channels)
    expect(v.shape == shape, f"{name}: vectors must be {shape}, got {tuple(v.shape)}")
    expect(v[:9].abs().max() > 1e-6, f"{name}: all vectors are zero")
    turn = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))[0]
    for matrix in (turn, -turn):
        moved = neighbor_graph(pos @ matrix.T + 2.0, ptr, network.cutoff)
        found = network.scalars_and_vectors(z, moved)[1]
        _same(network, found, matrix @ v, "vectors do not turn with the molecules")


def _check_partial_molecules(network: Representation, z: Tensor, pos: Tensor, ptr: Tensor) -> None:
    """All steps of molecules, which share their pairs, are what each is alone: in every layout
    that generators give the network."""
    molecules = Data(z=z, pos=pos, ptr=ptr)
    partial = partial_molecules(molecules, *all_steps(ptr))
    alone = network.from_positions(partial.z, partial.pos, partial.batch)
    for dense in [False] + [True] * isinstance(network, PairRepresentation):
        graph = step_graph(molecules, partial, network.cutoff, dense=dense)
        layout = "in padded blocks" if dense else "as edges"
        what = f"partial molecules {layout} are not what they are alone"
        _same(network, network(partial.z, graph), alone, what)
