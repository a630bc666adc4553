"""Guidance: decisions farther from those of a model that is told nothing (classifier-free guidance:
Ho, Salimans, arXiv 2207.12598, 2022)."""

from __future__ import annotations

import torch
from torch import Tensor


def guided(told: Tensor, untold: Tensor, weight: float) -> Tensor:
    """log p_c + w (log p_c − log p_0), up to a constant of each row; −∞ stays −∞.

    Args:
        told: log-probabilities with all that the model is told [..., options].
        untold: those without the optional attributes, of the same shape.
        weight: w; 0 leaves the first as they are.
    """
    return torch.where(told.isneginf(), told, told + weight * (told - untold))
