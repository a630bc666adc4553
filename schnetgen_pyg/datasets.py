"""Data sets: the embedded isomers, QM9 and any structure file, cached once read."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase.data
import ase.db
import ase.units
import numpy as np
import pooch
import torch
from torch_geometric.data import Data

from .structures import InputError, check, from_ase, read, replacing

EMBEDDED = Path(__file__).parent / "data" / "c7h10o2-xtb.extxyz.gz"


@dataclass(frozen=True)
class Remote:
    """A published file: where it is, and what it must be."""

    name: str
    md5: str
    addresses: tuple[str, ...]


def _figshare(name: str, number: int, md5: str) -> Remote:
    hosts = ("https://ndownloader.figshare.com", "https://springernature.figshare.com/ndownloader")
    return Remote(name, md5, tuple(f"{host}/files/{number}" for host in hosts))


#: QM9 (Ramakrishnan et al., Sci. Data 1, 140022, 2014), figshare collection 978904, CC0.
QM9 = _figshare("dsgdb9nsd.xyz.tar.bz2", 3195389, "ad1ebd51ee7f5b3a6e32e974e5d54012")
#: Its 6,095 isomers of C7H10O2; energies at the G4MP2 level.
QM9_ISOMERS = _figshare("dsC7O2H10nsd.xyz.tar.bz2", 3195398, "c750c9f3832e6f63ad64bfb3bd12a045")
#: Indices of QM9's 3,054 molecules whose geometry disagrees with their SMILES.
QM9_EXCLUDED = _figshare("uncharacterized.txt", 3195404, "a361887bacb427b8a0ce7903d92a53b4")

#: What a cached structure is made of: name, whether it has a row per atom, how it is read.
COLUMNS: tuple[tuple[str, bool, Callable[[np.ndarray], Any]], ...] = (
    ("z", True, torch.as_tensor),
    ("pos", True, torch.as_tensor),
    ("energy", False, lambda value: torch.as_tensor(value, dtype=torch.float64)),
    ("forces", True, torch.as_tensor),
    ("cell", False, torch.as_tensor),
    ("index", False, lambda value: int(value[0])),
)

#: What `load` and ``--data`` know by name.
NAMES = {
    "c7h10o2-xtb": "the embedded isomers of C7H10O2, GFN2-xTB (made by this project)",
    "qm9": "QM9, B3LYP/6-31G(2df,p), without its 3,054 uncharacterized molecules",
    "qm9-c7h10o2": "QM9's 6,095 isomers of C7H10O2, energies at G4MP2",
}


def cache_folder() -> Path:
    """Where downloads and parsed files are kept; ``SCHNETGEN_CACHE`` overrides it."""
    return Path(os.environ.get("SCHNETGEN_CACHE") or pooch.os_cache("schnetgen_pyg"))


def download(remote: Remote, path: str | os.PathLike[str] | None = None) -> Path:
    """A published file, checked: the one at ``path``, or fetched into the cache.

    Raises:
        InputError: for a wrong checksum, or without network.
    """
    if path is not None:
        path = Path(path)
        if not path.is_file():
            raise InputError(f"{path}: no such file")
        found = pooch.file_hash(str(path), alg="md5")
        if found != remote.md5:
            raise InputError(
                f"{path}: checksum {found}, but {remote.name} has {remote.md5}; the "
                "file is damaged or another one, fetch it again"
            )
        return path
    failures = []
    for address in remote.addresses:
        try:
            return Path(
                pooch.retrieve(
                    address,
                    f"md5:{remote.md5}",
                    fname=remote.name,
                    path=cache_folder(),
                    progressbar=True,
                )
            )
        except Exception as error:
            failures.append(f"{address}: {type(error).__name__}")
    raise InputError(
        f"{remote.name} could not be fetched ({'; '.join(failures)}). Without a "
        "network, fetch it elsewhere and give the file's path instead"
    )


def _parse_qm9(text: str, where: str) -> Data:
    """One record of QM9: XYZ with a fifth column and numbers such as ``1.2*^-6``."""
    try:
        lines = text.replace("*^", "e").splitlines()
        count = int(lines[0])
        properties = lines[1].split()
        rows = [line.split() for line in lines[2 : 2 + count]]
        if len(rows) != count:
            raise ValueError(f"{count} atoms announced, {len(rows)} found")
        data = Data(
            z=torch.tensor([ase.data.atomic_numbers[row[0]] for row in rows]),
            pos=torch.tensor([[float(x) for x in row[1:4]] for row in rows]),
            index=int(properties[1]),
        )
        data.energy = torch.tensor([float(properties[12]) * ase.units.Hartree], dtype=torch.float64)
    except (ValueError, IndexError, KeyError) as error:
        raise InputError(f"{where}: not a QM9 record ({error})") from error
    return check(data, where)


def _read_archive(path: Path) -> Iterator[Data]:
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                file = archive.extractfile(member) if member.name.endswith(".xyz") else None
                if file is not None:
                    yield _parse_qm9(file.read().decode(), f"{path}: {member.name}")
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise InputError(
            f"{path}: the archive is damaged or truncated ({error}); fetch it again"
        ) from error


#: Arrays of the trajectories of MD17 and rMD17, all frames of one molecule: as published, and as in
#: other copies of them. Energies are in kcal/mol, forces in kcal/mol/Å.
TRAJECTORIES = (
    ("nuclear_charges", "coords", "energies", "forces"),
    ("Z", "R", "E", "F"),
    ("z", "R", "E", "F"),
)


def _read_trajectory(path: Path, arrays: dict[str, Any], names: Sequence[str]) -> list[Data]:
    z, pos, energy, forces = (arrays[name] for name in names)
    unit = ase.units.kcal / ase.units.mol
    if pos.ndim != 3 or pos.shape[1:] != (len(z), 3) or forces.shape != pos.shape:
        raise InputError(
            f"{path}: {names[1]} and {names[3]} must have shape [num_frames, {len(z)}, 3], got "
            f"{list(pos.shape)} and {list(forces.shape)}"
        )
    numbers = torch.as_tensor(z).long()
    energies = torch.as_tensor(energy).double().reshape(len(pos), 1) * unit
    slopes = (torch.as_tensor(forces).double() * unit).float()
    return [
        check(
            Data(z=numbers, pos=torch.as_tensor(pos[k]), energy=energies[k], forces=slopes[k]),
            f"{path}: structure {k}",
        )
        for k in range(len(pos))
    ]


def _read_npz(path: Path) -> list[Data]:
    """Arrays as `save_npz` writes them; all but ``z``, ``pos`` (Å) and ``n_atoms`` may lack. Or a
    trajectory of MD17 or rMD17."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        infos = json.loads(str(arrays.get("info", "{}")))
    except (ValueError, OSError, zipfile.BadZipFile, EOFError) as error:
        raise InputError(f"{path}: not a readable npz file ({error})") from error
    for names in TRAJECTORIES:
        if all(name in arrays for name in names):
            return _read_trajectory(path, arrays, names)
    missing = [name for name in ("z", "pos", "n_atoms") if name not in arrays]
    if missing:
        raise InputError(f"{path}: lacks the arrays {missing}; it has {sorted(arrays)}")
    counts = arrays["n_atoms"]
    if counts.size == 0 or counts.sum() != len(arrays["z"]):
        raise InputError(
            f"{path}: n_atoms sums to {counts.sum()}, but z has {len(arrays['z'])} entries"
        )
    structures = [Data() for _ in counts]
    for name, rows_per_atom, convert in COLUMNS:
        owners = arrays.get(f"{name}_of", np.arange(len(counts) if name in arrays else 0))
        sizes = counts[owners] if rows_per_atom else np.ones(len(owners), dtype=int)
        if len(arrays.get(name, ())) != sizes.sum():
            raise InputError(
                f"{path}: {name} has {len(arrays[name])} entries, expected {sizes.sum()}"
            )
        ends = np.cumsum(sizes)
        for owner, start, stop in zip(owners, ends - sizes, ends, strict=True):
            structures[owner][name] = convert(arrays[name][start:stop])
    for place, info in infos.items():
        structures[int(place)].info = info
    return [check(data, f"{path}: structure {k}") for k, data in enumerate(structures)]


def save_npz(path: str | os.PathLike[str], structures: Sequence[Data]) -> None:
    """Write structures in the compact format of the cache, which `load` reads.

    Arrays ``z``, ``pos``, ``n_atoms`` and, of the structures that have them, ``energy`` (eV),
    ``forces`` (eV/Å), ``cell`` (Å), ``index`` and ``info`` (JSON). Where only some have them,
    ``energy_of`` and so on say which.
    """
    arrays: dict[str, Any] = {
        "n_atoms": np.array([d.z.numel() for d in structures], dtype=np.int32),
    }
    for name, _, _ in COLUMNS:
        owners = [k for k, data in enumerate(structures) if data.get(name) is not None]
        if owners:
            values = [np.atleast_1d(np.asarray(structures[k][name])) for k in owners]
            arrays[name] = np.concatenate(values)
        if 0 < len(owners) < len(structures):
            arrays[f"{name}_of"] = np.array(owners)
    arrays["z"] = arrays["z"].astype(np.uint8)
    infos = {k: data.info for k, data in enumerate(structures) if data.get("info") is not None}
    if infos:
        arrays["info"] = np.array(json.dumps(infos))
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def _read_db(path: Path) -> list[Data]:
    """An ASE database; also those of ISO17, where energies and forces are beside the atoms."""
    structures = []
    try:
        with ase.db.connect(path) as database:
            for index, row in enumerate(database.select()):
                data = from_ase(row.toatoms(), f"{path}: structure {index}")
                if data.get("energy") is None and "total_energy" in row:
                    data.energy = torch.tensor([row.total_energy], dtype=torch.float64)
                if data.get("forces") is None and "atomic_forces" in row.data:
                    data.forces = torch.as_tensor(np.array(row.data["atomic_forces"])).float()
                structures.append(data)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"{path}: cannot be read as an ASE database ({type(error).__name__}: {error})"
        ) from error
    if not structures:
        raise InputError(f"{path}: holds no structure")
    return structures


def _add_sdf_energies(path: Path, structures: list[Data]) -> None:
    """QM9's U0 from the table that PyG keeps beside ``gdb9.sdf``."""
    table = path.with_name(path.name + ".csv")
    if table.is_file():
        with table.open() as file:
            rows = list(csv.DictReader(file))
        if len(rows) == len(structures) and "u0" in rows[0]:
            for data, row in zip(structures, rows, strict=True):
                data.energy = torch.tensor(
                    [float(row["u0"]) * ase.units.Hartree], dtype=torch.float64
                )


def read_any(path: str | os.PathLike[str]) -> list[Data]:
    """Read a structure file, a QM9 archive or an npz file, without the cache."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file (nor a known data set: {', '.join(NAMES)})")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty")
    if path.name.endswith((".tar.bz2", ".tar.gz", ".tar")):
        structures = sorted(_read_archive(path), key=lambda data: data.index)
        if not structures:
            raise InputError(f"{path}: the archive holds no .xyz record")
        return structures
    if path.suffix == ".npz":
        return _read_npz(path)
    if path.suffix == ".db":
        return _read_db(path)
    structures = read(path)
    if path.suffix == ".sdf":
        _add_sdf_energies(path, structures)
    return structures


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
        else:
            structures += _read_cached(Path(source))
    return structures
