"""Tables of molecules to learn from: their 2-D graphs, and columns that are to be predicted."""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from rdkit import Chem
from torch import Tensor

from schnetgen_pyg.chem.identity import smiles as canonical_smiles
from schnetgen_pyg.data.csv_tables import Table, read_table
from schnetgen_pyg.data.graph_sets import GraphArrays, GraphSet, graphs_of_smiles
from schnetgen_pyg.errors import InputError

#: Lines that are named where there are many.
NAMED = 3


@dataclass(frozen=True)
class GraphTarget:
    """A column that is predicted.

    Attributes:
        name: of the column.
        unit: as text, ``eV`` of a column ``gap (eV)``; empty where the name says none.
        classify: labels are 0 or 1, and the probability of 1 is predicted.
    """

    name: str
    unit: str = ""
    classify: bool = False

    @classmethod
    def of_column(cls, name: str, classify: bool = False) -> GraphTarget:
        """With the unit that stands in brackets at the end of the name."""
        unit = re.search(r"\(([^()]+)\)$", name)
        return cls(name, unit[1].strip() if unit and not classify else "", classify)

    def called(self, what: str) -> str:
        """A name of a column beside this one: ``gap_predicted (eV)`` of ``gap (eV)``."""
        if not self.unit:
            return f"{self.name}_{what}"
        return f"{self.name[: self.name.rindex('(')].strip()}_{what} ({self.unit})"


@dataclass(frozen=True)
class LabelledGraphs:
    """Molecules with labels.

    Attributes:
        graphs: of the molecules; their labels [num_molecules, num_targets] (float64) are NaN where
            there is none, and every molecule has one at least.
        targets: the columns.
        smiles: canonical, with stereochemistry.
        where: what messages call each molecule: file and line.
    """

    graphs: GraphSet
    targets: tuple[GraphTarget, ...]
    smiles: list[str]
    where: list[str]

    def __len__(self) -> int:
        return len(self.smiles)

    @property
    def labels(self) -> Tensor:
        """[num_molecules, num_targets] (float64)."""
        assert self.graphs.labels is not None
        return self.graphs.labels

    def digest(self) -> str:
        """SHA-256 of molecules and labels, in their order."""
        content = hashlib.sha256("\n".join(self.smiles).encode())
        content.update(self.labels.numpy().tobytes())
        return content.hexdigest()


def read_labelled(
    path: str | os.PathLike[str],
    target: Sequence[str] = (),
    classify: Sequence[str] = (),
    *,
    smiles: str | None = None,
    skip_bad: bool = False,
) -> LabelledGraphs:
    """Molecules and labels of a table (CSV).

    A cell that is empty (or nan, NA, none, null) is no label; rows without any are left out, with a
    warning. Salts and charged molecules are read as they are.

    Args:
        path: of the table.
        target: columns that are numbers.
        classify: columns that are 0 or 1.
        smiles: column of SMILES; by default the one that is called so.
        skip_bad: leave out rows whose SMILES cannot be read, with a warning; else they are an
            error.

    Raises:
        InputError: naming file and line of what cannot be used.
    """
    table = read_table(path, smiles)
    targets = _targets(table, target, classify)
    labels = torch.tensor([table.numbers(one.name) for one in targets]).double().T
    for place, one in enumerate(targets):
        _check_labels(table, one, labels[:, place])
    known = labels.isfinite().any(1).tolist()
    chosen = [row for row, has in enumerate(known) if has]
    if len(chosen) < len(known):
        first = _listed([table.lines[row] for row, has in enumerate(known) if not has])
        warnings.warn(
            f"{table.path}: {len(known) - len(chosen)} of {len(known)} rows have no label and are "
            f"left out (line {first})",
            stacklevel=2,
        )
    rows, graphs = _with_graphs(table, chosen, skip_bad)
    texts = [_canonical(table.rows[row][table.smiles]) for row in rows]
    found = LabelledGraphs(
        GraphSet(graphs, labels[rows]), targets, texts, [table.where(row) for row in rows]
    )
    _tell_of_repeated(table, rows, found)
    return found


def _targets(
    table: Table, numbers: Sequence[str], classes: Sequence[str]
) -> tuple[GraphTarget, ...]:
    names = list(dict.fromkeys([*numbers, *classes]))
    if not names:
        others = [name for name in table.columns if name != table.smiles]
        raise InputError(
            f"{table.path}: say which columns are to be learned, numbers by target (--target) and "
            f"those of 0 and 1 by classify (--classify); it has {', '.join(others)}"
        )
    return tuple(GraphTarget.of_column(name, name in classes) for name in names)


def _check_labels(table: Table, target: GraphTarget, labels: Tensor) -> None:
    """Refuse a column of which nothing can be learned."""
    known = labels[labels.isfinite()]
    if not len(known):
        raise InputError(f"{table.path}: {target.name} is empty in all rows; name another column")
    if target.classify:
        wrong = (labels.isfinite() & (labels != 0) & (labels != 1)).nonzero().flatten().tolist()
        if wrong:
            raise InputError(
                f"{table.where(wrong[0])}: {target.name} must be 0 or 1 to be classified, got "
                f"{float(labels[wrong[0]]):g}; correct it, or name it in target (--target) alone"
            )
    if bool((known == known[0]).all()):
        raise InputError(
            f"{table.path}: {target.name} is {float(known[0]):g} in all rows that have it, and "
            "nothing can be learned of it; name another column"
        )
    if not target.classify and bool(((known == 0) | (known == 1)).all()):
        warnings.warn(
            f"{table.path}: {target.name} is 0 or 1 in all rows, and is learned as a number; name "
            "it in classify (--classify) for the probability of 1",
            stacklevel=3,
        )


def _with_graphs(
    table: Table, rows: list[int], skip_bad: bool
) -> tuple[list[int], list[GraphArrays]]:
    """Rows whose SMILES can be read, and their graphs."""
    made = graphs_of_smiles([table.rows[row][table.smiles] for row in rows])
    bad = [
        f"line {table.lines[r]}: {why}"
        for r, why in zip(rows, made, strict=True)
        if isinstance(why, str)
    ]
    if bad:
        told = f"{len(bad)} of {len(rows)} molecules cannot be read: {_listed(bad, '; ')}"
        told = f"{table.path}: {told}"
        if not skip_bad or len(bad) == len(rows):
            raise InputError(f"{told}; correct them, or leave them out (skip_bad, --skip_bad)")
        warnings.warn(f"{told}; they are left out", stacklevel=3)
    good = [(row, one) for row, one in zip(rows, made, strict=True) if not isinstance(one, str)]
    return [row for row, _ in good], [one for _, one in good]


def _canonical(text: str) -> str:
    return canonical_smiles(Chem.MolFromSmiles(text.strip()), stereo=True)


def _tell_of_repeated(table: Table, rows: list[int], found: LabelledGraphs) -> None:
    """Warn of molecules that come more than once."""
    places: dict[str, list[int]] = {}
    for place, text in enumerate(found.smiles):
        places.setdefault(text, []).append(place)
    repeated = [group for group in places.values() if len(group) > 1]
    if not repeated:
        return
    labels = found.labels
    differing = [g for g in repeated if _differ(labels[g])]
    named = [
        " and ".join(str(table.lines[rows[place]]) for place in group)
        for group in differing or repeated
    ]
    warnings.warn(
        f"{table.path}: {len(repeated)} molecules come more than once, {len(differing)} of them "
        f"with different labels (lines {_listed(named, '; ')}); all are kept, those of one "
        "molecule in the same part of the split",
        stacklevel=3,
    )


def _differ(labels: Tensor) -> bool:
    """Whether any column of labels [num_molecules, num_targets] has several values."""
    low = torch.where(labels.isnan(), torch.inf, labels).amin(0)
    high = torch.where(labels.isnan(), -torch.inf, labels).amax(0)
    return bool((high > low).any())


def _listed(parts: Sequence[object], between: str = ", ") -> str:
    shown = between.join(map(str, parts[:NAMED]))
    return shown + f"{between}…" * (len(parts) > NAMED)
