"""Radial functions by interpolation, for force calls with weights that do not change.

The filters of a pair are functions of its distance alone, so a trained network's can be tabulated
(as deep potentials are compressed, Lu et al., J. Chem. Theory Comput. 18, 5559, 2022). Here by
cubic polynomials between knots at which they have the network's own values and slopes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.autograd.forward_ad as forward_mode
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from schnetgen_pyg.accelerated.switches import enabled

#: Å between knots: forces are then exact to 5e-6 of the largest (SchNet, PaiNN).
SPACING = 0.01


class _Interpolation(torch.autograd.Function):
    """Functions of distances from a table. One after the other, and slopes only where they are
    asked for: large tensors cost more to allocate than to fill."""

    @staticmethod
    def forward(ctx: Any, distance: Tensor, table: RadialTable) -> Any:
        cells = table.rows[0].shape[0] // 4
        place = (distance / table.spacing - 1).clamp(max=cells)
        knot = place.floor().clamp(0, cells - 1)
        row = 4 * knot.long().unsqueeze(1) + torch.arange(4, device=distance.device)
        t = place - knot
        ctx.table = table
        ctx.save_for_backward(row, t)
        one = torch.ones_like(t)
        return _sums(table, row, torch.stack([one, t, t * t, t * t * t], 1))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outer: Tensor) -> Any:
        row, t = ctx.saved_tensors
        one = torch.ones_like(t)
        rates = torch.stack([torch.zeros_like(t), one, 2 * t, 3 * t * t], 1) / ctx.table.spacing
        slopes = _sums(ctx.table, row, rates)
        return sum((g * slope).sum(1) for g, slope in zip(outer, slopes, strict=True)), None


def _sums(table: RadialTable, row: Tensor, powers: Tensor) -> tuple[Tensor, ...]:
    """Σ_k a_k p_k for the rows [num_pairs, 4] and powers p_k of the distances, of every part."""
    return tuple(
        F.embedding_bag(row, rows, per_sample_weights=powers, mode="sum") for rows in table.rows
    )


class RadialTable:
    """What a network makes of distances, as polynomials Σ_k a_k tᵏ, k = 0 … 3, of the place t
    between two knots.

    Args:
        function: distances [num_pairs] to tensors [num_pairs, …channels], in double precision, as
            differences between knots are small.
        stop: distance in Å beyond which the functions do not change.
        like: a tensor of the precision and on the device wanted.
        spacing: between knots in Å.
    """

    def __init__(
        self,
        function: Callable[[Tensor], Sequence[Tensor]],
        stop: float,
        like: Tensor,
        spacing: float = SPACING,
    ):
        self.spacing = spacing
        # No knot at zero, where radial bases need not have a value.
        knots = spacing * torch.arange(1, int(stop / spacing) + 3, device=like.device).double()
        with torch.no_grad(), forward_mode.dual_level():
            found = function(forward_mode.make_dual(knots, torch.ones_like(knots)))
            parts = [forward_mode.unpack_dual(each) for each in found]
        #: Of each function, four rows for each cell between two knots.
        self.rows = []
        #: Whether pairs farther apart than the last knot contribute nothing.
        self.ends_in_zero = True
        for part in parts:
            values, slopes = part.primal, spacing * part.tangent
            rise, slope, next_slope = values.diff(dim=0), slopes[:-1], slopes[1:]
            squared, cubed = 3 * rise - 2 * slope - next_slope, slope + next_slope - 2 * rise
            rows = torch.stack([values[:-1], slope, squared, cubed], dim=1).flatten(0, 1)
            self.rows.append(rows.to(like))
            self.ends_in_zero &= not values[-1].any()

    def __call__(self, distance: Tensor) -> list[Tensor]:
        """The tensors for distances [num_pairs] in Å, once differentiable by them."""
        return list(_Interpolation.apply(distance, self))


def weights_of(network: nn.Module) -> list[nn.Parameter]:
    """Its parameters, several times faster than `Module.parameters`, which makes their names: that
    would be a large part of a force call of a small molecule."""
    weights, modules = [], [network]
    while modules:
        module = modules.pop()
        weights += [weight for weight in module._parameters.values() if weight is not None]
        modules += [part for part in module._modules.values() if part is not None]
    return weights


def state_of(tensors: Sequence[Tensor]) -> list[tuple[Any, ...]]:
    """What differs where tensors are others or have changed."""
    # Inference tensors count no versions: they do not change.
    return [
        (x.data_ptr(), 0 if x.is_inference() else x._version, x.dtype, x.device) for x in tensors
    ]


class KeptTable:
    """The table of a network's radial functions, made anew where its weights have changed."""

    def __init__(self) -> None:
        self.state: Any = None
        self.table: RadialTable

    def __getstate__(self) -> dict[str, Any]:
        """A copy, as other processes get, makes its own."""
        return {"state": None}

    def of(self, network: nn.Module, spacing: float = SPACING) -> RadialTable:
        """``network`` has ``radial(distance)`` and ``radial_stop`` (see `serves`)."""
        weights = weights_of(network)
        state = spacing, state_of(weights)
        if self.state != state:
            with torch.inference_mode(False):
                exact: Any = copy.deepcopy(network).double()
                self.table = RadialTable(exact.radial, exact.radial_stop, weights[0], spacing)
            self.state = state
        return self.table


def serves(network: Any) -> bool:
    """Whether a network's radial functions can be tabulated: whether it has some, and they end."""
    return enabled("radial_tables") and getattr(network, "radial_stop", None) is not None
