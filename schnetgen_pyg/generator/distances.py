"""Discretised distributions over distances: bins, labels, cross-entropy."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class DistanceBins(nn.Module):
    """Evenly spaced bins from 0 to ``max_distance``; bin c stands for its centre μ_c.

    Args:
        num_bins: number of bins.
        max_distance: centre of the last bin in Å.
        label_width: standard deviation σ in Å of the labels, q_c ∝ exp(−(Δ − μ_c)²/2σ²). The
            paper's γ = 1/spacing is σ = √(spacing/2).
    """

    centers: Tensor

    def __init__(self, num_bins: int, max_distance: float, label_width: float):
        super().__init__()
        self.spacing = max_distance / (num_bins - 1)
        self.label_width = label_width
        self.register_buffer(
            "centers", torch.linspace(0.0, max_distance, num_bins), persistent=False
        )

    def labels(self, distance: Tensor) -> Tensor:
        """Soft labels [num, num_bins] of distances [num]."""
        offset = (distance.unsqueeze(-1) - self.centers) / self.label_width
        return torch.softmax(-0.5 * offset.square(), dim=-1)

    def cross_entropy(self, log_prob: Tensor, distance: Tensor) -> Tensor:
        """H(q, p) in nats of each distance [num], from log_prob [num, num_bins]."""
        return -(self.labels(distance) * log_prob).sum(-1)
