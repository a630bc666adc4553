"""What a generator is trained on: the cross-entropies of its decisions for a batch of partial
molecules."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import scatter

from schnetgen_pyg.data.means import Mean
from schnetgen_pyg.generator.conditions.hiding import hide_some
from schnetgen_pyg.generator.model import SchNetGen
from schnetgen_pyg.generator.orders import ORDERS, reorder
from schnetgen_pyg.generator.orders import fragments as drawn_fragments
from schnetgen_pyg.generator.steps import all_steps, partial_molecules, random_steps, scaffold_steps


def perturbed(
    molecules: Data,
    noise: float,
    generator: torch.Generator | None,
    given: Tensor | None = None,
) -> Data:
    """The batch with Gaussian noise on its positions, of a strength that each molecule draws
    uniformly from 0 to ``noise`` (Å): what the sampler's own small errors look like. Atoms that
    are ``given`` [num_atoms] have none."""
    strength = noise * torch.rand(molecules.ptr.numel() - 1, generator=generator)
    offset = torch.randn(molecules.z.numel(), 3, generator=generator)
    offset = offset.to(molecules.pos) * strength.to(molecules.pos)[molecules.batch].unsqueeze(1)
    result = copy.copy(molecules)
    if given is not None:
        offset = offset * ~given.unsqueeze(1)
    result.pos = molecules.pos + offset
    return result


def _steps(
    molecules: Data, num: int, num_hydrogens: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """The steps to train on, as in `all_steps`."""
    given, fragment = None, molecules.get("fragment")
    if fragment is not None:
        given = scatter(fragment.long(), molecules.batch, dim_size=molecules.ptr.numel() - 1)
    if num:
        return random_steps(molecules.ptr, num, generator, given)
    if num_hydrogens:
        return scaffold_steps(molecules, num_hydrogens, generator, given)
    return all_steps(molecules.ptr, given)


def loss_terms(
    model: SchNetGen,
    molecules: Data,
    generator: torch.Generator,
    *,
    noise: float = 0.0,
    num_steps: int = 0,
    num_hydrogen_steps: int = 0,
    fragments: float = 0.0,
    kl_weight: float = 1.0,
    logged: dict[str, Mean] | None = None,
) -> dict[str, Mean]:
    """Cross-entropies in nats of everything the model decides, and the error of its refinement.

    Args:
        model: the generator.
        molecules: PyG batch, atoms in any order, with the attributes that conditions require, and
            any of the optional ones, of which some are left out at random.
        generator: source of the order, the steps, the focuses and the noise.
        noise: largest standard deviation in Å of the noise on the placed positions; targets are
            the unperturbed positions.
        num_steps: random steps of each molecule; 0 for all.
        num_hydrogen_steps: random steps of each molecule that place a hydrogen, beside all steps
            that place something else; 0 for all.
        fragments: share of the molecules that begin with a fragment.
        kl_weight: of what conditions cost.
        logged: gets what is to be logged beside the loss.

    Returns:
        by the names of the decisions, ``composition`` and ``refinement``; ``distance``, the mean
        over all distances, is the paper's loss. ``valence_state`` comes with
        ``first_valence_state``, of a first atom.
    """
    if fragments:
        molecules = copy.copy(molecules)
        molecules.fragment = drawn_fragments(molecules, fragments, generator)
    order = ORDERS[model.config.order](molecules, generator, molecules.get("fragment"))
    molecules = reorder(molecules, order)
    steps = _steps(molecules, num_steps, num_hydrogen_steps, generator)
    exact = molecules.get("fragment") if "given_atoms" in model.conditions else None
    placed = perturbed(molecules, noise, generator, exact) if noise else molecules
    partial = partial_molecules(placed, *steps)
    hide_some(model.conditions.values(), molecules, generator)
    for condition in model.conditions.values():
        condition.prepare(partial, molecules, generator)
    step = model.step(partial, model.step_graph(placed, partial), generator=generator)
    if "next_type" not in model.decisions:
        step.decide(next_z=partial.next_z)
    result: dict[str, Mean] = {}
    for name, decision in model.decisions.items():
        loss = decision.loss(step, molecules)
        result |= loss if isinstance(loss, dict) else {name: loss}
    for condition in model.conditions.values():
        for name, mean in condition.loss(partial, molecules).items():
            result[name] = Mean(kl_weight * mean.total, mean.number)
        if logged is not None:
            logged |= condition.metrics(partial, molecules)
    if model.composition is not None:
        result["composition"] = model.composition.loss(molecules, model.of_molecules(molecules))
    if model.refinement is not None:
        result["refinement"] = model.refinement.loss(molecules, generator)
    return result


def losses(
    model: SchNetGen, molecules: Data, generator: torch.Generator, **settings: Any
) -> dict[str, Tensor]:
    """The values of `loss_terms`, whose sum is the loss."""
    terms = loss_terms(model, molecules, generator, **settings)
    return {name: mean.value for name, mean in terms.items()}
