"""Labelled structures, those with the quantities a model is for: checks and errors."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch_geometric.data import Data

from schnetgen_pyg.data.coincidence import require_distinct
from schnetgen_pyg.data.conversion import checked
from schnetgen_pyg.data.electrons import require_neutral
from schnetgen_pyg.data.origin import named
from schnetgen_pyg.data.properties import numeric_names
from schnetgen_pyg.data.stored import StoredStructures, taken
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.registry import nearest
from schnetgen_pyg.targets import TARGETS, Target, as_targets
from schnetgen_pyg.targets.label_of import factor_of, label_of, said_of, similar_names, value_of
from schnetgen_pyg.targets.prediction import forget_labels, with_derivatives

#: Derivatives that are trained on where all structures have them.
TRAINED_DERIVATIVES = ("forces",)

#: What else is looked at of structures in a file.
LOOKED_AT = ("z", "cell", "info", "charge", "spin_multiplicity")


def labelled(
    structures: Any,
    elements: Sequence[int],
    targets: Mapping[str, Target] | Sequence[str] = ("energy",),
    where: str = "structure",
    *,
    keep: bool = False,
) -> Sequence[Data]:
    """Structures of any kind, checked to have labels of the targets, and forces all or none.

    A label of a structure may also be an entry of its ``info``, as files have them; one in another
    unit, which ``info["units"]`` states, is converted. Of several targets a structure may lack some
    (NaN, or absent). Those that have none are left out with a warning; where the energy is learned
    that is an error. Where no structure has a derivative that could be trained on, but something
    that is called like it, there is a warning.

    Returns:
        copies; labels have the shape [1] for each graph, [num_atoms] for each atom, followed by
        that of the quantity ([num_atoms, 3] of forces), and double precision, forces single; those
        that are missing are NaN. Those in a file (`StoredStructures`) stay there.

    Raises:
        InputError: naming the structure, and what it lacks, or the target that none has.
    """
    result = checked(structures, where)
    if not len(result):
        raise InputError("the data hold no structure")
    wanted = as_targets(targets)
    trained = _trained(result, wanted, where)
    stored = isinstance(result, StoredStructures)
    kept: dict[str, list[Tensor]] = {}
    if isinstance(result, StoredStructures):
        kept = {n: [] for n, target in trained.items() if not _is_plain(result, target)}
    left, numbers = set(wanted), []
    looked: Sequence[Data] = result
    if isinstance(result, StoredStructures):
        looked = result.only(*LOOKED_AT, *wanted, *TRAINED_DERIVATIVES)
    for index, data in enumerate(looked):
        place = named(data, f"{where} {index}")
        found = _set_labels(data, wanted, trained, place)
        if not found and "energy" in wanted and not keep:
            raise _no_label(data, wanted["energy"], place)
        left -= found
        if found:
            numbers.append(index)
        _check_cell(data, place)
        if found or not keep:
            require_neutral(data, "the model", place)
        if not stored:  # else it was checked when the file was made
            require_distinct(data, place)
        unseen = sorted(set(data.z.tolist()) - set(elements))
        if unseen and found:
            raise InputError(
                f"{place}: holds atomic numbers {unseen}, the model is for "
                f"{list(elements)}; build it with their union"
            )
        for name, labels in kept.items():
            labels.append(data[name])
    if left:
        raise _nobody_has(left, result, wanted, where)
    _tell_unused(result, wanted, trained, where)
    if isinstance(result, StoredStructures):
        result = with_labels(result, kept, trained)
    return result if keep else _those_with_labels(result, numbers, wanted, where)


def _trained(
    structures: Sequence[Data], targets: Mapping[str, Target], where: str
) -> dict[str, Target]:
    """The targets, and those of their derivatives that the first structure with a label has."""
    looked: Sequence[Data] = structures
    if isinstance(structures, StoredStructures):
        looked = structures.only("info", *targets, *TRAINED_DERIVATIVES)
    result = dict(targets)
    for name in TRAINED_DERIVATIVES:
        of = str(TARGETS[name].derivative_of)
        if of not in targets:
            continue
        first = next((one for one in looked if said_of(one, of) is not None), None)
        if first is not None and said_of(first, name) is not None:
            result[name] = TARGETS[name]
    return result


def _nobody_has(
    missing: Collection[str], structures: Sequence[Data], targets: Mapping[str, Target], where: str
) -> InputError:
    """That no structure has a label of these, and which they have."""
    name = next(name for name in targets if name in missing)
    first, target = structures[0], targets[name]
    if similar_names(first, name) or name == "energy":
        return _no_label(first, target, named(first, f"{where} 0"))
    unit = f" in {target.unit}" if target.unit else ""
    known = [one for one in numeric_names(structures) if one not in missing]
    there = f"there are {', '.join(known)}" if known else "they have no numbers of molecules"
    return InputError(
        f"no {where} has a label {name!r}{nearest(name, known)}; {there}. Set data.{name}{unit} or "
        f"name what is meant (--keys {name}=…)"
    )


def _those_with_labels(
    structures: Sequence[Data], numbers: list[int], targets: Mapping[str, Target], where: str
) -> Sequence[Data]:
    """Those that have any label, with a warning of the others."""
    if len(numbers) == len(structures):
        return structures
    first = next(k for k in range(len(structures)) if k >= len(numbers) or numbers[k] != k)
    rank_zero_warn(
        f"{len(structures) - len(numbers)} of {len(structures)} structures have no "
        f"{' and no '.join(targets)} ({named(structures[first], f'{where} {first}')} first) and "
        "are left out"
    )
    return taken(structures, numbers)


def _is_plain(structures: StoredStructures, target: Target) -> bool:
    """Whether a label is in the file as it is trained on, so that it need not be in memory."""
    columns = structures.columns(target.name)
    if len(columns) != 1 or columns[0].of is not None or factor_of(structures[0], target, "") != 1:
        return False
    kind, precision = columns[0].kind, "F32" if target.name in TRAINED_DERIVATIVES else "F64"
    return (kind.what, kind.dtype, kind.rows, kind.shape) == (
        *("tensor", precision, target.per),
        target.shape,
    )


def with_labels(
    structures: StoredStructures, labels: dict[str, list[Tensor]], targets: Mapping[str, Target]
) -> StoredStructures:
    """Structures in a file with labels that are in memory, of each of them, or joined."""
    whole = {}
    for name, values in labels.items():
        rows, each = torch.cat(values), targets[name].per == "graph"
        number = structures.num_in_file if each else int(structures.ptr[-1])
        whole[name] = rows.new_full((number, *rows.shape[1:]), torch.nan)
        if each:
            whole[name][structures.numbers] = rows
        else:
            places = [atoms for _, _, atoms in structures.atoms()]
            whole[name][torch.cat(places)] = rows
    return structures.with_rows(**whole)


def _set_labels(
    data: Data, targets: Mapping[str, Target], trained: Mapping[str, Target], place: str
) -> set[str]:
    """Give a structure its labels in their full shape, NaN for those that it lacks; which it has.
    ``trained`` are the targets and those of their derivatives that structures have."""
    found = {name: label_of(data, target, place) for name, target in targets.items()}
    has = {name for name, label in found.items() if label is not None}
    for name in TRAINED_DERIVATIVES:
        of = str(TARGETS[name].derivative_of)
        if of not in targets:
            continue
        label = label_of(data, TARGETS[name], place)
        if of in has and (label is not None) != (name in trained):
            raise InputError(
                f"{place}: {'no ' if label is None else ''}{name}, unlike the first one with "
                f"{of}; train on structures that all have {name}, or none"
            )
        if name in trained:
            found[name] = label
    forget_labels(data, has)
    for name, label in found.items():
        if label is None:
            target = trained[name]
            size = 1 if target.per == "graph" else data.z.numel()
            label = torch.full((size, *target.shape), torch.nan, dtype=torch.float64)
        data[name] = label.float() if name in TRAINED_DERIVATIVES else label
    return has


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


def trained_targets(data: Data, targets: Mapping[str, Target]) -> list[Target]:
    """The targets, and those of their derivatives that the labelled structure (or batch) has."""
    derivatives = [
        TARGETS[name]
        for name in TRAINED_DERIVATIVES
        if TARGETS[name].derivative_of in targets and said_of(data, name) is not None
    ]
    return [*targets.values(), *derivatives]


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
    return InputError(f"{place}: has no {target.name}; {cure}")


def _tell_unused(
    structures: Sequence[Data], targets: Collection[str], trained: Collection[str], where: str
) -> None:
    """Warn of what looks like a derivative that could be trained on, where none is."""
    for name in TRAINED_DERIVATIVES:
        if str(TARGETS[name].derivative_of) not in targets or name in trained:
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
    found: Sequence[Data],
    structures: Sequence[Data],
    targets: Mapping[str, Target] | Sequence[str] = ("energy",),
) -> dict[str, float]:
    """Errors of what `predict` found for labelled structures: of the energy in meV, also per atom,
    of the forces in meV/Å, of other targets in their unit.

    Args:
        found: from `predict`.
        structures: with labels; each target is judged on those that have it.
        targets: of the model.
    """
    result = {"num_structures": float(len(structures))}
    for target in with_derivatives(as_targets(targets)).values():
        said, labels, sizes = [], [], []
        for number, (one, data) in enumerate(zip(found, structures, strict=True)):
            value = value_of(one, target)
            label = value_of(data, target, named(data, f"structure {number}"))
            if value is not None and label is not None:
                said.append(value)
                labels.append(label)
                sizes.append(data.z.numel())
        if said:
            result |= target.errors(said, labels, torch.tensor(sizes))
    return result
