"""What a judge is, and what it writes into: the record of a structure."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ase
from rdkit import Chem

from schnetgen_pyg.chem.perception import Perception
from schnetgen_pyg.errors import InputError

#: What a judge says of one structure: plain JSON values by name.
Entry = dict[str, Any]


class Record(dict[str, Any]):
    """What is known of one structure, as JSON can hold it; beside that its perceived molecule.

    ``failure`` (empty if valid) and the identities of `schnetgen_pyg.chem.identity.describe` are
    there by their names, ``charge`` and ``spin_multiplicity`` where a structure states others than
    those of a neutral closed shell, ``own_smiles`` where it states its SMILES: whether that is what
    was perceived. What each judge says is there by the judge's name; a judge that took too long or
    killed its process says ``{"unfinished": "timeout"}`` or ``"crash"``.
    """

    _binary: bytes | None = None

    @property
    def mol(self) -> Chem.Mol | None:
        """A fresh RDKit molecule with the positions of the structure (Å): of a valid structure with
        bond orders, of a broken one its bonds alone; ``None`` where perception did not finish, and
        for reference sets, whose molecules are not kept."""
        return None if self._binary is None else Chem.Mol(self._binary)  # type: ignore[call-overload]

    def keep(self, mol: Chem.Mol) -> None:
        """Keep the molecule in about a kilobyte."""
        properties = Chem.PropertyPickleOptions
        self._binary = mol.ToBinary(properties.AllProps | properties.CoordsAsDouble)

    def without_mol(self) -> Record:
        """The same without the molecule."""
        return Record(self)

    def perception(self) -> Perception:
        """As `schnetgen_pyg.chem.perception.perceive` gave it."""
        return Perception(None if self["failure"] else self.mol, self["failure"])


@dataclass(frozen=True)
class Judge:
    """One view of what a good molecule is. Register it in `JUDGES`, and it appears in records,
    figures, tables and reports.

    Attributes:
        name: of its entry in the records; at most one word, such as ``"edm"``.
        title: for people, such as ``"EDM"``.
        judge: of a structure (positions in Å) and what was perceived in it, its entry in the
            record, or ``None`` if there is nothing to say. It is pure, raises nothing for broken
            structures, and runs in other processes: what takes too long or dies loses this entry
            alone.
        rows: of all records, those without an entry too, the rows of the table with their whole
            label, such as ``{"EDM: stable molecules (%)": 98.2}``.
        verdict: of one entry a few words for the gallery.
        accepts: of one entry whether the structure is good, by which molecules are ranked.
        about: a sentence for the report: what it accepts.
        module: that has to be installed, if it needs one.
        extra: of this package that installs it.
        cheap: whether it is asked where no judges are named.

    Example:
        >>> def judge(atoms, perception):
        ...     return {"atoms": len(atoms)}
        >>> def rows(records):
        ...     sizes = [entry["atoms"] for entry in finished(records, "size")]
        ...     return {"atoms per molecule": sum(sizes) / max(len(sizes), 1)}
        >>> JUDGES.register("size", Judge("size", "Size", judge, rows))
    """

    name: str
    title: str
    judge: Callable[[ase.Atoms, Perception], Entry | None]
    rows: Callable[[Sequence[Record]], dict[str, float]]
    verdict: Callable[[Entry], str] | None = None
    accepts: Callable[[Entry], bool] | None = None
    about: str = ""
    module: str = ""
    extra: str = ""
    cheap: bool = True

    @property
    def installed(self) -> bool:
        """Whether what it needs is here."""
        return not self.module or importlib.util.find_spec(self.module) is not None

    def require_installed(self) -> None:
        """Raise an `InputError` that says how to install what it needs, if that is not here."""
        if not self.installed:
            source = f"schnetgen_pyg[{self.extra}]" if self.extra else self.module
            raise InputError(f'the judge {self.name!r} needs {self.module}; pip install "{source}"')


def finished(records: Sequence[Record], name: str) -> Iterator[Entry]:
    """Entries of the judge of this name that it finished."""
    for record in records:
        entry = record.get(name)
        if entry is not None and "unfinished" not in entry:
            yield entry


def count_unfinished(records: Sequence[Record], name: str) -> int:
    """Structures that the judge, or perception before it, did not finish."""
    lost = sum(record["failure"] in ("timeout", "crash") for record in records)
    return lost + sum("unfinished" in record.get(name, {}) for record in records)
