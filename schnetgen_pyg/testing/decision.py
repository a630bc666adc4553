"""What a decision of one's own must keep to."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.data import Data

from schnetgen_pyg.chem.elements import parse_formula
from schnetgen_pyg.generator.draft import Draft, State
from schnetgen_pyg.generator.losses import losses
from schnetgen_pyg.generator.model import SchNetGen
from schnetgen_pyg.generator.orders import ORDERS, reorder
from schnetgen_pyg.generator.sampling.builder import Builder
from schnetgen_pyg.generator.sampling.config import SamplingConfig
from schnetgen_pyg.generator.sampling.generate import generate
from schnetgen_pyg.generator.sampling.likelihood import follow
from schnetgen_pyg.generator.steps import all_steps, partial_molecules
from schnetgen_pyg.modes import evaluating
from schnetgen_pyg.testing.expect import expect


def check_decision(name: str, model: SchNetGen, molecules: Data, formula: str) -> None:
    """Whether a decision does what the model and the generation loop count on.

    Its log-probabilities are normalised, its loss is finite and reaches its weights; what is drawn
    repeats with the seed, does not depend on the batch, and is as probable as when the molecules
    are followed.

    Args:
        name: of the decision, which ``model`` takes.
        model: an untrained one will do.
        molecules: PyG batch of real molecules.
        formula: of some molecules to generate.

    Raises:
        AssertionError: with what is wrong.
    """
    decision = model.decisions[name]
    ordered = reorder(molecules, ORDERS[model.config.order](molecules, _seeded()))
    partial = partial_molecules(ordered, *all_steps(ordered.ptr))
    for condition in model.conditions.values():
        condition.prepare(partial, ordered, _seeded())
    step = model.step(partial, model.step_graph(ordered, partial), generator=_seeded())
    if "next_type" not in model.decisions:
        step.decide(next_z=partial.next_z)
    for before, other in model.decisions.items():
        if before == name:
            break
        other.loss(step, ordered)
    _check_normalised(name, decision.log_prob(step), partial)

    model.zero_grad()
    found = {k: v for k, v in losses(model, molecules, _seeded()).items() if name in k}
    expect(bool(found), f"{name}: `loss` gives nothing under its name")
    for key, value in found.items():
        finite = value.dim() == 0 and bool(torch.isfinite(value))
        expect(finite, f"{name}: the loss {key} must be one finite number, got {value}")
    torch.stack(list(found.values())).sum().backward()
    reached = [p.grad is not None for p in decision.parameters()]
    expect(not reached or any(reached), f"{name}: the loss reaches none of its weights")
    _check_draw(name, model, formula)


def _seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _check_normalised(name: str, found: Tensor, partial: Data) -> None:
    graphs, nodes = partial.ptr.numel() - 1, partial.z.numel()
    if found.dim() == 1:
        expect(len(found) == nodes, f"{name}: log_prob must be [num_nodes] or have options")
        total = torch.zeros(graphs).index_add(0, partial.batch, found.detach().exp())
    else:
        expect(len(found) in (graphs, nodes), f"{name}: log_prob has {len(found)} rows")
        total = found.detach().exp().sum(1)
    expect(torch.allclose(total, torch.ones_like(total), atol=1e-4), f"{name}: not normalised")


def _check_draw(name: str, model: SchNetGen, formula: str) -> None:
    config = SamplingConfig(restarts=0, gibbs_rounds=0, jobs=1, temperature=1.0)
    first, again, apart = (
        generate(model, formula, 6, seed=1, config=config, batch_size=size) for size in (6, 6, 2)
    )
    for one, repeated, alone in zip(first, again, apart, strict=True):
        same = abs(one.positions - repeated.positions).max() == 0
        expect(same, f"{name}: the same seed gives other molecules")
        same = abs(one.positions - alone.positions).max() < 1e-4
        expect(same, f"{name}: molecules depend on the others in their batch")
    drawn, followed = _drawn_and_followed(model, formula, config)
    if name not in drawn:
        return  # its probability is that of another decision
    # An untrained model may be driven to what its own rules forbid, or not do what it foretold.
    share = torch.isclose(drawn[name], followed[name], atol=0.05).float().mean()
    difference = f"{followed[name].tolist()} is not {drawn[name].tolist()}"
    expect(share >= 0.3, f"{name}: log-probabilities of what was drawn: {difference}")


def _drawn_and_followed(
    model: SchNetGen, formula: str, config: SamplingConfig
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What decisions say of a few molecules while they draw them, and when these are followed."""
    z = parse_formula(formula)
    z = z[(z == 1).long().argsort(stable=True)].repeat(6, 1)
    state = State.start(z, torch.zeros(*z.shape, 3))
    index = torch.arange(len(z))
    restart, states = torch.zeros_like(index), model.config.states
    draft = Draft(state, 1, index, 1, config, restart, states=states)
    with evaluating(model):
        Builder(model, draft).run()
    return draft.parts, follow(model, state, config).parts
