"""The architecture of a potential."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from schnetgen_pyg.chem.elements import MAX_ATOMIC_NUMBER
from schnetgen_pyg.errors import require
from schnetgen_pyg.representations import REPRESENTATIONS
from schnetgen_pyg.targets import Column
from schnetgen_pyg.targets.columns import checked_targets


@dataclass(frozen=True)
class PotentialConfig:
    """Architecture of a `Potential`.

    Attributes:
        representation: a name in `schnetgen_pyg.representations.REPRESENTATIONS`.
        settings: arguments of the representation, such as ``{"hidden_channels": 64}``.
        elements: atomic numbers the model is for.
        targets: what is predicted, names in `schnetgen_pyg.targets.TARGETS` or columns
            of numbers (`schnetgen_pyg.targets.targets_in`); with the energy come its
            derivatives, forces and stress.
    """

    representation: str = "schnet"
    settings: dict[str, Any] = field(default_factory=dict)
    elements: tuple[int, ...] = (1, 6, 7, 8, 9)
    targets: tuple[str | Column, ...] = ("energy",)

    def __post_init__(self) -> None:
        object.__setattr__(self, "elements", tuple(self.elements))
        object.__setattr__(self, "targets", checked_targets(self.targets))
        require(bool(self.targets), "targets", "none", "at least one")
        network = REPRESENTATIONS[self.representation]
        valid = bool(self.elements) and all(1 <= n <= MAX_ATOMIC_NUMBER for n in self.elements)
        require(valid, "elements", self.elements, f"atomic numbers from 1 to {MAX_ATOMIC_NUMBER}")
        network.make_settings(**self.settings)
