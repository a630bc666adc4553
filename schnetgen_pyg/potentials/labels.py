"""Labelled structures, those with the quantities a model is for: checks and errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from schnetgen_pyg.data.conversion import as_data
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.potentials.targets import TARGETS, Target

#: Derivatives that are trained on where all structures have them.
TRAINED_DERIVATIVES = ("forces",)


def labelled(
    structures: Any,
    elements: Sequence[int],
    targets: Sequence[str] = ("energy",),
    where: str = "structure",
) -> list[Data]:
    """Structures of any kind, checked to have the labels of the targets, and forces all or none.

    A label of a structure may also be an entry of its ``info``, as files have them.

    Returns:
        copies; labels of graphs have shape [1] and double precision.

    Raises:
        InputError: naming the structure, and what it lacks.
    """
    result = as_data(structures, where)
    if not result:
        raise InputError("the data hold no structure")
    trained = [target.name for target in trained_targets(result[0], targets)]
    for index, data in enumerate(result):
        place = f"{where} {index}"
        for name in targets:
            label = label_of(data, TARGETS[name], place)
            if label is None:
                raise _no_label(TARGETS[name], place)
            data[name] = label
        for name in TRAINED_DERIVATIVES:
            has = data.get(name) is not None
            if TARGETS[name].derivative_of in targets and has != (name in trained):
                raise InputError(
                    f"{place}: {'' if has else 'no '}{name}, unlike {where} 0; "
                    f"train on structures that all have {name}, or none"
                )
        unseen = sorted(set(data.z.tolist()) - set(elements))
        if unseen:
            raise InputError(
                f"{place}: holds atomic numbers {unseen}, the model is for "
                f"{list(elements)}; build it with their union"
            )
        for name in trained:
            if not torch.isfinite(data[name]).all():
                raise InputError(f"{place}: the label {name} is not finite; leave it out")
    return result


def trained_targets(data: Data, targets: Sequence[str]) -> list[Target]:
    """The targets, and those of their derivatives that the labelled structure (or batch) has."""
    derivatives = [
        name
        for name in TRAINED_DERIVATIVES
        if TARGETS[name].derivative_of in targets and data.get(name) is not None
    ]
    return [TARGETS[name] for name in (*targets, *derivatives)]


def label_of(data: Data, target: Target, place: str = "structure") -> Tensor | None:
    """The label of a structure in its full shape, from the attribute or the entry of ``info`` with
    the name of the target; ``None``: there is none.

    Raises:
        InputError: if it is no number, or none for each atom.
    """
    name = target.name
    label = data.get(name)
    label = (data.get("info") or {}).get(name) if label is None else label
    if label is None:
        return None
    try:
        value = torch.as_tensor(label, dtype=torch.float64).detach()
    except (TypeError, ValueError) as error:
        raise InputError(f"{place}: the label {name} is no number: {label!r}") from error
    size = 1 if target.per == "graph" else data.z.numel()
    value = value.reshape(1) if value.numel() == size == 1 else value
    if value.shape[:1] != (size,):
        expected = "[1]" if target.per == "graph" else f"[num_atoms] = [{size}]"
        raise InputError(
            f"{place}: the label {name} must have shape {expected}, got {list(value.shape)}"
        )
    return value


def _no_label(target: Target, place: str) -> InputError:
    cure = "label it (schnetgen label), or take a file with energies in eV"
    if target.name != "energy":
        unit = f" in {target.unit}" if target.unit else ""
        cure = f"set data.{target.name}{unit}, or leave it out"
    return InputError(f"{place}: has no {target.name}; {cure}")


def errors(
    found: Sequence[Data], structures: Sequence[Data], targets: Sequence[str] = ("energy",)
) -> dict[str, float]:
    """Errors of what `predict` found for labelled structures: of the energy in meV, also per atom,
    of the forces in meV/Å, of other targets in their unit.

    Args:
        found: from `predict`.
        structures: with the labels; forces are judged where all have them.
        targets: of the model.
    """
    sizes = torch.tensor([data.z.numel() for data in structures])
    result = {"num_structures": float(len(structures))}
    names = list(targets)
    names += [name for name in TRAINED_DERIVATIVES if TARGETS[name].derivative_of in targets]
    for name in names:
        target = TARGETS[name]
        said = [value for one in found if (value := label_of(one, target)) is not None]
        labels = [value for one in structures if (value := label_of(one, target)) is not None]
        if len(said) == len(labels) == len(structures):
            result |= target.errors(said, labels, sizes)
    return result
