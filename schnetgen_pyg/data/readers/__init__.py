"""Structure files: the suffix names the reader.

A reader is a function from the path of a file to its structures, one ``Data`` each, all that the
file has. It may stop with any error; `read` says which file, and which structure. Labels in other
units than the library's it may leave as they are and name the unit
(`schnetgen_pyg.data.labels`). To add a format::

    from schnetgen_pyg.data.readers import READERS

    READERS.register(".mine", read_mine)

`schnetgen_pyg.testing.reader.check_reader` tells whether a reader keeps to this.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copyfileobj
from typing import Any

from ase.io.formats import UnknownFileTypeError
from torch_geometric.data import Data

from schnetgen_pyg.data.coincidence import require_molecules
from schnetgen_pyg.data.conversion import check
from schnetgen_pyg.data.labels import Labels, is_numeric
from schnetgen_pyg.data.origin import keep_origin
from schnetgen_pyg.data.readers.ase_formats import read_ase
from schnetgen_pyg.data.readers.database import read_database
from schnetgen_pyg.data.readers.npz import read_npz
from schnetgen_pyg.data.readers.qm9 import read_qm9
from schnetgen_pyg.data.readers.sdf import read_sdf
from schnetgen_pyg.data.readers.smiles import read_smiles, read_smiles_table
from schnetgen_pyg.data.readers.stored import read_stored
from schnetgen_pyg.data.readers.xyz import read_xyz
from schnetgen_pyg.data.units import LIBRARY
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.parallel import grouped
from schnetgen_pyg.registry import Registry, nearest

Reader = Callable[[Path], Iterable[Data]]

#: Reader of each suffix, in lower case; the longest one that a name ends with counts. Files with
#: none of these are read by ASE.
READERS: Registry[Reader] = Registry(
    "reader",
    {
        ".xyz": read_xyz,
        ".extxyz": read_xyz,
        ".db": read_database,
        ".json": read_database,
        ".npz": read_npz,
        ".sdf": read_sdf,
        ".sd": read_sdf,
        ".mol": read_sdf,
        ".smi": read_smiles,
        ".csv": read_smiles_table,
        ".safetensors": read_stored,
        ".tar": read_qm9,
        ".tar.bz2": read_qm9,
        ".tar.gz": read_qm9,
    },
)

#: Most kinds of texts in place of labels that are told of a file.
MAX_WARNINGS = 3

#: Files that are unpacked before they are read, unless a reader knows the whole suffix.
PACKED: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}

#: Structures that are checked together.
CHUNK = 500


def find_reader(name: str) -> Reader | None:
    """The reader of the longest suffix that the name of a file ends with, if there is one."""
    known = [suffix for suffix in READERS if name.lower().endswith(suffix.lower())]
    return READERS[max(known, key=len)] if known else None


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """The file as it was before it was packed, in a folder for the time being."""
    with tempfile.TemporaryDirectory() as folder:
        inner = Path(folder) / path.stem
        try:
            with PACKED[path.suffix.lower()](path, "rb") as packed, inner.open("wb") as file:
                copyfileobj(packed, file)
        except EOFError as error:
            raise InputError(f"the archive is truncated ({error}); fetch it again") from error
        yield inner


def _structures(path: Path, reader: Reader | None, labels: Labels) -> Iterator[Data]:
    """The checked structures of a file; what is wrong is said without its name."""
    if not path.is_file():
        raise InputError("is a folder; name a file in it" if path.is_dir() else "no such file")
    if path.stat().st_size == 0:
        raise InputError("the file is empty")
    known = find_reader(path.name)
    if known is None and path.suffix.lower() in PACKED:
        with unpacked(path) as inner:
            yield from _structures(inner, reader, labels)
        return
    found, there, first, count, texts = set(), set(), None, 0, _Texts()
    for chunk in grouped((reader or known or read_ase)(path), CHUNK):
        for number, data in enumerate(chunk, count):
            where = f"structure {number}"
            if not isinstance(data, Data):
                raise InputError(
                    f"{where}: the reader gave {type(data).__name__}, but it has to give "
                    "torch_geometric Data (from_ase converts ASE's Atoms)"
                )
            found |= labels.apply(data, where)
            check(data, where)
            found |= {label for label in labels.keys if data.get(label) is not None}
            there |= {str(key) for key in (*data.keys(), *data.get("info", {}))}
            texts.add(number, data)
        require_molecules(chunk, first=count)
        first = first or {*chunk[0].to_dict(), *chunk[0].get("info", {})}
        count += len(chunk)
        yield from chunk
    if first is None:
        raise InputError("holds no structure")
    texts.tell(path)
    for name in labels.units.keys() - LIBRARY.keys() - there:
        raise InputError(
            f"no structure has {name!r}, of which units state the unit"
            f"{nearest(name, sorted({*there, *LIBRARY}))}"
        )
    for label, key in labels.keys.items():
        if label not in found:
            raise InputError(
                f"no structure has {key!r}, which keys name as the {label}"
                f"{nearest(key, sorted(first))}; the first one has {', '.join(sorted(first))}"
            )


def stream(
    path: str | os.PathLike[str], reader: Reader | None = None, labels: Labels | None = None
) -> Iterator[Data]:
    """`read`, one structure after the other: what is wrong with a later one, or with the file as
    a whole, is said when it comes."""
    path = Path(path)
    try:
        for number, data in enumerate(_structures(path, reader, labels or Labels())):
            keep_origin(data, path, number)
            yield data
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except UnknownFileTypeError as error:
        raise InputError(
            f"{path}: cannot be read as a structure file: no reader knows {path.suffix!r}; convert "
            "it to .extxyz or .sdf, or register a reader of your own"
        ) from error
    except Exception as error:
        raise InputError(
            f"{path}: cannot be read as a structure file ({type(error).__name__}: {error})"
        ) from error


class _Texts:
    """Labels in ``info``: energies without a unit, and what is called a label but is no number."""

    def __init__(self) -> None:
        #: Of what is told, the first structure and how many there are.
        self._told: dict[str, tuple[int, int]] = {}

    def add(self, number: int, data: Data) -> None:
        info = data.get("info") or {}
        for name in ("energy", "forces", "stress"):
            if info.get(name) is None or data.get(name) is not None:
                continue
            if not is_numeric(info[name]):
                words = (
                    f"the {name} {str(info[name])[:40]!r}, no number: it stays text in info, and "
                    "is no label"
                )
            elif name == "energy":
                words = (
                    "an energy without a unit; it counts as eV. Say another: units={'energy': …}, "
                    "--units energy=…"
                )
            else:
                continue
            if words in self._told or len(self._told) < MAX_WARNINGS:
                first, count = self._told.get(words, (number, 0))
                self._told[words] = first, count + 1

    def tell(self, path: Path) -> None:
        """Warn of what was found."""
        for words, (first, count) in self._told.items():
            others = f" (and {count - 1:,} others)" if count > 1 else ""
            warnings.warn(f"{path.name}: structure {first}{others} has {words}", stacklevel=2)


def read(
    path: str | os.PathLike[str], reader: Reader | None = None, labels: Labels | None = None
) -> list[Data]:
    """Read every structure of a file, also one packed by gzip, bzip2 or xz.

    Args:
        path: of the file; its suffix chooses from `READERS`, and ASE reads what they do not know.
        reader: one to take instead.
        labels: names and units of labels, where they are not the library's.

    Returns:
        list of ``Data`` with ``z``, ``pos`` (Å) and, where the file has them, ``energy`` (eV),
        ``forces`` (eV/Å), ``cell`` (Å), ``charge`` (e), ``spin_multiplicity`` and more.

    Raises:
        InputError: naming the file, and the structure where one is at fault.
    """
    return list(stream(path, reader, labels))
