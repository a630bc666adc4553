"""Structure files, written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import ase
import ase.data
import ase.formula
import ase.io

from schnetgen_pyg.errors import InputError
from schnetgen_pyg.storage.atomic import replacing


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
