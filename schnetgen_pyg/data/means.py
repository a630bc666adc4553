"""Means in two parts, so that those of parts of a batch can be joined."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Mean(NamedTuple):
    """A mean as sum and number: of several batches, or of one that several processes share, the
    sums are added and divided by the sum of the numbers.

    Attributes:
        total: sum, a scalar.
        number: of how many; 0 where there is nothing to average.
    """

    total: Tensor
    number: Tensor | float

    @property
    def value(self) -> Tensor:
        """The mean; 0 of nothing, with the network still in the graph."""
        return self.total / torch.as_tensor(self.number).clamp(min=1)

    def join(self, other: Mean) -> Mean:
        """The mean over both."""
        return Mean(self.total + other.total, self.number + other.number)

    def detach(self) -> Mean:
        """Without a gradient."""
        return Mean(self.total.detach(), self.number)
