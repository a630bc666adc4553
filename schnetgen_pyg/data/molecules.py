"""Many structures with all their attributes, of which any are taken by index arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torch_geometric.data import Data
from torch_geometric.utils import cumsum

from schnetgen_pyg.data.columns import attributes, is_numeric, join
from schnetgen_pyg.data.columns_on_disk import TYPES
from schnetgen_pyg.data.stored import StoredColumn, StoredStructures
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.graphs.indexing import ranges

#: Attributes that have a row for each atom, also where only single atoms have them.
PER_ATOM = ("z", "pos", "forces", "charges")


class _Ragged(NamedTuple):
    """An attribute with neither one row for each atom nor one for each graph, such as edges.

    Attributes:
        rows: of all structures, one after the other [num_rows, …].
        counts, start: number of rows, and the first one, of each structure [num_structures].
        shift: what the following graph of a batch adds to its values, as the atoms before it are
            counted too [num_structures]; `None` for values that point to nothing.
        dim: where the rows are in the attribute itself.
    """

    rows: Tensor
    counts: Tensor
    start: Tensor
    shift: Tensor | None
    dim: int

    def take(self, chosen: Tensor) -> Tensor:
        owner, place = ranges(self.counts[chosen])
        rows = self.rows[self.start[chosen][owner] + place]
        if self.shift is not None:
            offset = cumsum(self.shift[chosen])[owner]
            rows = rows + offset.reshape(-1, *(1 for _ in rows.shape[1:]))
        return rows.movedim(0, self.dim).contiguous() if self.dim else rows


class Molecules(Dataset[Data]):
    """Structures with all their attributes, from which any molecules are taken in one step.

    ``molecules[[4, 0, 7]]`` is a batch with ``z`` [num_atoms], ``pos`` [num_atoms, 3] (Å),
    ``batch`` [num_atoms], ``ptr`` [num_graphs + 1] and every other attribute that any of the
    structures has, joined as PyG's `Batch.from_data_list` joins them. What PyG leaves open:

    - ``energy`` is [num_graphs] in double precision, ``cell`` [num_graphs, 3, 3] with zeros for a
      structure that is not periodic. Python's floats are double precision too.
    - A structure may lack an attribute: its rows are NaN (whole numbers become floating-point ones,
      as in pandas), so that a loss leaves them out by ``isfinite``. It has no rows of edges and of
      other attributes with any number of rows. All batches have the same attributes.
    - What is no tensor or number (``info``, SMILES) is a list, with `None` where it is missing.
    - ``index`` is a number of the structure and stays as it is, also as a tensor. In other tensors
      PyG's rule holds: with "index" in the name they point to atoms and are shifted.

    Args:
        structures: with ``z`` and ``pos``; those of a `StoredStructures` stay in the file.

    Raises:
        InputError: naming the structure and the attribute that cannot be kept.
    """

    def __init__(self, structures: Sequence[Data]):
        self.atoms: dict[str, Tensor] = {}
        self.graphs: dict[str, Tensor] = {}
        self.ragged: dict[str, _Ragged] = {}
        self.objects: dict[str, np.ndarray] = {}
        #: Of what is in a file: columns of texts and the like, types, and the molecules' numbers.
        self.texts: dict[str, StoredColumn] = {}
        self.types: dict[str, torch.dtype] = {}
        self.numbers: Tensor | None = None
        if isinstance(structures, StoredStructures):
            self._open(structures)
            return
        structures = list(structures)
        if not structures:
            raise InputError("there are no structures to take molecules from")
        found = attributes(structures)
        for number in range(len(structures)):
            z, pos = found["z"].get(number), found["pos"].get(number)
            if z is None or pos is None or pos.shape != (z.numel(), 3):
                raise InputError(
                    f"structure {number}: needs z [num_atoms] and pos [num_atoms, 3]; let "
                    "schnetgen_pyg.data.conversion.check say what it lacks"
                )
        device = structures[0].z.device
        self.counts = torch.tensor([z.numel() for z in found["z"].values()], device=device)
        self.start = cumsum(self.counts)[:-1]
        for name, values in found.items():
            if is_numeric(values):
                self._keep(name, values, structures)
            else:
                self.objects[name] = np.empty(len(structures), dtype=object)
                for number, value in values.items():
                    self.objects[name][number] = value

    def _open(self, structures: StoredStructures) -> None:
        """Take the arrays of a file as they are; only attributes that some structures lack, and
        those with other rows than of atoms and graphs, are read."""
        self.counts, self.start = structures.ptr.diff(), structures.ptr[:-1]
        self.numbers = None if structures.whole else structures.numbers
        for name in structures.names:
            if name in structures.replaced:
                rows = structures.replaced[name]
                each = rows.shape[0] == structures.num_in_file
                (self.graphs if each else self.atoms)[name] = rows
                continue
            columns = structures.columns(name)
            if len(columns) > 1 or "batch" in name:
                raise InputError(
                    f"{structures.path}: {name!r} cannot be taken in batches, as "
                    + ("its types or shapes differ" if len(columns) > 1 else "of its name")
                    + "; leave it out, or read the structures into memory (list(load(…)))"
                )
            self._keep_column(columns[0])

    def _keep_column(self, column: StoredColumn) -> None:
        kind, name = column.kind, column.kind.name
        points = kind.what == "tensor" and name != "index" and ("index" in name or name == "face")
        self.types[name] = TYPES[kind.dtype]
        if kind.what == "json":
            self.texts[name] = column
        elif column.of is None and kind.rows in ("atom", "graph") and not points:
            (self.atoms if kind.rows == "atom" else self.graphs)[name] = column.rows
        else:
            owners = torch.arange(len(self.counts)) if column.of is None else column.of
            counts = torch.ones_like(owners) if column.ptr is None else column.ptr.diff()
            rows = column.rows.to(self.types.pop(name))
            shift = self.counts if points else None
            self._keep_rows(name, rows, counts, owners, shift, kind.dim)

    def _keep(self, name: str, values: Mapping[int, Any], structures: Sequence[Data]) -> None:
        """Keep the rows of a numeric attribute of structures in memory."""
        device = self.counts.device
        rows, present, dim = join(name, values, structures[0])
        counts, owners = torch.tensor(present, device=device), torch.tensor(list(values))
        shift = _shifts(name, values, structures)
        self._keep_rows(name, rows.to(device), counts, owners.to(device), shift, dim)

    def _keep_rows(
        self,
        name: str,
        rows: Tensor,
        counts: Tensor,
        owners: Tensor,
        shift: Tensor | None,
        dim: int,
    ) -> None:
        """Keep rows, of which the ``owners`` have ``counts``, with those that stand for what is
        missing."""
        number = self.counts.numel()
        if len(owners) < number:
            wanted = torch.zeros_like(self.counts)
            if shift is None and "edge" not in name:
                per_atom = torch.equal(counts, self.counts[owners])
                if per_atom and (name in PER_ATOM or bool((counts != 1).any())):
                    wanted = self.counts.clone()
                elif counts.unique().numel() == 1:
                    wanted = counts[:1].repeat(number)
            wanted[owners] = counts
            rows, counts = _with_missing(name, rows, owners, wanted), wanted
        if shift is None and torch.equal(counts, self.counts):
            self.atoms[name] = rows
        elif shift is None and bool((counts == 1).all()):
            self.graphs[name] = rows
        else:
            shift = None if shift is None else shift.to(self.counts.device)
            self.ragged[name] = _Ragged(rows, counts, cumsum(counts)[:-1], shift, dim)

    def __len__(self) -> int:
        return self.counts.numel() if self.numbers is None else self.numbers.numel()

    def __getitem__(self, molecules: Sequence[int]) -> Data:
        """A batch of the molecules with these numbers, in their order."""
        chosen = torch.as_tensor(molecules, device=self.counts.device)
        if self.numbers is not None:
            chosen = self.numbers[chosen]
        counts = self.counts[chosen]
        batch, place = ranges(counts)
        atom = self.start[chosen][batch] + place
        taken: dict[str, Any] = {name: rows[atom] for name, rows in self.atoms.items()}
        taken |= {"batch": batch, "ptr": cumsum(counts)}
        taken |= {name: rows[chosen] for name, rows in self.graphs.items()}
        taken |= {name: taken[name].to(kind) for name, kind in self.types.items() if name in taken}
        taken |= {name: rows.take(chosen) for name, rows in self.ragged.items()}
        if self.objects:
            place_of = chosen.cpu().numpy()
            taken |= {name: values[place_of].tolist() for name, values in self.objects.items()}
        for name, column in self.texts.items():
            taken[name] = [column.value(number) for number in chosen.tolist()]
        return Data(**taken)


def _with_missing(name: str, rows: Tensor, owners: Tensor, counts: Tensor) -> Tensor:
    """Rows of all structures [counts.sum(), …] from those of the ``owners``; the others' say that
    there is no value: zeros for a cell, NaN for all else."""
    if name != "cell" and not (rows.is_floating_point() or rows.is_complex()):
        if int(counts.sum()) == rows.shape[0]:
            return rows
        rows = rows.double()
    whole = rows.new_full(
        (int(counts.sum()), *rows.shape[1:]), 0.0 if name == "cell" else torch.nan
    )
    owner, place = ranges(counts[owners])
    whole[cumsum(counts)[owners][owner] + place] = rows
    return whole


def _shifts(name: str, values: Mapping[int, Any], structures: Sequence[Data]) -> Tensor | None:
    """What each structure adds to the values of those after it in a batch (PyG's `Data.__inc__`)
    [num_structures]; `None` for values that are not shifted."""
    first = next(iter(values.values()))
    if name == "index" or not isinstance(first, Tensor):
        return None
    shifts = []
    for number, data in enumerate(structures):
        # Without the attribute a structure has atoms all the same, which those after it count.
        value = values.get(number, first.new_full((1,), -1) if "batch" in name else first)
        shift = data.__inc__(name, value)
        if isinstance(shift, Tensor) and shift.numel() != 1:
            raise InputError(
                f"structure {number}: {name!r} points to several kinds of nodes, but molecules "
                f"have atoms only; remove the attribute (del data.{name})"
            )
        shifts.append(int(shift))
    return torch.tensor(shifts) if any(shifts) else None
