"""Arrays of NumPy: our own format, and the trajectories of MD17 and rMD17."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ase.data
import ase.db
import ase.units
import numpy as np
import torch
from torch_geometric.data import Data

from schnetgen_pyg.data.conversion import check
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.storage.atomic import replacing

#: What a cached structure is made of: name, whether it has a row per atom, how it is read.
COLUMNS: tuple[tuple[str, bool, Callable[[np.ndarray], Any]], ...] = (
    ("z", True, torch.as_tensor),
    ("pos", True, torch.as_tensor),
    ("energy", False, lambda value: torch.as_tensor(value, dtype=torch.float64)),
    ("forces", True, torch.as_tensor),
    ("cell", False, torch.as_tensor),
    ("index", False, lambda value: int(value[0])),
)


#: Arrays of the trajectories of MD17 and rMD17, all frames of one molecule: as published, and as in
#: other copies of them. Energies are in kcal/mol, forces in kcal/mol/Å.
TRAJECTORIES = (
    ("nuclear_charges", "coords", "energies", "forces"),
    ("Z", "R", "E", "F"),
    ("z", "R", "E", "F"),
)


def _read_trajectory(path: Path, arrays: dict[str, Any], names: Sequence[str]) -> list[Data]:
    z, pos, energy, forces = (arrays[name] for name in names)
    unit = ase.units.kcal / ase.units.mol
    if pos.ndim != 3 or pos.shape[1:] != (len(z), 3) or forces.shape != pos.shape:
        raise InputError(
            f"{path}: {names[1]} and {names[3]} must have shape [num_frames, {len(z)}, 3], got "
            f"{list(pos.shape)} and {list(forces.shape)}"
        )
    numbers = torch.as_tensor(z).long()
    energies = torch.as_tensor(energy).double().reshape(len(pos), 1) * unit
    slopes = (torch.as_tensor(forces).double() * unit).float()
    return [
        check(
            Data(z=numbers, pos=torch.as_tensor(pos[k]), energy=energies[k], forces=slopes[k]),
            f"{path}: structure {k}",
        )
        for k in range(len(pos))
    ]


def _read_npz(path: Path) -> list[Data]:
    """Arrays as `save_npz` writes them; all but ``z``, ``pos`` (Å) and ``n_atoms`` may lack. Or a
    trajectory of MD17 or rMD17."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        infos = json.loads(str(arrays.get("info", "{}")))
    except (ValueError, OSError, zipfile.BadZipFile, EOFError) as error:
        raise InputError(f"{path}: not a readable npz file ({error})") from error
    for names in TRAJECTORIES:
        if all(name in arrays for name in names):
            return _read_trajectory(path, arrays, names)
    missing = [name for name in ("z", "pos", "n_atoms") if name not in arrays]
    if missing:
        raise InputError(f"{path}: lacks the arrays {missing}; it has {sorted(arrays)}")
    counts = arrays["n_atoms"]
    if counts.size == 0 or counts.sum() != len(arrays["z"]):
        raise InputError(
            f"{path}: n_atoms sums to {counts.sum()}, but z has {len(arrays['z'])} entries"
        )
    structures = [Data() for _ in counts]
    for name, rows_per_atom, convert in COLUMNS:
        owners = arrays.get(f"{name}_of", np.arange(len(counts) if name in arrays else 0))
        sizes = counts[owners] if rows_per_atom else np.ones(len(owners), dtype=int)
        if len(arrays.get(name, ())) != sizes.sum():
            raise InputError(
                f"{path}: {name} has {len(arrays[name])} entries, expected {sizes.sum()}"
            )
        ends = np.cumsum(sizes)
        for owner, start, stop in zip(owners, ends - sizes, ends, strict=True):
            structures[owner][name] = convert(arrays[name][start:stop])
    for place, info in infos.items():
        structures[int(place)].info = info
    return [check(data, f"{path}: structure {k}") for k, data in enumerate(structures)]


def save_npz(path: str | os.PathLike[str], structures: Sequence[Data]) -> None:
    """Write structures in the compact format of the cache, which `load` reads.

    Arrays ``z``, ``pos``, ``n_atoms`` and, of the structures that have them, ``energy`` (eV),
    ``forces`` (eV/Å), ``cell`` (Å), ``index`` and ``info`` (JSON). Where only some have them,
    ``energy_of`` and so on say which.
    """
    arrays: dict[str, Any] = {
        "n_atoms": np.array([d.z.numel() for d in structures], dtype=np.int32),
    }
    for name, _, _ in COLUMNS:
        owners = [k for k, data in enumerate(structures) if data.get(name) is not None]
        if owners:
            values = [np.atleast_1d(np.asarray(structures[k][name])) for k in owners]
            arrays[name] = np.concatenate(values)
        if 0 < len(owners) < len(structures):
            arrays[f"{name}_of"] = np.array(owners)
    arrays["z"] = arrays["z"].astype(np.uint8)
    infos = {k: data.info for k, data in enumerate(structures) if data.get("info") is not None}
    if infos:
        arrays["info"] = np.array(json.dumps(infos))
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)
