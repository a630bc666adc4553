"""Molecules as PyG ``Data(z, pos)``, and the door through which they come in and go out.

Everything behind this module sees atomic numbers ``z`` [num_atoms] (int64) and positions ``pos``
[num_atoms, 3] (float32, Å). Where there are labels, ``energy`` is in eV (float64) and ``forces``
[num_atoms, 3] in eV/Å (float32). The default type of torch changes none of this. Files, ASE and
RDKit objects are converted and checked here, once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import ase
import numpy as np
import torch
from torch_geometric.data import Batch, Data

from schnetgen_pyg.chem.elements import MAX_ATOMIC_NUMBER
from schnetgen_pyg.errors import InputError

#: Labels that have a type of their own.
LABELS = (("energy", torch.float64), ("forces", torch.float32))


def check(data: Data, where: str = "structure") -> Data:
    """Check one structure and give it the library's dtypes; extra attributes are kept.

    Args:
        data: ``z`` [num_atoms] and ``pos`` [num_atoms, 3] in Å.
        where: how the message names the structure.

    Raises:
        InputError: naming the structure and the offending value.
    """
    z, pos = data.get("z"), data.get("pos")
    if z is None or pos is None:
        missing = "z" if z is None else "pos"
        raise InputError(f"{where}: has no {missing!r}; Data needs z (atomic numbers) and pos (Å)")
    if z.dim() != 1 or z.numel() == 0:
        raise InputError(
            f"{where}: `z` must have shape [num_atoms] with at least one atom, got {list(z.shape)}"
        )
    if pos.shape != (z.numel(), 3):
        raise InputError(
            f"{where}: `pos` must have shape [num_atoms, 3] = [{z.numel()}, 3], "
            f"got {list(pos.shape)}"
        )
    if not torch.isfinite(pos).all():
        atom = int((~torch.isfinite(pos)).any(1).nonzero()[0])
        raise InputError(
            f"{where}: the position of atom {atom} is not finite: {pos[atom].tolist()}"
        )
    if z.is_floating_point() and not torch.equal(z, z.round()):
        atom = int((z != z.round()).nonzero()[0])
        raise InputError(f"{where}: the atomic number of atom {atom} is {float(z[atom])}")
    outside = (z < 1) | (z > MAX_ATOMIC_NUMBER)
    if outside.any():
        atom = int(outside.nonzero()[0])
        raise InputError(
            f"{where}: atom {atom} has atomic number {int(z[atom])}, "
            f"expected 1 to {MAX_ATOMIC_NUMBER}"
        )
    data.z, data.pos = z.long(), pos.float()
    for name, dtype in LABELS:
        if name in data:
            data[name] = torch.as_tensor(data[name], dtype=dtype)
    return data


def from_ase(atoms: ase.Atoms, where: str = "structure") -> Data:
    """Convert ASE ``Atoms`` to ``Data(z, pos)``, with ``energy`` (eV) and ``forces`` (eV/Å)
    where a calculator holds them and scalar entries of ``atoms.info`` under ``info``. Periodic ones
    have ``cell`` [1, 3, 3] (Å), with a row of zeros for each direction without periodicity."""
    data = Data(
        z=torch.as_tensor(atoms.numbers, dtype=torch.long),
        pos=torch.as_tensor(atoms.positions, dtype=torch.float32),
    )
    results = getattr(atoms.calc, "results", {})
    if "energy" in results:
        data.energy = torch.tensor([float(results["energy"])], dtype=torch.float64)
    data.info = {
        k: v.item() if isinstance(v, np.generic) else v
        for k, v in atoms.info.items()
        if isinstance(v, (str, int, float, np.generic))
    }
    if "forces" in results:
        data.forces = torch.as_tensor(results["forces"], dtype=torch.float32)
    if atoms.pbc.any():
        cell = np.where(atoms.pbc[:, None], atoms.cell.array, 0.0)
        data.cell = torch.as_tensor(cell, dtype=torch.float32).unsqueeze(0)
    return check(data, where)


def to_ase(data: Data) -> ase.Atoms:
    """Convert ``Data(z, pos)`` to ASE ``Atoms`` (a single-point calculator holds energy and
    forces)."""
    cell = data.get("cell")
    cell = None if cell is None else cell.detach().cpu().double().reshape(3, 3).numpy()
    atoms = ase.Atoms(
        data.z.tolist(),
        data.pos.detach().cpu().double().numpy(),
        info=data.get("info") or {},
        cell=cell,
        pbc=None if cell is None else cell.any(1),
    )
    if data.get("energy") is not None:
        from ase.calculators.singlepoint import SinglePointCalculator

        results = {"energy": float(data.energy)}
        if data.get("forces") is not None:
            results["forces"] = data.forces.detach().cpu().double().numpy()
        atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def as_data(structures: Iterable[Any], where: str = "structure") -> list[Data]:
    """Structures of any accepted kind (``Data``, a PyG ``Batch`` or dataset, ASE ``Atoms``)
    as a list of checked ``Data``."""
    if isinstance(structures, (Data, ase.Atoms)):
        structures = [structures]
    single: list[Any] = []
    for item in structures:
        single += item.to_data_list() if isinstance(item, Batch) else [item]
    result = []
    for index, item in enumerate(single):
        name = f"{where} {index}"
        if isinstance(item, Data):
            result.append(check(item.clone(), name))
        elif isinstance(item, ase.Atoms):
            result.append(from_ase(item, name))
        else:
            raise InputError(
                f"{name}: expected torch_geometric Data or ase.Atoms, got {type(item).__name__}"
            )
    return result
