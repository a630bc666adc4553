"""Labelled structures, those with energies and forces: checks, batches, splits, errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch_geometric.data import Data

from schnetgen_pyg.data.conversion import as_data
from schnetgen_pyg.errors import InputError


def labelled(structures: Any, elements: Sequence[int], where: str = "structure") -> list[Data]:
    """Structures of any kind, checked to have energies, and forces all or none.

    Raises:
        InputError: naming the structure, and what it lacks.
    """
    result = as_data(structures, where)
    if not result:
        raise InputError("the data hold no structure")
    forces = result[0].get("forces") is not None
    for index, data in enumerate(result):
        if data.get("energy") is None:
            raise InputError(
                f"{where} {index}: has no energy; label it (schnetgen label), or take a file with "
                "energies in eV"
            )
        if (data.get("forces") is not None) != forces:
            raise InputError(
                f"{where} {index}: {'no ' if forces else ''}forces, unlike {where} 0; "
                "train on structures that all have forces, or none"
            )
        unseen = sorted(set(data.z.tolist()) - set(elements))
        if unseen:
            raise InputError(
                f"{where} {index}: holds atomic numbers {unseen}, the model is for "
                f"{list(elements)}; build it with their union"
            )
        parts = [data.energy] + ([data.forces] if forces else [])
        if not all(torch.isfinite(part).all() for part in parts):
            raise InputError(f"{where} {index}: an energy or force is not finite; leave it out")
    return result


def errors(found: Sequence[Data], structures: Sequence[Data]) -> dict[str, float]:
    """Errors of what `predict` found for labelled structures: of the energy in meV, also per atom,
    and of the forces in meV/Å."""
    energy = torch.tensor(
        [float(a.energy - b.energy) for a, b in zip(found, structures, strict=True)]
    )
    atoms = torch.tensor([data.z.numel() for data in structures])
    result = {
        "num_structures": float(len(structures)),
        "energy_mae_mev": 1000 * float(energy.abs().mean()),
        "energy_mae_mev_per_atom": 1000 * float((energy.abs() / atoms).mean()),
    }
    if all(data.get("forces") is not None for data in structures):
        slope = torch.cat([a.forces - b.forces for a, b in zip(found, structures, strict=True)])
        result["forces_mae_mev_per_angstrom"] = 1000 * float(slope.abs().mean())
        result["forces_rmse_mev_per_angstrom"] = 1000 * float(slope.square().mean().sqrt())
    return result
