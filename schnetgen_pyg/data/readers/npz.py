"""Arrays of NumPy: our own format, and the trajectories of MD17, rMD17 and sGDML."""

from __future__ import annotations

import json
import os
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from schnetgen_pyg.data.columns import attributes, join
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.storage.atomic import replacing

#: Arrays of the trajectories of MD17, rMD17 and sGDML, all frames of one molecule: as published,
#: and as in other copies of them.
TRAJECTORIES = (
    ("nuclear_charges", "coords", "energies", "forces"),
    ("Z", "R", "E", "F"),
    ("z", "R", "E", "F"),
)

#: Arrays that such a file has beside the frames. Where one is there, energies are in kcal/mol,
#: positions in Å, unless it says otherwise.
MARKS = ("nuclear_charges", "old_index", "old_indices", "theory", "md5", "type")

#: Arrays that have to fit; others that do not are left out with a warning.
LABELS = ("z", "pos", "energy", "forces", "cell", "stress")

#: Labels in the library's units, as `save_npz` writes them; files of others have to say theirs.
UNITS = {"energy": "eV", "forces": "eV/Å", "stress": "eV/Å³"}

#: Names of units in files of others.
OTHER_UNITS = {"e_unit": "energy", "r_unit": "pos"}


def read_npz(path: Path) -> Iterable[Data]:
    """Arrays as `save_npz` describes them, or a trajectory of MD17, rMD17 or sGDML, in the units
    that the file states."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, OSError, zipfile.BadZipFile, EOFError) as error:
        raise InputError(f"not a readable npz file ({error})") from error
    units = {
        name.removesuffix(":unit"): _text(arrays.pop(name))
        for name in list(arrays)
        if name.endswith(":unit")
    }
    units |= {new: _text(arrays.pop(old)) for old, new in OTHER_UNITS.items() if old in arrays}
    for names in TRAJECTORIES:
        if all(name in arrays for name in names[:2]):
            return _trajectory(path, arrays, names, units)
    if "energy" in units:
        units.setdefault("forces", "")  # by the unit of the energy
    for name in UNITS:
        units.setdefault(name, "")
    return _with_units(_structures(path, arrays), units)


def _text(array: np.ndarray) -> str:
    value = array.item() if array.size == 1 else array.tolist()
    return value.decode() if isinstance(value, bytes) else str(value)


def _with_units(structures: Iterable[Data], units: dict[str, str]) -> Iterator[Data]:
    for data in structures:
        data.units = dict(units)
        yield data


def _trajectory(
    path: Path, arrays: dict[str, np.ndarray], names: Sequence[str], units: dict[str, str]
) -> Iterator[Data]:
    known = any(mark in arrays for mark in MARKS)
    units = {"energy": "kcal/mol" if known else "", "pos": "Å"} | units
    z, pos = (arrays.pop(name) for name in names[:2])
    labels = {
        label: arrays.pop(name)
        for label, name in zip(("energy", "forces"), names[2:], strict=True)
        if name in arrays
    }
    forces = labels.get("forces", pos)
    if pos.ndim != 3 or pos.shape[1:] != (len(z), 3) or forces.shape != pos.shape:
        raise InputError(
            f"{names[1]} and {names[3]} must have shape [num_frames, {len(z)}, 3], got "
            f"{list(pos.shape)} and {list(forces.shape)}"
        )
    if "energy" in labels:
        if labels["energy"].size != len(pos):
            raise InputError(
                f"{names[2]} has {labels['energy'].size} entries, expected {len(pos)}, one a frame"
            )
        labels["energy"] = labels["energy"].astype(np.float64).reshape(-1, 1)
    if "Q" in arrays:  # of PhysNet
        arrays.setdefault("charge", arrays.pop("Q"))
    cell = arrays.pop("lattice").T if "lattice" in arrays else None  # sGDML has them as columns
    if arrays.get("cell", pos).shape in ((3, 3), (1, 3, 3)):  # one for all frames
        cell = arrays.pop("cell").reshape(3, 3)
    info = {name: _text(arrays.pop(name)) for name in list(arrays) if arrays[name].size == 1}
    rows = {name: arrays.pop(name) for name in list(arrays) if len(arrays[name]) == len(pos)}
    _warn_of(path, [f"{name} {list(array.shape)}" for name, array in arrays.items()])
    columns = {name: array for name, array in rows.items() if array[0].size > 1}
    values = {
        name: array.reshape(-1).tolist() for name, array in rows.items() if name not in columns
    }
    numbers = torch.as_tensor(z)
    frames = {
        name: torch.from_numpy(np.ascontiguousarray(array))
        for name, array in {"pos": pos, **labels}.items()
    }
    for frame in range(len(pos)):  # a copy of each: a view would take along all frames
        own = {name: tensors[frame].clone() for name, tensors in frames.items()}
        own |= {name: torch.tensor(array[frame]) for name, array in columns.items()}
        if cell is not None:
            own["cell"] = torch.tensor(cell)
        yield Data(
            z=numbers,
            info=info | {name: array[frame] for name, array in values.items()},
            units=dict(units),
            **own,
        )


def _warn_of(path: Path, left_out: Sequence[str], wanted: str = "each of the frames") -> None:
    if left_out:
        warnings.warn(
            f"left out of {path.name}: {', '.join(left_out)}, which have no entry for {wanted}",
            stacklevel=2,
        )


def _structures(path: Path, arrays: dict[str, np.ndarray]) -> Iterator[Data]:
    missing = [name for name in ("z", "pos", "n_atoms") if name not in arrays]
    if missing:
        raise InputError(f"lacks the arrays {missing}; it has {sorted(arrays)}")
    counts = arrays.pop("n_atoms")
    if counts.size == 0 or counts.sum() != len(arrays["z"]):
        raise InputError(f"n_atoms sums to {counts.sum()}, but z has {len(arrays['z'])} entries")
    texts: dict[str, list[Any]] = {}
    columns: list[_Rows] = []
    left_out = []
    for name, array in arrays.items():
        name, _, role = name.partition(":")
        if role == "json":
            texts[name] = json.loads(str(array))
            if len(texts[name]) != len(counts):
                raise InputError(f"{name} has {len(texts[name])} entries for {len(counts)}")
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
            else:
                columns.append(_Rows.of(name, array, rows, owners, len(counts)))
    _warn_of(path, left_out, f"each of the {counts.sum()} atoms or {len(counts)} structures")
    for number in range(len(counts)):
        data = Data()
        for column in columns:
            column.give(data, number)
        for name, values in texts.items():
            if values[number] is not None:
                data[name] = values[number]
        yield data


class _Rows(NamedTuple):
    """An attribute: its rows, the ``ends`` of those of each structure that has it, and the
    ``place`` of every structure among these, or -1."""

    name: str
    array: np.ndarray
    ends: np.ndarray
    place: np.ndarray
    dim: int

    @classmethod
    def of(
        cls, name: str, array: np.ndarray, rows: np.ndarray, owners: np.ndarray, number: int
    ) -> _Rows:
        place = np.full(number, -1)
        place[owners] = np.arange(len(owners))
        ends = np.concatenate([[0], np.cumsum(rows)])
        return cls(name, array, ends, place, Data().__cat_dim__(name, array))

    def give(self, data: Data, number: int) -> None:
        """Set it of the structure with this number, if it has it."""
        place = self.place[number]
        if place < 0:
            return
        part = self.array[self.ends[place] : self.ends[place + 1]]
        part = np.ascontiguousarray(np.moveaxis(part, 0, self.dim))
        data[self.name] = part.item() if part.dtype.kind == "U" else torch.as_tensor(part)


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
    no tensor is a JSON list, ``NAME:json``. Labels have their unit as ``NAME:unit``.

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
        if name in UNITS:
            arrays[f"{name}:unit"] = np.array(UNITS[name])
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
