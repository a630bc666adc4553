"""The architecture of a potential."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from schnetgen_pyg.chem.elements import MAX_ATOMIC_NUMBER
from schnetgen_pyg.errors import InputError, require
from schnetgen_pyg.representations import REPRESENTATIONS
from schnetgen_pyg.targets import Column, as_targets
from schnetgen_pyg.targets.columns import as_column


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
        given = [self.targets] if isinstance(self.targets, str) else self.targets
        known = tuple(one if isinstance(one, str) else as_column(one) for one in given)
        object.__setattr__(self, "targets", known)
        network = REPRESENTATIONS[self.representation]
        valid = bool(self.elements) and all(1 <= n <= MAX_ATOMIC_NUMBER for n in self.elements)
        require(valid, "elements", self.elements, f"atomic numbers from 1 to {MAX_ATOMIC_NUMBER}")
        network.make_settings(**self.settings)
        self._check_targets()

    def _check_targets(self) -> None:
        found = as_targets(self.targets)
        different = len(found) == len(self.targets) > 0
        require(different, "targets", list(self.targets), "at least one, all different")
        for name, target in found.items():
            of = target.derivative_of
            if of is not None:
                raise InputError(
                    f"targets: {name} is a derivative of {of} and comes with it; name {of}"
                )
