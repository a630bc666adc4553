"""The archives of QM9 as published."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import ase.data
import ase.db
import ase.units
import torch
from torch_geometric.data import Data

from schnetgen_pyg.data.conversion import check
from schnetgen_pyg.errors import InputError


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
