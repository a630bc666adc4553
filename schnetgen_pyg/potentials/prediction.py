"""Potentials at work on many structures in batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch_geometric.data import Data
from torch_geometric.utils import cumsum

from schnetgen_pyg.data.conversion import as_data
from schnetgen_pyg.errors import require
from schnetgen_pyg.potentials.model import Ensemble, Potential, Prediction


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
