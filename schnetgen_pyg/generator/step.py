"""One step of a batch of partial molecules, as the decisions see it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from schnetgen_pyg.generator.guidance import guided


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
        untold: the same step of a model that is told nothing of the optional attributes, where
            what is drawn is guided away from it with the weight ``guidance``.
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
        self.untold: Step | None = None
        self.guidance = 0.0
        self._combine = combine
        self._y: Tensor | None = None

    def decide(
        self, *, next_z: Tensor | None = None, focus: Tensor | None = None, **known: Tensor
    ) -> None:
        """Tell what was decided: later decisions know it."""
        if self.untold is not None:
            self.untold.decide(next_z=next_z, focus=focus, **known)
        if next_z is not None:
            self.next_z, self._y = next_z, None
        if focus is not None:
            self.focus = focus
        if known:
            self.known |= known
            self._y = None

    def guided(self, log_prob: Callable[[Step], Tensor]) -> Tensor:
        """Log-probabilities to draw from, up to a constant of each row: those of this step, with
        guidance where there is some."""
        told = log_prob(self)
        return told if self.untold is None else guided(told, log_prob(self.untold), self.guidance)

    @property
    def drawn_y(self) -> Tensor:
        """What positions are drawn by: `y`, and with guidance beside it that of the untold step
        [num_nodes, channels or twice as many]."""
        return self.y if self.untold is None else torch.cat([self.y, self.untold.y], 1)

    @property
    def y(self) -> Tensor:
        """The features combined with what is known of the next atoms [num_nodes, channels]."""
        if self._y is None:
            self._y = self._combine(self)
        return self._y
