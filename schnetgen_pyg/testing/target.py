"""What a target of one's own must keep to."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Batch, Data

from schnetgen_pyg.errors import InputError
from schnetgen_pyg.generator.model import SchNetGen
from schnetgen_pyg.potentials.model import Potential
from schnetgen_pyg.targets import TARGETS, Column, Target
from schnetgen_pyg.targets.predictor import Predictor
from schnetgen_pyg.testing.expect import expect
from schnetgen_pyg.training.fine_tuning import as_potential, take_weights

ELEMENTS = (1, 6, 8)


def check_target(target: Target | Column, representation: str = "schnet") -> None:
    """Whether a target does what potentials, generators and their training count on.

    A scalar is invariant under rotation, reflection and translation, a vector or tensor turns with
    the molecule; all follow a permutation of the atoms; the extensive adds up over distant
    fragments, the intensive is that of one of them; gradients reach its weights; a missing label
    (NaN) counts for nothing; a saved potential is the same one; and a generator predicts what a
    potential with its representation and read-out does.

    Args:
        target: registered in `schnetgen_pyg.targets.TARGETS`, or a column.
        representation: that its features come from.

    Raises:
        AssertionError: with what is wrong.
    """
    name, given = target.name, target if isinstance(target, Column) else target.name
    if isinstance(target, Column):
        target = target.target()
    else:
        expect(TARGETS.get(name) is target, f"{name}: register it, TARGETS.register({name!r}, …)")
    expect(target.derivative_of is None, f"{name}: derivatives have no read-out to check")
    torch.manual_seed(0)
    potential = Potential(representation, ELEMENTS, (given,), hidden_channels=16, cutoff=4.0)
    potential = potential.double().eval()
    batch = _molecules()
    structures = _check_fit(potential, target, batch)
    _check_symmetry(potential, target, batch)
    if target.extensive is not None:
        _check_fragments(potential, target, batch)
    _check_loss(potential, target, batch)
    _check_file(potential.float(), name, batch)
    _check_generator(representation, given, structures, batch)


def _molecules() -> Data:
    generator = torch.Generator().manual_seed(0)
    elements = torch.tensor(ELEMENTS)
    return Batch.from_data_list(
        [
            Data(
                z=elements[torch.randint(3, (size,), generator=generator)],
                pos=2.0 * torch.randn(size, 3, generator=generator, dtype=torch.float64),
            )
            for size in (5, 3, 7, 1)
        ]
    )


def _value(potential: Predictor, name: str, z: Tensor, pos: Tensor, batch: Tensor) -> Tensor:
    with torch.no_grad():
        found = potential(z, pos, batch)
    expect(name in found, f"{name}: a prediction has only {list(found)}")
    return found[name]


def _check_fit(potential: Potential, target: Target, batch: Data) -> list[Data]:
    """The structures of the batch with labels."""
    size = batch.num_graphs if target.per == "graph" else batch.z.numel()
    label = _labels(target, size)
    structures = batch.to_data_list()
    parts = [1] * size if target.per == "graph" else [d.z.numel() for d in structures]
    for data, own in zip(structures, label.split(parts[: len(structures)]), strict=True):
        data[target.name] = own
    potential.fit_statistics(structures)
    found = _value(potential, target.name, batch.z, batch.pos, batch.batch)
    shape = (size, *target.shape)
    expect(found.shape == shape, f"{target.name}: must have shape {shape}, got {found.shape}")
    expect(torch.isfinite(found).all(), f"{target.name}: is not finite after `fit`")
    errors = target.errors([found], [label], batch.ptr.diff())
    expect(all(isinstance(e, float) for e in errors.values()), f"{target.name}: errors {errors}")
    variance = target.variance(structures, ELEMENTS)
    expect(variance > 0, f"{target.name}: the variance of its labels is {variance}")
    return list(structures)


def _labels(target: Target, size: int) -> Tensor:
    """Labels that a target may have: numbers, or where it takes no others 0 and 1."""
    label = torch.linspace(1.0, 2.0, size, dtype=torch.float64)
    label = label.reshape(-1, *(1 for _ in target.shape)).expand(-1, *target.shape).clone()
    try:
        target.check_label(label, "structure 0")
    except InputError:
        label = (torch.arange(size) % 2).double()
    return label


def _turned(value: Tensor, target: Target, matrix: Tensor) -> Tensor:
    """What a quantity is where the molecule was turned."""
    if target.shape == (3,):
        return value @ matrix.T
    return matrix @ value @ matrix.T if target.shape == (3, 3) else value


def _check_symmetry(potential: Potential, target: Target, batch: Data) -> None:
    name = target.name
    before = _value(potential, name, batch.z, batch.pos, batch.batch)
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64)).Q
    turn = turn * torch.linalg.det(turn)
    for kind, matrix in (("turned", turn), ("mirrored", -turn)):
        moved = _value(potential, name, batch.z, batch.pos @ matrix.T + 3.0, batch.batch)
        what = "does not turn with" if target.shape else "changes with"
        same = torch.allclose(moved, _turned(before, target, matrix))
        expect(same, f"{name}: {what} molecules that are {kind} and moved")
    order = torch.randperm(batch.z.numel())
    after = _value(potential, name, batch.z[order], batch.pos[order], batch.batch[order])
    expected = before if target.per == "graph" else before[order]
    expect(torch.allclose(after, expected), f"{name}: changes with the order of the atoms")


def _check_fragments(potential: Potential, target: Target, batch: Data) -> None:
    """Two copies of a molecule, far apart."""
    one = batch.batch == 0
    z, pos = batch.z[one], batch.pos[one]
    zero = torch.zeros_like(z)
    alone = _value(potential, target.name, z, pos, zero)
    twice = torch.cat([pos, pos + 100.0])
    both = _value(potential, target.name, z.repeat(2), twice, zero.repeat(2))
    if target.per == "atom":
        expected, rule = torch.cat([alone, alone]), "an atom's is that of its own fragment"
    elif target.extensive:
        expected, rule = 2 * alone, "an extensive one adds up"
    else:
        expected, rule = alone, "an intensive one is that of one of them"
    expect(
        torch.allclose(both, expected),
        f"{target.name}: of two distant copies {both.tolist()}, of one {alone.tolist()}; {rule}",
    )


def _check_loss(potential: Potential, target: Target, batch: Data) -> None:
    name = target.name
    potential.zero_grad()
    found = potential(batch.z, batch.pos, batch.batch)[name]
    label = torch.zeros_like(found)
    label[0] = torch.nan
    loss = target.loss(found, label, batch).value
    expect(loss.dim() == 0 and torch.isfinite(loss), f"{name}: the loss must be a number: {loss}")
    loss.backward()
    gradients = [p.grad for p in potential.heads[name].parameters()]
    reached = all(g is not None and torch.isfinite(g).all() for g in gradients)
    expect(reached, f"{name}: the gradient does not reach all its weights, or is not finite")
    nothing = target.loss(found.detach(), torch.full_like(found, torch.nan), batch)
    expect(float(nothing.number) == 0.0, f"{name}: missing labels are counted in the loss")
    expect(float(nothing.value) == 0.0, f"{name}: missing labels add to the loss")


def _check_file(potential: Potential, name: str, batch: Data) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        potential.save(path)
        loaded = Potential.from_pretrained(path)
    arguments = name, batch.z, batch.pos, batch.batch
    same = torch.equal(_value(potential, *arguments), _value(loaded, *arguments))
    expect(same, f"{name}: a saved and loaded potential predicts something else")


def _check_generator(
    representation: str, given: str | Column, structures: list[Data], batch: Data
) -> None:
    name = given if isinstance(given, str) else given.name
    common: dict[str, Any] = {"hidden_channels": 16, "cutoff": 4.0, "elements": ELEMENTS}
    generator = SchNetGen(representation=representation, targets=(given,), **common).eval()
    generator.predictor.fit_statistics(structures)
    potential = Potential(as_potential(generator.config)).eval()
    take_weights(potential, generator, "the generator")
    arguments = name, batch.z, batch.pos, batch.batch
    value = _value(generator.predictor, *arguments)
    same = torch.equal(value, _value(potential, *arguments))
    expect(same, f"{name}: a potential with the weights of a generator predicts something else")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        generator.save(path)
        loaded = SchNetGen.from_pretrained(path)
    same = torch.equal(value, _value(loaded.predictor, *arguments))
    expect(same, f"{name}: a saved and loaded generator predicts something else")
