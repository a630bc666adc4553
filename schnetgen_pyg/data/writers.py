"""Structure files, written whole or not at all; the suffix names the writer.

Everything that structures carry is kept where the format has a place for it: ``info`` and
``arrays`` in extxyz files and ASE databases, ``info`` as properties in SDF files and as columns in
CSV files. What a format has no place for is refused or said.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence, Sized
from pathlib import Path
from typing import IO, Any

import ase
import ase.io
from ase.io.formats import UnknownFileTypeError

from schnetgen_pyg.data.convert import write_stored
from schnetgen_pyg.data.database_rows import write_database
from schnetgen_pyg.data.molecule_tables import write_csv, write_sdf, write_smiles
from schnetgen_pyg.data.stored import SUFFIX
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.registry import nearest
from schnetgen_pyg.storage.atomic import is_stream, replacing, require_writable

Writer = Callable[[Path, Any], None]


def write_extxyz(file: Path | IO[str], structures: Sequence[ase.Atoms]) -> None:
    """Write frames of extended xyz. What is said of a structure stands in one line there: the line
    breaks of texts become spaces."""
    ase.io.write(file, [_in_one_line(atoms) for atoms in structures], format="extxyz")


def _in_one_line(atoms: ase.Atoms) -> ase.Atoms:
    info = {name: _without_breaks(value) for name, value in atoms.info.items()}
    if info == atoms.info:
        return atoms
    found = atoms.copy()
    found.info, found.calc = info, atoms.calc
    return found


def _without_breaks(value: Any) -> Any:
    if isinstance(value, str):
        return " ".join(value.splitlines())
    if isinstance(value, list):
        return [_without_breaks(one) for one in value]
    if isinstance(value, dict):
        return {name: _without_breaks(one) for name, one in value.items()}
    return value


#: Writers of suffixes, and of what has several of them; all other formats are ASE's.
WRITERS: dict[str, Writer] = {
    ".db": write_database,
    ".sdf": write_sdf,
    ".smi": write_smiles,
    ".csv": write_csv,
    "extxyz": write_extxyz,
    SUFFIX: write_stored,
}

#: Suffixes that messages and help texts name.
SUFFIXES = (".extxyz", ".xyz", ".db", ".sdf", ".smi", ".csv")


def file_format(path: str | os.PathLike[str]) -> str:
    """What a file of this name is: a suffix of `WRITERS`, or ASE's name of the format. A device or
    a pipe without suffix gets extxyz.

    Raises:
        InputError: if no format for several structures has this suffix, or no file can be written
            there; nothing has been computed then.
    """
    require_writable(path)
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix in WRITERS:
        return suffix
    if not suffix and is_stream(path):
        return "extxyz"
    try:
        name = str(ase.io.formats.filetype(path.name, read=False)) if suffix else ""
    except UnknownFileTypeError:
        name = ""
    known = ase.io.formats.ioformats.get(name)
    if known is None or not known.can_write or known.single:
        said = f"no format for several structures is known by the suffix {suffix!r}"
        said += nearest(suffix, list(SUFFIXES))
        said = said if suffix else "has no suffix that says which format to write"
        raise InputError(f"{path}: {said}; take {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
    return name


def write(path: str | os.PathLike[str], structures: Iterable[ase.Atoms]) -> None:
    """Write ASE structures atomically; the format follows the file's suffix.

    Raises:
        InputError: if it cannot be written, or the format has no place for what they are.
    """
    name = file_format(path)
    if isinstance(structures, Sized) and not len(structures):
        raise InputError(f"{path}: there is no structure to write; nothing was written")
    with replacing(path) as temporary:
        try:
            if name in WRITERS:
                WRITERS[name](temporary, structures if name == SUFFIX else list(structures))
            else:
                ase.io.write(temporary, list(structures), format=name)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        except (ValueError, TypeError, KeyError, AttributeError, NotImplementedError) as error:
            raise InputError(
                f"{path}: the structures cannot be written as {name.lstrip('.')} ({error}); take "
                ".extxyz or .db, which keep all that they carry"
            ) from error


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
