"""What of the optional attributes a model is told in training: any subset, or nothing.

So one model serves with all targets, with some and with none, and knows the p_0 that guidance
moves away from (classifier-free guidance: Ho, Salimans, arXiv 2207.12598, 2022).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch_geometric.data import Data

from schnetgen_pyg.generator.conditions.base import Condition

#: Share of the molecules of which nothing is told: enough to keep the model without targets as good
#: as it was (10 to 20 % is what guidance is trained with elsewhere).
NOTHING = 0.2


def hide_some(conditions: Iterable[Condition], molecules: Data, generator: torch.Generator) -> None:
    """Leave out optional attributes of molecules of a batch at random; all partial molecules of a
    molecule, and its formula, are then told the same. Without such attributes nothing is drawn."""
    named = [(condition, name) for condition in conditions for name in condition.optional]
    if not named:
        return
    noise = torch.rand(len(named) + 2, molecules.ptr.numel() - 1, generator=generator)
    # One attribute alone, a few or nearly all: every number of them is as frequent.
    told = (noise[0] >= NOTHING) & (noise[2:] < noise[1])
    for (condition, name), kept in zip(named, told.to(molecules.ptr.device), strict=True):
        value, absent = condition.given(molecules, name), condition.absent(name)
        kept = kept.view(-1, *(1 for _ in value.shape[1:]))
        molecules[name] = torch.where(kept, value, absent.to(value))
