"""Potentials as ASE calculators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ase
import torch
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from ase.stress import full_3x3_to_voigt_6_stress
from torch_geometric.data import Data

from schnetgen_pyg.data.electrons import require_neutral
from schnetgen_pyg.errors import require
from schnetgen_pyg.potentials.ensemble import Ensemble
from schnetgen_pyg.potentials.model import Potential
from schnetgen_pyg.targets.prediction import evaluate, require_finite


class PotentialCalculator(Calculator):
    """A potential as an ASE calculator.

    Energy and free energy in eV, forces in eV/Å, of periodic structures the stress in eV/Å³; where
    the potential predicts them, the dipole in e·Å and the charges of atoms in e; with
    an ensemble ``results`` also has ``energy_variance`` and ``forces_variance``. A structure with a
    charge, or with more unpaired electrons than it must have, is refused.

    Args:
        potential: a `Potential` or `Ensemble`, used where it is: ``potential.double()`` makes a
            calculator of double precision.
    """

    implemented_properties = [  # noqa: RUF012
        *("energy", "free_energy", "forces", "stress"),
        *("dipole", "charges"),
    ]

    def __init__(self, potential: Potential | Ensemble):
        super().__init__()
        targets = list(potential.targets)
        require("energy" in targets, "potential", f"one for {targets}", "one for the energy")
        self.potential = potential

    def calculate(
        self,
        atoms: ase.Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        require_neutral(self.atoms, "the potential")
        periodic = bool(self.atoms.pbc.all())
        if "stress" in properties and not periodic:
            raise PropertyNotImplementedError("stress needs a structure periodic in 3 directions")
        for name in ("dipole", "charges"):
            if name in properties and name not in self.potential.targets:
                raise PropertyNotImplementedError(f"the potential was not trained for {name}")
        data = Data(
            z=torch.as_tensor(self.atoms.numbers, dtype=torch.long),
            pos=torch.as_tensor(self.atoms.positions),
        )
        if self.atoms.pbc.any():
            data.cell = torch.as_tensor(self.atoms.cell.array * self.atoms.pbc[:, None])
        derivatives = not set(properties) <= {"energy", "free_energy"}
        found = evaluate(self.potential, [data], derivatives, derivatives and periodic)
        for name, value in found.items():
            require_finite(data, value, name, self.atoms.get_chemical_formula())
        energy = float(found.energy)
        self.results: dict[str, Any] = {"energy": energy, "free_energy": energy}
        if "forces" in found:
            self.results["forces"] = found.forces.cpu().double().numpy()
        for name, rows in (("dipole", 0), ("charges", slice(None))):
            if name in found:
                self.results[name] = found[name][rows].cpu().double().numpy()
        if "stress" in found:
            stress = found.stress[0].cpu().double().numpy()
            self.results["stress"] = full_3x3_to_voigt_6_stress(stress)
        if "energy_variance" in found:
            self.results["energy_variance"] = float(found.energy_variance)
        if "forces_variance" in found:
            self.results["forces_variance"] = found.forces_variance.cpu().double().numpy()
