"""Polish: many small molecules taken towards their minima at once, in a few force calls.

`schnetgen_pyg.relaxation.many.relax` takes every structure to its end by itself, with any method;
here all molecules of a batch are one call of a potential of ours. The optimiser is L-BFGS (Liu and
Nocedal, Math. Program. 45, 503, 1989) with the settings of ASE's, for each molecule its own.
Nothing but the geometry changes: a molecule whose bonds would be others stays as it was.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import ase
import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from schnetgen_pyg.accelerated.radial_tables import serves
from schnetgen_pyg.chem.bonds import bond_reaches
from schnetgen_pyg.chem.elements import hill_formula
from schnetgen_pyg.chem.formulas import FormulaPattern
from schnetgen_pyg.data.conversion import from_ase
from schnetgen_pyg.data.electrons import require_neutral
from schnetgen_pyg.errors import InputError, require
from schnetgen_pyg.graphs.indexing import complete_pairs
from schnetgen_pyg.potentials.model import Potential
from schnetgen_pyg.storage.models import weights_digest

#: Force calls of a molecule, unless others are asked for.
STEPS = 30

#: A molecule is done where its largest force is below this (eV/Å).
FMAX = 0.02

#: As in ASE's L-BFGS: curvature before anything is known (eV/Å²), longest step of an atom (Å), and
#: how many steps are remembered.
CURVATURE, LONGEST_STEP, MEMORY = 70.0, 0.2, 50

#: Molecules at once, on a CPU and on a GPU.
BATCH_SIZE, BATCH_SIZE_GPU = 64, 256


class Polish:
    """A polish by one potential, for any molecules.

    Args:
        potential: name of a bundled one, a file, or a `Potential`, which is used where it is and in
            its precision.
        steps: force calls of a molecule at most.
        device: of a potential that is named; it is taken in double precision.

    Raises:
        InputError: if there is no such potential, or it is none for the energy.
    """

    def __init__(
        self, potential: str | os.PathLike[str] | Potential, steps: int = STEPS, device: str = "cpu"
    ):
        require(steps >= 1, "polish steps", steps, "at least 1")
        self.steps = steps
        if isinstance(potential, Potential):
            self.name, self.potential = f"a {potential.config.representation} potential", potential
        else:
            self.name, self.potential = str(potential), Potential.from_pretrained(potential)
            self.potential = self.potential.double().to(device)
            if serves(self.potential.representation):
                self.potential.tabulate()
        targets = list(self.potential.targets)
        require("energy" in targets, f"polish: {self.name}", f"one for {targets}", "one for energy")

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What decides the result, for files that say what they were made of."""
        digest = weights_digest(self.potential.state_dict())
        return {"polish": digest, "polish_steps": self.steps}

    @property
    def batch_size(self) -> int:
        """Molecules at once."""
        device = next(self.potential.parameters()).device
        return BATCH_SIZE_GPU if device.type == "cuda" else BATCH_SIZE

    def check(self, elements: Iterable[int], patterns: Sequence[FormulaPattern]) -> None:
        """Whether all that a generator for these elements makes by these patterns can be polished.

        Raises:
            InputError: with the elements, or the charge, that the potential does not know.
        """
        able = {z for z in elements for pattern in patterns if pattern.range(z)[1]}
        known = self.potential.elements
        if unknown := sorted(able - {*known}):
            such = "".join(f"{hill_formula([z])}x" for z in sorted(known, key=lambda z: z == 1))
            raise InputError(
                f"polish: molecules may have {hill_formula(unknown)}, and {self.name} knows "
                f"{hill_formula(known)}; ask for a formula without, such as {such}, or take a "
                "potential that was trained on them"
            )
        for pattern in patterns:
            if pattern.charge:
                raise InputError(
                    f"polish: {self.name} knows no charges, and molecules of charge "
                    f"{pattern.charge:+d} were asked for; leave the polish out (schnetgen relax "
                    "--method gfn2-xtb knows them)"
                )

    def __call__(self, molecules: Sequence[ase.Atoms], fixed: int = 0) -> list[ase.Atoms]:
        """Polished copies; see `polish`."""
        for number, atoms in enumerate(molecules):
            self._check_molecule(atoms, f"structure {number}")
        found: list[ase.Atoms] = []
        for start in range(0, len(molecules), self.batch_size):
            found += self._batch(molecules[start : start + self.batch_size], fixed)
        return found

    def _check_molecule(self, atoms: ase.Atoms, where: str) -> None:
        if not isinstance(atoms, ase.Atoms):
            raise InputError(f"{where}: expected ase.Atoms, got {type(atoms).__name__}")
        where = f"structure {atoms.info['sample']}" if "sample" in atoms.info else where
        from_ase(atoms, where)  # refuses what is not finite
        if atoms.pbc.any():
            raise InputError(f"{where}: is periodic, and a polish is of molecules; relax it")
        require_neutral(atoms, self.name, where)
        if unknown := sorted({*atoms.numbers.tolist()} - {*self.potential.elements}):
            raise InputError(
                f"{where}: has {hill_formula(unknown)}, and {self.name} knows "
                f"{hill_formula(self.potential.elements)}; take a potential that was trained on "
                "them"
            )
        if "log_prob" in atoms.info:
            raise InputError(
                f"{where}: log_prob in its info is of the molecule as it was drawn, and a polish "
                "moves its atoms; generate without log_prob, or remove it from info"
            )

    def _batch(self, molecules: Sequence[ase.Atoms], fixed: int) -> list[ase.Atoms]:
        parameter = next(self.potential.parameters())
        z = _padded([torch.as_tensor(a.numbers, dtype=torch.long) for a in molecules])
        pos = _padded([torch.as_tensor(a.positions) for a in molecules])
        z, start = z.to(parameter.device), pos.to(parameter)
        moving = z > 0
        moving[:, :fixed] = False
        found = _minimised(self.potential, z, start, moving, self.steps)
        moved = (found.pos - start).cpu().to(pos)  # those that are fixed by exactly nothing
        after = pos + moved
        changed = _bonds_change([a.numbers for a in molecules], pos, after).tolist()
        calls, finite = found.calls.tolist(), found.finite.tolist()
        result = []
        for row, atoms in enumerate(molecules):
            atoms = atoms.copy()
            told = f"{self.name}, {calls[row]} steps"
            if not finite[row]:
                told = f"no, energy or forces are not finite ({told})"
            elif changed[row]:
                told = f"no, its bonds would change ({told})"
            else:
                atoms.positions = after[row, : len(atoms)].numpy()
            atoms.info["polished"] = told
            result.append(atoms)
        return result


def polish(
    molecules: ase.Atoms | Sequence[ase.Atoms],
    potential: str | os.PathLike[str] | Potential,
    steps: int = STEPS,
    *,
    fixed: int = 0,
) -> list[ase.Atoms]:
    """Molecules moved towards their minima by a potential, all of a batch at once.

    Each gets the geometry of lowest energy among those of at most ``steps`` force calls; it ends
    earlier where no force is above 0.02 eV/Å. What happens to a molecule does not depend on the
    others.

    Args:
        molecules: neutral ones, in Å.
        potential: name of a bundled one, a file, or a `Potential`, which is used where it is and in
            its precision (``potential.double()`` is better).
        steps: force calls of a molecule at most.
        fixed: so many atoms at the beginning of each stay where they are: the fragment's, of
            molecules that were generated from one.

    Returns:
        copies with all that the molecules had, and ``info["polished"]``: the potential and the
        number of force calls. A molecule of which other atoms would be bonded, or whose energy or
        forces are not finite, keeps its geometry; its ``polished`` begins with ``no`` and says why.

    Raises:
        InputError: naming the structure (by its number, or ``info["sample"]``), for elements or a
            charge that the potential does not know, positions that are not finite, or a log-density
            that would no longer be true; or if there is none.
    """
    require(fixed >= 0, "fixed", fixed, "0 or more")
    molecules = [molecules] if isinstance(molecules, ase.Atoms) else list(molecules)
    require(len(molecules) > 0, "molecules", "none", "at least one")
    return Polish(potential, steps)(molecules, fixed)


def _padded(rows: Sequence[Tensor]) -> Tensor:
    return pad_sequence(list(rows), batch_first=True)


def _bonds_change(numbers: Sequence[np.ndarray], before: Tensor, after: Tensor) -> Tensor:
    """Whether other atoms are bonded [molecules], positions [molecules, places, 3]."""
    sizes = torch.tensor([len(one) for one in numbers])
    there = torch.arange(before.shape[1]) < sizes.unsqueeze(1)
    owner = there.nonzero()[:, 0]
    reach = torch.as_tensor(bond_reaches(np.concatenate(numbers), owner.numpy()))
    later, earlier = complete_pairs(torch.cat([sizes.new_zeros(1), sizes.cumsum(0)]))
    limit = reach[later] + reach[earlier]
    bonded = [
        (pos[there][later] - pos[there][earlier]).norm(dim=1) < limit for pos in (before, after)
    ]
    different = (bonded[0] != bonded[1]).double()
    return torch.zeros(len(numbers)).double().index_add(0, owner[later], different) > 0


class _Minimised(NamedTuple):
    """Geometries of lowest energy [molecules, places, 3], force calls of each and whether all that
    the potential said of it was finite [molecules]."""

    pos: Tensor
    calls: Tensor
    finite: Tensor


def _minimised(
    potential: Potential, z: Tensor, start: Tensor, moving: Tensor, steps: int
) -> _Minimised:
    """L-BFGS of padded molecules; those that are done are not computed any more.

    Args:
        z: atomic numbers [molecules, places], 0 where there is no atom.
        start: positions [molecules, places, 3] in Å.
        moving: which atoms may move [molecules, places].
        steps: force calls at most.
    """
    best, lowest = start.clone(), torch.full_like(start[:, 0, 0], torch.inf)
    calls = torch.zeros(len(z), dtype=torch.long, device=z.device)
    finite = torch.ones_like(calls, dtype=torch.bool)
    rows, pos = torch.arange(len(z), device=z.device), start.clone()
    steps_before = _Steps()
    for _ in range(steps):
        energy, force = _energy_and_forces(potential, z[rows], pos)
        force = force * moving[rows].unsqueeze(2)
        calls[rows] += 1
        sound = energy.isfinite() & force.isfinite().all(2).all(1)
        finite[rows] = sound
        better = sound & (energy < lowest[rows])
        lowest[rows[better]], best[rows[better]] = energy[better], pos[better]
        going = sound & (force.norm(dim=2).amax(1) > FMAX)
        rows, pos, force = rows[going], pos[going], force[going]
        if not len(rows):
            break
        pos = pos + steps_before.next(pos, force, going)
    return _Minimised(best, calls, finite)


def _energy_and_forces(potential: Potential, z: Tensor, pos: Tensor) -> tuple[Tensor, Tensor]:
    """Energies [molecules] (eV), and forces [molecules, places, 3] (eV/Å), 0 where no atom is."""
    there = z > 0
    batch = there.nonzero()[:, 0]
    found = potential(z[there], pos[there], batch, compute_forces=True, create_graph=False)
    forces = torch.zeros_like(pos)
    forces[there] = found.forces.to(pos)
    return found.energy.to(pos), forces


class _Steps:
    """The steps of L-BFGS, of molecules that fall out one by one."""

    def __init__(self) -> None:
        #: Of each step the moves, the changes of the slope [molecules, places, 3] and the inverse
        #: of their product [molecules]; 0 where the surface bends down, which is no minimum's.
        self._known: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=MEMORY)
        self._last: tuple[Tensor, Tensor] | None = None

    def next(self, pos: Tensor, force: Tensor, going: Tensor) -> Tensor:
        """The next moves [molecules, places, 3] in Å.

        Args:
            pos, force: of the molecules that go on.
            going: which of those of the step before they are.
        """
        if self._last is not None:
            self._known = deque(
                (tuple(part[going] for part in one) for one in self._known),  # type: ignore[misc]
                maxlen=MEMORY,
            )
            move, change = pos - self._last[0][going], self._last[1][going] - force
            product = (move * change).sum((1, 2))
            inverse = torch.where(product > 1e-10, 1 / product.clamp(min=1e-10), 0.0)
            self._known.append((move, change, inverse))
        self._last = pos, force
        step = self._direction(-force)
        longest = step.norm(dim=2).amax(1).clamp(min=LONGEST_STEP)
        return step * (LONGEST_STEP / longest)[:, None, None]

    def _direction(self, slope: Tensor) -> Tensor:
        """Minus the inverse curvature, as far as it is known, times the slope: the two loops."""
        factors = []
        for move, change, inverse in reversed(self._known):
            factor = (inverse * (move * slope).sum((1, 2)))[:, None, None]
            slope = slope - factor * change
            factors.append(factor)
        step = slope / CURVATURE
        for (move, change, inverse), factor in zip(self._known, reversed(factors), strict=True):
            other = (inverse * (change * step).sum((1, 2)))[:, None, None]
            step = step + (factor - other) * move
        return -step
