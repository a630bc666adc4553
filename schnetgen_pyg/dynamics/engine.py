"""What moves structures: the contract of ASE, torch-sim and i-PI here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import ase
import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator


class Moment(NamedTuple):
    """A structure between two steps.

    Attributes:
        beads: the structure, or each bead of its ring polymers, with momenta and a calculator that
            has energy, forces and, of cells, stress.
        potential: energy in eV; of a ring polymer the mean over the beads.
        kinetic: energy in eV; of a ring polymer that of all its beads over their number.
        temperature: in K.
        conserved: energy (eV) that does not change but for the errors of the integrator, where
            there is one.
    """

    beads: list[ase.Atoms]
    potential: float
    kinetic: float
    temperature: float
    conserved: float | None


class Engine(ABC):
    """Some structures that are moved together."""

    @abstractmethod
    def step(self) -> dict[int, str]:
        """Move all by one step; why structures, by their numbers, must not go on (energy or forces
        that are not finite, far too hot)."""

    @abstractmethod
    def moments(self) -> dict[int, Moment]:
        """The structures as they are, by their numbers."""

    @abstractmethod
    def drop(self, indices: set[int]) -> None:
        """Leave structures of these numbers behind; the others go on."""

    @abstractmethod
    def state(self) -> dict[str, np.ndarray]:
        """All that decides what comes, to the last bit, with random numbers."""

    @abstractmethod
    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Go on from what `state` gave, of structures that are a part of these."""


def frame_of(template: ase.Atoms, positions: Any, momenta: Any, **results: Any) -> ase.Atoms:
    """A frame like the structure, with what a calculator found."""
    frame = template.copy()
    frame.positions = positions
    frame.set_momenta(momenta)
    frame.calc = SinglePointCalculator(frame, **results)
    return frame
