"""Molecules as PyG ``Data(z, pos)``, and the door through which they come in and go out.

Everything behind this module sees atomic numbers ``z`` [num_atoms] (int64) and positions ``pos``
[num_atoms, 3] (float32, Å). Where there are labels, ``energy`` is in eV (float64) and ``forces``
[num_atoms, 3] in eV/Å (float32). The default type of torch changes none of this. Files, ASE and
RDKit objects are converted and checked here, once.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import NoneType
from typing import Any

import ase
import numpy as np
import torch
from ase.spacegroup import Spacegroup
from ase.stress import full_3x3_to_voigt_6_stress, voigt_6_to_full_3x3_stress
from torch import Tensor
from torch_geometric.data import Batch, Data

from schnetgen_pyg.chem.elements import MAX_ATOMIC_NUMBER
from schnetgen_pyg.data.electrons import state_electrons
from schnetgen_pyg.data.origin import named
from schnetgen_pyg.data.stored import StoredStructures
from schnetgen_pyg.errors import InputError

#: Labels and the cell: shape of a structure with n atoms, and type.
SHAPES: dict[str, tuple[Callable[[int], tuple[int, ...]], torch.dtype]] = {
    "energy": (lambda n: (1,), torch.float64),
    "forces": (lambda n: (n, 3), torch.float32),
    "stress": (lambda n: (1, 3, 3), torch.float32),
    "cell": (lambda n: (1, 3, 3), torch.float32),
}

#: Part of its largest entry, and more (eV/Å³), by which a stress may be asymmetric: noise is.
ASYMMETRY = (0.1, 1e-5)

#: Attributes of a graph's structure, not of its atoms, by a part of their names.
NO_COLUMNS = ("edge", "index", "face", "adj", "batch", "ptr")

#: Columns of ASE's own, which are such also of a single atom.
ASE_COLUMNS = ("masses", "momenta", "tags", "initial_charges", "initial_magmoms", "charges")

#: Attributes that are no columns of atoms, or that ASE has places of its own for.
KNOWN = {*SHAPES, "z", "pos", "info", "charge", "spin_multiplicity", "dipole"}


def check(data: Data, where: str = "structure") -> Data:
    """Check one structure and give it the library's dtypes; extra attributes are kept.

    Args:
        data: ``z`` [num_atoms] and ``pos`` [num_atoms, 3] in Å; where there are labels, ``energy``
            of one number, ``forces`` [num_atoms, 3], ``stress`` and ``cell`` [3, 3] or [1, 3, 3];
            a stress may also be xx, yy, zz, yz, xz, xy as ASE has it (Voigt), or the nine numbers
            of its rows. ``charge`` and ``spin_multiplicity`` as attributes or in ``info``.
        where: how the message names the structure.

    Raises:
        InputError: naming the structure and the offending value: a wrong shape, what is not finite,
            or a charge or multiplicity that cannot be (`schnetgen_pyg.chem.electrons`).
    """
    values = data.to_dict()
    z, pos = values.get("z"), values.get("pos")
    if z is None or pos is None:
        missing = "z" if z is None else "pos"
        raise InputError(f"{where}: has no {missing!r}; Data needs z (atomic numbers) and pos (Å)")
    for name, value in (("z", z), ("pos", pos)):
        if not isinstance(value, Tensor) or value.is_complex():
            raise InputError(
                f"{where}: `{name}` must be a tensor of real numbers, got {type(value).__name__} "
                f"of {getattr(value, 'dtype', 'objects')}; torch.as_tensor converts arrays"
            )
    if z.dim() != 1 or z.numel() == 0:
        raise InputError(
            f"{where}: `z` must have shape [num_atoms] with at least one atom, got {list(z.shape)}"
        )
    if pos.shape != (z.numel(), 3):
        raise InputError(
            f"{where}: `pos` must have shape [num_atoms, 3] = [{z.numel()}, 3], "
            f"got {list(pos.shape)}"
        )
    if not _finite(pos):
        atom = int((~torch.isfinite(pos)).any(1).nonzero()[0])
        raise InputError(
            f"{where}: the position of atom {atom} is not finite: {pos[atom].tolist()}"
        )
    if z.is_floating_point() and not torch.equal(z, z.round()):
        atom = int((z != z.round()).nonzero()[0])
        raise InputError(f"{where}: the atomic number of atom {atom} is {float(z[atom])}")
    if not isinstance(values.get("info", {}), (dict, NoneType)):
        raise InputError(f"{where}: `info` must be a dict, got {type(values['info']).__name__}")
    outside = (z < 1) | (z > MAX_ATOMIC_NUMBER)
    if outside.any():
        atom = int(outside.nonzero()[0])
        raise InputError(
            f"{where}: atom {atom} has atomic number {int(z[atom])}, "
            f"expected 1 to {MAX_ATOMIC_NUMBER}"
        )
    checked = {"z": z.long(), "pos": pos.float()}
    for name in SHAPES:
        if values.get(name) is not None:
            checked[name] = _shaped(values[name], name, z.numel(), where)
    _check_cell(checked.get("cell"), where)
    for name, value in checked.items():
        if value is not values[name]:
            data[name] = value
    return state_electrons(data, where)


def _finite(values: Tensor) -> bool:
    """Whether all are; a finite sum says so faster."""
    return math.isfinite(values.sum()) or bool(torch.isfinite(values).all())


def _shaped(value: Any, name: str, num_atoms: int, where: str) -> Tensor:
    """A label in its shape and type, which has to be finite."""
    shape, dtype = SHAPES[name][0](num_atoms), SHAPES[name][1]
    try:
        if isinstance(value, bool):
            raise ValueError
        if not isinstance(value, Tensor):
            value = torch.tensor(np.array(value, dtype=np.float64))
        found = value.to(dtype)
    except (TypeError, ValueError):
        raise InputError(
            f"{where}: {name} must be a number, got {value!r}; correct it, or leave it out"
        ) from None
    if name == "stress" and found.numel() in (6, 9):
        found = _full_stress(found, where)
    fits = found.shape in (shape, shape[1:]) or found.numel() == 1 == math.prod(shape)
    if not fits or (name == "forces" and found.dim() < 2):
        raise InputError(
            f"{where}: {name} must have shape {list(shape)}, got {list(found.shape)}; correct it, "
            f"or leave it out{' (six numbers are xx yy zz yz xz xy)' * (name == 'stress')}"
        )
    if not _finite(found):
        place = (~torch.isfinite(found)).nonzero()[0].tolist()
        atom = f" of atom {place[0]}" if name == "forces" else ""
        raise InputError(
            f"{where}: {name}{atom} is not finite: {float(found[tuple(place)])}; leave the "
            "structure out"
        )
    return found if found.shape == shape else found.reshape(shape)


def _full_stress(value: Tensor, where: str) -> Tensor:
    """A stress of six numbers (Voigt, in ASE's order) or nine, [1, 3, 3]."""
    if value.numel() == 6:
        full = voigt_6_to_full_3x3_stress(value.detach().cpu().reshape(6).numpy())
        return torch.as_tensor(full, dtype=value.dtype).unsqueeze(0)
    full = value.reshape(1, 3, 3)
    require_symmetric(full[0], where)
    return full


def require_symmetric(stress: Tensor, where: str) -> None:
    """Refuse nine numbers [3, 3] that are no stress.

    Raises:
        InputError: with the numbers.
    """
    part, more = ASYMMETRY
    if (stress - stress.mT).abs().max() > part * stress.abs().max() + more:
        raise InputError(
            f"{where}: the stress {stress.tolist()} is not symmetric; correct it, or leave it out"
        )


def _check_cell(cell: Tensor | None, where: str) -> None:
    """Refuse vectors that span nothing; rows of zeros are directions without periodicity."""
    if cell is None:
        return
    vectors = cell.reshape(3, 3).double()
    vectors = vectors[vectors.any(1)]
    if len(vectors) > 1 and torch.linalg.matrix_rank(vectors) < len(vectors):
        raise InputError(
            f"{where}: the cell vectors {vectors.tolist()} lie in one "
            f"{'plane' if len(vectors) > 2 else 'line'}; correct the cell"
        )


def from_ase(atoms: ase.Atoms, where: str = "structure") -> Data:
    """Convert ASE ``Atoms`` to ``Data`` with all that they say.

    ``z`` and ``pos``; ``energy`` (eV), ``forces`` (eV/Å), ``stress`` and other results of a
    calculator; ``info``, with arrays as lists; columns of atoms, such as ``masses``, by their
    names; ``charge`` and ``spin_multiplicity`` where ``info``, or the initial charges, state them.
    Periodic ones have ``cell`` [1, 3, 3] (Å), with a row of zeros for each direction without
    periodicity.

    Raises:
        InputError: naming the structure and the offending value.
    """
    return check(convert(atoms, where), where)


def convert(atoms: ase.Atoms, where: str) -> Data:
    """`from_ase` without `check`, for readers, whose structures are checked afterwards."""
    data = Data(
        z=torch.as_tensor(atoms.numbers, dtype=torch.long),
        pos=torch.as_tensor(atoms.positions, dtype=torch.float32),
    )
    data.info = {key: _plain(value) for key, value in atoms.info.items()}
    for name, array in atoms.arrays.items():
        if name not in ("numbers", "positions"):
            _set_column(data, name, array)
    for name, value in getattr(atoms.calc, "results", {}).items():
        _set_result(data, name, value)
    if atoms.pbc.any():
        if not atoms.cell.array[atoms.pbc].any(1).all():
            raise InputError(
                f"{where}: periodic (pbc {atoms.pbc.tolist()}) without a cell; give it one, or "
                "set pbc to false"
            )
        cell = np.where(atoms.pbc[:, None], atoms.cell.array, 0.0)
        data.cell = torch.as_tensor(cell, dtype=torch.float32).unsqueeze(0)
    if atoms.constraints:
        warnings.warn("constraints of atoms are not kept: all atoms are free to move", stacklevel=2)
    initial = (atoms.arrays.get(f"initial_{name}") for name in ("charges", "magmoms"))
    state_electrons(data, where, *initial)
    return data


def _plain(value: Any) -> Any:
    """A value of ``info`` as JSON has it."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if value is None or isinstance(value, (str, int, float, list, dict)):
        return value
    if isinstance(value, Spacegroup):
        return value.symbol
    return list(value) if isinstance(value, tuple) else str(value)


def _set_column(data: Data, name: str, array: np.ndarray) -> None:
    """Keep a column of atoms under its name: a tensor, or a list of texts."""
    if name.startswith("_") or name in (*KNOWN, "batch", "ptr", "num_nodes"):
        name = f"column_{name}"  # PyG, or the library, has other uses for the name
    if array.dtype.kind in "biuf":
        data[name] = torch.as_tensor(array)
    else:
        data[name] = [str(value) for value in array.tolist()]


def _set_result(data: Data, name: str, value: Any) -> None:
    """Keep what a calculator found: labels, vectors of the structure, columns, numbers in info."""
    if value is None:
        return
    if name in ("energy", "forces"):
        data[name] = value
        return
    array = np.asarray(value)
    if name == "stress":
        data.stress = torch.as_tensor(array)
    elif array.ndim and array.shape[0] == data.z.numel() and name != "dipole":
        _set_column(data, name, array)
    elif array.ndim:
        data[name] = torch.as_tensor(array).unsqueeze(0)
    else:
        data.info[name] = _plain(value)


def to_ase(data: Data) -> ase.Atoms:
    """Convert ``Data(z, pos)`` to ASE ``Atoms`` with what `from_ase` keeps: a single-point
    calculator holds energy, forces, stress and dipole, ``info`` charge, multiplicity and all other
    numbers of the molecule, ``arrays`` the columns of atoms."""
    cell = data.get("cell")
    cell = None if cell is None else cell.detach().cpu().double().reshape(3, 3).numpy()
    info = dict(_numbers(data)) | (data.get("info") or {})
    for name in ("charge", "spin_multiplicity"):
        if isinstance(data.get(name), int):
            info[name] = data[name]
    atoms = ase.Atoms(
        data.z.tolist(),
        data.pos.detach().cpu().double().numpy(),
        info=info,
        cell=cell,
        pbc=None if cell is None else cell.any(1),
    )
    for name, column in _columns(data):
        atoms.set_array(name, column)
    if data.get("energy") is not None:
        from ase.calculators.singlepoint import SinglePointCalculator

        results: dict[str, Any] = {"energy": float(data.energy)}
        for name, rank in (("forces", 2), ("stress", 2), ("dipole", 1)):
            if data.get(name) is not None:
                array = data[name].detach().cpu().double().numpy()
                results[name] = array.reshape(array.shape[-rank:])
        if "stress" in results:
            results["stress"] = full_3x3_to_voigt_6_stress(results["stress"])
        atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def _numbers(data: Data) -> Iterator[tuple[str, int | float]]:
    """Attributes that are one number of the molecule."""
    for name, value in data.to_dict().items():
        if name in (*KNOWN, "num_nodes"):
            continue
        if isinstance(value, Tensor) and (not value.dim() or value.shape == (1,) != data.z.shape):
            value = value.item()
        if isinstance(value, int | float):
            yield name, value


def _columns(data: Data) -> Iterator[tuple[str, np.ndarray]]:
    """Attributes with a row of at most one dimension for each atom."""
    num_atoms = data.z.numel()
    for name, value in data.to_dict().items():
        if name in KNOWN or any(part in name for part in NO_COLUMNS):
            continue
        if num_atoms == 1 and name not in ASE_COLUMNS:
            continue  # which are of the atom, and which of the structure, cannot be told
        if isinstance(value, Tensor) and value.shape[:1] == (num_atoms,) and value.dim() < 3:
            yield name, value.detach().cpu().numpy()
        elif (
            isinstance(value, list)
            and len(value) == num_atoms
            and all(isinstance(text, str) for text in value)
        ):
            yield name, np.array(value)


def checked(structures: Iterable[Any], where: str = "structure") -> Sequence[Data]:
    """`as_data`, or structures that stay in their file: they were checked when it was made."""
    return structures if isinstance(structures, StoredStructures) else as_data(structures, where)


def as_data(structures: Iterable[Any], where: str = "structure", first: int = 0) -> list[Data]:
    """Structures of any accepted kind (``Data``, a PyG ``Batch`` or dataset, ASE ``Atoms``)
    as a list of checked ``Data``.

    Args:
        structures: one or several.
        where: how messages name one that is from no file, before its number.
        first: number of the first in messages.

    Raises:
        InputError: if there is none, or naming the one that cannot be used.
    """
    if isinstance(structures, (Data, ase.Atoms)):
        structures = [structures]
    if not isinstance(structures, Iterable) or isinstance(structures, (str, bytes)):
        raise InputError(
            f"expected torch_geometric Data, ase.Atoms or a list of them, got {structures!r}"
        )
    single: list[Any] = []
    for item in structures:
        single += item.to_data_list() if isinstance(item, Batch) else [item]
    if not single:
        raise InputError(f"there is no {where}: an empty list was given; give at least one")
    result = []
    for index, item in enumerate(single, first):
        name = f"{where} {index}"
        if isinstance(item, Data):
            name = named(item, name)
            result.append(check(item.clone(), name))
        elif isinstance(item, ase.Atoms):
            result.append(from_ase(item, name))
        else:
            raise InputError(
                f"{name}: expected torch_geometric Data or ase.Atoms, got {type(item).__name__}"
            )
    return result
