"""Functions of tensors recorded once, with their derivatives, and replayed without Python.

A force call of a small molecule is some hundred operations of a few microseconds each; most of its
time goes to what Python and automatic differentiation do in between. torch traces the operations,
those of the derivatives too (`make_fx`), and its interpreter runs them (TorchScript).
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx
from torch_geometric.utils import cumsum

from schnetgen_pyg.accelerated.padding import TargetRows
from schnetgen_pyg.accelerated.radial_tables import RadialTable, state_of, weights_of
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.graphs.graph import Graph
from schnetgen_pyg.graphs.neighbors import neighbor_graph

_ATEN = torch.ops.aten


#: Å beyond the cutoff up to which pairs of few atoms are listed. Of more atoms it costs less to
#: list the pairs anew than to work on more of them.
SKIN = 0.5


FEW_ATOMS = 100


def _slice(x: Tensor, dim: int = 0, start: Any = None, end: Any = None) -> Tensor:
    end = None if isinstance(end, int) and end > 1 << 60 else end
    return x[(slice(None),) * dim + (slice(start, end),)]


def _arange(limits: Sequence[Any], like: dict[str, Any]) -> Tensor:
    return torch.arange(*limits, dtype=like.get("dtype"), device=like["device"])


#: What takes sizes is called as Python does: so they are recorded as sizes, not as numbers.
_WITH_SIZES: dict[Any, Callable[..., Any]] = {
    _ATEN.sym_size.int: lambda x, dim: x.size(dim),
    _ATEN.sym_numel.default: lambda x: x.numel(),
    _ATEN.arange.default: lambda *limits, **like: _arange(limits, like),
    _ATEN.arange.start_step: lambda *limits, **like: _arange(limits, like),
    _ATEN.expand.default: lambda x, size: x.expand(size),
    _ATEN.view.default: lambda x, size: x.view(size),
    _ATEN._unsafe_view.default: lambda x, size: x.view(size),
    _ATEN.zeros.default: lambda size, **like: torch.zeros(
        size, dtype=like["dtype"], device=like["device"]
    ),
    _ATEN.new_zeros.default: lambda x, size, **_: x.new_zeros(size),
    _ATEN.slice.Tensor: _slice,
}


def record(
    function: Callable[..., tuple[Tensor, ...]], inputs: Sequence[Tensor], others: Sequence[Tensor]
) -> Callable[..., tuple[Tensor, ...]]:
    """The operations of a function, as a function that is called in ``torch.inference_mode()``.

    Args:
        function: of tensors; what it does must not depend on their values, its constants (weights)
            must not change later.
        inputs: whose sizes, but for those that are always the same, are all different.
        others: inputs of other sizes, for which the recording has to give the same.

    Raises:
        InputError: if what the function does depends on the values or sizes of its inputs.
    """
    try:
        graph: Any = make_fx(function, tracing_mode="symbolic", _allow_non_fake_inputs=True)(
            *inputs
        )
        graph.graph.eliminate_dead_code()
        for node in graph.graph.nodes:
            node.target = _WITH_SIZES.get(node.target, node.target)
        graph.recompile()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that TorchScript gets no new features
            recorded = torch.jit.trace(graph, tuple(inputs), check_trace=False)
        with torch.inference_mode():
            found = recorded(*others)
    except (RuntimeError, TypeError) as error:
        raise InputError(f"torch cannot record this network: {error}") from error
    for here, there in zip(found, function(*others), strict=True):
        if here.shape != there.shape or not torch.allclose(here, there, rtol=1e-3, atol=1e-5):
            raise InputError("torch cannot record this network: it depends on the sizes of inputs")
    return recorded


class _Neighbors:
    """A list of pairs that holds until an atom has moved by ``reach`` (Verlet's list).

    Args:
        potential: to check the structures with, and whose references and cutoff are taken.
        given: ``z``, ``batch`` and ``cell`` of the call, for which alone it holds.
        skin: of the pairs beyond the cutoff in Å, the width; ``None``: there is no cutoff.
    """

    def __init__(
        self,
        potential: Any,
        pos: Tensor,
        given: Sequence[Tensor | None],
        stress: bool,
        skin: float | None,
    ):
        z, batch, cell = given
        assert z is not None
        ptr, self.batch, self.cell = potential.check(z, pos, batch, cell, stress)
        self.given = [None if each is None else each.clone() for each in given]
        self.pos, self.stress = pos.detach().clone(), stress
        cutoff = None if skin is None else potential.representation.cutoff + skin
        self.reach = sys.float_info.max if skin is None else skin / 2
        self.graph = neighbor_graph(self.pos, ptr, cutoff, self.cell)
        references = potential.reference_energy(z, self.batch, ptr.numel() - 1)
        self.inputs = _inputs(z, self.pos, self.graph, self.batch, references)

    def serve(self, pos: Tensor, given: Sequence[Tensor | None], stress: bool) -> bool:
        """Whether it holds for other positions."""
        if stress > self.stress or not _alike(pos, self.pos):
            return False
        if not all(_same(*pair) for pair in zip(given, self.given, strict=True)):
            return False
        # Not of positions that are not finite, which are for `Potential.check` to refuse.
        return bool((pos.detach() - self.pos).norm(dim=1).max() <= self.reach)


def _alike(one: Tensor, other: Tensor) -> bool:
    return (one.shape, one.dtype, one.device) == (other.shape, other.dtype, other.device)


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None:
        return one is other
    return _alike(one, other) and torch.equal(one, other)


class RecordedForces:
    """Energies, forces and stress of a potential, recorded at the first call and again where
    weights have changed.

    Pairs up to `SKIN` beyond the cutoff contribute nothing, but keep the list of pairs valid until
    the structures are others or an atom has moved by half of it.
    """

    def __init__(self) -> None:
        self.state: Any = None
        self.function: Callable[..., tuple[Tensor, ...]]
        self.neighbors: _Neighbors | None = None

    def __getstate__(self) -> dict[str, Any]:
        """A copy, as other processes get, makes its own."""
        return {"state": None, "neighbors": None}

    def __call__(
        self,
        potential: Any,
        table: RadialTable,
        z: Tensor,
        pos: Tensor,
        batch: Tensor | None,
        cell: Tensor | None,
        stress: bool,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """As those of a `Prediction`, detached."""
        weights = [*weights_of(potential.readout), potential.scale, potential.references]
        state = table, pos.dtype, pos.device, state_of(weights)
        given, known = (z, batch, cell), self.neighbors
        if known is None or self.state != state or not known.serve(pos, given, stress):
            cutoff = potential.representation.cutoff
            kept = table.ends_in_zero and z.numel() <= FEW_ATOMS
            skin = None if cutoff is None else SKIN * kept
            known = _Neighbors(potential, pos, given, stress, skin)
        if self.state != state:
            example = partial(_example, pos, potential.references, z[:1])
            function = partial(_derivatives, potential.interaction, table)
            with torch.inference_mode(False):
                self.function = record(function, example(range(3, 9)), example([4]))
        self.state, self.neighbors = state, known
        with torch.inference_mode():
            energy, forces, slope, vector = self.function(pos.detach(), *known.inputs)
        if not stress:
            return energy.clone(), forces.clone(), None  # which gradients may be taken through
        assert known.cell is not None
        graph = replace(known.graph, vector=vector)
        return energy.clone(), forces.clone(), graph.stress(slope, known.batch, known.cell)


def _inputs(
    z: Tensor, pos: Tensor, graph: Graph, batch: Tensor, references: Tensor
) -> tuple[Tensor, ...]:
    """Of `_derivatives`, after the positions; it sees sizes only as those of tensors."""
    assert graph.edge_pair is not None
    earlier, later = graph.edges[:, : graph.distance.shape[0]]
    image = graph.vector.detach() - (pos[later] - pos[earlier])
    rows = graph.rows(z.numel())
    widest = pos.new_empty(rows.shape[1])
    return z, image, graph.edges, graph.edge_pair, rows.slot, batch, references, widest


def _derivatives(
    interaction: Callable[..., Tensor],
    table: RadialTable,
    pos: Tensor,
    z: Tensor,
    image: Tensor,
    edge_index: Tensor,
    edge_pair: Tensor,
    slot: Tensor,
    batch: Tensor,
    references: Tensor,
    widest: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Energy, forces, slope of the energy by the vectors of pairs, and these."""
    earlier, later = edge_index[:, : image.shape[0]]
    vector = pos[later] - pos[earlier] + image
    rows = TargetRows((z.shape[0], widest.shape[0]), slot)
    with torch.enable_grad():
        vector = vector.detach().requires_grad_()
        pairs = edge_index, edge_pair
        graph = Graph(vector.norm(dim=1), vector, *pairs, table=table, target_rows=rows)
        energy = interaction(z, graph, batch, references.shape[0])
        (slope,) = torch.autograd.grad(energy.sum(), vector)
    forces = graph.forces(slope, z.shape[0])
    return energy.detach().to(references) + references, forces, slope, vector.detach()


def _example(
    like: Tensor, references: Tensor, z: Tensor, sizes: Sequence[int]
) -> tuple[Tensor, ...]:
    """Inputs of `_derivatives` for complete graphs of atoms of one element at random places."""
    counts = torch.tensor(sizes)
    places = torch.randn(int(counts.sum()), 3, generator=torch.Generator().manual_seed(0)).to(like)
    graph = neighbor_graph(places, cumsum(counts).to(like.device), None)
    batch = torch.repeat_interleave(counts).to(like.device)
    zero = references.new_zeros(len(sizes))
    return places, *_inputs(z.expand(len(places)).contiguous(), places, graph, batch, zero)
