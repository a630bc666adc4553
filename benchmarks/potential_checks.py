"""What a potential does in use: geometries optimised with it against those of its own level of
theory, and energy conservation in dynamics.

    python benchmarks/potential_checks.py --checkpoint c7h10o2-painn-potential \\
        --data labels.extxyz --split runs/potential/split.json --name potential_painn

The structures are the first of each group that the run held out for its test.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import ase
import numpy as np
from ase import units
from ase.build import minimize_rotation_and_translation
from ase.md.verlet import VelocityVerlet
from ase.optimize import LBFGS
from common import benchmark_parser, save

from schnetgen_pyg import Potential, PotentialCalculator, load
from schnetgen_pyg.data.conversion import to_ase
from schnetgen_pyg.relaxation.calculators import calculator


def optimise(atoms: ase.Atoms, judge: Any, steps: int = 500) -> tuple[ase.Atoms, int, bool]:
    """The minimum (largest force 0.01 eV/Å), optimiser steps and whether they sufficed."""
    atoms = atoms.copy()
    atoms.calc = judge
    optimiser = LBFGS(atoms, logfile=None)
    converged = bool(optimiser.run(fmax=0.01, steps=steps))
    return atoms, optimiser.nsteps, converged


def compare(start: ase.Atoms, potential: Any, method: str) -> dict[str, float]:
    """The potential's minimum beside that of the method."""
    reference, _, _ = optimise(start, calculator(method))
    began = time.process_time()
    found, steps, converged = optimise(start, potential)
    seconds = time.process_time() - began
    above = calculator(method).get_potential_energy(found) - reference.get_potential_energy()
    minimize_rotation_and_translation(reference, found)
    distance = np.linalg.norm(found.positions - reference.positions, axis=1)
    return {
        "rmsd_angstrom": float(np.sqrt((distance**2).mean())),
        "energy_above_minimum_mev": 1000 * float(above),
        "steps": steps,
        "converged": converged,
        "cpu_seconds": seconds,
    }


def dynamics(start: ase.Atoms, potential: Any, picoseconds: float, seed: int) -> dict[str, float]:
    """Total energy along a trajectory without thermostat, 0.5 fs a step, from 300 K."""
    atoms = start.copy()
    atoms.calc = potential
    rng = np.random.default_rng(seed)
    width = np.sqrt(atoms.get_masses() * units.kB * 2 * 300)  # half of it goes to the springs
    atoms.set_momenta(rng.normal(size=(len(atoms), 3)) * width[:, None])
    md = VelocityVerlet(atoms, 0.5 * units.fs)
    times, totals, kinetic = [], [], []

    def note() -> None:
        times.append(md.get_time() / (1000 * units.fs))
        totals.append(atoms.get_total_energy())
        kinetic.append(atoms.get_temperature())

    md.attach(note, interval=4)
    md.run(round(picoseconds * 2000))
    slope = np.polyfit(times, totals, 1)[0]
    return {
        "drift_mev_per_atom_per_ps": 1000 * float(slope) / len(atoms),
        "fluctuation_mev_per_atom": 1000 * float(np.std(totals)) / len(atoms),
        "mean_temperature": float(np.mean(kinetic)),
    }


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument("--split", type=Path, required=True)
    parser.add_argument("--group_by", default="isomer")
    parser.add_argument("--method", default="gfn2-xtb")
    parser.add_argument("--num", type=int, default=20)
    parser.add_argument("--picoseconds", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--name", required=True)
    options = parser.parse_args()

    structures = load(*options.data)
    groups: dict[Any, ase.Atoms] = {}
    for index in json.loads(options.split.read_text())["test"]:
        data = structures[index]
        groups.setdefault(data.info[options.group_by], to_ase(data))
    held_out = list(groups.values())
    potential = Potential.from_pretrained(options.checkpoint)
    record = {"checkpoint": options.checkpoint, "trained": potential.provenance}
    judge = PotentialCalculator(potential.double())
    rows = [compare(atoms, judge, options.method) for atoms in held_out[: options.num]]
    record["optimisation"] = {
        "num": len(rows),
        "converged": sum(row["converged"] for row in rows),
        **{
            f"median_{key}": float(np.median([row[key] for row in rows]))
            for key in ("rmsd_angstrom", "energy_above_minimum_mev", "steps", "cpu_seconds")
        },
        "largest_rmsd_angstrom": max(row["rmsd_angstrom"] for row in rows),
    }
    record["dynamics"] = dynamics(held_out[0], judge, options.picoseconds, options.seed)
    print(json.dumps({k: record[k] for k in ("optimisation", "dynamics")}, indent=2))
    save(options.name, record, options.seed, options.results)


if __name__ == "__main__":
    main()
