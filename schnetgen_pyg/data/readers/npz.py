"""Arrays of NumPy: our own format, and the trajectories of MD17 and rMD17."""

from __future__ import annotations

import json
import os
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import ase.units
import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from schnetgen_pyg.data.columns import attributes, join
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.storage.atomic import replacing

#: Arrays of the trajectories of MD17 and rMD17, all frames of one molecule: as published, and as in
#: other copies of them. Energies are in kcal/mol, forces in kcal/mol/Å.
TRAJECTORIES = (
    ("nuclear_charges", "coords", "energies", "forces"),
    ("Z", "R", "E", "F"),
    ("z", "R", "E", "F"),
)

#: Arrays that have to fit; others that do not are left out with a warning.
LABELS = ("z", "pos", "energy", "forces", "cell")


def read_npz(path: Path) -> Iterable[Data]:
    """Arrays as `save_npz` describes them, or a trajectory of MD17 or rMD17."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, OSError, zipfile.BadZipFile, EOFError) as error:
        raise InputError(f"not a readable npz file ({error})") from error
    for names in TRAJECTORIES:
        if all(name in arrays for name in names):
            return _trajectory(arrays, names)
    return _structures(path, arrays)


def _trajectory(arrays: dict[str, np.ndarray], names: Sequence[str]) -> Iterator[Data]:
    z, pos, energy, forces = (arrays[name] for name in names)
    unit = ase.units.kcal / ase.units.mol
    if pos.ndim != 3 or pos.shape[1:] != (len(z), 3) or forces.shape != pos.shape:
        raise InputError(
            f"{names[1]} and {names[3]} must have shape [num_frames, {len(z)}, 3], got "
            f"{list(pos.shape)} and {list(forces.shape)}"
        )
    frames = (
        pos,
        energy.astype(np.float64).reshape(len(pos), 1) * unit,
        (forces.astype(np.float64) * unit).astype(np.float32),
    )
    for each in zip(*frames, strict=True):  # a tensor of each: a view would take along all frames
        own_pos, own_energy, own_forces = map(torch.as_tensor, each)
        yield Data(z=torch.as_tensor(z), pos=own_pos, energy=own_energy, forces=own_forces)


def _structures(path: Path, arrays: dict[str, np.ndarray]) -> list[Data]:
    missing = [name for name in ("z", "pos", "n_atoms") if name not in arrays]
    if missing:
        raise InputError(f"lacks the arrays {missing}; it has {sorted(arrays)}")
    counts = arrays.pop("n_atoms")
    if counts.size == 0 or counts.sum() != len(arrays["z"]):
        raise InputError(f"n_atoms sums to {counts.sum()}, but z has {len(arrays['z'])} entries")
    structures = [Data() for _ in counts]
    left_out = []
    for name, array in arrays.items():
        name, _, role = name.partition(":")
        if role == "json":
            for data, value in zip(structures, json.loads(str(array)), strict=True):
                if value is not None:
                    data[name] = value
        elif not role:
            array = np.atleast_1d(array)
            owners = arrays.get(f"{name}:of", np.arange(len(counts)))
            rows = _rows(array, counts[owners], arrays.get(f"{name}:rows"))
            if rows is None and name in LABELS:
                raise InputError(
                    f"{name} has {len(array)} entries, expected {counts[owners].sum()} (one for "
                    f"each atom) or {len(owners)} (one for each structure)"
                )
            if rows is None:
                left_out.append(f"{name} {list(array.shape)}")
                continue
            dim = structures[0].__cat_dim__(name, array)
            for owner, part in zip(owners, np.split(array, np.cumsum(rows)[:-1]), strict=True):
                part = np.ascontiguousarray(np.moveaxis(part, 0, dim))
                is_text = part.dtype.kind == "U"
                structures[owner][name] = part.item() if is_text else torch.as_tensor(part)
    if left_out:
        warnings.warn(
            f"left out of {path}: {', '.join(left_out)}, which have an entry neither for each of "
            f"the {counts.sum()} atoms nor for each of the {len(counts)} structures",
            stacklevel=2,
        )
    return structures


def _rows(array: np.ndarray, atoms: np.ndarray, given: np.ndarray | None) -> np.ndarray | None:
    """How many rows of the array each structure has, whose numbers of atoms are ``atoms``; `None`
    where they do not fit."""
    for rows in [atoms, np.ones_like(atoms)] if given is None else [given]:
        if rows.sum() == len(array):
            return rows
    return None


def save_npz(path: str | os.PathLike[str], structures: Sequence[Data]) -> None:
    """Write structures with all their attributes in the compact format of the cache, which `load`
    reads.

    Arrays ``n_atoms`` [num_structures], ``z``, ``pos`` (Å) and every other attribute, the rows of
    all structures one after the other: one row for each atom or for each structure, or as many as
    ``NAME:rows`` says. Where only some structures have it, ``NAME:of`` are their numbers. What is
    no tensor is a JSON list, ``NAME:json``.

    Raises:
        InputError: naming the attribute that cannot be written.
    """
    structures = list(structures)
    counts = np.array([data.z.numel() for data in structures], dtype=np.int32)
    arrays: dict[str, Any] = {"n_atoms": counts}
    for name, values in attributes(structures).items():
        if not all(isinstance(value, Tensor) for value in values.values()):
            arrays[f"{name}:json"] = _json(name, [values.get(k) for k in range(len(structures))])
            continue
        rows, present, _ = join(name, values, Data())
        owners = np.array(list(values))
        arrays[name] = _array(name, rows.byte() if name == "z" else rows)
        if len(owners) < len(structures):
            arrays[f"{name}:of"] = owners
        if not np.array_equal(present, counts[owners]) and set(present) != {1}:
            arrays[f"{name}:rows"] = np.array(present)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def _array(name: str, rows: Tensor) -> np.ndarray:
    try:
        return rows.cpu().numpy()
    except TypeError as error:
        raise InputError(f"{name!r}: NumPy has no {rows.dtype}; convert it to float32") from error


def _json(name: str, values: list[Any]) -> np.ndarray:
    try:
        text = json.dumps(values)
        same = repr(json.loads(text)) == repr(values)
    except (TypeError, ValueError):
        same = False
    if not same:
        raise InputError(
            f"{name!r} holds what JSON cannot, or tensors and other values; leave it out (del "
            f"data.{name})"
        )
    return np.array(text)
