"""Ensembles: structures that are conformers of the same molecule, and how often each is seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from schnetgen_pyg.data.batches import BatchSampler, EnsembleSampler
from schnetgen_pyg.data.origin import named
from schnetgen_pyg.data.splits import groups_of
from schnetgen_pyg.errors import InputError


def sampler_of(
    structures: Sequence[Data], config: Any, numbers: Sequence[int] | None = None
) -> BatchSampler | None:
    """By which a run sees its structures, where its ``weight_by`` says that they are ensembles.

    Over the passes a molecule's loss is then Σ_R w(R) loss(R): with the weights of Boltzmann the
    cross-entropy between the ensemble and the model, the negative log-likelihood of conformers that
    are drawn at that temperature.

    Args:
        structures: of the training, with ``info``.
        config: a `TrainingConfig` or one like it.
        numbers: what messages call structures that are of no file; by default their places.

    Raises:
        InputError: naming a structure without a group or a usable weight.
    """
    if not config.weight_by:
        return None
    numbers = range(len(structures)) if numbers is None else numbers
    ensembles = groups_of(structures, range(len(structures)), config.group_by)
    weights = torch.tensor(
        [
            _weight(data, config.weight_by, named(data, f"structure {numbers[number]}"))
            for number, data in enumerate(structures)
        ],
        dtype=torch.float64,
    )
    _require_some(ensembles, weights, structures, numbers, config.weight_by)
    return EnsembleSampler(ensembles, weights, config.batch_size, config.steps, config.seed)


def _weight(data: Data, key: str, where: str) -> float:
    said: Any = (data.get("info") or {}).get(key)
    try:
        found = float(said)
    except (TypeError, ValueError):
        found = math.nan
    if not (math.isfinite(found) and found >= 0):
        raise InputError(
            f"{where}: its {key!r} in info must be a weight of 0 or more, got {said!r}; name "
            "another entry in weight_by, or leave weight_by out"
        )
    return found


def _require_some(
    ensembles: Sequence[Sequence[int]],
    weights: Tensor,
    structures: Sequence[Data],
    numbers: Sequence[int],
    key: str,
) -> None:
    for own in ensembles:
        if not bool(weights[list(own)].sum() > 0):
            where = named(structures[own[0]], f"structure {numbers[own[0]]}")
            raise InputError(
                f"{where}: the {key!r} of all structures of its group are 0, so that none can be "
                "drawn; correct them, or leave these out"
            )
