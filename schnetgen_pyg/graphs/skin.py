"""Neighbours that are searched again only where atoms have moved."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from schnetgen_pyg.accelerated import enabled
from schnetgen_pyg.graphs.graph import Graph
from schnetgen_pyg.graphs.neighbors import Pairs, find_pairs, neighbor_graph

#: Å beyond the cutoff up to which pairs are listed.
SKIN = 0.5


class SkinNeighbors:
    """A list of pairs up to a skin beyond the cutoff (Verlet, Phys. Rev. 159, 98, 1967).

    It is made when the same structures come a second time and holds until an atom has moved by
    half the skin. Every graph has the pairs within the cutoff alone, as
    `schnetgen_pyg.graphs.neighbors.neighbor_graph` gives them.

    Args:
        skin: in Å.
    """

    def __init__(self, skin: float = SKIN):
        self.skin = skin
        #: Positions, boundaries, cutoff, cell and pairs (None after one call): one attribute, as
        #: threads may share it.
        self._known: tuple[Any, ...] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """A copy, as other processes get, makes its own."""
        return {"skin": self.skin, "_known": None}

    def graph(self, pos: Tensor, ptr: Tensor, cutoff: float | None, cell: Tensor | None) -> Graph:
        """As `neighbor_graph`."""
        if not enabled("skin"):
            return neighbor_graph(pos, ptr, cutoff, cell)
        known = self._known
        same = known is not None and self._serves(known, pos, ptr, cutoff, cell)
        pairs: Pairs | None = known[-1] if same and known is not None else None
        if pairs is None:
            wide = None if cutoff is None else cutoff + self.skin
            kept = None if cell is None else cell.detach().clone()
            pairs = find_pairs(pos, ptr, wide, cell) if same else None
            self._known = pos.detach().clone(), ptr.clone(), cutoff, kept, pairs
        if pairs is None:
            return neighbor_graph(pos, ptr, cutoff, cell)
        if cutoff is not None:
            with torch.no_grad():
                near = pairs.vectors(pos, ptr, cell).square().sum(1) < cutoff**2
            shift = None if pairs.shift is None else pairs.shift[near]
            pairs = Pairs(pairs.ends[:, near], shift)
        return pairs.graph(pos, ptr, cell)

    def _serves(
        self,
        known: tuple[Any, ...],
        pos: Tensor,
        ptr: Tensor,
        cutoff: float | None,
        cell: Tensor | None,
    ) -> bool:
        """Whether the list is of these structures and holds for their positions."""
        then, boundaries, reach, there, _ = known
        alike = (then.shape, then.dtype, then.device) == (pos.shape, pos.dtype, pos.device)
        if not (alike and reach == cutoff and (there is None) == (cell is None)):
            return False
        if not torch.equal(boundaries, ptr) or (cell is not None and not torch.equal(there, cell)):
            return False
        if cutoff is None:
            return True
        moved = (pos.detach() - then).square().sum(1).max()
        return bool(moved <= (self.skin / 2) ** 2)
