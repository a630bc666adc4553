"""What a condition of one's own must keep to."""

from __future__ import annotations

import copy

import torch
from torch import Tensor
from torch_geometric.data import Data

from schnetgen_pyg.errors import InputError
from schnetgen_pyg.generator.model import SchNetGen
from schnetgen_pyg.generator.steps import all_steps, partial_molecules
from schnetgen_pyg.testing.expect import expect


def check_condition(name: str, model: SchNetGen, molecules: Data) -> None:
    """Whether a condition does what the model counts on.

    It makes finite channels of the right shape, its weights get a gradient, a molecule that is
    turned and moved tells the same, and what a molecule lacks is named.

    Args:
        name: of the condition, which ``model`` has.
        model: an untrained one will do.
        molecules: PyG batch of real molecules with what the model's conditions require.

    Raises:
        AssertionError: with what is wrong.
    """
    condition = model.conditions[name]
    told = _told(name, model, molecules)
    for kind, (part, rows) in told.items():
        shape = (rows, model.config.hidden_channels)
        fits = part.shape == shape
        expect(fits, f"{name}: {kind} must have shape {shape}, got {tuple(part.shape)}")
        expect(torch.isfinite(part).all(), f"{name}: {kind} is not finite")
    torch.stack([part.square().sum() + part.sum() for part, _ in told.values()]).sum().backward()
    reached = [p.grad is not None for p in condition.parameters()]
    expect(not reached or any(reached), f"{name}: no weight gets a gradient")
    moved = copy.copy(molecules)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)))[0]
    moved.pos = molecules.pos @ turn.to(molecules.pos) + 1.0
    for kind, (part, _) in _told(name, model, moved).items():
        same = torch.allclose(part, told[kind][0], atol=1e-4)
        expect(same, f"{name}: {kind} changes where a molecule is turned or moved")
    for key in condition.requires:
        lacking = copy.copy(molecules)
        del lacking[key]
        try:
            _told(name, model, lacking)
        except InputError as error:
            expect(key in str(error), f"{name}: the error must name {key!r}, got: {error}")
        else:
            raise AssertionError(f"{name}: {key!r} is required, but its absence is not named")


def _told(name: str, model: SchNetGen, molecules: Data) -> dict[str, tuple[Tensor, int]]:
    """Channels by what they are of, and how many there must be."""
    molecules = copy.copy(molecules)
    partial = partial_molecules(molecules, *all_steps(molecules.ptr))
    for condition in model.conditions.values():
        condition.prepare(partial, molecules, torch.Generator().manual_seed(0))
    told = {"forward": (model.conditions[name](partial), partial.ptr.numel() - 1)}
    per_atom = model.conditions[name].per_atom(partial)
    if per_atom is not None:
        told["per_atom"] = (per_atom, partial.z.numel())
    return told
