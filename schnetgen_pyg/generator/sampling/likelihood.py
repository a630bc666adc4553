"""How probable molecules are to a generator, and what it says while one is built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import ase
import torch
from torch import Tensor
from torch_geometric.data import Data

from schnetgen_pyg.chem.valence_states import state_table
from schnetgen_pyg.data.conversion import as_data
from schnetgen_pyg.data.lewis_structures import with_lewis_structures
from schnetgen_pyg.data.origin import named
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.generator.draft import Draft, State, StepRecord
from schnetgen_pyg.generator.model import SchNetGen
from schnetgen_pyg.generator.placement import PENALTY
from schnetgen_pyg.generator.sampling.builder import Builder
from schnetgen_pyg.generator.sampling.config import SamplingConfig
from schnetgen_pyg.generator.sampling.formulas import check_molecule
from schnetgen_pyg.generator.sampling.targets import targets_of, told_of
from schnetgen_pyg.generator.valence_states import settled_states
from schnetgen_pyg.modes import evaluating


class LogProb(NamedTuple):
    """Log-densities of molecules.

    Attributes:
        value: natural logarithm of the density, positions in Å [num_molecules].
        error: that of ``value`` at most, from the norms of the positions [num_molecules].
        parts: what each decision contributes to ``value``, by its name [num_molecules]; the
            focus is in ``distance``, which sums over it.
        standard_error: of ``value`` where it is an estimate from draws of a latent
            [num_molecules]; ``None`` where it is exact but for ``error``.
    """

    value: Tensor
    error: Tensor
    parts: dict[str, Tensor]
    standard_error: Tensor | None = None


def log_prob(
    model: SchNetGen,
    molecules: Any,
    *,
    targets: Mapping[str, Any] | None = None,
    composition: bool = False,
    placed: int = 1,
    valence_rules: bool = True,
) -> LogProb:
    """The model's own log-density of molecules, log p(types, valence states, positions | formula),
    or without a condition on the formula.

    It is that of the learned distributions as they are (T = 1), not of what `generate` makes of
    them by a temperature, restarts and Gibbs rounds, so that molecules can be ranked by it:

    - positions r₂, …, rₙ given the first atom at the origin, a density in Å^(−3(n − 1)). With a
      focus it is the mixture over all focuses; the position lies in the shell where it is bonded to
      the focus. Without one it lies no farther from the first atom than the model's
      ``max_distance``. The norm of every position is integrated numerically, and its ``error``
      given;
    - types, valence states and numbers of hydrogens, where the model decides on them: that of the
      states which the finished molecule has, by its arrays ``formal_charge`` and ``valence`` or,
      where it has none, by its Lewis structure. What is certain by a formula or a state costs
      nothing;
    - the atoms in the order they have here, the first of them being there from the start. Each has
      to be bonded to an earlier one (see `schnetgen_pyg.generator.orders`), hydrogens last;
    - −∞ for what the rules forbid.

    With targets it is that of the model which is told these, without guidance.

    Args:
        molecules: ``Data``, ``Atoms`` or a list of them.
        targets: as those of `generate`.
        composition: with ln p(Z), of the formula, for models that have it: ``composition`` among
            the parts.
        placed: so many of the first atoms are given, such as those of a fragment.
        valence_rules: as in `SamplingConfig`.

    Raises:
        InputError: for elements and charges that the model never saw, periodic structures and
            radicals; for ``composition`` of a model without p(Z).
    """
    given = [molecules] if isinstance(molecules, (Data, ase.Atoms)) else list(molecules)
    asked = targets_of(model, targets or {}, len(given))
    config = SamplingConfig(valence_rules=valence_rules)
    found = []
    for place, (item, data) in enumerate(zip(given, as_data(given), strict=True)):
        charge = _check(model, data, named(data, f"structure {place}"), placed)
        mine = {name: value[place : place + 1] for name, value in asked.items()}
        state = _state(model, data, mine, charge, _kept(model, item))
        one = log_prob_of(follow(model, state, config, placed))
        found.append(_with_composition(model, data, one, mine) if composition else one)
    names = dict.fromkeys(name for one in found for name in one.parts)
    zero = torch.zeros(1)
    return LogProb(
        torch.cat([one.value for one in found]),
        torch.cat([one.error for one in found]),
        {name: torch.cat([one.parts.get(name, zero) for one in found]) for name in names},
    )


def _check(model: SchNetGen, data: Data, where: str, placed: int) -> int:
    """Refuse what the model cannot have made; the charge of the molecule in e."""
    charge = check_molecule(model, data, where)
    if not 1 <= placed <= len(data.z):
        raise InputError(f"{where}: placed must be 1 to {len(data.z)}, its atoms, got {placed}")
    return charge


def _state(
    model: SchNetGen,
    data: Data,
    targets: Mapping[str, Tensor],
    charge: int,
    kept: Mapping[str, Tensor] | None = None,
) -> State:
    """One molecule to follow, with the valence states of its Lewis structure, if it has one."""
    z, pos = data.z[None], data.pos[None]
    state = State.start(z, pos, targets, torch.tensor([charge]), kept)
    if "valence_state" not in model.decisions:
        return state
    (lewis,), _ = with_lewis_structures([data], jobs=1)
    if lewis is None:
        return state
    table = state_table(model.config.states, z.device)
    of_atoms = lewis.formal_charge[None], lewis.valence[None]
    return replace(state, valence_state=settled_states(z, pos, *of_atoms, table))


def _with_composition(
    model: SchNetGen, data: Data, given: LogProb, targets: Mapping[str, Tensor]
) -> LogProb:
    """The same without the formula as a condition."""
    if model.composition is None:
        raise InputError("composition: this model has no p(Z); leave it out")
    counts = model.composition.counts(data.z, torch.zeros_like(data.z), 1).to(model.device)
    with torch.inference_mode():
        told = told_of(model, targets, 1)
        own = model.composition.log_prob(counts, told=told).cpu()
    return LogProb(given.value + own, given.error, {"composition": own, **given.parts})


def _kept(model: SchNetGen, item: Any) -> dict[str, Tensor]:
    """What decisions have drawn of a generated molecule [1, atoms], where it says so."""
    arrays = item.arrays if isinstance(item, ase.Atoms) else item
    return {
        name: torch.as_tensor(arrays[name], dtype=dtype)[None]
        for decision in model.decisions.values()
        for name, dtype in decision.keeps.items()
        if name in arrays
    }


def follow(
    model: SchNetGen,
    state: State,
    config: SamplingConfig,
    placed: int = 1,
    history: list[StepRecord] | None = None,
) -> Draft:
    """Molecules of one formula whose atoms are placed where they are, in their order; valence
    states that the state has are followed, the others are those of the bonds."""
    state = state.to(model.device)
    pos, own = state.pos - state.pos[:, :1], state.valence_state.clone()
    state = replace(state, z=state.z.contiguous(), pos=pos, valence_state=own)
    index = torch.arange(len(state.z))
    restart = torch.zeros_like(index)
    how: Any = {"states": model.config.states, "forced": True, "history": history}
    draft = Draft(state, placed, index, 0, config, restart, **how)
    with evaluating(model):
        Builder(model, draft).run()
    return draft


def log_prob_of(draft: Draft) -> LogProb:
    """That of molecules that were followed [count]."""
    parts = {
        # A penalty stands for the impossible.
        name: part.masked_fill(part < PENALTY / 2, -torch.inf).cpu()
        for name, part in draft.parts.items()
    }
    zero = torch.zeros(len(draft.z))
    return LogProb(sum(parts.values(), zero), draft.error.cpu(), parts)


def trace(
    model: SchNetGen,
    molecule: Any,
    *,
    targets: Mapping[str, Any] | None = None,
    valence_rules: bool = True,
) -> list[StepRecord]:
    """What the model says at every step while one molecule is built in the order of its atoms.

    Args:
        molecule: ``Data`` or ``Atoms``.
        targets, valence_rules: as in `log_prob`.

    Returns:
        one record for each atom but the first, tensors with a leading dimension of one.

    Raises:
        InputError: as `log_prob`.
    """
    (data,) = as_data(molecule, "molecule")
    charge = _check(model, data, "molecule", 1)
    history: list[StepRecord] = []
    state = _state(model, data, targets_of(model, targets or {}, 1), charge)
    follow(model, state, SamplingConfig(valence_rules=valence_rules), history=history)
    return history
