"""Functions of tensors recorded once, with their derivatives, and replayed without Python.

A force call of a small molecule is some hundred operations of a few microseconds each; most of its
time goes to what Python and automatic differentiation do in between. torch traces the operations,
those of the derivatives too (`make_fx`), and its interpreter runs them (TorchScript).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx
from torch_geometric.utils import cumsum

from .graphs import Graph, neighbor_graph
from .radial_tables import RadialTable
from .structures import InputError

_ATEN = torch.ops.aten


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


class RecordedForces:
    """Energies of a potential and their slopes by the vectors of pairs, recorded at the first call
    and again where weights have changed."""

    def __init__(self) -> None:
        self.state: Any = None
        self.function: Callable[..., tuple[Tensor, ...]]

    def __getstate__(self) -> dict[str, Any]:
        """A copy, as other processes get, makes its own."""
        return {"state": None}

    def __call__(
        self, potential: Any, z: Tensor, graph: Graph, batch: Tensor, num_graphs: int
    ) -> tuple[Tensor, Tensor]:
        """`Potential.interaction` [num_graphs] and its slope [num_pairs, 3], both detached; of a
        graph with a table."""
        assert graph.table is not None
        weights = [*potential.readout.parameters(), potential.scale]
        kinds = [(x.dtype, x.device) for x in (*weights, graph.vector)]
        state = graph.table, kinds, [(w.data_ptr(), w._version) for w in weights]
        if self.state != state:
            function = partial(_energy_and_slope, potential.interaction, graph.table)
            examples = (_example(graph.vector, z[:1], sizes) for sizes in (range(3, 9), [4]))
            with torch.inference_mode(False):
                self.function, self.state = record(function, *examples), state
        with torch.inference_mode():
            energy, slope = self.function(*_inputs(z, graph, batch, num_graphs))
        return energy, slope


def _inputs(z: Tensor, graph: Graph, batch: Tensor, num_graphs: int) -> tuple[Tensor, ...]:
    """What is recorded sees sizes only as those of tensors."""
    assert graph.edge_pair is not None
    width = int(torch.bincount(graph.edges[1], minlength=1).max())
    sizes = graph.vector.new_empty(num_graphs), graph.vector.new_empty(width)
    return z, graph.vector.detach(), graph.edges, graph.edge_pair, batch, *sizes


def _energy_and_slope(
    interaction: Callable[..., Tensor],
    table: RadialTable,
    z: Tensor,
    vector: Tensor,
    edge_index: Tensor,
    edge_pair: Tensor,
    batch: Tensor,
    graphs: Tensor,
    widest: Tensor,
) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        vector = vector.detach().requires_grad_()
        pairs = edge_index, edge_pair
        graph = Graph(vector.norm(dim=1), vector, *pairs, table=table, width=widest.shape[0])
        energy = interaction(z, graph, batch, graphs.shape[0])
        (slope,) = torch.autograd.grad(energy.sum(), vector)
    return energy.detach(), slope


def _example(like: Tensor, z: Tensor, sizes: Sequence[int]) -> tuple[Tensor, ...]:
    """Inputs for complete graphs of atoms of one element at random places."""
    counts = torch.tensor(sizes)
    places = torch.randn(int(counts.sum()), 3, generator=torch.Generator().manual_seed(0))
    graph = neighbor_graph(places.to(like), cumsum(counts).to(like.device), None)
    batch = torch.repeat_interleave(counts).to(like.device)
    return _inputs(z.expand(len(places)).contiguous(), graph, batch, len(sizes))
