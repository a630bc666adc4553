"""Potentials at work: many structures in batches, or as an ASE calculator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ase
import torch
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from ase.stress import full_3x3_to_voigt_6_stress
from torch_geometric.data import Data
from torch_geometric.utils import cumsum

from .potentials import Ensemble, Potential, Prediction
from .structures import as_data, require


def predict(
    potential: Potential | Ensemble,
    structures: Any,
    batch_size: int = 64,
    *,
    forces: bool = True,
    progress: Callable[..., Any] | None = None,
) -> list[Data]:
    """Evaluate many structures in batches.

    Args:
        potential: taken where it is (its device and precision).
        structures: ``Data`` or ASE ``Atoms``, periodic or not.
        batch_size: structures at a time.
        forces: whether forces are wanted.
        progress: such as ``tqdm``.

    Returns:
        copies of the structures with ``energy`` [1] (eV) and ``forces`` [num_atoms, 3] (eV/Å); of
        an ensemble also ``energy_variance`` and ``forces_variance``.
    """
    require(batch_size >= 1, "batch_size", batch_size, "at least 1")
    result = as_data(structures)
    starts: Any = range(0, len(result), batch_size)
    for start in progress(starts) if progress else starts:
        part = result[start : start + batch_size]
        prediction = _evaluate(potential, part, forces)
        ends = cumsum(torch.tensor([data.z.numel() for data in part])).tolist()
        for index, data in enumerate(part):
            atoms = slice(ends[index], ends[index + 1])
            data.energy = prediction.energy[index : index + 1].cpu()
            data.forces = None  # not those that the structure came with
            if prediction.forces is not None:
                data.forces = prediction.forces[atoms].cpu()
            if prediction.energy_variance is not None and prediction.forces_variance is not None:
                data.energy_variance = prediction.energy_variance[index : index + 1].cpu()
                data.forces_variance = prediction.forces_variance[atoms].cpu()
    return result


def _evaluate(
    potential: Potential | Ensemble, part: Sequence[Data], forces: bool, stress: bool = False
) -> Prediction:
    weight = next(potential.parameters())
    counts = torch.tensor([data.z.numel() for data in part])
    cell = None
    if any(data.get("cell") is not None for data in part):
        none = torch.zeros(1, 3, 3)
        cells = [none if data.get("cell") is None else data.cell for data in part]
        cell = torch.cat([single.reshape(1, 3, 3) for single in cells]).to(weight)
    with torch.no_grad():
        result = potential(
            torch.cat([data.z for data in part]).to(weight.device),
            torch.cat([data.pos for data in part]).to(weight),
            torch.repeat_interleave(counts).to(weight.device),
            cell,
            compute_forces=forces,
            compute_stress=stress,
            create_graph=False,
        )
    return result if isinstance(result, Prediction) else Prediction(result)


class PotentialCalculator(Calculator):
    """A potential as an ASE calculator.

    Energy and free energy in eV, forces in eV/Å, of periodic structures the stress in eV/Å³; with
    an ensemble ``results`` also has ``energy_variance`` and ``forces_variance``.

    Args:
        potential: a `Potential` or `Ensemble`, used where it is: ``potential.double()`` makes a
            calculator of double precision.
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012

    def __init__(self, potential: Potential | Ensemble):
        super().__init__()
        self.potential = potential

    def calculate(
        self,
        atoms: ase.Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        periodic = bool(self.atoms.pbc.all())
        if "stress" in properties and not periodic:
            raise PropertyNotImplementedError("stress needs a structure periodic in 3 directions")
        data = Data(
            z=torch.as_tensor(self.atoms.numbers, dtype=torch.long),
            pos=torch.as_tensor(self.atoms.positions),
        )
        if self.atoms.pbc.any():
            data.cell = torch.as_tensor(self.atoms.cell.array * self.atoms.pbc[:, None])
        derivatives = not set(properties) <= {"energy", "free_energy"}
        found = _evaluate(self.potential, [data], derivatives, derivatives and periodic)
        energy = float(found.energy)
        self.results: dict[str, Any] = {"energy": energy, "free_energy": energy}
        if found.forces is not None:
            self.results["forces"] = found.forces.cpu().double().numpy()
        if found.stress is not None:
            stress = found.stress[0].cpu().double().numpy()
            self.results["stress"] = full_3x3_to_voigt_6_stress(stress)
        if found.energy_variance is not None and found.forces_variance is not None:
            self.results["energy_variance"] = float(found.energy_variance)
            self.results["forces_variance"] = found.forces_variance.cpu().double().numpy()
