"""Committees of potentials, or of what else predicts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from schnetgen_pyg.errors import require
from schnetgen_pyg.targets.prediction import Prediction
from schnetgen_pyg.targets.predictor import Predictor


class Ensemble(nn.Module):
    """The mean of several potentials, and the variance among them as a measure of doubt.

    Args:
        members: at least one `schnetgen_pyg.Potential`, or `SchNetGen.predictor` of a generator,
            all for the same targets; called as one of them is.
    """

    def __init__(self, members: Sequence[Predictor]):
        super().__init__()
        require(len(members) > 0, "members", "none", "at least one potential")
        targets = [
            tuple(f"{name} ({one.unit})" for name, one in sorted(member.targets.items()))
            for member in members
        ]
        same = all(member.targets == members[0].targets for member in members)
        expected = "for the same targets in the same units"
        require(same, "members", f"those for {targets}", expected)
        self.members = nn.ModuleList(members)
        self.targets = members[0].targets
        self.elements = tuple(sorted(set.intersection(*(set(m.elements) for m in members))))

    def require_no_cell(self, cell: Tensor | None, where: str = "") -> None:
        """As `Predictor.require_no_cell`."""
        for member in self.members:
            member.require_no_cell(cell, where)  # type: ignore[operator]

    def forward(self, *inputs: Any, **options: Any) -> Prediction:
        """As `Predictor.forward`, with the variances (of the population)."""
        results = [member(*inputs, **options) for member in self.members]
        stacked = {name: torch.stack([r[name] for r in results]) for name in results[0]}
        found = Prediction({name: values.mean(0) for name, values in stacked.items()})
        for name, values in stacked.items():
            found[f"{name}_variance"] = values.var(0, correction=0)
        return found
