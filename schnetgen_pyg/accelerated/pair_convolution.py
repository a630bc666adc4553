"""Sums over pairs of atoms that never form the messages of directed edges.

A pair (i, j) has one weight for both ways. The sum Σ_j W_ij ∘ x_j and the product
x_i ∘ y_j + x_j ∘ y_i are each other's derivatives, so that both are differentiable to any order;
the same holds for those of all partial molecules in padded blocks.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class _PairSum(torch.autograd.Function):
    """x [num_nodes, copies, channels] and weight [num_pairs, channels]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, first: Tensor, second: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight, first, second)
        total, weight = torch.zeros_like(x), weight.unsqueeze(1)
        total.index_add_(0, second, x.index_select(0, first).mul_(weight))
        return total.index_add_(0, first, x.index_select(0, second).mul_(weight))

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Any:
        x, weight, first, second = ctx.saved_tensors
        by_x = _PairSum.apply(slope, weight, first, second) if ctx.needs_input_grad[0] else None
        by_weight = _PairProduct.apply(x, slope, first, second) if ctx.needs_input_grad[1] else None
        return by_x, by_weight, None, None


class _PairProduct(torch.autograd.Function):
    """Summed over the copies of x and y [num_nodes, copies, channels]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, first: Tensor, second: Tensor) -> Tensor:
        ctx.save_for_backward(x, y, first, second)
        product = x.index_select(0, first).mul_(y.index_select(0, second))
        product.addcmul_(x.index_select(0, second), y.index_select(0, first))
        return product.squeeze(1) if product.shape[1] == 1 else product.sum(1)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Any:
        x, y, first, second = ctx.saved_tensors
        by_x = _PairSum.apply(y, slope, first, second) if ctx.needs_input_grad[0] else None
        by_y = _PairSum.apply(x, slope, first, second) if ctx.needs_input_grad[1] else None
        return by_x, by_y, None, None


def pair_sum(x: Tensor, weight: Tensor, pairs: Tensor) -> Tensor:
    """Σ_j W_ij ∘ x_j over all pairs {i, j}.

    Args:
        x: features of nodes [num_nodes, channels], or several of them
            [num_nodes, copies, channels].
        weight: of pairs [num_pairs, channels].
        pairs: the two nodes of each pair [2, num_pairs]; they may be the same.

    Returns:
        the shape of ``x``.
    """
    copies = x if x.dim() == 3 else x.unsqueeze(1)
    total: Tensor = _PairSum.apply(copies, weight, *pairs.unbind(0))
    return total if x.dim() == 3 else total.squeeze(1)


def _block_sum(x: Tensor, weight: Tensor, held: Sequence[int]) -> Tensor:
    """`block_sum`, one source after the other, in the steps that have it."""
    weight = weight.unsqueeze(2).unsqueeze(4)
    total = x[:, :, :1] * weight[0]
    for place in range(1, x.shape[2]):
        start = bisect_right(held, place)
        total[:, start:].addcmul_(x[:, start:, place, None], weight[place])
    return total


class _BlockSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, held: Sequence[int]) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.held = held
        return _block_sum(x, weight, held)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        by_x = by_weight = None
        if ctx.needs_input_grad[0]:
            by_x = _back(slope, weight, ctx.held)
        if ctx.needs_input_grad[1]:
            by_weight = _BlockProduct.apply(x, slope, ctx.held)
        return by_x, by_weight, None


class _BlockProduct(torch.autograd.Function):
    """Σ_s x_sj ∘ y_si over the steps and copies of x [molecules, steps, sources, copies, channels]
    and y [molecules, steps, targets, copies, channels], in the layout of weights."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, held: Sequence[int]) -> Tensor:
        ctx.save_for_backward(x, y)
        ctx.held = held
        molecules, _, sources, copies, channels = x.shape
        total = x.new_zeros(sources, molecules, y.shape[2], channels)
        for step, number in enumerate(held):
            targets = number * y.shape[2] // sources
            for copy in range(copies):
                here = x[:, step, :number, copy].transpose(0, 1).unsqueeze(2)
                total[:number, :, :targets].addcmul_(here, y[:, step, :targets, copy])
        return total

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Any:
        x, y = ctx.saved_tensors
        by_x = _back(y, slope, ctx.held) if ctx.needs_input_grad[0] else None
        by_y = _BlockSum.apply(x, slope, ctx.held) if ctx.needs_input_grad[1] else None
        return by_x, by_y, None


def _back(y: Tensor, weight: Tensor, held: Sequence[int]) -> Any:
    """`block_sum` from targets to sources."""
    sources, _, targets, _ = weight.shape
    of_targets = [number * targets // sources for number in held]
    return _BlockSum.apply(y, weight.transpose(0, 2), of_targets)


def block_sum(x: Tensor, weight: Tensor, held: Sequence[int]) -> Tensor:
    """Σ_j W_ij ∘ x_j in every step of molecules that share their weights.

    Args:
        x: sources [molecules, steps, sources, copies, channels], zero where a step has none.
        weight: [sources, molecules, targets, channels]; targets are as many as sources or, for
            vectors, a multiple.
        held: sources of each step, in the molecule with most of them, ascending [steps]. Targets
            of later atoms than these get any value, and their slopes must be zero.

    Returns:
        [molecules, steps, targets, copies, channels].
    """
    if not torch.is_grad_enabled():
        return _block_sum(x, weight, held)
    total: Tensor = _BlockSum.apply(x, weight, held)
    return total
