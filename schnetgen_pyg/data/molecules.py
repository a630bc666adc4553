"""Many structures in one batch, of which any are taken by index arithmetic."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torch_geometric.data import Data
from torch_geometric.utils import cumsum

from schnetgen_pyg.graphs.indexing import ranges


class Molecules(Dataset[Data]):
    """Structures with all their tensors, from which any molecules are taken in one step.

    Rows of what a structure lacks are NaN, zero of a ``cell``.
    """

    def __init__(self, structures: Sequence[Data]):
        self.ptr = cumsum(torch.tensor([data.z.numel() for data in structures]))
        names = {k for d in structures for k, v in d.to_dict().items() if isinstance(v, Tensor)}
        self.atoms: dict[str, Tensor] = {}
        self.graphs: dict[str, Tensor] = {}
        for name in sorted(names):
            values = [data.get(name) for data in structures]
            given = next(value for value in values if value is not None)
            per_atom = all(
                value is None or (value.shape[:1] == data.z.shape and name != "cell")
                for value, data in zip(values, structures, strict=True)
            ) and (name in ("z", "pos", "forces") or any(d.z.numel() > 1 for d in structures))
            rows = [
                given.new_full(
                    (data.z.numel() if per_atom else 1, *given.shape[1:]),
                    0.0 if name == "cell" else torch.nan,
                )
                if value is None
                else value
                for value, data in zip(values, structures, strict=True)
            ]
            (self.atoms if per_atom else self.graphs)[name] = torch.cat(rows)

    def __len__(self) -> int:
        return self.ptr.numel() - 1

    def __getitem__(self, molecules: Sequence[int]) -> Data:
        """A batch of the molecules with these indices."""
        chosen = torch.as_tensor(molecules)
        counts = self.ptr.diff()[chosen]
        batch, place = ranges(counts)
        atom = self.ptr[chosen][batch] + place
        taken = {name: rows[atom] for name, rows in self.atoms.items()}
        taken |= {name: rows[chosen] for name, rows in self.graphs.items()}
        return Data(batch=batch, ptr=cumsum(counts), **taken)
