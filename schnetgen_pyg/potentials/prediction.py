"""What potentials say of structures: of one batch, and of many structures in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

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
from schnetgen_pyg.potentials.targets import TARGETS, Target

if TYPE_CHECKING:
    from schnetgen_pyg.potentials.ensemble import Ensemble
    from schnetgen_pyg.potentials.model import Potential


class Prediction(dict[str, Tensor]):
    """Quantities of a batch by the names of their targets, also as attributes.

    Of a potential: ``energy`` [num_graphs] in eV (float64), ``forces`` [num_atoms, 3] in eV/Å,
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
    potential: Potential | Ensemble,
    structures: Any,
    batch_size: int = 64,
    *,
    forces: bool | None = None,
    progress: Callable[..., Any] | None = None,
) -> list[Data]:
    """Evaluate many structures in batches.

    Args:
        potential: taken where it is (its device and precision).
        structures: ``Data`` or ASE ``Atoms``, periodic or not.
        batch_size: structures at a time.
        forces: whether forces are wanted; by default where the energy is predicted.
        progress: such as ``tqdm``.

    Returns:
        copies of the structures with what was predicted in place of their labels, such as
        ``energy`` [1] (eV) and ``forces`` [num_atoms, 3] (eV/Å); of an ensemble also
        ``energy_variance`` and so on.

    Raises:
        InputError: naming the structure with a charge, unpaired spin or elements that the potential
            does not know, of which two atoms lie in the same place, or of which what the potential
            says is not finite.
    """
    return list(predict_each(potential, structures, batch_size, forces=forces, progress=progress))


def predict_each(
    potential: Potential | Ensemble,
    structures: Any,
    batch_size: int = 64,
    *,
    forces: bool | None = None,
    progress: Callable[..., Any] | None = None,
) -> Iterator[Data]:
    """`predict`, one structure after the other: of those that stay on the disk
    (`schnetgen_pyg.data.stored.StoredStructures`) a batch at a time is in memory."""
    require(batch_size >= 1, "batch_size", batch_size, "at least 1")
    forces = "energy" in potential.targets if forces is None else forces
    targets = with_derivatives(potential.targets)
    everything = checked(structures)
    if not isinstance(everything, StoredStructures):
        require_usable(potential, everything, 0)
    starts: Any = range(0, len(everything), batch_size)
    for start in progress(starts) if progress else starts:
        part = [everything[k] for k in range(start, min(start + batch_size, len(everything)))]
        if isinstance(everything, StoredStructures):
            require_usable(potential, part, start)
        found = evaluate(potential, part, forces)
        ends = cumsum(torch.tensor([data.z.numel() for data in part])).tolist()
        for index, data in enumerate(part):
            if "energy" in potential.targets:
                data.forces = data.stress = None  # not those that the structure came with
            for name, values in found.items():
                target = targets.get(name) or targets[name.removesuffix("_variance")]
                per_atom = target.per == "atom"
                rows = slice(ends[index], ends[index + 1]) if per_atom else slice(index, index + 1)
                data[name] = values[rows].cpu()
                where = named(data, f"structure {start + index}")
                require_finite(data, data[name], name, where)
            forget_labels(data, found)
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


def require_usable(potential: Potential | Ensemble, structures: Sequence[Data], first: int) -> None:
    """Refuse structures with charges or unknown elements, or atoms in one place; the first has this
    number."""
    for number, data in enumerate(structures, first):
        where = named(data, f"structure {number}")
        require_neutral(data, "the potential", where)
        require_distinct(data, where)
        potential.require_no_cell(data.get("cell"), f"{where}: ")
        unseen = sorted(set(data.z.tolist()) - set(potential.elements))
        if unseen:
            raise InputError(
                f"{where}: holds atomic numbers {unseen}, the potential is for "
                f"{list(potential.elements)}; leave it out, or train one with them"
            )


def require_finite(data: Data, value: Tensor, name: str, where: str) -> None:
    """Refuse what a potential says of a structure if that is not finite.

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
    potential: Potential | Ensemble, part: Sequence[Data], forces: bool, stress: bool = False
) -> Prediction:
    """What a potential says of a few structures, in one batch on its device."""
    device = next(potential.parameters()).device
    counts = torch.tensor([data.z.numel() for data in part])
    cell = None
    if any(data.get("cell") is not None for data in part):
        none = torch.zeros(1, 3, 3)
        cells = [none if data.get("cell") is None else data.cell for data in part]
        cell = torch.cat([single.reshape(1, 3, 3) for single in cells]).to(device)
    with torch.no_grad():
        found: Prediction = potential(
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
        targets: of the potential.
    """
    atoms, units = to_ase(data), {}
    results = getattr(atoms.calc, "results", {})
    for name, target in with_derivatives(targets).items():
        atoms.arrays.pop(f"{name}_variance", None)
        for key, value in ((name, data.get(name)), (f"{name}_std", data.get(f"{name}_variance"))):
            if value is None or key in ("energy", "forces", "stress"):
                continue
            results.pop(key, None)
            value = (value if key == name else value.sqrt()).detach().numpy()
            if target.per == "atom":
                atoms.arrays[key] = value
            else:
                atoms.info[key] = float(value[0]) if value.ndim == 1 else value[0]
            if target.unit and name not in LIBRARY:
                units[key] = plain_unit(target.unit)
    if units:
        atoms.info["units"] = {**(atoms.info.get("units") or {}), **units}
    return atoms
