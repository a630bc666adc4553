"""Potentials as a driver of i-PI: all beads in one call.

In an input file of i-PI::

    <ffdirect name='schnetgen'>
      <pes>custom</pes> <pes_path>…/schnetgen_pyg/dynamics/ipi_driver.py</pes_path>
      <batch_size>8</batch_size>
      <parameters>{template: start.xyz, potential: model.safetensors}</parameters>
    </ffdirect>

or beside it, through a socket: ``i-pi-py_driver -m custom -P …/ipi_driver.py -o template=…``.
"""

from __future__ import annotations

from typing import Any

import ase
import ase.io
import numpy as np
import torch
from ipi.pes.dummy import Dummy_driver
from ipi.utils.units import unit_to_internal, unit_to_user
from torch_geometric.data import Data

from schnetgen_pyg.data.conversion import from_ase
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.potentials.ensemble import Ensemble
from schnetgen_pyg.potentials.model import Potential
from schnetgen_pyg.targets.prediction import evaluate

__DRIVER_NAME__ = "schnetgen"
__DRIVER_CLASS__ = "SchNetGenDriver"

#: Of the atomic units that i-PI speaks.
BOHR = unit_to_user("length", "angstrom", 1.0)
EV = unit_to_internal("energy", "electronvolt", 1.0)


class SchNetGenDriver(Dummy_driver):
    """Energies, forces and virials of structures that differ in positions and cell alone.

    Args:
        template: file of the structure, or the structure: elements, and whether it is periodic.
        potential: name or file of a potential, or the potential, used where it is.
    """

    def __init__(
        self,
        template: str | ase.Atoms,
        potential: str | Potential | Ensemble,
        verbose: bool = False,
        **_: Any,
    ):
        if isinstance(template, str):
            template = ase.io.read(template, index=0)
        if isinstance(potential, str):
            potential = Potential.from_pretrained(potential).double()
        self.structure: Data = from_ase(template, "template")
        self.potential = potential
        self.periodic = template.pbc
        super().__init__(verbose)

    def compute_structure(self, cell: np.ndarray, pos: np.ndarray) -> tuple[Any, ...]:
        """`compute` of one structure."""
        return self.compute([cell], [pos])[0]

    def compute(self, cell: Any, pos: Any) -> Any:
        """All structures in one call.

        Args:
            cell: [3, 3] in bohr, vectors as columns; or a list of them.
            pos: [num_atoms, 3] in bohr; or a list.

        Returns:
            energy (hartree), forces [num_atoms, 3] (hartree/bohr), virial [3, 3] (hartree) and
            nothing more of each.

        Raises:
            InputError: if what the potential says is not finite.
        """
        if not isinstance(cell, list):
            return self.compute([cell], [pos])[0]
        stressed = bool(self.periodic.all())
        batch = [self._data(*one) for one in zip(cell, pos, strict=True)]
        found = evaluate(self.potential, batch, forces=True, stress=stressed)
        for name, value in found.items():
            if not bool(value.isfinite().all()):
                raise InputError(f"the predicted {name} of a bead is not finite")
        energies = found.energy.double().cpu().numpy() * EV
        forces = found.forces.double().cpu().numpy().reshape(len(batch), -1, 3) * (EV * BOHR)
        virials = np.zeros((len(batch), 3, 3))
        if stressed:
            volume = np.abs(np.linalg.det(np.stack(cell)))[:, None, None] * BOHR**3
            virials = -found.stress.double().cpu().numpy() * volume * EV
        return [(float(e), f, v, "{}") for e, f, v in zip(energies, forces, virials, strict=True)]

    def _data(self, cell: np.ndarray, pos: np.ndarray) -> Data:
        data = Data(z=self.structure.z, pos=torch.as_tensor(pos * BOHR))
        if self.periodic.any():
            rows = torch.as_tensor(cell.T * self.periodic[:, None] * BOHR)
            data.cell = rows.unsqueeze(0)
        return data
