"""What models of whole structures are called with, checked and sorted."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch_geometric.utils import cumsum

from schnetgen_pyg.errors import InputError


class Inputs(NamedTuple):
    """A batch of structures, atoms sorted by structure.

    Attributes:
        z: atomic numbers [num_atoms].
        pos: positions [num_atoms, 3] in Å.
        batch: structure of each atom [num_atoms].
        ptr: boundaries of the structures [num_graphs + 1].
        cell: [num_graphs, 3, 3] in Å; a row of zeros is a direction without periodicity.
        back: place of each of the caller's atoms here [num_atoms]; ``None``: they were sorted.
    """

    z: Tensor
    pos: Tensor
    batch: Tensor
    ptr: Tensor
    cell: Tensor | None
    back: Tensor | None

    @property
    def num_graphs(self) -> int:
        return self.ptr.numel() - 1

    @classmethod
    def of(
        cls,
        z: Tensor,
        pos: Tensor,
        batch: Tensor | None,
        cell: Tensor | None,
        batch_size: int | None,
    ) -> Inputs:
        """From what the caller gave.

        Raises:
            InputError: with what does not fit, and where.
        """
        if z.dim() != 1 or not z.numel():
            raise InputError(f"`z` must have shape [num_atoms], got {list(z.shape)}")
        if pos.shape != (z.numel(), 3):
            raise InputError(
                f"`pos` must have shape [num_atoms, 3] = [{z.numel()}, 3], got {list(pos.shape)}"
            )
        if not torch.isfinite(pos).all():
            atom = int((~torch.isfinite(pos)).any(1).nonzero()[0])
            raise InputError(f"the position of atom {atom} is not finite: {pos[atom].tolist()}")
        back = None
        if batch is None:
            batch = torch.zeros_like(z)
        elif batch.shape != z.shape or batch.min() < 0:
            raise InputError(
                "`batch` must name the structure of each atom [num_atoms], counted from 0; got "
                f"shape {list(batch.shape)}"
            )
        elif (batch.diff() < 0).any():
            order = batch.argsort(stable=True)
            back = order.argsort()
            z, pos, batch = z[order], pos[order], batch[order]
        counts = torch.bincount(batch, minlength=batch_size or 0)
        if batch_size is not None and counts.numel() != batch_size:
            raise InputError(
                f"`batch` names {counts.numel()} structures, batch_size is {batch_size}; give the "
                "number of all structures, or leave it out"
            )
        if cell is not None:
            cell = cell.to(pos).reshape(-1, 3, 3)
            if cell.shape[0] != counts.numel():
                raise InputError(
                    f"`cell` must have shape [num_graphs, 3, 3] = [{counts.numel()}, 3, 3], "
                    f"got {list(cell.shape)}"
                )
        return cls(z, pos, batch, cumsum(counts), cell, back)
