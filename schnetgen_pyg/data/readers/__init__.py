"""Structure files: the suffix names the reader.

A reader is a function from the path of a file to its structures, one ``Data`` each. It may stop
with any error; `read` says which file, and which structure. To add a format::

    from schnetgen_pyg.data.readers import READERS

    READERS.register(".mine", read_mine)

`schnetgen_pyg.testing.reader.check_reader` tells whether a reader keeps to this.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copyfileobj

import ase.io.formats
from torch_geometric.data import Data

from schnetgen_pyg.data.conversion import check
from schnetgen_pyg.data.readers.ase_formats import read_ase
from schnetgen_pyg.data.readers.database import read_database
from schnetgen_pyg.data.readers.npz import read_npz
from schnetgen_pyg.data.readers.qm9 import read_qm9
from schnetgen_pyg.data.readers.sdf import read_sdf
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.registry import Registry

Reader = Callable[[Path], Iterable[Data]]

#: Reader of each suffix, in lower case; the longest one that a name ends with counts. Files with
#: none of these are read by ASE.
READERS: Registry[Reader] = Registry(
    "reader",
    {
        ".xyz": read_ase,
        ".extxyz": read_ase,
        ".db": read_database,
        ".npz": read_npz,
        ".sdf": read_sdf,
        ".tar": read_qm9,
        ".tar.bz2": read_qm9,
        ".tar.gz": read_qm9,
    },
)

#: Files that are unpacked before they are read, unless a reader knows the whole suffix.
PACKED = (".gz", ".bz2", ".xz")


def find_reader(name: str) -> Reader | None:
    """The reader of the longest suffix that the name of a file ends with, if there is one."""
    known = [suffix for suffix in READERS if name.lower().endswith(suffix.lower())]
    return READERS[max(known, key=len)] if known else None


@contextmanager
def _unpacked(path: Path) -> Iterator[Path]:
    """The file as it was before it was packed, in a folder for the time being."""
    with tempfile.TemporaryDirectory() as folder:
        inner = Path(folder) / path.stem
        try:
            with (
                ase.io.formats.open_with_compression(str(path), "rb") as packed,
                inner.open("wb") as file,
            ):
                copyfileobj(packed, file)
        except EOFError as error:
            raise InputError(f"the archive is truncated ({error}); fetch it again") from error
        yield inner


def _structures(path: Path, reader: Reader | None) -> list[Data]:
    """The checked structures of a file; what is wrong is said without its name."""
    if not path.is_file():
        raise InputError("no such file")
    if path.stat().st_size == 0:
        raise InputError("the file is empty")
    known = find_reader(path.name)
    if known is None and path.suffix.lower() in PACKED:
        with _unpacked(path) as inner:
            return _structures(inner, reader)
    structures = []
    for number, data in enumerate((reader or known or read_ase)(path)):
        if not isinstance(data, Data):
            raise InputError(
                f"structure {number}: the reader gave {type(data).__name__}, but it has to give "
                "torch_geometric Data (from_ase converts ASE's Atoms)"
            )
        structures.append(check(data, f"structure {number}"))
    if not structures:
        raise InputError("holds no structure")
    return structures


def read(path: str | os.PathLike[str], reader: Reader | None = None) -> list[Data]:
    """Read every structure of a file, also one packed by gzip, bzip2 or xz.

    Args:
        path: of the file; its suffix chooses from `READERS`, and ASE reads what they do not know.
        reader: one to take instead.

    Returns:
        list of ``Data`` with ``z``, ``pos`` (Å) and, where the file has them, ``energy`` (eV),
        ``forces`` (eV/Å), ``cell`` (Å) and more.

    Raises:
        InputError: naming the file, and the structure where one is at fault.
    """
    path = Path(path)
    try:
        return _structures(path, reader)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except Exception as error:
        raise InputError(
            f"{path}: cannot be read as a structure file ({type(error).__name__}: {error})"
        ) from error
