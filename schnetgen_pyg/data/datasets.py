"""Data sets by their name, and files, cached once read."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from torch_geometric.data import Data

from schnetgen_pyg.data.download import _figshare, cache_folder, download
from schnetgen_pyg.data.readers.any import read_any
from schnetgen_pyg.data.readers.ase_formats import read
from schnetgen_pyg.data.readers.npz import (
    _read_npz,
    save_npz,
)
from schnetgen_pyg.errors import InputError

EMBEDDED = Path(__file__).parent / "embedded" / "c7h10o2-xtb.extxyz.gz"


#: QM9 (Ramakrishnan et al., Sci. Data 1, 140022, 2014), figshare collection 978904, CC0.
QM9 = _figshare("dsgdb9nsd.xyz.tar.bz2", 3195389, "ad1ebd51ee7f5b3a6e32e974e5d54012")


#: Its 6,095 isomers of C7H10O2; energies at the G4MP2 level.
QM9_ISOMERS = _figshare("dsC7O2H10nsd.xyz.tar.bz2", 3195398, "c750c9f3832e6f63ad64bfb3bd12a045")


#: Indices of QM9's 3,054 molecules whose geometry disagrees with their SMILES.
QM9_EXCLUDED = _figshare("uncharacterized.txt", 3195404, "a361887bacb427b8a0ce7903d92a53b4")


#: What `load` and ``--data`` know by name.
NAMES = {
    "c7h10o2-xtb": "the embedded isomers of C7H10O2, GFN2-xTB (made by this project)",
    "qm9": "QM9, B3LYP/6-31G(2df,p), without its 3,054 uncharacterized molecules",
    "qm9-c7h10o2": "QM9's 6,095 isomers of C7H10O2, energies at G4MP2",
}


def _read_cached(path: Path) -> list[Data]:
    """`read_any`, with large files kept in parsed form."""
    if not path.is_file() or path.suffix == ".npz" or path.stat().st_size < 2**20:
        return read_any(path)
    status = path.stat()
    text = f"4 {path.resolve()} {status.st_size} {status.st_mtime_ns}"
    cached = cache_folder() / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.npz"
    if cached.is_file():
        try:
            return _read_npz(cached)
        except InputError:
            cached.unlink()
    structures = read_any(path)
    # Without room or the right to write there, the next call reads the file again.
    with contextlib.suppress(InputError, OSError):
        save_npz(cached, structures)
    return structures


def _qm9(path: Path | None) -> list[Data]:
    beside = path.with_name(QM9_EXCLUDED.name) if path is not None else None
    listing = download(QM9_EXCLUDED, beside if beside is not None and beside.is_file() else None)
    first_words = [line.split()[0] for line in listing.read_text().splitlines() if line.split()]
    excluded = {int(word) for word in first_words if word.isdigit()}
    archive = download(QM9, path)
    # Cached structures keep the archive's order, in which record k is molecule k + 1.
    return [d for k, d in enumerate(_read_cached(archive), 1) if k not in excluded]


def load(
    *sources: str | os.PathLike[str], path: str | os.PathLike[str] | None = None
) -> list[Data]:
    """Load data sets by name or file, one after the other.

    Args:
        sources: names (`NAMES`) or files: anything ASE reads (also gzipped), SDF, the QM9
            archives as published, PyG's ``gdb9.sdf``, ISO17's databases, npz of MD17 and rMD17.
        path: for a name, the published archive where it is already on the disk.

    Returns:
        list of ``Data`` with ``z``, ``pos`` (Å) and, where known, ``energy`` (eV),
        ``forces`` (eV/Å) and ``cell`` (Å).

    Raises:
        InputError: naming the file, the structure and what is wrong.
    """
    structures: list[Data] = []
    given = Path(path) if path is not None else None
    for source in sources:
        if source == "c7h10o2-xtb":
            structures += read(EMBEDDED)
        elif source == "qm9":
            structures += _qm9(given)
        elif source == "qm9-c7h10o2":
            structures += _read_cached(download(QM9_ISOMERS, given))
        elif not Path(source).is_file():
            raise InputError(f"{source}: no such file (nor a known data set: {', '.join(NAMES)})")
        else:
            structures += _read_cached(Path(source))
    return structures
