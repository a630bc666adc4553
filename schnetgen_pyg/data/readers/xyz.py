"""XYZ files: plain, extended (through ASE), and the records of QM9; every frame, or an error.

ASE stops in silence at the first empty line, and refuses what other programs write. Frames are cut
out here, and their atoms brought into ASE's dialect: atomic numbers for symbols, ``D`` and ``T``
(hydrogen, with the mass kept), exponents as Fortran (``1.0D-01``) and Mathematica (``1.0*^-1``)
write them.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from itertools import islice
from pathlib import Path

import ase
import ase.data
import torch
from ase.io.extxyz import read_xyz as read_extended
from torch_geometric.data import Data

from schnetgen_pyg.data.conversion import convert, require_symmetric
from schnetgen_pyg.data.readers.qm9 import parse_record
from schnetgen_pyg.data.readers.text import lines_of
from schnetgen_pyg.errors import InputError

#: Masses of the isotopes of hydrogen that have symbols, in u (AME2020).
ISOTOPES = {"D": 2.014101778, "T": 3.016049281}

#: A number whose exponent is not written by ``e``.
EXPONENT = re.compile(r"(?<!\S)([+-]?(?:\d+\.?\d*|\.\d+))(?:[dD]|\*\^)([+-]?\d+)(?!\S)")

#: The same as the value of a key in a comment; without a point it may be a name (``1D2``).
EXPONENT_OF_KEY = re.compile(r'(?<==)("?[+-]?(?:\d+\.\d*|\.\d+))(?:[dD]|\*\^)([+-]?\d+)(?=["\s]|$)')

#: A letter beyond ASCII as ASE writes it in JSON, and does not read it again.
ESCAPED = re.compile(r"\\u(?![dD][89a-fA-F]|00[0-7])([0-9a-fA-F]{4})")

#: A quote that begins or ends a text, in a comment.
QUOTE = re.compile(r'(?<!\\)"')

#: A key of a comment with its value.
ENTRY = re.compile(r"""(?<!\S)([^\s="']+)\s*=\s*("[^"]*"|'[^']*'|\{[^}]*\}|\[[^\]]*\]|\S*)""")

#: What ASE reads from a comment as nine numbers only, and other programs write as six, too.
TENSOR = re.compile(r"""(?<!\S)(stress|virial)\s*=\s*("[^"]*"|'[^']*'|\{[^}]*\}|\[.*\]|\S+)""")

#: The places in a symmetric tensor of six numbers in ASE's order: xx yy zz yz xz xy.
OF_SIX = (0, 5, 4, 5, 1, 3, 4, 3, 2)

#: The columns, in the comment of an extended file.
PROPERTIES = re.compile(r"""(?<!\S)Properties\s*=\s*["'{]?([^\s"'}]+)""")

#: Lines of a QM9 record after its atoms: frequencies, SMILES, InChI.
AFTER_QM9 = 3

#: i-PI's word for the unit of positions.
OF_IPI = re.compile(r"positions\{(\w+)\}")


@dataclass
class _Frame:
    """The lines of one frame; ``first`` is the number of the first one in the file, from 1."""

    first: int
    comment: str
    atoms: list[str]
    vectors: list[str]

    @property
    def is_qm9(self) -> bool:
        words = self.comment.split()
        return words[:1] == ["gdb"] and len(words) > 16


def read_xyz(path: Path) -> Iterator[Data]:
    """The frames of an xyz or extxyz file. Empty lines between them are skipped; text that is no
    frame, and a frame that is cut, are errors."""
    unread: set[int] = set()
    for number, frame in enumerate(_frames(path)):
        where = f"structure {number}"
        if frame.is_qm9:
            text = "\n".join([str(len(frame.atoms)), frame.comment, *frame.atoms])
            yield parse_record(text, where)
        else:
            yield _structure(frame, where, unread)
    if unread:
        warnings.warn(
            f"{path.name}: atoms have {max(unread)} columns, of which not all are read; name them "
            "in the comment line (Properties=species:S:1:pos:R:3:…)",
            stacklevel=2,
        )


class _Lines:
    """Lines one after the other, of which the last may be put back."""

    def __init__(self, lines: Iterator[str]):
        self.lines, self.place = lines, 0
        self.held: str | None = None

    def next(self) -> str | None:
        """The next line, `None` after the last one; ``place`` is its number, from 1."""
        self.place += 1
        if self.held is None:
            return next(self.lines, None)
        line, self.held = self.held, None
        return line

    def back(self, line: str | None) -> None:
        self.held = line
        self.place -= 1

    def take(self, count: int) -> list[str]:
        """So many lines, or those that are left."""
        held = [] if self.held is None else [self.held]
        self.held = None
        taken = [*held, *islice(self.lines, count - len(held))][:count]
        self.place += len(taken)
        return taken


def _frames(path: Path) -> Iterator[_Frame]:
    """Cut a file into frames."""
    lines, found = _Lines(lines_of(path)), 0
    while (line := lines.next()) is not None:
        if not line.strip():
            continue
        place = lines.place
        if not line.strip().isdecimal():
            raise InputError(
                f"line {place}: expected the number of atoms of structure {found}, got "
                f"{line.strip()[:60]!r}; {found} structures were read before it"
            )
        count = int(line)
        frame = _Frame(place, lines.next() or "", lines.take(count), [])
        given = sum(bool(atom.strip()) for atom in frame.atoms)
        if given < count:
            raise InputError(
                f"structure {found} (line {place}): {count} atoms are announced, but only {given} "
                "lines of atoms follow; the file is cut or the number is wrong"
            )
        while (line := lines.next()) is not None and line.lstrip().startswith("VEC"):
            frame.vectors.append(line)
        lines.back(line)
        if frame.is_qm9:
            lines.take(AFTER_QM9)
        yield frame
        found += 1


def _structure(frame: _Frame, where: str, unread: set[int]) -> Data:
    """One frame; the numbers of columns that are not read go to ``unread``."""
    place = f"{where} (line {frame.first})"
    units = OF_IPI.search(frame.comment)
    if units and units[1] not in ("angstrom", "ang"):
        raise InputError(
            f"{place}: i-PI states its positions in {units[1]}; write them in angstrom"
        )
    named = PROPERTIES.search(frame.comment)
    columns = named[1].split(":") if named else ["species", "S", "1", "pos", "R", "3"]
    widths = [int(width) if width.isdigit() else 1 for width in columns[2::3]]
    most = len(frame.atoms[0].split()) if frame.atoms else 0
    if most > sum(widths):
        unread.add(most)
    comment, text = frame.comment, None
    if "=" not in comment:  # no keys: what a person wrote
        comment, text = "", comment.strip()
    elif len(QUOTE.findall(comment)) % 2:  # ASE would take all that follows for one text
        raise InputError(f"{place}: a quote in the comment line is never closed; correct it")
    _require_said_once(comment, place)
    if named and "pos" not in columns[::3]:
        raise InputError(
            f"{place}: its Properties name no column pos ({', '.join(columns[::3])}); call the "
            "positions so (pos:R:3)"
        )
    comment = ESCAPED.sub(lambda found: chr(int(found[1], 16)), comment)
    comment = EXPONENT_OF_KEY.sub(r"\1e\2", comment)
    comment = TENSOR.sub(lambda found: _nine_numbers(found, place), comment)
    masses: dict[int, float] = {}
    atoms = frame.atoms
    if "species" in columns[::3]:
        column = sum(widths[: columns[::3].index("species")])
        if column or not _is_common(atoms):
            atoms = [_in_dialect(line, k, column, masses, place) for k, line in enumerate(atoms)]
    content = "\n".join([str(len(atoms)), comment, *atoms, *frame.vectors]) + "\n"
    try:
        structure = next(read_extended(StringIO(content), 0))
    except Exception as error:
        raise InputError(
            f"{place}: not in the xyz format ({type(error).__name__}: {error})"
        ) from error
    if text:
        structure.info["comment"] = text
    if masses:
        all_masses = structure.get_masses()
        all_masses[list(masses)] = list(masses.values())
        structure.set_masses(all_masses)
    return convert(structure, where)


def _require_said_once(comment: str, where: str) -> None:
    """Refuse a key with two values, of which ASE would take the last."""
    said: dict[str, str] = {}
    for key, value in ENTRY.findall(comment):
        if said.setdefault(key, value) != value:
            raise InputError(
                f"{where}: the comment line states {key} twice, {said[key]} and {value}; leave one "
                "out"
            )


def _nine_numbers(found: re.Match[str], where: str) -> str:
    """The entry of a stress or virial with nine numbers."""
    values = re.sub(r"""["'{}\[\],]""", " ", found[2]).split()
    try:
        fits = len([float(value) for value in values]) in (6, 9)
    except ValueError:
        fits = False
    if not fits:
        raise InputError(
            f"{where}: {found[1]} must be nine numbers, or the six xx yy zz yz xz xy, got "
            f"{' '.join(values)}; correct it, or leave it out"
        )
    if found[1] == "stress" and len(values) == 9:  # ASE would take the mean
        require_symmetric(torch.tensor([float(value) for value in values]).reshape(3, 3), where)
    nine = [values[k] for k in OF_SIX] if len(values) == 6 else values
    return f'{found[1]}="{" ".join(nine)}"'


def _is_common(atoms: list[str]) -> bool:
    """Whether all lines begin with symbols of elements and hold no number in another dialect."""
    if not all(line.split(None, 1)[0] in ase.data.atomic_numbers for line in atoms):
        return False
    text = "\n".join(atoms)
    return not ("D" in text or "d" in text or "^" in text)


def _in_dialect(line: str, number: int, column: int, masses: dict[int, float], where: str) -> str:
    """A line of an atom as ASE reads it; the mass of an isotope goes to ``masses``."""
    if "D" in line or "d" in line or "^" in line:
        line = EXPONENT.sub(r"\1e\2", line)
    words = line.split(None, column + 1)
    symbol = words[column] if len(words) > column else ""
    if symbol in ase.data.atomic_numbers or symbol.capitalize() in ase.data.atomic_numbers:
        return line
    if symbol.upper() in ISOTOPES:
        masses[number] = ISOTOPES[symbol.upper()]
        words[column] = "H"
    elif symbol.isdigit() and 0 < int(symbol) < len(ase.data.chemical_symbols):
        words[column] = ase.data.chemical_symbols[int(symbol)]
    else:
        raise InputError(
            f"{where}: atom {number} has the element {symbol!r}, which there is none of; write "
            "the symbol or the atomic number"
        )
    return " ".join(words)
