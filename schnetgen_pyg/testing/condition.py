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
    turned and moved tells the same, and what a molecule lacks is named. Of an optional attribute
    that is not given it says exactly nothing, whatever is given of the others in a batch.

    Args:
        name: of the condition, which ``model`` has.
        model: an untrained one will do.
        molecules: PyG batch of two or more real molecules with what the model's conditions require,
            and with all optional attributes of this one.

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

    if condition.optional:
        _check_optional(name, model, molecules)


def _check_optional(name: str, model: SchNetGen, molecules: Data) -> None:
    """Of any molecule any of them may be missing."""
    model = copy.deepcopy(model)
    condition = model.conditions[name]
    for weights in condition.parameters():
        if not bool(weights.any()):  # a last layer that begins with zeros would hide what it does
            torch.nn.init.normal_(weights, std=0.1)
    bare, mixed = copy.copy(molecules), copy.copy(molecules)
    for key in condition.optional:
        expect(molecules.get(key) is not None, f"{name}: the molecules must have its {key!r}")
        del bare[key]
        mixed[key] = molecules[key].clone()
        mixed[key][0] = condition.absent(key).to(mixed[key])
    full, none, some = (_told(name, model, one) for one in (molecules, bare, mixed))
    for kind, (part, _) in some.items():
        if not condition.requires:
            nothing = not bool(none[kind][0].any())
            expect(nothing, f"{name}: {kind} is not zero where nothing is given")
        first = _of_first(kind, molecules)
        same = torch.allclose(part[first], none[kind][0][first], atol=1e-5)
        expect(same, f"{name}: {kind} of a molecule depends on what is given of others")
        same = torch.allclose(part[~first], full[kind][0][~first], atol=1e-5)
        expect(same, f"{name}: {kind} changes where another molecule lacks something")
    for weights in condition.parameters():
        weights.grad = None
    torch.stack([part.square().sum() for part, _ in some.values()]).sum().backward()
    gradients = [p.grad for p in condition.parameters() if p.grad is not None]
    finite = all(bool(one.isfinite().all()) for one in gradients)
    expect(finite, f"{name}: a gradient is not finite where something is not given")


def _of_first(kind: str, molecules: Data) -> Tensor:
    """Which rows are of the first molecule."""
    partial = partial_molecules(molecules, *all_steps(molecules.ptr))
    owner = {"forward": partial.molecule, "per_atom": partial.molecule[partial.batch]}
    return owner.get(kind, torch.arange(molecules.ptr.numel() - 1)) == 0


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
    of_molecules = model.conditions[name].of_molecules(molecules)
    if of_molecules is not None:
        told["of_molecules"] = (of_molecules, molecules.ptr.numel() - 1)
    return told
