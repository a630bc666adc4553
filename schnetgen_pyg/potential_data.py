"""Labelled structures, those with energies and forces: checks, batches, splits, errors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch_geometric.data import Data

from .batches import Molecules, save_split, saved_split, seeded
from .structures import InputError, as_data


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


class LabelledMolecules(Molecules):
    """`Molecules` with energies, and forces and cells where the structures have them."""

    def __init__(self, structures: Sequence[Data]):
        super().__init__(structures)
        self.energy = torch.cat([d.energy.reshape(1).double() for d in structures])
        self.forces = self.cell = None
        if structures[0].get("forces") is not None:
            self.forces = torch.cat([d.forces for d in structures])
        if any(d.get("cell") is not None for d in structures):
            none = torch.zeros(1, 3, 3)
            self.cell = torch.cat([none if d.get("cell") is None else d.cell for d in structures])

    def __getitem__(self, molecules: Sequence[int]) -> Data:
        chosen = torch.as_tensor(molecules)
        data = super().__getitem__(molecules)
        data.energy = self.energy[chosen]
        if self.forces is not None:
            place = torch.arange(data.z.numel()) - data.ptr[data.batch]
            data.forces = self.forces[self.ptr[chosen][data.batch] + place]
        if self.cell is not None:
            data.cell = self.cell[chosen]
        return data


def _groups(structures: Sequence[Data], key: str | None) -> list[list[int]]:
    """Indices of the structures that stay together."""
    if key is None:
        return [[index] for index in range(len(structures))]
    groups: dict[Any, list[int]] = {}
    for index, data in enumerate(structures):
        info = data.get("info") or {}
        if key not in info:
            raise InputError(
                f"structure {index}: no {key!r} in its info (there: {sorted(info) or 'nothing'}); "
                "name another entry in group_by"
            )
        groups.setdefault(info[key], []).append(index)
    return list(groups.values())


def split_groups(
    structures: Sequence[Data],
    num_validation: int,
    num_test: int,
    seed: int,
    path: Path,
    group_by: str | None = None,
) -> dict[str, list[int]]:
    """Indices of ``train``, ``validation`` and ``test`` structures; kept in ``path`` (JSON) once
    drawn.

    Whole groups are held out, as many as hold the wanted number of structures on average.

    Args:
        group_by: entry of ``info`` that the structures of a group share; by default each structure
            is a group of its own.

    Raises:
        InputError: if there are too few structures, or ``path`` is a split of other ones.
    """
    names = ("train", "validation", "test")
    if path.is_file():
        return dict(zip(names, saved_split(path, structures, *names), strict=True))
    groups = _groups(structures, group_by)
    mean = len(structures) / len(groups)
    test_groups = math.ceil(num_test / mean)
    num_held_out = test_groups + math.ceil(num_validation / mean)
    if num_held_out >= len(groups):
        raise InputError(
            f"cannot hold out {num_held_out} of {len(groups)} structures or groups of them; lower "
            "num_validation or num_test"
        )
    order = torch.randperm(len(groups), generator=seeded(seed, 0)).tolist()
    drawn = (order[num_held_out:], order[test_groups:num_held_out], order[:test_groups])
    parts = {
        name: sorted(index for place in part for index in groups[place])
        for name, part in zip(names, drawn, strict=True)
    }
    save_split(path, structures, seed, **parts)
    return parts


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
