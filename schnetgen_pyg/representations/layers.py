"""Radial bases, cutoff functions, activations and perceptrons shared by all networks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: Where exp(−x) ends: smaller numbers change no sum, but below 1e-38 (float32) processors compute
#: with them many times more slowly.
LARGEST_EXPONENT = 40.0


class ShiftedSoftplus(nn.Module):
    """ln(1 + eˣ) − ln 2 (Schütt et al. 2017)."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            return F.softplus(x) - math.log(2.0)
        exact = x.device.type == "cpu" and x.itemsize >= 4  # of half precision eˣ is not
        if exact and x.numel() and x.max() < 80.0:  # where it does not overflow
            return x.exp().mul_(0.5).add_(0.5).log_()
        # The same in half the time, but its second derivative overflows.
        return torch.logaddexp(x, x.new_zeros(())).sub_(math.log(2.0))


class GaussianSmearing(nn.Module):
    """exp(−γ(d − μ_k)²) on evenly spaced centres from ``start`` to ``stop``.

    Args:
        start, stop: first and last centre in Å.
        num_gaussians: number of centres.
        gamma: 1/Å²; by default 1/(2 spacing²), as in `torch_geometric.nn.models.SchNet`.
    """

    centers: Tensor

    def __init__(self, start: float, stop: float, num_gaussians: int, gamma: float | None = None):
        super().__init__()
        centers = torch.linspace(start, stop, num_gaussians)
        spacing = (stop - start) / (num_gaussians - 1)
        self.gamma = 0.5 / spacing**2 if gamma is None else gamma
        self.register_buffer("centers", centers, persistent=False)

    def forward(self, distance: Tensor) -> Tensor:
        """[…] distances to [… , num_gaussians]."""
        exponent = self.gamma * (distance.unsqueeze(-1) - self.centers).square()
        return torch.exp(-exponent.clamp(max=LARGEST_EXPONENT))


class BesselBasis(nn.Module):
    """sin(nπd/r_c)/d for n = 1 … num_radial (Gasteiger et al., ICLR 2020, equation 7, without
    the constant in front, as in PaiNN).

    Args:
        stop: r_c in Å, where all functions are zero.
        num_radial: number of functions.
    """

    frequencies: Tensor

    def __init__(self, stop: float, num_radial: int):
        super().__init__()
        frequencies = math.pi / stop * torch.arange(1.0, num_radial + 1)
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, distance: Tensor) -> Tensor:
        """[…] distances to [… , num_radial]."""
        distance = distance.unsqueeze(-1)
        return torch.sin(self.frequencies * distance) / distance


class CosineCutoff(nn.Module):
    """½(cos(πd/r_c) + 1) inside the cutoff r_c, 0 beyond."""

    def __init__(self, cutoff: float):
        super().__init__()
        self.cutoff = cutoff

    def forward(self, distance: Tensor) -> Tensor:
        inside = (distance < self.cutoff).to(distance.dtype)
        return 0.5 * (torch.cos(math.pi / self.cutoff * distance) + 1.0) * inside


class PolynomialCutoff(nn.Module):
    """1 − (p+1)(p+2)/2 xᵖ + p(p+2) xᵖ⁺¹ − p(p+1)/2 xᵖ⁺² of x = d/r_c inside the cutoff r_c, 0
    beyond (Gasteiger et al., ICLR 2020, equation 8)."""

    def __init__(self, cutoff: float, p: int = 6):
        super().__init__()
        self.cutoff = cutoff
        self.p = p

    def forward(self, distance: Tensor) -> Tensor:
        x, p = distance / self.cutoff, self.p
        factors = (p + 1) * (p + 2) / 2, p * (p + 2), p * (p + 1) / 2
        polynomial = 1.0 - x**p * (factors[0] - x * (factors[1] - x * factors[2]))
        return polynomial * (x < 1.0).to(x.dtype)


def silent_linear(inputs: int, outputs: int, bias: bool = True) -> nn.Linear:
    """A last layer that says nothing before it has learned: all its weights are zero."""
    layer = nn.Linear(inputs, outputs, bias)
    for weight in layer.parameters():
        nn.init.zeros_(weight)
    return layer


def mlp(
    widths: Sequence[int], activation: type[nn.Module] = ShiftedSoftplus, bias: bool = True
) -> nn.Sequential:
    """Dense layers of the given widths with an activation between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs, bias), activation()]
    return nn.Sequential(*layers[:-1])
