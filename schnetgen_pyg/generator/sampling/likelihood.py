"""How probable molecules are to a generator, and what it says while one is built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import ase
import torch
from torch import Tensor
from torch_geometric.data import Data

from schnetgen_pyg.data.conversion import as_data
from schnetgen_pyg.generator.draft import Draft, State, StepRecord
from schnetgen_pyg.generator.model import SchNetGen
from schnetgen_pyg.generator.sampling.builder import Builder
from schnetgen_pyg.generator.sampling.config import SamplingConfig
from schnetgen_pyg.generator.sampling.formulas import check_seen, targets_of
from schnetgen_pyg.modes import evaluating


def log_prob(
    model: SchNetGen,
    molecules: Any,
    *,
    seed: int = 0,
    targets: Mapping[str, Any] | None = None,
    config: SamplingConfig | None = None,
    **changes: Any,
) -> Tensor:
    """Log-probability that the sampler would place the atoms where they are, in their order.

    With a focus it is the density (1/Å³ for each atom but the first) of the mixture over all
    focuses, up to the error of its norm, and includes the types, valence states and numbers of
    hydrogens where the model predicts them; that a scaffold was kept because it leads somewhere
    adds a constant, which is left out. On a grid, positions are taken relative to the first atom
    and to the nearest grid point.

    Args:
        molecules: ``Data``, ``Atoms`` or a list of them.
        seed: turns the candidates around a focus; the molecules' ``info["sample"]`` and the seed
            they were generated with give the very candidates of that run.
        targets: as those of `generate`.
        config: sampling settings; keyword arguments replace its fields.

    Returns:
        [num_molecules], natural logarithm.

    Raises:
        InputError: for elements that the model never saw.
    """
    config = replace(config or SamplingConfig(), **changes)
    given = [molecules] if isinstance(molecules, (Data, ase.Atoms)) else list(molecules)
    asked = targets_of(model, targets or {}, len(given))
    result = []
    for place, (item, data) in enumerate(zip(given, as_data(given), strict=True)):
        check_seen(model, data.z, f"structure {place}: ")
        number = item.info.get("sample", place) if isinstance(item, ase.Atoms) else place
        mine = {name: value[place : place + 1] for name, value in asked.items()}
        mine |= _kept(model, item)
        draft = _followed(model, data, number, seed, config, mine)
        result.append(draft.log_prob.cpu())
    return torch.cat(result)


def _kept(model: SchNetGen, item: Any) -> dict[str, Tensor]:
    """What decisions have drawn of a generated molecule [1, atoms], where it says so."""
    names = [name for decision in model.decisions.values() for name in decision.keeps]
    arrays = item.arrays if isinstance(item, ase.Atoms) else item
    return {name: torch.as_tensor(arrays[name])[None] for name in names if name in arrays}


def _followed(
    model: SchNetGen,
    data: Data,
    number: int,
    seed: int,
    config: SamplingConfig,
    targets: Mapping[str, Tensor],
    history: list[StepRecord] | None = None,
) -> Draft:
    """One molecule whose atoms were placed where they are, in their order."""
    z, pos = data.z.unsqueeze(0), (data.pos - data.pos[:1]).unsqueeze(0)
    single = State.start(z, pos, targets).to(model.device)
    index, restart = torch.tensor([number]), torch.tensor([0])
    draft = Draft(single, 1, index, seed, config, restart, forced=True, history=history)
    with evaluating(model):
        Builder(model, draft).run()
    return draft


def trace(
    model: SchNetGen,
    molecule: Any,
    *,
    seed: int = 0,
    targets: Mapping[str, Any] | None = None,
    config: SamplingConfig | None = None,
) -> list[StepRecord]:
    """What the model says at every step while one molecule is built in the order of its atoms.

    Args:
        molecule: ``Data`` or ``Atoms``.
        seed, targets, config: as in `log_prob`.

    Returns:
        one record for each atom but the first, tensors with a leading dimension of one.

    Raises:
        InputError: for elements that the model never saw.
    """
    (data,) = as_data(molecule, "molecule")
    check_seen(model, data.z, "molecule: ")
    history: list[StepRecord] = []
    asked = targets_of(model, targets or {}, 1)
    _followed(model, data, 0, seed, config or SamplingConfig(), asked, history)
    return history
