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

#: What a record says of the molecule: its place, the factor to the library's unit, and
#: this unit.
PROPERTIES: dict[str, tuple[int, float, str]] = {
    **{f"rot_{axis}": (place, 1.0, "GHz") for place, axis in enumerate("ABC", 2)},
    "mu": (5, 1.0, "D"),
    "alpha": (6, ase.units.Bohr**3, "Å³"),
    "homo": (7, ase.units.Hartree, "eV"),
    "lumo": (8, ase.units.Hartree, "eV"),
    "gap": (9, ase.units.Hartree, "eV"),
    "r2": (10, ase.units.Bohr**2, "Å²"),
    "zpve": (11, ase.units.Hartree, "eV"),
    "U0": (12, ase.units.Hartree, "eV"),
    **{name: (place, ase.units.Hartree, "eV") for place, name in enumerate("UHG", 13)},
    "Cv": (16, 1.0, "cal/(mol K)"),
}
UNITS = {name: unit for name, (_, _, unit) in PROPERTIES.items()}


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
    in eV; all `PROPERTIES` are in ``info``, with their units."""
    try:
        lines = text.replace("*^", "e").splitlines()
        count = int(lines[0])
        properties = lines[1].split()
        rows = [line.split() for line in lines[2 : 2 + count]]
        if len(rows) != count:
            raise ValueError(f"{count} atoms announced, {len(rows)} found")
        energy = float(properties[12]) * ase.units.Hartree
        others = {
            name: factor * float(properties[place])
            for name, (place, factor, _) in PROPERTIES.items()
        }
        return Data(
            z=torch.tensor([ase.data.atomic_numbers[row[0]] for row in rows]),
            pos=torch.tensor([[float(x) for x in row[1:4]] for row in rows], dtype=torch.float32),
            index=int(properties[1]),
            energy=torch.tensor([energy], dtype=torch.float64),
            info=others | {"units": UNITS},
        )
    except (ValueError, IndexError, KeyError) as error:
        raise InputError(f"{where}: not a QM9 record ({error})") from error
