"""Everything that ASE reads."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path

import ase
import ase.data
import ase.formula
import ase.io
from torch_geometric.data import Data

from schnetgen_pyg.data.conversion import from_ase
from schnetgen_pyg.data.readers.sdf import _read_sdf
from schnetgen_pyg.errors import InputError


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
