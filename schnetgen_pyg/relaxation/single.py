"""Relaxation of one structure: ASE's optimisers, or geomeTRIC's in internal coordinates."""

from __future__ import annotations

import importlib.util
import logging
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ase
import ase.optimize
import ase.units
import numpy as np

from schnetgen_pyg.errors import InputError, require
from schnetgen_pyg.relaxation.calculators import METHODS, calculator, quiet, reason
from schnetgen_pyg.relaxation.comparison import compared, constitution

#: ASE's optimisers by their name here.
ASE_OPTIMIZERS = {
    "bfgs": ase.optimize.BFGS,
    "lbfgs": ase.optimize.LBFGS,
    "fire": ase.optimize.FIRE,
    "linesearch": ase.optimize.BFGSLineSearch,
}


#: What may become of a structure.
STATUSES = ("converged", "not converged", "exploded", "failed", "timeout", "crash")


#: kcal/mol in eV.
KCAL = ase.units.kcal / ase.units.mol


@dataclass(frozen=True)
class RelaxConfig:
    """How structures are relaxed.

    Attributes:
        method: of energies and forces, see `schnetgen_pyg.relaxation.calculators.METHODS`.
        optimizer: ``bfgs``, ``lbfgs``, ``fire``, ``linesearch`` (ASE), or ``geometric`` (internal
            coordinates: fewer steps, for methods whose steps are dear).
        fmax: largest force of a relaxed structure in eV/Å.
        max_steps: of the optimiser; then the structure has not converged.
        max_displacement: in Å; a structure with an atom that moved further has exploded.
        max_seconds: for one structure; then it has not converged.
    """

    method: str = "gfn2-xtb"
    optimizer: str = "bfgs"
    fmax: float = 0.02
    max_steps: int = 500
    max_displacement: float = 10.0
    max_seconds: float = 3600.0

    def __post_init__(self) -> None:
        known = (*ASE_OPTIMIZERS, "geometric")
        name = self.optimizer
        require(name in known, "optimizer", repr(name), f"one of {', '.join(known)}")
        require(bool(self.method), "method", repr(self.method), f"one of {METHODS}")
        for field in ("fmax", "max_displacement", "max_seconds"):
            require(getattr(self, field) > 0, field, getattr(self, field), "positive")
        require(self.max_steps >= 0, "max_steps", self.max_steps, "0 or more")
        if name == "geometric" and importlib.util.find_spec("geometric") is None:
            raise InputError('geometric is not installed; pip install "schnetgen_pyg[dft]"')


class _Stopped(Exception):
    """The structure must not go on: its status and why."""

    def __init__(self, status: str, why: str):
        super().__init__(why)
        self.status = status


class _Watch:
    """Looks at every geometry that is computed, and keeps the last sound one."""

    def __init__(self, atoms: ase.Atoms, config: RelaxConfig):
        self.start, self.config = atoms.positions.copy(), config
        self.deadline = time.monotonic() + config.max_seconds
        self.positions = self.start
        self.energy: float | None = None
        self.first: float | None = None
        self.largest_force = float("inf")
        self.steps = -1

    def __call__(self, positions: Any, energy: float, forces: Any) -> None:
        if not (np.isfinite(energy) and np.isfinite(forces).all() and np.isfinite(positions).all()):
            raise _Stopped("exploded", "the energy, a force or a position is not finite")
        moved = np.linalg.norm(positions - self.start, axis=1)
        if moved.max() > self.config.max_displacement:
            atom = int(moved.argmax())
            raise _Stopped("exploded", f"atom {atom} moved by {moved[atom]:.1f} Å")
        self.positions, self.energy = np.array(positions), float(energy)
        self.largest_force = float(np.linalg.norm(forces, axis=1).max())
        self.first = self.energy if self.first is None else self.first
        self.steps += 1
        if time.monotonic() > self.deadline:
            raise _Stopped("timeout", f"after {self.config.max_seconds:g} s")


def _with_ase(atoms: ase.Atoms, config: RelaxConfig, watch: _Watch) -> bool:
    optimizer = ASE_OPTIMIZERS[config.optimizer](atoms, logfile=None)
    converged = False
    for done in optimizer.irun(fmax=config.fmax, steps=config.max_steps):
        watch(atoms.positions, atoms.get_potential_energy(), atoms.get_forces())
        converged = bool(done)
    return converged


def _with_geometric(atoms: ase.Atoms, config: RelaxConfig, watch: _Watch) -> bool:
    logging.getLogger("geometric").setLevel(logging.CRITICAL)
    from geometric.ase_engine import EngineASE
    from geometric.errors import GeomOptNotConvergedError
    from geometric.internal import DelocalizedInternalCoordinates
    from geometric.molecule import Molecule
    from geometric.optimize import Optimize
    from geometric.params import OptParams

    class Engine(EngineASE):
        def calc_new(self, coords: Any, dirname: Any) -> Any:
            result = super().calc_new(coords, dirname)
            computed = self.ase_atoms
            watch(computed.positions, computed.get_potential_energy(), computed.get_forces())
            return result

    molecule = Molecule()
    molecule.elem = list(atoms.symbols)
    molecule.xyzs = [atoms.positions.copy()]
    largest = config.fmax / (ase.units.Hartree / ase.units.Bohr)
    settings = {"gmax": largest, "grms": largest / 1.5}
    parameters = OptParams(
        maxiter=config.max_steps, **{f"convergence_{k}": v for k, v in settings.items()}
    )
    coordinates = DelocalizedInternalCoordinates(molecule, build=True, connect=False, addcart=False)
    try:
        with tempfile.TemporaryDirectory() as folder:
            positions = atoms.positions.ravel() / ase.units.Bohr
            engine = Engine(molecule, atoms.calc)
            Optimize(positions, molecule, coordinates, engine, folder, parameters, False)
    except GeomOptNotConvergedError:
        return False
    return True


def relax_one(atoms: ase.Atoms, config: RelaxConfig) -> tuple[dict[str, Any], Any]:
    """Relax one structure, in its cell (which stays as it is) and with its charge and spin.

    Returns:
        a record of plain values: ``status`` (`STATUSES`), ``error`` (why, empty if converged),
        ``steps``, ``seconds``, ``energy_before`` and ``energy_after`` (eV), ``released`` (their
        difference in kcal/mol), and of the last sound geometry ``largest_force`` (eV/Å) and what
        `schnetgen_pyg.relaxation.comparison.compared` says; and that geometry's positions.

    Raises:
        InputError: if the method or the optimiser lacks a package.
    """
    begun = time.monotonic()
    before = atoms.copy()
    moving, watch = before.copy(), _Watch(before, config)
    optimize: Callable[..., bool] = (
        _with_geometric if config.optimizer == "geometric" and len(atoms) > 1 else _with_ase
    )
    record: dict[str, Any] = {"status": "converged", "error": ""}
    record["smiles_before"], record["failure_before"] = constitution(before)
    try:
        with tempfile.TemporaryDirectory() as folder, quiet():
            moving.calc = calculator(config.method, folder, atoms)
            if not optimize(moving, config, watch):
                record["status"] = "not converged"
                record["error"] = f"not within {config.max_steps} steps"
            elif watch.largest_force > config.fmax:
                record["status"] = "not converged"
                record["error"] = f"the largest force is {watch.largest_force:.3g} eV/Å"
    except _Stopped as stop:
        record |= {"status": stop.status, "error": str(stop)}
    except ImportError as error:  # of no structure, and mended by the next run
        raise InputError(f"{config.method}: {reason(error)}; install what is missing") from error
    except Exception as error:
        # An optimiser that lost its way asks for what no calculator can compute.
        lost = not np.isfinite(moving.positions).all()
        record |= {"status": "exploded" if lost else "failed", "error": reason(error)}
    record |= {"steps": max(watch.steps, 0), "seconds": round(time.monotonic() - begun, 2)}
    if watch.first is not None and watch.energy is not None:
        record |= {
            "energy_before": watch.first,
            "energy_after": watch.energy,
            "released": (watch.first - watch.energy) / KCAL,
            "largest_force": watch.largest_force,
        }
        after = before.copy()
        after.positions = watch.positions
        record |= compared(before, after)
    return record, watch.positions
