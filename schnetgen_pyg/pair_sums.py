"""Sums over pairs of atoms that never form the messages of directed edges.

A pair (i, j) has one weight for both ways. The sum Σ_j W_ij ∘ x_j and the product
x_i ∘ y_j + x_j ∘ y_i are each other's derivatives, so that both are differentiable to any order.
"""

from __future__ import annotations

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
