"""Molecules as PyG ``Data(z, pos)``, and the door through which they come in and go out.

Everything behind this module sees atomic numbers ``z`` [num_atoms] (int64) and positions
``pos`` [num_atoms, 3] (float32, Å). Energies are in eV. Files, ASE and RDKit objects are
converted and checked here, once.
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import ase
import ase.data
import ase.formula
import ase.io
import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Batch, Data

MAX_ATOMIC_NUMBER = 100


def require(condition: bool, name: str, value: object, expected: str) -> None:
    """Refuse a setting: the message names it, its value and what is expected."""
    if not condition:
        raise InputError(f"{name} must be {expected}, got {value}")


class InputError(ValueError):
    """Input that cannot be used; the message names what is wrong, where, and the way out."""


def symbols(numbers: Iterable[int]) -> str:
    """Chemical formula in Hill order, e.g. ``C7H10O2``."""
    return ase.formula.Formula.from_list(
        [ase.data.chemical_symbols[int(n)] for n in numbers]
    ).format("hill")


def parse_formula(formula: str) -> Tensor:
    """Atomic numbers of a chemical formula, heaviest elements' symbols in the order written.

    Args:
        formula: such as ``"C7H10O2"``.

    Returns:
        int64 tensor [num_atoms].

    Raises:
        InputError: if the text is no formula.
    """
    try:
        counts = ase.formula.Formula(formula.strip()).count()
    except Exception as error:
        raise InputError(
            f"{formula!r} is not a chemical formula; write element symbols with counts, "
            "such as C7H10O2"
        ) from error
    if not sum(counts.values()):
        raise InputError("the formula is empty; write one such as C7H10O2")
    unknown = [s for s in counts if s not in ase.data.atomic_numbers or s == "X"]
    if unknown:
        raise InputError(f"{formula!r} has unknown element symbols: {', '.join(unknown)}")
    return torch.tensor(
        [ase.data.atomic_numbers[s] for s, count in counts.items() for _ in range(count)],
        dtype=torch.long,
    )


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


def _read_sdf(content: bytes) -> Iterator[ase.Atoms | None]:
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        for mol in Chem.ForwardSDMolSupplier(io.BytesIO(content), sanitize=False, removeHs=False):
            yield (
                None
                if mol is None
                else ase.Atoms(
                    [atom.GetAtomicNum() for atom in mol.GetAtoms()],
                    mol.GetConformer().GetPositions(),
                )
            )


def _read_frames(path: Path) -> Sequence[ase.Atoms | None]:
    # Unpacked at once: ASE seeks back and forth, which an archive pays for.
    packed = path.suffix.lower() in (".gz", ".bz2", ".xz")
    inner = Path(path.stem) if packed else path
    if inner.suffix.lower() == ".sdf":
        with ase.io.formats.open_with_compression(str(path), "rb") as file:
            return list(_read_sdf(file.read()))
    if not packed:
        return ase.io.read(path, index=":")
    with ase.io.formats.open_with_compression(str(path), "r") as file:
        text = io.StringIO(file.read())
    return ase.io.read(text, index=":", format=ase.io.formats.filetype(inner.name, read=False))


def read(path: str | os.PathLike[str]) -> list[Data]:
    """Read every structure of a file: SDF through RDKit, all else through ASE (xyz, extxyz,
    db, …; also gzipped).

    Raises:
        InputError: naming the file, and the structure where one is at fault.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty")
    try:
        frames = _read_frames(path)
    except EOFError as error:
        raise InputError(f"{path}: the archive is truncated ({error}); fetch it again") from error
    except Exception as error:
        raise InputError(
            f"{path}: cannot be read as a structure file ({type(error).__name__}: {error})"
        ) from error
    if not frames:
        raise InputError(f"{path}: holds no structure")
    structures = []
    for index, atoms in enumerate(frames):
        if atoms is None:
            raise InputError(f"{path}: structure {index} is not a valid SDF record")
        structures.append(from_ase(atoms, f"{path}: structure {index}"))
    return structures


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside ``path`` and rename it over ``path`` on success.

    A reader sees the old file or the whole new one; on any error (a full disk, say) the old
    file stays and the temporary one is removed.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".partial-", suffix=path.name)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(
            f"{path}: could not be written ({error}); what was there before is unchanged"
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def file_format(path: str | os.PathLike[str]) -> str:
    """ASE's name of the format that the suffix stands for.

    Raises:
        InputError: if ASE writes no such format.
    """
    name = str(ase.io.formats.filetype(str(path), read=False))
    known = ase.io.formats.ioformats.get(name)
    if known is None or not known.can_write or known.single:
        raise InputError(
            f"{path}: no format for several structures is known by this suffix; take .extxyz, "
            ".xyz or .db"
        )
    return name


def write(path: str | os.PathLike[str], structures: Sequence[ase.Atoms]) -> None:
    """Write ASE structures atomically; the format follows the file's suffix."""
    name = file_format(path)
    with replacing(path) as temporary:
        ase.io.write(temporary, list(structures), format=name)


def keep_whole_frames(path: str | os.PathLike[str]) -> int:
    """Cut an xyz file after its last complete frame; return the number of frames."""
    path = Path(path)
    if not path.is_file():
        return 0
    lines = path.read_bytes().splitlines(keepends=True)
    frames = end = 0
    while end < len(lines) and lines[end].strip().isdigit():
        stop = end + 2 + int(lines[end])
        if stop > len(lines) or not lines[stop - 1].endswith(b"\n"):
            break
        frames, end = frames + 1, stop
    os.truncate(path, sum(map(len, lines[:end])))
    return frames
