"""What judges molecules while they are made: models that predict their properties."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

#: Molecules whose properties are predicted at once.
AT_ONCE = 256


class PropertyModel(Protocol):
    """What predicts properties, such as a `schnetgen_pyg.Potential` for them."""

    @property
    def targets(self) -> Mapping[str, Any]:
        """What it predicts, each with a ``unit``, by name."""

    @property
    def elements(self) -> Sequence[int]:
        """Atomic numbers that it knows."""

    def __call__(self, z: Tensor, pos: Tensor, batch: Tensor) -> Mapping[str, Tensor]:
        """Predictions [num_molecules] by name, of atoms z, pos (Å) [num_atoms, …]."""

    def state_dict(self) -> dict[str, Tensor]:
        """Its weights."""


def predicted(
    model: PropertyModel, numbers: Sequence[np.ndarray], positions: Sequence[np.ndarray]
) -> dict[str, np.ndarray]:
    """Predictions [num_molecules] by name (float64), of molecules with atomic numbers [num_atoms]
    and positions in Å [num_atoms, 3] each."""
    device = next(iter(model.state_dict().values())).device
    found: dict[str, list[np.ndarray]] = {}
    for start in range(0, len(numbers), AT_ONCE):
        some = slice(start, start + AT_ONCE)
        counts = torch.tensor([len(one) for one in numbers[some]])
        with torch.no_grad():
            values = model(
                torch.as_tensor(np.concatenate(numbers[some]), dtype=torch.long, device=device),
                torch.as_tensor(
                    np.concatenate(positions[some]), dtype=torch.float32, device=device
                ),
                torch.repeat_interleave(counts).to(device),
            )
        for name, value in values.items():
            found.setdefault(name, []).append(value.detach().cpu().double().numpy())
    return {name: np.concatenate(parts) for name, parts in found.items()}
