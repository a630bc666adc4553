"""Means in two parts, so that those of parts of a batch can be joined."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Mean(NamedTuple):
    """A mean as sum and number: of several batches, or of one that several processes share, the
    sums are added and divided by the sum of the numbers.

    Attributes:
        total: sum, a scalar.
        count: of how many; 0 where there is nothing to average.
    """

    total: Tensor
    count: float

    @property
    def value(self) -> Tensor:
        """The mean; 0 of nothing, with the network still in the graph."""
        return self.total / max(self.count, 1.0)
