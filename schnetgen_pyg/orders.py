"""In which order the atoms of a molecule are placed.

An order of a batch is a permutation [num_atoms] of its atoms that keeps each molecule's atoms
in its own range, drawn for all molecules at once.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.data import Data


def scaffold_first(z: Tensor, batch: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Random order with all hydrogens after the other atoms (the paper's).

    Args:
        z: atomic numbers [num_atoms].
        batch: molecule of each atom [num_atoms], ascending.
        generator: source of randomness on the CPU; orders do not depend on the device.

    Returns:
        permutation [num_atoms]: entry k is the atom placed at k.
    """
    noise = torch.rand(z.numel(), generator=generator, dtype=torch.float64).to(z.device)
    return (2.0 * batch + (z == 1) + noise).argsort()


def reorder(molecules: Data, order: Tensor) -> Data:
    """The batch with its atoms in ``order``; per-molecule ranges stay where they are."""
    return Data(
        z=molecules.z[order], pos=molecules.pos[order], batch=molecules.batch, ptr=molecules.ptr
    )
