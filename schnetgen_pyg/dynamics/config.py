"""What a run of molecular dynamics is told."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from schnetgen_pyg.errors import InputError, require

ENSEMBLES = ("nve", "nvt", "npt")


@dataclass(frozen=True)
class DynamicsConfig:
    """How structures are moved.

    Attributes:
        ensemble: ``nve`` (velocity Verlet), ``nvt`` (Langevin) or ``npt`` (Langevin with an
            isotropic Langevin barostat, of cells that are periodic in three directions).
        temperature: of the thermostat and of the velocities at the start, in K.
        pressure: of the barostat, in bar.
        steps: length of the trajectory.
        timestep: in fs.
        tau: relaxation time of the thermostat in fs, one over its friction; that of the barostat is
            ten times as long.
        beads: of the ring polymer that stands for each atom; 1 is classical dynamics.
        every: steps between two frames of the trajectory.
        seed: of the velocities and of the thermostat.
    """

    ensemble: str = "nvt"
    temperature: float = 300.0
    pressure: float = 1.0
    steps: int = 10_000
    timestep: float = 0.5
    tau: float = 100.0
    beads: int = 1
    every: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        name = self.ensemble
        require(name in ENSEMBLES, "ensemble", repr(name), f"one of {', '.join(ENSEMBLES)}")
        for field in ("timestep", "tau"):
            require(getattr(self, field) > 0, field, getattr(self, field), "positive (fs)")
        for field in ("steps", "beads", "every"):
            require(getattr(self, field) >= 1, field, getattr(self, field), "at least 1")
        require(self.seed >= 0, "seed", self.seed, "0 or more")
        cold = name == "nve" and self.beads == 1
        fits = self.temperature > 0 or (cold and self.temperature == 0)
        require(fits, "temperature", self.temperature, "positive (K); 0 is for nve alone")
        for field in ("temperature", "pressure", "timestep"):
            value = getattr(self, field)
            require(math.isfinite(value), field, value, "a finite number")
        if name == "npt" and self.beads > 1:
            raise InputError(
                "npt with beads is not offered: take nvt, or i-PI itself with the driver "
                "schnetgen_pyg/dynamics/ipi_driver.py"
            )

    def seed_of(self, index: int) -> int:
        """Of the thermostat's random numbers, for the structures from this number on that are moved
        together. Copies with one noise would soon move alike."""
        return int(np.random.SeedSequence([self.seed, index, 3]).generate_state(1)[0])
