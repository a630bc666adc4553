"""Losses and errors of columns: those of the targets of potentials."""

from __future__ import annotations

from torch import Tensor

from schnetgen_pyg.data.labelled_graphs import GraphTarget
from schnetgen_pyg.targets.base import Target
from schnetgen_pyg.targets.columns import Probability


def measure_of(target: GraphTarget) -> Target:
    """What measures predictions of a column. Its own name is another one: that of a column may be
    anything."""
    kind = Probability if target.classify else Target
    return kind("y", target.unit, extensive=None)


def errors(target: GraphTarget, found: Tensor, labels: Tensor) -> dict[str, float]:
    """Of predictions and labels [num_molecules], NaN where there is none: RMSE and mean absolute
    error in the unit of the column, or area under the ROC curve (where both classes are there) and
    accuracy; by names that say the column and the unit. Nothing where there are no labels."""
    known = labels.isfinite()
    if not bool(known.any()):
        return {}
    found, labels = found[known].double().cpu(), labels[known].double().cpu()
    told = measure_of(target).errors([found], [labels], known.new_ones(len(found)).long())
    unit = f" ({target.unit})" if target.unit else ""
    result = {
        target.called(key.removeprefix("y_").removesuffix(unit)): value
        for key, value in told.items()
    }
    if not target.classify:
        rmse = (found - labels).square().mean().sqrt()
        result = {target.called("rmse"): float(rmse)} | result
    return result
