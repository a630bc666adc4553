"""Ring polymers (path integrals), moved by i-PI; all beads are one batch of the potential."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from typing import Any

import ase.units
import numpy as np
from ase.stress import full_3x3_to_voigt_6_stress

from schnetgen_pyg.dynamics.config import DynamicsConfig
from schnetgen_pyg.dynamics.engine import Engine, Moment, frame_of
from schnetgen_pyg.dynamics.start import Start
from schnetgen_pyg.dynamics.watch import hottest, too_hot
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.potentials.ensemble import Ensemble
from schnetgen_pyg.potentials.model import Potential

#: Box of a molecule in Å: i-PI knows no structure without one.
BOX = 1000.0

INPUT = """
<simulation verbosity='quiet' threading='false'>
  <output prefix='none'/>
  <prng><seed>{seed}</seed></prng>
  <ffdirect name='potential'><pes>dummy</pes><batch_size>{beads}</batch_size></ffdirect>
  <system>
    {structure}
    {cell}
    <ensemble><temperature units='kelvin'>{temperature}</temperature></ensemble>
    <forces><force forcefield='potential'/></forces>
    <motion mode='dynamics'>
      <dynamics mode='{ensemble}'>
        <timestep units='femtosecond'>{timestep}</timestep>
        <thermostat mode='pile_l'><tau units='femtosecond'>{tau}</tau></thermostat>
      </dynamics>
    </motion>
  </system>
</simulation>
"""


class RingPolymerEngine(Engine):
    """Ring-polymer dynamics of one structure (nve), or with a thermostat of every normal mode
    (nvt, PILE-L: Ceriotti, Parrinello, Markland, Manolopoulos, J. Chem. Phys. 133, 124104, 2010).

    The beads begin in one place, with thermal velocities of the normal modes; the centroid has
    those of the start. Leave out the time until they have spread.

    Args:
        potential: of energies and forces.
        start: a molecule, or a structure that is periodic in three directions.
        config: how it is moved; nve or nvt.

    Raises:
        InputError: if i-PI is not installed, or for a structure that it has not.
    """

    def __init__(self, potential: Potential | Ensemble, start: Start, config: DynamicsConfig):
        try:
            from ipi.engine.simulation import Simulation
            from ipi.utils.softexit import softexit

            from schnetgen_pyg.dynamics.ipi_driver import SchNetGenDriver
        except ImportError as error:
            raise InputError(
                f'beads need i-PI ({error}); pip install "schnetgen_pyg[md]"'
            ) from error
        if start.atoms.pbc.any() and not start.atoms.pbc.all():
            raise InputError(
                f"{start.name}: i-PI is periodic in three directions or in none, and the structure "
                f"has pbc {start.atoms.pbc.tolist()}; give it vacuum in the others, or take 1 bead"
            )
        self.start, self.config = start, config
        with _silent():
            self._simulation = Simulation.load_from_xml(_input(start, config))
        softexit.reset()  # i-PI takes Ctrl-C over, and would leave files in the working folder
        force_field = self._simulation.fflist["potential"]
        force_field.driver = SchNetGenDriver(start.atoms, potential)
        self._system = self._simulation.syslist[0]
        self._give_momenta()
        self._done, self._dropped = 0, False

    def _give_momenta(self) -> None:
        """Thermal ones of the normal modes; the first of these is the centroid, times √P."""
        modes, config = self._system.nm, self.config
        rng = np.random.default_rng([config.seed, self.start.index, 2])
        energy = config.beads * _atomic("temperature", "kelvin", config.temperature)
        momenta = rng.normal(size=modes.pnm.shape) * np.sqrt(_plain(modes.dynm3) * energy)
        given = self.start.atoms.get_momenta().flatten() * _atomic("momentum", "ase", 1.0)
        momenta[0] = np.sqrt(config.beads) * given
        modes.pnm[:] = momenta

    def step(self) -> dict[int, str]:
        try:
            with _silent():
                self._simulation.run_step(self._done)
        except InputError as error:
            return {self.start.index: str(error)}
        self._done += 1
        found, limit = self._temperature(), hottest(self.config.temperature)
        return {} if found <= limit else {self.start.index: too_hot(found, limit)}

    def _temperature(self) -> float:
        return self._property("temperature") * ase.units.Hartree / ase.units.kB

    def _property(self, name: str) -> float:
        """In atomic units."""
        return float(self._system.properties[name][0])

    def moments(self) -> dict[int, Moment]:
        if self._dropped:
            return {}
        system, beads, start = self._system, self._system.beads, self.start
        stress = None
        if start.atoms.pbc.all():
            volume = float(system.cell.V)
            stress = -_plain(system.forces.virs) / volume * ase.units.Hartree / ase.units.Bohr**3
        frames = []
        for k in range(self.config.beads):
            results: dict[str, Any] = {"energy": float(system.forces.pots[k]) * ase.units.Hartree}
            forces = _plain(system.forces.f[k]).reshape(-1, 3)
            results["forces"] = forces * (ase.units.Hartree / ase.units.Bohr)
            if stress is not None:
                results["stress"] = full_3x3_to_voigt_6_stress(stress[k])
            places = _plain(beads.q[k]).reshape(-1, 3) * ase.units.Bohr
            momenta = _plain(beads.p[k]).reshape(-1, 3) / _atomic("momentum", "ase", 1.0)
            frames.append(frame_of(start.atoms, places, momenta, **results))
            frames[-1].info["bead"] = k
        potential = float(np.mean(_plain(system.forces.pots))) * ase.units.Hartree
        kinetic = float(system.nm.kin) / self.config.beads * ase.units.Hartree
        conserved = self._property("conserved") * ase.units.Hartree
        moment = Moment(frames, potential, kinetic, self._temperature(), conserved)
        return {start.index: moment}

    def drop(self, indices: set[int]) -> None:
        self._dropped = self._dropped or self.start.index in indices

    def state(self) -> dict[str, np.ndarray]:
        system = self._system
        exchanged = system.ensemble.eens + system.motion.thermostat.ethermo
        return {
            "positions": _plain(system.nm.qnm),
            "momenta": _plain(self._momenta()),
            "exchanged": np.array(exchanged),  # energy, with the thermostat
            "random": np.array(json.dumps(self._simulation.prng.state, default=np.ndarray.tolist)),
            "done": np.array(self._done),
        }

    def _momenta(self) -> Any:
        """As the step leaves them; what is computed from them differs in its last bits."""
        return self._system.beads.p if self.config.ensemble == "nve" else self._system.nm.pnm

    def restore(self, state: dict[str, np.ndarray]) -> None:
        system = self._system
        system.nm.qnm[:] = state["positions"]
        self._momenta()[:] = state["momenta"]
        system.ensemble.eens = float(state["exchanged"])
        self._simulation.prng.state = json.loads(str(state["random"]))
        self._done = int(state["done"])


def _plain(values: Any) -> np.ndarray:
    """A copy of one of i-PI's arrays, which ``np.array`` does not make."""
    from ipi.utils.depend import dstrip

    return np.asarray(dstrip(values)).copy()


def _atomic(family: str, unit: str, value: float) -> float:
    from ipi.utils.units import unit_to_internal

    return float(unit_to_internal(family, unit, value))


def _input(start: Start, config: DynamicsConfig) -> str:
    """Of i-PI, for this structure; the driver comes afterwards, as an object."""
    from ipi.engine.beads import Beads
    from ipi.engine.cell import Cell
    from ipi.inputs.beads import InputBeads
    from ipi.inputs.cell import InputCell

    atoms = start.atoms
    beads = Beads(nbeads=config.beads, natoms=len(atoms))
    beads.q = np.tile(atoms.positions.flatten(), (config.beads, 1)) / ase.units.Bohr
    beads.names = np.array(atoms.get_chemical_symbols())
    beads.m = atoms.get_masses() * _atomic("mass", "ase", 1.0)
    vectors = atoms.cell.array if atoms.pbc.all() else BOX * np.identity(3)
    structure, cell = InputBeads(), InputCell()
    structure.store(beads)
    cell.store(Cell(h=vectors.T / ase.units.Bohr))
    return INPUT.format(
        seed=config.seed_of(start.index),
        beads=config.beads,
        structure=structure.write("beads"),
        cell=cell.write("cell"),
        temperature=config.temperature,
        ensemble=config.ensemble,
        timestep=config.timestep,
        tau=config.tau,
    )


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """What i-PI prints is not seen."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
