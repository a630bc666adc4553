"""One structure, moved by ASE."""

from __future__ import annotations

import json
import warnings
from typing import Any

import ase
import ase.units
import numpy as np
from ase.md.langevinbaoab import LangevinBAOAB
from ase.md.verlet import VelocityVerlet

from schnetgen_pyg.dynamics.config import DynamicsConfig
from schnetgen_pyg.dynamics.engine import Engine, Moment, frame_of
from schnetgen_pyg.dynamics.start import Start
from schnetgen_pyg.dynamics.watch import hottest, temperature, too_hot
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.potentials.calculator import PotentialCalculator
from schnetgen_pyg.potentials.ensemble import Ensemble
from schnetgen_pyg.potentials.model import Potential

#: The barostat is so many times as slow as the thermostat.
SLOWER = 10.0


class SingleEngine(Engine):
    """Velocity Verlet, or Langevin dynamics in the splitting BAOAB (Leimkuhler, Matthews, J. Chem.
    Phys. 138, 174102, 2013), also of the cell (Quigley, Probert, J. Chem. Phys. 120, 11432, 2004).

    Args:
        potential: of energies and forces.
        start: the structure.
        config: how it is moved.
    """

    def __init__(self, potential: Potential | Ensemble, start: Start, config: DynamicsConfig):
        self.start, self.config = start, config
        self.atoms = start.atoms.copy()
        self.atoms.calc = PotentialCalculator(potential)
        self._rng = np.random.default_rng([config.seed, start.index, 1])
        self._dynamics = self._made()
        self._dropped = False

    def _made(self) -> Any:
        """ASE's integrator, of the structure as it is."""
        config, step = self.config, self.config.timestep * ase.units.fs
        if config.ensemble == "nve":
            return VelocityVerlet(self.atoms, step)
        settings: dict[str, Any] = {}
        tau = config.tau * ase.units.fs
        if config.ensemble == "npt":
            settings["externalstress"] = -config.pressure * ase.units.bar
            settings["P_tau"] = SLOWER * tau
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the mass that it finds for the cell
            return LangevinBAOAB(
                self.atoms,
                step,
                temperature_K=config.temperature,
                T_tau=tau,
                hydrostatic=True,
                rng=self._rng,
                **settings,
            )

    def step(self) -> dict[int, str]:
        try:
            self._dynamics.step()
        except InputError as error:  # of the calculator: what it found is not finite
            return {self.start.index: str(error)}
        kinetic = self.atoms.get_kinetic_energy()
        found, limit = temperature(kinetic, self.start.degrees), hottest(self.config.temperature)
        return {} if found <= limit else {self.start.index: too_hot(found, limit)}

    def moments(self) -> dict[int, Moment]:
        if self._dropped:
            return {}
        atoms = self.atoms
        atoms.get_forces()
        results = dict(atoms.calc.results)
        kept = {key: results[key] for key in ("energy", "forces", "stress") if key in results}
        frame = frame_of(atoms, atoms.positions, atoms.get_momenta(), **kept)
        potential, kinetic = float(results["energy"]), float(atoms.get_kinetic_energy())
        total = potential + kinetic if self.config.ensemble == "nve" else None
        degrees = self.start.degrees
        moment = Moment([frame], potential, kinetic, temperature(kinetic, degrees), total)
        return {self.start.index: moment}

    def drop(self, indices: set[int]) -> None:
        self._dropped = self._dropped or self.start.index in indices

    def state(self) -> dict[str, np.ndarray]:
        kept = {
            "positions": self.atoms.get_positions(),
            "momenta": self.atoms.get_momenta(),
            "cell": self.atoms.cell.array.copy(),
            "random": np.array(json.dumps(self._rng.bit_generator.state)),
        }
        for name in ("p_eps", "force_eps"):  # momentum of the cell, and the force on it
            if hasattr(self._dynamics, name):
                kept[name] = np.array(getattr(self._dynamics, name))
        return kept

    def restore(self, state: dict[str, np.ndarray]) -> None:
        self.atoms.set_cell(state["cell"])
        self.atoms.set_positions(state["positions"])
        self.atoms.set_momenta(state["momenta"])
        self._rng.bit_generator.state = json.loads(str(state["random"]))
        self._dynamics = self._made()
        for name in ("p_eps", "force_eps"):
            if name in state:
                setattr(self._dynamics, name, float(state[name]))
