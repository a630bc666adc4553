"""Structures at the start of a trajectory: fit for the potential, and with velocities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ase
import ase.units
import numpy as np
from ase.md.velocitydistribution import Stationary, ZeroRotation
from torch_geometric.data import Data

from schnetgen_pyg.data.conversion import as_data, to_ase
from schnetgen_pyg.data.origin import named
from schnetgen_pyg.dynamics.config import DynamicsConfig
from schnetgen_pyg.errors import InputError, require
from schnetgen_pyg.potentials.ensemble import Ensemble
from schnetgen_pyg.potentials.model import Potential
from schnetgen_pyg.targets.prediction import predict


@dataclass(frozen=True)
class Start:
    """A structure that is to be moved.

    Attributes:
        atoms: with momenta.
        name: in messages.
        index: its number among all.
        degrees: of freedom that share the kinetic energy.
        given: whether the structure came with its velocities.
    """

    atoms: ase.Atoms
    name: str
    index: int
    degrees: int
    given: bool = False


def starts(
    potential: Potential | Ensemble, structures: Any, config: DynamicsConfig
) -> tuple[list[Data], list[Start]]:
    """Structures at the door: as ``Data``, and ready to be moved.

    Velocities are those of the structures, else drawn at the temperature (Maxwell–Boltzmann),
    without net momentum and, of molecules, without rotation. Those of structure k are the same
    among any others.

    Raises:
        InputError: naming the structure that the potential or the ensemble is not for.
    """
    targets = list(potential.targets)
    require("energy" in targets, "potential", f"one for {targets}", "one for the energy")
    data = as_data(structures)
    made = []
    for index, single in enumerate(data):
        name = named(single, f"structure {index}")
        _require_cell_fits(single, name, config)
        made.append(_started(to_ase(single), name, index, config))
    predict(potential, data, forces=False)  # refuses what is not for the potential
    return data, made


def _require_cell_fits(data: Data, name: str, config: DynamicsConfig) -> None:
    cell = data.get("cell")
    periodic = cell is not None and bool(cell.any())
    if config.ensemble == "npt" and not (periodic and bool(cell[0].any(1).all())):
        raise InputError(
            f"{name}: npt needs a cell that is periodic in three directions, and the structure "
            f"{'is a molecule' if not periodic else 'lacks some'}; take nvt, or give it a cell"
        )


def _started(atoms: ase.Atoms, name: str, index: int, config: DynamicsConfig) -> Start:
    """With momenta, and how many degrees of freedom share them."""
    everything = 3 * len(atoms)
    atoms.calc = None
    given = atoms.arrays.get("momenta")
    if given is not None and given.any():
        if not np.isfinite(given).all():
            raise InputError(f"{name}: its velocities are not finite; correct or remove them")
        return Start(atoms, name, index, everything, given=True)
    rng = np.random.default_rng([config.seed, index])
    width = np.sqrt(atoms.get_masses() * ase.units.kB * config.temperature)
    atoms.set_momenta(rng.normal(size=(len(atoms), 3)) * width[:, None])
    removed = 0
    if len(atoms) > 1:
        Stationary(atoms, preserve_temperature=False)
        removed = 3
        if not atoms.pbc.any():
            with np.errstate(invalid="ignore"):  # a line has no moment about itself
                ZeroRotation(atoms, preserve_temperature=False)
            centred = atoms.positions - atoms.get_center_of_mass()
            removed += min(3, 2 * int(np.linalg.matrix_rank(centred, tol=1e-3)))
    # Noise brings back what was removed; what is conserved stays away.
    return Start(atoms, name, index, everything - removed * (config.ensemble == "nve"))
