"""Small potentials and structures."""

import ase
import numpy as np
import torch
from torch_geometric.data import Data

from schnetgen_pyg.potentials.model import Potential

SETTINGS = {"hidden_channels": 12, "num_filters": 10, "num_interactions": 2, "num_gaussians": 12}


def small_potential(cutoff=4.0, elements=(1, 6, 8), seed=0, **settings) -> Potential:
    """Random weights, with references and a scale that are not trivial."""
    torch.manual_seed(seed)
    potential = Potential("schnet", elements, cutoff=cutoff, **(SETTINGS | settings))
    head = potential.heads["energy"]
    head.references[list(elements)] = -10.0 * torch.arange(1.0, len(elements) + 1).double()
    head.scale.fill_(1.7)
    return potential.double().eval()


def crystal(repeat=1, seed=0) -> Data:
    """Distorted carbon and oxygen in a cell smaller than the cutoff."""
    cell = np.array([[2.6, 0.3, 0.0], [0.0, 2.9, 0.4], [0.2, 0.0, 3.1]])
    rng = np.random.default_rng(seed)
    atoms = ase.Atoms("CO", rng.uniform(0, 2, (2, 3)), cell=cell, pbc=True).repeat(repeat)
    return Data(
        z=torch.tensor(atoms.numbers),
        pos=torch.tensor(atoms.positions),
        cell=torch.tensor(atoms.cell.array).unsqueeze(0),
    )


def numerical(function, x: torch.Tensor, step: float = 1e-4) -> torch.Tensor:
    """Derivatives of a scalar function by central differences."""
    result = torch.zeros_like(x)
    for index in range(x.numel()):
        change = torch.zeros_like(x)
        change.view(-1)[index] = step
        result.view(-1)[index] = float(function(x + change) - function(x - change)) / (2 * step)
    return result
