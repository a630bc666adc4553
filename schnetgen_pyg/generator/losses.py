"""What a generator is trained on: the targets of all heads for a batch of partial molecules."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import scatter

from schnetgen_pyg.chem.bonds import batch_adjacency, bond_limits
from schnetgen_pyg.data.means import Mean
from schnetgen_pyg.generator.model import SchNetGen
from schnetgen_pyg.generator.orders import ORDERS, reorder
from schnetgen_pyg.generator.steps import all_steps, partial_molecules, random_steps, scaffold_steps
from schnetgen_pyg.generator.valence_states import UNKNOWN, environments, hidden, open_neighbors


def perturbed(molecules: Data, noise: float, generator: torch.Generator | None) -> Data:
    """The batch with Gaussian noise on its positions, of a strength that each molecule draws
    uniformly from 0 to ``noise`` (Å): what the sampler's own small errors look like."""
    strength = noise * torch.rand(molecules.ptr.numel() - 1, generator=generator)
    offset = torch.randn(molecules.z.numel(), 3, generator=generator)
    offset = offset.to(molecules.pos) * strength.to(molecules.pos)[molecules.batch].unsqueeze(1)
    return Data(z=molecules.z, pos=molecules.pos + offset, batch=molecules.batch, ptr=molecules.ptr)


def bonded_nodes(partial: Data, distance: Tensor) -> Tensor:
    """Placed atoms that the next atom is bonded to [num_nodes] (bool): its possible focuses.

    A next atom that is bonded to none has the nearest one.
    """
    steps = partial.next_z.numel()
    bonded = distance < bond_limits(partial.z, partial.next_z[partial.batch])
    nearest = scatter(distance, partial.batch, dim_size=steps, reduce="min")
    alone = scatter(bonded.long(), partial.batch, dim_size=steps) == 0
    return bonded | (alone[partial.batch] & (distance == nearest[partial.batch]))


def draw(chosen: Tensor, batch: Tensor, num_graphs: int, generator: torch.Generator) -> Tensor:
    """One of the ``chosen`` nodes of each graph, at random [num_graphs]."""
    noise = torch.rand(chosen.numel(), generator=generator).to(batch.device)
    noise = noise.masked_fill(~chosen, -1.0)
    best = scatter(noise, batch, dim_size=num_graphs, reduce="max")
    winners = (noise == best[batch]).nonzero().squeeze(1)
    focus = batch.new_zeros(num_graphs)
    return focus.index_copy(0, batch[winners], winners)


def missing_hydrogens(molecules: Data, partial: Data) -> Tensor:
    """Hydrogens bonded to each placed atom that are still to place [num_nodes]."""
    bonds, mask = batch_adjacency(molecules)
    hydrogen = torch.zeros_like(mask)
    hydrogen[mask] = molecules.z == 1
    to_hydrogen = (bonds & hydrogen.unsqueeze(1)).long()
    later = to_hydrogen.flip(2).cumsum(2).flip(2)  # bonded hydrogens from each place on
    molecule = partial.molecule[partial.batch]
    local = partial.atom - molecules.ptr[molecule]
    return later[molecule, local, partial.ptr.diff()[partial.batch]]


def allowed_types(model: SchNetGen, remaining: Tensor) -> Tensor:
    """Elements that may come next [num_graphs, num_elements]: what is left of the formula,
    hydrogens only after everything else."""
    allowed = remaining > 0
    if 1 in model.config.elements:
        hydrogen = model.config.elements.index(1)
        heavy = allowed.clone()
        heavy[:, hydrogen] = False
        allowed = torch.where(heavy.any(1, keepdim=True), heavy, allowed)
    return allowed


def _mean_loss(log_prob: Tensor, target: Tensor) -> Mean:
    """Cross-entropy; 0 for none at all, with the head still in the graph."""
    return Mean(-log_prob.gather(1, target.unsqueeze(1)).sum(), len(target))


def _environment_losses(
    model: SchNetGen, x: Tensor, partial: Data, environment: Tensor
) -> dict[str, Mean]:
    """Of the next atoms' environments, and of single atoms' own where these are hidden."""
    heavy = partial.next_z != 1
    log_prob = model.next_environment_log_prob(x, partial)[heavy]
    following = _mean_loss(log_prob, environment[partial.next_atom[heavy]])
    alone = (partial.environment == UNKNOWN) & (partial.ptr.diff()[partial.batch] == 1)
    alone &= partial.z != 1
    own = _mean_loss(model.environment_head(x[alone]), environment[partial.atom[alone]])
    return {"next_environment": following, "environment": own}


def _hydrogens_loss(model: SchNetGen, x: Tensor, molecules: Data, partial: Data) -> Mean:
    """Of the hydrogens that placed atoms lack, where the first is next and they are not known."""
    asked = (partial.next_z[partial.batch] == 1) & (partial.z != 1)
    if model.config.environments:
        asked &= partial.environment == UNKNOWN
    lacking = missing_hydrogens(molecules, partial)[asked].clamp(max=4)
    return _mean_loss(model.hydrogen_head(x[asked]), lacking)


def _steps(
    molecules: Data, num: int, num_hydrogens: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """The steps to train on, as in `all_steps`."""
    if num:
        return random_steps(molecules.ptr, num, generator)
    if num_hydrogens:
        return scaffold_steps(molecules, num_hydrogens, generator)
    return all_steps(molecules.ptr)


def loss_terms(
    model: SchNetGen,
    molecules: Data,
    generator: torch.Generator,
    *,
    noise: float = 0.0,
    num_steps: int = 0,
    num_hydrogen_steps: int = 0,
) -> dict[str, Mean]:
    """Cross-entropies in nats of everything the model predicts.

    Args:
        model: the generator.
        molecules: PyG batch, atoms in any order.
        generator: source of the order, the steps, the focuses and the noise.
        noise: largest standard deviation in Å of the noise on the placed positions; targets are
            the unperturbed positions.
        num_steps: random steps of each molecule; 0 for all.
        num_hydrogen_steps: random steps of each molecule that place a hydrogen, beside all steps
            that place something else; 0 for all.

    Returns:
        ``distance``: mean over all distances, the paper's loss; and ``focus``, ``type``,
        ``hydrogens``, ``next_environment`` and ``environment`` (of a first atom) where the model
        has those heads.
    """
    molecules = reorder(molecules, ORDERS[model.config.order](molecules, generator))
    steps = _steps(molecules, num_steps, num_hydrogen_steps, generator)
    placed = perturbed(molecules, noise, generator) if noise else molecules
    partial = partial_molecules(placed, *steps)
    graphs, batch = partial.next_z.numel(), partial.batch
    remaining = None
    if model.config.next_type or model.config.hydrogens:
        remaining = model.remaining(molecules, partial)
    environment = next_environment = None
    if model.config.environments:
        environment = environments(molecules)
        next_environment = environment[partial.next_atom]
        partial.environment = hidden(partial, environment[partial.atom], generator)
        partial.open = open_neighbors(molecules, partial)
    x = model.features(partial, model.step_graph(placed, partial), remaining)
    y = model.meet(x, partial.next_z, batch, next_environment)
    target = molecules.pos[partial.next_atom][batch]
    result: dict[str, Mean] = {}
    focus = None
    if model.config.focus:
        exact = (molecules.pos[partial.atom] - target).norm(dim=1)
        bonded = bonded_nodes(partial, exact)
        share = bonded / scatter(bonded.float(), batch, dim_size=graphs)[batch]
        loss = -(share * model.focus_head(y, batch, graphs)).sum()
        result["focus"] = Mean(loss, graphs)
        focus = draw(bonded, batch, graphs, generator)
    if model.config.next_type:
        assert remaining is not None
        log_prob = model.type_head(x, batch, allowed_types(model, remaining))
        result["type"] = _mean_loss(log_prob, model.element_index[partial.next_z])
    if model.config.hydrogens:
        result["hydrogens"] = _hydrogens_loss(model, x, molecules, partial)
    if environment is not None:
        result |= _environment_losses(model, x, partial, environment)
    distance = (partial.pos - target).norm(dim=1)
    log_prob = model.distance_log_prob(y, partial, focus)
    result["distance"] = Mean(model.bins.cross_entropy(log_prob, distance).sum(), len(distance))
    return result


def losses(
    model: SchNetGen, molecules: Data, generator: torch.Generator, **settings: Any
) -> dict[str, Tensor]:
    """The values of `loss_terms`, whose sum is the loss."""
    terms = loss_terms(model, molecules, generator, **settings)
    return {name: mean.value for name, mean in terms.items()}
