"""One step of a batch of partial molecules, as the decisions see it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data


class Step:
    """What is known when the next atom of every partial molecule is decided on.

    Attributes:
        partial: the placed atoms, from `schnetgen_pyg.generator.steps.partial_molecules`, with what
            conditions read of them.
        x: their features [num_nodes, channels].
        generator: source of random numbers in training.
        next_z: type of the next atoms [num_graphs], once it is decided.
        focus: node of each partial molecule's focus [num_graphs], once it is decided.
        focus_log_prob: of every placed atom in sampling [count, size].
        known: what else was decided of the next atoms, by name, such as ``valence_state``.
    """

    def __init__(
        self,
        partial: Data,
        x: Tensor,
        combine: Callable[[Step], Tensor],
        generator: torch.Generator | None = None,
    ):
        self.partial, self.x, self.generator = partial, x, generator
        self.next_z: Tensor | None = None
        self.focus: Tensor | None = None
        self.focus_log_prob: Tensor | None = None
        self.known: dict[str, Any] = {}
        self._combine = combine
        self._y: Tensor | None = None

    def decide(
        self, *, next_z: Tensor | None = None, focus: Tensor | None = None, **known: Tensor
    ) -> None:
        """Tell what was decided: later decisions know it."""
        if next_z is not None:
            self.next_z, self._y = next_z, None
        if focus is not None:
            self.focus = focus
        if known:
            self.known |= known
            self._y = None

    @property
    def y(self) -> Tensor:
        """The features combined with what is known of the next atoms [num_nodes, channels]."""
        if self._y is None:
            self._y = self._combine(self)
        return self._y
