"""The archives of QM9 as published (Ramakrishnan et al., Sci. Data 1, 140022, 2014)."""

from __future__ import annotations

import tarfile
import zlib
from pathlib import Path

import ase.data
import ase.units
import torch
from torch_geometric.data import Data

from schnetgen_pyg.errors import InputError


def read_qm9(path: Path) -> list[Data]:
    """The records of an archive in the order of their numbers, which are kept as ``index``."""
    structures = []
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                file = archive.extractfile(member) if member.name.endswith(".xyz") else None
                if file is not None:
                    structures.append(parse_record(file.read().decode(), member.name))
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise InputError(
            f"the archive is damaged or truncated ({error}); fetch it again"
        ) from error
    if not structures:
        raise InputError("the archive holds no .xyz record")
    return sorted(structures, key=lambda data: data.index)


def parse_record(text: str, where: str) -> Data:
    """One record of QM9: XYZ with a fifth column and numbers such as ``1.2*^-6``. ``energy`` is U0
    in eV."""
    try:
        lines = text.replace("*^", "e").splitlines()
        count = int(lines[0])
        properties = lines[1].split()
        rows = [line.split() for line in lines[2 : 2 + count]]
        if len(rows) != count:
            raise ValueError(f"{count} atoms announced, {len(rows)} found")
        energy = float(properties[12]) * ase.units.Hartree
        return Data(
            z=torch.tensor([ase.data.atomic_numbers[row[0]] for row in rows]),
            pos=torch.tensor([[float(x) for x in row[1:4]] for row in rows], dtype=torch.float32),
            index=int(properties[1]),
            energy=torch.tensor([energy], dtype=torch.float64),
        )
    except (ValueError, IndexError, KeyError) as error:
        raise InputError(f"{where}: not a QM9 record ({error})") from error
