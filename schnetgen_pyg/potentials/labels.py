"""Labelled structures, those with the quantities a model is for: checks and errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch_geometric.data import Data

from schnetgen_pyg.data.coincidence import require_distinct
from schnetgen_pyg.data.conversion import checked
from schnetgen_pyg.data.electrons import require_neutral
from schnetgen_pyg.data.origin import named
from schnetgen_pyg.data.stored import StoredStructures
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.potentials.targets import TARGETS, Target

#: Derivatives that are trained on where all structures have them.
TRAINED_DERIVATIVES = ("forces",)

#: Names that other programs give to a label, in lower case; and any with the label's in it.
OTHER_NAMES = {"energy": ("e", "u0", "u", "y"), "forces": ("f", "force", "grad", "gradient")}


def labelled(
    structures: Any,
    elements: Sequence[int],
    targets: Sequence[str] = ("energy",),
    where: str = "structure",
) -> Sequence[Data]:
    """Structures of any kind, checked to have the labels of the targets, and forces all or none.

    A label of a structure may also be an entry of its ``info``, as files have them. Where no
    structure has a derivative that could be trained on, but something that is called like it, there
    is a warning.

    Returns:
        copies; labels have the shape [1] for each graph, [num_atoms] for each atom, followed by
        that of the quantity ([num_atoms, 3] of forces), and double precision, forces single. Those
        in a file (`StoredStructures`) stay there.

    Raises:
        InputError: naming the structure, and what it lacks.
    """
    result = checked(structures, where)
    if not len(result):
        raise InputError("the data hold no structure")
    trained = [target.name for target in trained_targets(result[0], targets)]
    stored = isinstance(result, StoredStructures)
    kept: dict[str, list[Tensor]] = {}
    if isinstance(result, StoredStructures):
        kept = {name: [] for name in trained if not _is_plain(result, TARGETS[name])}
    for index, data in enumerate(result):
        place = named(data, f"{where} {index}")
        _set_labels(data, targets, trained, place, named(result[0], f"{where} 0"))
        _check_cell(data, place)
        require_neutral(data, "a potential", place)
        if not stored:  # else it was checked when the file was made
            require_distinct(data, place)
        unseen = sorted(set(data.z.tolist()) - set(elements))
        if unseen:
            raise InputError(
                f"{place}: holds atomic numbers {unseen}, the model is for "
                f"{list(elements)}; build it with their union"
            )
        for name, labels in kept.items():
            labels.append(data[name])
    _tell_unused(result, targets, trained, where)
    return _with_labels(result, kept) if isinstance(result, StoredStructures) else result


def _is_plain(structures: StoredStructures, target: Target) -> bool:
    """Whether a label is in the file as it is trained on, so that it need not be in memory."""
    columns = structures.columns(target.name)
    if len(columns) != 1 or columns[0].of is not None:
        return False
    kind, precision = columns[0].kind, "F32" if target.name in TRAINED_DERIVATIVES else "F64"
    return (kind.what, kind.dtype, kind.rows, kind.shape) == (
        *("tensor", precision, target.per),
        target.shape,
    )


def _with_labels(structures: StoredStructures, labels: dict[str, list[Tensor]]) -> StoredStructures:
    """Structures in a file with labels that are in memory."""
    whole = {}
    for name, values in labels.items():
        rows, each = torch.cat(values), TARGETS[name].per == "graph"
        number = structures.num_in_file if each else int(structures.ptr[-1])
        whole[name] = rows.new_full((number, *rows.shape[1:]), torch.nan)
        if each:
            whole[name][structures.numbers] = rows
        else:
            places = [atoms for _, _, atoms in structures.atoms()]
            whole[name][torch.cat(places)] = rows
    return structures.with_rows(**whole)


def _set_labels(
    data: Data, targets: Sequence[str], trained: Sequence[str], place: str, first: str
) -> None:
    """Give a structure its labels in their full shape; ``trained`` are those that ``first`` has."""
    for name in targets:
        label = label_of(data, TARGETS[name], place)
        if label is None:
            raise _no_label(data, TARGETS[name], place)
        data[name] = label
    for name in TRAINED_DERIVATIVES:
        if TARGETS[name].derivative_of not in targets:
            continue
        label = label_of(data, TARGETS[name], place)
        if (label is not None) != (name in trained):
            raise InputError(
                f"{place}: {'no ' if label is None else ''}{name}, unlike {first}; "
                f"train on structures that all have {name}, or none"
            )
        if label is not None:
            data[name] = label.float()
    for name in trained:
        if not torch.isfinite(data[name]).all():
            raise InputError(f"{place}: the label {name} is not finite; leave it out")


def _check_cell(data: Data, place: str) -> None:
    cell = data.get("cell")
    if cell is None:
        return
    if cell.shape not in ((3, 3), (1, 3, 3)):
        raise InputError(
            f"{place}: `cell` must have shape [1, 3, 3] (cell vectors as rows in Å), "
            f"got {list(cell.shape)}"
        )
    if not torch.isfinite(cell).all():
        raise InputError(f"{place}: its cell is not finite: {cell.reshape(3, 3).tolist()}")


def trained_targets(data: Data, targets: Sequence[str]) -> list[Target]:
    """The targets, and those of their derivatives that the labelled structure (or batch) has."""
    derivatives = [
        name
        for name in TRAINED_DERIVATIVES
        if TARGETS[name].derivative_of in targets and _said(data, name) is not None
    ]
    return [TARGETS[name] for name in (*targets, *derivatives)]


def _said(data: Data, name: str) -> Any:
    """What the attribute, or the entry of ``info``, holds."""
    value = data.get(name)
    return (data.get("info") or {}).get(name) if value is None else value


def label_of(data: Data, target: Target, place: str = "structure") -> Tensor | None:
    """The label of a structure in its full shape, from the attribute or the entry of ``info`` with
    the name of the target; ``None``: there is none.

    Raises:
        InputError: if it is no number, or has another shape than the quantity.
    """
    name, label = target.name, _said(data, target.name)
    if label is None:
        return None
    try:
        value = torch.as_tensor(label, dtype=torch.float64).detach()
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{place}: the label {name} is no number: {label!r}") from error
    size = 1 if target.per == "graph" else data.z.numel()
    full = (size, *target.shape)
    alone = value.shape == target.shape and size == 1  # without the dimension of the graph
    if alone or (value.numel() == 1 and full == (1,)):
        value = value.reshape(full)
    if value.shape != full:
        meant = ["1" if target.per == "graph" else "num_atoms", *map(str, target.shape)]
        same = "" if target.per == "graph" else f" = {list(full)}"
        raise InputError(
            f"{place}: the label {name} must have shape [{', '.join(meant)}]{same}, "
            f"got {list(value.shape)}"
        )
    return value


def similar_names(data: Data, name: str) -> list[str]:
    """Attributes of a structure, and entries of its ``info``, that may be the label of this name
    under another one, such as ``REF_energy``, ``dft_forces`` or ``force``."""
    stem = name.removesuffix("s")
    known = [*data.to_dict(), *(data.get("info") or {})]
    known = [one for one in known if one not in TARGETS and one not in ("z", "pos")]
    alike = [
        one for one in known if stem in one.lower() or one.lower() in OTHER_NAMES.get(name, ())
    ]
    return [one for one in dict.fromkeys(alike) if not one.endswith(("_std", "_variance"))]


def _no_label(data: Data, target: Target, place: str) -> InputError:
    alike = similar_names(data, target.name)
    if alike:
        unit = f", in {target.unit}" if target.unit else ""
        verb = "is" if len(alike) == 1 else "are"
        return InputError(
            f"{place}: has no {target.name}, but {', '.join(alike)} {verb} there; "
            f"name the one that is meant {target.name}{unit} "
            f"(load(…, keys={{{target.name!r}: {alike[0]!r}}}), --keys {target.name}={alike[0]}, "
            f"or data.{target.name} = data.{alike[0]})"
        )
    cure = "label it (schnetgen label), or take a file with energies in eV"
    if target.name != "energy":
        unit = f" in {target.unit}" if target.unit else ""
        cure = f"set data.{target.name}{unit}, or leave it out"
    return InputError(f"{place}: has no {target.name}; {cure}")


def _tell_unused(
    structures: Sequence[Data], targets: Sequence[str], trained: Sequence[str], where: str
) -> None:
    """Warn of what looks like a derivative that could be trained on, where none is."""
    for name in TRAINED_DERIVATIVES:
        if TARGETS[name].derivative_of not in targets or name in trained:
            continue
        if isinstance(structures, StoredStructures):
            there = Data(**dict.fromkeys(structures.names, 0))
            structures = structures.only("info", *similar_names(there, name))
        first, alike, count = "", [""], 0
        for number, data in enumerate(structures):
            if found := similar_names(data, name):
                place = named(data, f"{where} {number}")
                first, alike = (first, alike) if count else (place, found)
                count += 1
        if count:
            rank_zero_warn(
                f"no {name}, but {count} of {len(structures)} structures have "
                f"{', '.join(alike)} ({first} first), which is not used: "
                f"training is on {', '.join(targets)} alone. To use it, name it {name}, "
                f"in {TARGETS[name].unit} (--keys {name}={alike[0]})"
            )


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
        labels = [
            value
            for number, one in enumerate(structures)
            if (value := label_of(one, target, named(one, f"structure {number}"))) is not None
        ]
        if len(said) == len(labels) == len(structures):
            result |= target.errors(said, labels, sizes)
    return result
