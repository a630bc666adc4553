"""Classical and ring-polymer dynamics of C20 and of small molecules with SchNet and PaiNN.

    python benchmarks/c20.py c20 --out runs/c20
    python benchmarks/c20.py rmd17 rmd17_malonaldehyde.npz --out runs/malonaldehyde
    python benchmarks/c20.py c7h10o2 --out runs/c7h10o2

``c20`` is the simulation of Schütt's thesis (figure 6) with GFN2-xTB in place of a density
functional: configurations of the fullerene from trajectories at several temperatures, SchNet and
PaiNN trained on them, and dynamics at 300 K in steps of 0.5 fs with P = 1 and P = 8 beads.
``rmd17`` does the same with the frames of a file, ``c7h10o2`` with the bundled potentials. Of each:
the distribution of all distances with errors from blocks, the spread of the bonds, and the drift of
the energy without a thermostat. Everything continues where it was stopped. Writes
``dynamics_SYSTEM.json`` and ``dynamics_SYSTEM.png``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ase
import ase.io
import ase.optimize
import matplotlib
import numpy as np
import torch
from common import benchmark_parser, kept_row, save
from scipy.spatial.distance import pdist
from torch_geometric.data import Data

from schnetgen_pyg import Potential, fit_potential, load
from schnetgen_pyg.accelerated.radial_tables import serves
from schnetgen_pyg.data.conversion import to_ase
from schnetgen_pyg.data.digest import digest
from schnetgen_pyg.dynamics.config import DynamicsConfig
from schnetgen_pyg.dynamics.run import run_dynamics
from schnetgen_pyg.dynamics.statistics import BLOCKS, FORGET, block_error
from schnetgen_pyg.relaxation.calculators import calculator
from schnetgen_pyg.relaxation.labelling import LabelConfig, label_file
from schnetgen_pyg.training.config import PotentialTrainingConfig

matplotlib.use("Agg")
import matplotlib.pyplot as plt

#: Edges of the bins of distances in Å.
EDGES = np.arange(0.8, 6.0, 0.02)

#: A distance (Å) below this at the start is a bond.
BOND = 1.8


def dodecahedron(edge: float = 1.45) -> ase.Atoms:
    """The smallest fullerene, at its minimum of GFN2-xTB."""
    golden = (1 + 5**0.5) / 2
    signs = (-1.0, 1.0)
    corners = [[x, y, z] for x in signs for y in signs for z in signs]
    for a in signs:
        for b in signs:
            flat = [0.0, a / golden, b * golden]
            corners += [[flat[k - shift] for k in range(3)] for shift in range(3)]
    atoms = ase.Atoms("C20", np.array(corners) * edge * golden / 2)
    atoms.calc = calculator("gfn2-xtb", atoms=atoms)
    ase.optimize.BFGS(atoms, logfile=None).run(fmax=0.01, steps=200)
    atoms.calc = None
    return atoms


def labelled(options: argparse.Namespace) -> list[Data]:
    """Configurations of C20 from many trajectories, with energies and forces of GFN2-xTB."""
    folder = options.out
    folder.mkdir(parents=True, exist_ok=True)
    start, path = folder / "start.extxyz", folder / "configurations.extxyz"
    if not start.exists():
        ase.io.write(start, dodecahedron())
    config = LabelConfig(
        num_perturbed=options.frames,
        temperatures=tuple(options.temperatures),
        equilibration=200,
        interval=options.interval,
        seed=options.seed,
    )
    structures = load(start) * options.trajectories
    failures = label_file(structures, path, config, jobs=options.jobs)
    for failure in failures or []:
        print(f"left out: {failure}")
    return list(load(path))


def trained(name: str, frames: list[Data], options: argparse.Namespace) -> Path:
    """A potential of most of the frames; the others are its test."""
    order = np.random.default_rng(options.seed).permutation(len(frames)).tolist()
    number = min(1000, len(frames) // 10)
    test = [frames[k] for k in order[:number]]
    kept = [frames[k] for k in order[number:]][: options.num_train]
    folder = options.out / name
    config = PotentialTrainingConfig(
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        energy_weight=0.1,
        schedule="cosine",
        warmup=100,
        ema_decay=0.99,
        gradient_clip=10.0,
        num_validation=max(1, min(200, len(kept) // 10)),
        seed=options.seed,
    )
    torch.manual_seed(options.seed)
    elements = sorted({int(z) for data in frames for z in data.z.unique()})
    settings = {"cutoff": 5.0}
    model = Potential(name, elements=elements, **settings)
    interval = max(1, options.train_steps // 20)
    given = {"steps": options.train_steps, "validation_interval": interval, "test": test}
    fit_potential(model, kept, folder, config, **given)
    return folder / "model.safetensors"


def moved(start: Data, path: Path, model: Path | str, config: DynamicsConfig) -> dict[str, Any]:
    """The summary of a trajectory."""
    potential = Potential.from_pretrained(model).double()
    if serves(potential.representation):
        potential.tabulate()
    path.parent.mkdir(parents=True, exist_ok=True)
    result = run_dynamics(potential, [start], path, config)
    for line in result.stopped:
        print(line, flush=True)
    return result.summary


def kept_frames(path: Path, config: DynamicsConfig) -> Iterator[tuple[int, ase.Atoms]]:
    """Frames of every bead without the begin of the trajectory, with the block that each is in."""
    first = FORGET * config.steps
    for atoms in ase.io.iread(path, index=":"):
        if atoms.info["step"] > first:
            part = (atoms.info["step"] - first) / (config.steps - first)
            yield min(BLOCKS - 1, int(BLOCKS * part)), atoms


def distances(path: Path, config: DynamicsConfig, bonds: np.ndarray) -> dict[str, Any]:
    """Density of all distances (1/Å), the mean of the bonds (places among the pairs) and the spread
    of each about its own mean (Å), with errors from blocks."""
    counts = np.zeros((BLOCKS, len(EDGES) - 1))
    number, total, squares = np.zeros(BLOCKS), *np.zeros((2, BLOCKS, len(bonds)))
    for block, atoms in kept_frames(path, config):
        found = pdist(atoms.positions)
        counts[block] += np.histogram(found, EDGES)[0]
        number[block] += 1
        total[block] += found[bonds]
        squares[block] += np.square(found[bonds])
    seen = number > 0
    counts, count = counts[seen], number[seen, None]
    lengths = total[seen] / count
    spread = np.sqrt((squares[seen] / count - np.square(lengths)).clip(0).mean(1))
    mean, error = block_error(counts / (counts.sum(1, keepdims=True) * np.diff(EDGES)))
    width, width_error = block_error(spread)
    length, length_error = block_error(lengths.mean(1))
    return {
        "density": mean.tolist(),
        "density_error": error.tolist(),
        "bond": float(length),
        "bond_error": float(length_error),
        "spread": float(width),
        "spread_error": float(width_error),
    }


def measured(
    name: str, start: Data, model: Path | str, options: argparse.Namespace
) -> dict[str, Any]:
    """All of one network: with beads and without, and the drift."""
    pairs = pdist(to_ase(start).positions)
    row: dict[str, Any] = {"beads": {}}
    found = Potential.from_pretrained(model)
    row["test"] = found.provenance.get("test", {})
    row["parameters"] = sum(p.numel() for p in found.parameters())
    for beads in options.beads:
        config = DynamicsConfig(
            steps=options.steps, every=options.every, beads=beads, seed=options.seed
        )
        path = options.out / "dynamics" / f"{name}_{beads}.extxyz"
        summary = moved(start, path, model, config)
        figures = distances(path, config, np.flatnonzero(pairs < BOND))
        row["beads"][str(beads)] = figures | {
            key: summary["structures"][0][key] for key in ("temperature_K", "temperature_error_K")
        }
        row["beads"][str(beads)]["stopped"] = summary["stopped"]
    config = DynamicsConfig(
        ensemble="nve", steps=options.drift_steps, every=options.every, seed=options.seed
    )
    summary = moved(start, options.out / "dynamics" / f"{name}_nve.extxyz", model, config)
    one = summary["structures"][0]
    row["drift_mev_per_atom_per_ps"] = one["drift_meV_per_atom_ps"]
    row["drift_temperature_K"], row["drift_stopped"] = one["temperature_K"], summary["stopped"]
    return row


def picture(rows: dict[str, Any], path: Path) -> None:
    """Distributions of the distances, as the thesis has them; bands are two standard errors."""
    figure, axes = plt.subplots(len(rows), 1, figsize=(6, 2.6 * len(rows)), squeeze=False)
    middle = (EDGES[:-1] + EDGES[1:]) / 2
    for axis, (name, row) in zip(axes[:, 0], rows.items(), strict=True):
        for beads, found in row["beads"].items():
            mean, error = np.array(found["density"]), 2 * np.array(found["density_error"])
            (line,) = axis.plot(middle, mean, label=f"P = {beads}")
            axis.fill_between(middle, mean - error, mean + error, color=line.get_color(), alpha=0.3)
        axis.set(ylabel="density (1/Å)", title=name)
        axis.legend(frameon=False)
    axes[-1, 0].set_xlabel("distance (Å)")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def models(options: argparse.Namespace) -> tuple[Data, dict[str, Path | str]]:
    """Where the dynamics begin, and potentials by their names."""
    names = options.representations
    if options.system == "c7h10o2":
        return load("c7h10o2-xtb")[0], {name: f"c7h10o2-{name}-potential" for name in names}
    frames = labelled(options) if options.system == "c20" else list(load(options.file))
    begin = load(options.out / "start.extxyz")[0] if options.system == "c20" else frames[0]
    return begin, {name: trained(name, frames, options) for name in names}


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("system", choices=["c20", "rmd17", "c7h10o2"])
    parser.add_argument("file", nargs="?", type=Path, help="of rmd17")
    parser.add_argument("--representations", nargs="+", default=["schnet", "painn"])
    parser.add_argument("--trajectories", type=int, default=200, help="of GFN2-xTB")
    parser.add_argument("--frames", type=int, default=100, help="of each of them")
    parser.add_argument("--interval", type=int, default=20, help="fs between these")
    parser.add_argument("--temperatures", nargs="+", type=float, default=[300, 600, 1000, 1500])
    parser.add_argument("--num_train", type=int, default=20_000)
    parser.add_argument("--train_steps", type=int, default=50_000)
    parser.add_argument("--batch_size", type=int, default=10)
    parser.add_argument("--learning_rate", type=float, default=1e-3)
    parser.add_argument("--beads", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--steps", type=int, default=200_000)
    parser.add_argument("--drift_steps", type=int, default=200_000)
    parser.add_argument("--every", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--note", default="", help="what else the machine did meanwhile")
    parser.add_argument("--out", type=Path, default=Path("runs/c20"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    start, found = models(options)
    names = ("steps", "drift_steps", "every", "beads", "seed")
    asked = {name: getattr(options, name) for name in names} | {"start": digest([start])}
    asked |= {"config": asdict(DynamicsConfig())}
    rows = {}
    for name, model in found.items():
        # A model that was trained anew is another one.
        known = Potential.from_pretrained(model).provenance
        told = asked | {"model": json.dumps(known, sort_keys=True, default=str)}
        one = kept_row(
            options.out / "rows.json",
            name,
            told,
            lambda name=name, model=model: measured(name, start, model, options),
        )
        rows[name] = {key: value for key, value in one.items() if key != "asked"}
    title = options.file.stem.removeprefix("rmd17_") if options.file else options.system
    amounts = {name: str(v) if isinstance(v, Path) else v for name, v in vars(options).items()}
    record = {"rows": rows, "system": title, "note": options.note, "edges": EDGES.tolist()}
    record["amounts"] = {k: v for k, v in amounts.items() if k not in ("out", "results", "file")}
    save(f"dynamics_{title}", record, options.seed, options.results)
    picture(rows, options.results / f"dynamics_{title}.png")


if __name__ == "__main__":
    main()
