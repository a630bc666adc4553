"""What models say of structures: of one batch, and of many structures in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import ase
import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import cumsum

from schnetgen_pyg.data.coincidence import coincident_atoms, require_distinct
from schnetgen_pyg.data.conversion import checked, to_ase
from schnetgen_pyg.data.electrons import require_neutral
from schnetgen_pyg.data.origin import named
from schnetgen_pyg.data.stored import StoredStructures
from schnetgen_pyg.data.units import LIBRARY, plain_unit
from schnetgen_pyg.errors import InputError, require
from schnetgen_pyg.targets import TARGETS, Target

#: What ASE's calculators hold, and files under their names.
OF_CALCULATORS = ("energy", "forces", "stress")


class Predicts(Protocol):
    """What predicts quantities of structures: a `schnetgen_pyg.targets.predictor.Predictor`, such
    as a `schnetgen_pyg.Potential`, or a committee."""

    @property
    def targets(self) -> Mapping[str, Target]:
        """What is predicted, by name."""

    @property
    def elements(self) -> Sequence[int]:
        """Atomic numbers it is for."""

    def require_no_cell(self, cell: Tensor | None, where: str = "") -> None:
        """Refuse a cell that the representation, or a target, is not for."""

    def parameters(self) -> Iterator[Tensor]:
        """Its weights."""

    def __call__(
        self, z: Tensor, pos: Tensor, batch: Tensor, cell: Tensor | None, **wanted: bool
    ) -> Prediction:
        """As `schnetgen_pyg.targets.predictor.Predictor.forward`."""


class Prediction(dict[str, Tensor]):
    """Quantities of a batch by the names of their targets, also as attributes.

    Of a model: ``energy`` [num_graphs] in eV (float64), ``forces`` [num_atoms, 3] in eV/Å,
    ``stress`` [num_graphs, 3, 3] in eV/Å³, or other targets in their units. Of an ensemble also the
    members' variances, such as ``energy_variance`` [num_graphs] in eV².
    """

    def __getattr__(self, name: str) -> Tensor:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(
                f"the prediction has {', '.join(self)}, not {name!r}; forces and stress are there "
                "where they were asked for, a variance where an ensemble was asked"
            ) from None


def predict(
    model: Predicts,
    structures: Any,
    batch_size: int = 64,
    *,
    forces: bool | None = None,
    progress: Callable[..., Any] | None = None,
) -> list[Data]:
    """Evaluate many structures in batches.

    Args:
        model: taken where it is (its device and precision).
        structures: ``Data`` or ASE ``Atoms``, periodic or not.
        batch_size: structures at a time.
        forces: whether forces are wanted; by default where the energy is predicted.
        progress: such as ``tqdm``.

    Returns:
        copies of the structures with what was predicted in place of their labels, such as
        ``energy`` [1] (eV) and ``forces`` [num_atoms, 3] (eV/Å); of an ensemble also
        ``energy_variance`` and so on. ``info["units"]`` has the units of what is not ASE's.

    Raises:
        InputError: naming the structure with a charge, unpaired spin or elements that the model
            does not know, of which two atoms lie in the same place, or of which what the model
            says is not finite.
    """
    return list(predict_each(model, structures, batch_size, forces=forces, progress=progress))


def predict_each(
    model: Predicts,
    structures: Any,
    batch_size: int = 64,
    *,
    forces: bool | None = None,
    progress: Callable[..., Any] | None = None,
) -> Iterator[Data]:
    """`predict`, one structure after the other: of those that stay on the disk
    (`schnetgen_pyg.data.stored.StoredStructures`) a batch at a time is in memory."""
    require(batch_size >= 1, "batch_size", batch_size, "at least 1")
    forces = "energy" in model.targets if forces is None else forces
    targets = with_derivatives(model.targets)
    everything = checked(structures)
    if not isinstance(everything, StoredStructures):
        require_usable(model, everything, 0)
    starts: Any = range(0, len(everything), batch_size)
    for start in progress(starts) if progress else starts:
        part = [everything[k] for k in range(start, min(start + batch_size, len(everything)))]
        if isinstance(everything, StoredStructures):
            require_usable(model, part, start)
        found = evaluate(model, part, forces)
        ends = cumsum(torch.tensor([data.z.numel() for data in part])).tolist()
        for index, data in enumerate(part):
            if "energy" in model.targets:
                data.forces = data.stress = None  # not those that the structure came with
            for name, values in found.items():
                target = targets.get(name) or targets[name.removesuffix("_variance")]
                per_atom = target.per == "atom"
                rows = slice(ends[index], ends[index + 1]) if per_atom else slice(index, index + 1)
                data[name] = values[rows].cpu()
                where = named(data, f"structure {start + index}")
                require_finite(data, data[name], name, where)
            forget_labels(data, found)
            _tell_units(data, [targets[name] for name in found if name in targets])
        yield from part


def with_derivatives(targets: Mapping[str, Target]) -> dict[str, Target]:
    """Targets, and what comes with them."""
    known = {n: target for n, target in TARGETS.items() if target.derivative_of in targets}
    return dict(targets) | known


def forget_labels(data: Data, names: Iterable[str]) -> None:
    """Remove what a structure's ``info`` says of labels, values and units, that attributes have."""
    info = data.get("info")
    if not info:
        return
    units = info.get("units")
    left = {key: value for key, value in info.items() if key not in names}
    if isinstance(units, Mapping):
        left["units"] = {key: unit for key, unit in units.items() if key not in names}
    data.info = {key: value for key, value in left.items() if key != "units" or value}


def _tell_units(data: Data, targets: Iterable[Target]) -> None:
    """State in a structure's ``info`` the units of what was predicted; those of ASE need none."""
    units = {
        one.name: plain_unit(one.unit) for one in targets if one.unit and one.name not in LIBRARY
    }
    if units:
        info = data.get("info") or {}
        data.info = info | {"units": {**(info.get("units") or {}), **units}}


def require_usable(model: Predicts, structures: Sequence[Data], first: int) -> None:
    """Refuse structures with charges or unknown elements, or atoms in one place; the first has this
    number."""
    for number, data in enumerate(structures, first):
        where = named(data, f"structure {number}")
        require_neutral(data, "the model", where)
        require_distinct(data, where)
        model.require_no_cell(data.get("cell"), f"{where}: ")
        unseen = sorted(set(data.z.tolist()) - set(model.elements))
        if unseen:
            raise InputError(
                f"{where}: holds atomic numbers {unseen}, the model is for "
                f"{list(model.elements)}; leave it out, or train one with them"
            )


def require_finite(data: Data, value: Tensor, name: str, where: str) -> None:
    """Refuse what a model says of a structure if that is not finite.

    Raises:
        InputError: naming the structure, the quantity and, if there are any, two atoms that lie in
            the same place.
    """
    if bool(value.isfinite().all()):
        return
    found = coincident_atoms(data.pos)
    cause = "are there atoms far apart or very near, or a model that was never trained well?"
    if found is not None:
        cause = f"its atoms {found[0]} and {found[1]} are {found[2]:.2g} Å apart; remove one"
    raise InputError(f"{where}: the predicted {name} is not finite; {cause}")


def evaluate(
    model: Predicts, part: Sequence[Data], forces: bool, stress: bool = False
) -> Prediction:
    """What a model says of a few structures, in one batch on its device."""
    device = next(model.parameters()).device
    counts = torch.tensor([data.z.numel() for data in part])
    cell = None
    if any(data.get("cell") is not None for data in part):
        none = torch.zeros(1, 3, 3)
        cells = [none if data.get("cell") is None else data.cell for data in part]
        cell = torch.cat([single.reshape(1, 3, 3) for single in cells]).to(device)
    with torch.no_grad():
        found: Prediction = model(
            torch.cat([data.z for data in part]).to(device),
            torch.cat([data.pos for data in part]).to(device),
            torch.repeat_interleave(counts).to(device),
            cell,
            compute_forces=forces,
            compute_stress=stress,
            create_graph=False,
        )
    return found


def annotated(data: Data, targets: Mapping[str, Target]) -> ase.Atoms:
    """A structure that `predict` gave, as ASE ``Atoms`` for a file: energy, forces and stress as
    those of a calculator, other targets in ``info`` or, of atoms, ``arrays``; of an ensemble also
    standard deviations, such as ``energy_std``. ``info["units"]`` has the units of what is there.

    Args:
        targets: of the model.
    """
    atoms = to_ase(data)
    results = getattr(atoms.calc, "results", {})
    for name in with_derivatives(targets):
        for key in (name, f"{name}_variance"):  # `tell` writes them, with their units
            atoms.info.pop(key, None)
        atoms.arrays.pop(f"{name}_variance", None)
        for key in (name, f"{name}_std"):
            if key not in OF_CALCULATORS:
                results.pop(key, None)
    tell(atoms, {**data.to_dict()}, targets)
    return atoms


def tell(atoms: ase.Atoms, values: Mapping[str, Any], targets: Mapping[str, Target]) -> None:
    """Write what was predicted of a structure to its ``info`` or, of atoms, ``arrays``, and the
    units to ``info["units"]``; not what a calculator holds.

    Args:
        atoms: the structure.
        values: [1, …], or of atoms [num_atoms, …], by name.
        targets: of the model.
    """
    units = {}
    for name, target in with_derivatives(targets).items():
        for key, value in (
            (name, values.get(name)),
            (f"{name}_std", values.get(f"{name}_variance")),
        ):
            if value is None or key in OF_CALCULATORS:
                continue
            value = (value if key == name else value.sqrt()).detach().numpy()
            if target.per == "atom":
                atoms.arrays[key] = value
            else:
                atoms.info[key] = float(value[0]) if value.ndim == 1 else value[0]
            if target.unit and name not in LIBRARY:
                units[key] = plain_unit(target.unit)
    if units:
        atoms.info["units"] = {**(atoms.info.get("units") or {}), **units}
