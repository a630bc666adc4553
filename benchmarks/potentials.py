"""Accuracy and speed of the potentials, for every representation with its default settings.

    python benchmarks/potentials.py rmd17 rmd17_ethanol.npz --minutes 20
    python benchmarks/potentials.py qm9 qm9_chno.npz u0_partial.csv.gz --minutes 20
    python benchmarks/potentials.py speed --graph-pes ENV/bin/python --schnetpack ENV/bin/python

``rmd17`` trains each one on the same 950 frames (50 for validation) and tests it on 1,000 others;
``qm9`` gives errors of U0 over the number of training molecules. Every model has the same time;
how many steps that is, is found at the start. Both continue where they were stopped, and write
``potentials_rmd17.json`` (with ``--accelerator gpu``: ``potentials_rmd17_gpu.json``) and
``potentials_qm9.json``.

``speed`` times a training step and a force call over the size of the batch and of the molecules,
and the peak memory, in processes of their own, medians over several; SchNet and PaiNN also as the
peers have them (see `peers/potential_speed.py`). Writes ``potentials_speed.json``.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase.units import Hartree
from common import COMMIT, benchmark_parser, digest_of, kept_row, run, save
from peers.potential_speed import timed
from rdkit import Chem
from rdkit.Chem import AllChem
from torch_geometric.data import Data

from schnetgen_pyg import Potential, fit_potential, load
from schnetgen_pyg.accelerated.radial_tables import serves
from schnetgen_pyg.data.digest import digest
from schnetgen_pyg.data.molecules import Molecules
from schnetgen_pyg.representations import REPRESENTATIONS
from schnetgen_pyg.storage.atomic import replacing
from schnetgen_pyg.training.config import PotentialTrainingConfig
from schnetgen_pyg.training.potential import PotentialModule

SIZES = (9, 19, 50, 200)
BATCHES = (1, 8, 32)
#: Largest number of atoms in a batch that is timed: what all of them manage on a small machine.
MOST_ATOMS = 640


def seconds_per_step(model: Potential, data: list[Data], config: PotentialTrainingConfig) -> float:
    """Median over a few training steps."""
    device = "cuda" if config.accelerator == "gpu" else "cpu"
    module = PotentialModule(model.train().to(device), config)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.0)
    molecules, times = Molecules(data), []
    for number in range(6):
        start = time.perf_counter()
        batch = molecules[torch.arange(config.batch_size) + number].to(device)
        optimizer.zero_grad()
        loss = module.loss(batch)
        loss.backward()
        optimizer.step()
        loss.item()  # a GPU is waited for
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def settings(options: argparse.Namespace) -> dict[str, Any]:
    """What a row was trained with; kept with it, for a later call may ask for something else."""
    keys = ("minutes", "batch_size", "learning_rate", "energy_weight", "num_validation", "note")
    return {key: getattr(options, key) for key in keys}


def trained(
    name: str, train: list[Data], test: list[Data], folder: Path, options: argparse.Namespace
) -> dict[str, Any]:
    """Errors of one model after the given time; a run of other settings or data is another one."""
    asked = settings(options) | {"seed": options.seed, "data": digest([*train, *test])}
    folder = folder.with_name(f"{folder.name}-{digest_of(asked)}")
    return kept_row(
        folder / "row.json", name, asked, lambda: measured(name, train, test, folder, options)
    )


def measured(
    name: str, train: list[Data], test: list[Data], folder: Path, options: argparse.Namespace
) -> dict[str, Any]:
    """Train for so many steps as the time allows, and test."""
    elements = sorted({int(z) for data in train for z in data.z.unique()})
    config = PotentialTrainingConfig(
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        energy_weight=options.energy_weight,
        schedule="cosine",
        warmup=100,
        ema_decay=0.99,
        gradient_clip=10.0,
        num_validation=options.num_validation,
        seed=options.seed,
        accelerator=options.accelerator,
    )
    torch.manual_seed(options.seed)
    planned = folder / "plan.json"
    resumed = planned.is_file()
    if not resumed:
        trial = Potential(name, elements=elements)
        trial.fit_statistics(train)
        steps = round(60 * options.minutes / seconds_per_step(trial, train, config))
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(planned) as temporary:
            temporary.write_text(json.dumps(settings(options) | {"steps": max(10, steps)}))
    plan = json.loads(planned.read_text())
    steps = plan["steps"]
    model = Potential(name, elements=elements)
    model = fit_potential(
        model,
        train,
        folder,
        config,
        steps=steps,
        validation_interval=max(1, steps // 10),
        test=test,
    )
    row = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "best_step": model.provenance["step"],
        "test": model.provenance["test"],
    }
    return row | plan | ({"seconds": None} if resumed else {})


def result(name: str, folder: Path) -> dict[str, Any]:
    """The rows that a record has already."""
    path = folder / f"{name}.json"
    return json.loads(path.read_text())["rows"] if path.is_file() else {}


def rmd17(options: argparse.Namespace) -> None:
    table = f"potentials_rmd17{'_gpu' * (options.accelerator == 'gpu')}"
    rows = result(table, options.results)
    for path in options.files:
        molecule = path.stem.removeprefix("rmd17_")
        frames = load(path)
        order = np.random.default_rng(options.seed).permutation(len(frames)).tolist()
        train = [frames[k] for k in order[:1000]]
        test = [frames[k] for k in order[1000:2000]]
        for name in options.representations:
            row = trained(name, train, test, options.out / f"{molecule}_{name}", options)
            rows.setdefault(molecule, {})[name] = row
            print(molecule, name, json.dumps(row), flush=True)
            save(table, {"rows": rows}, options.seed, options.results)


def qm9(options: argparse.Namespace) -> None:
    geometries, energies = options.files
    with np.load(geometries) as file:
        index = file["gdb_index"]
    table = np.genfromtxt(energies, delimiter=",", names=True, usecols=(0, 1))
    known = dict(zip(table["gdb_index"].astype(int), table["U0_B3LYP_hartree"], strict=True))
    data = []
    for number, molecule in zip(index.tolist(), load(geometries), strict=True):
        if number in known:
            molecule.energy = torch.tensor([known[number] * Hartree], dtype=torch.float64)
            data.append(molecule)
    order = np.random.default_rng(options.seed).permutation(len(data)).tolist()
    test = [data[k] for k in order[:3000]]
    rows = result("potentials_qm9", options.results)
    for size in options.sizes:
        train = [data[k] for k in order[3000 : 3000 + size + options.num_validation]]
        for name in options.representations:
            row = trained(name, train, test, options.out / f"qm9_{size}_{name}", options)
            rows.setdefault(str(size), {})[name] = row
            print(size, name, json.dumps(row), flush=True)
            save("potentials_qm9", {"rows": rows}, options.seed, options.results)


def molecule(size: int) -> dict[str, Any]:
    """Atomic numbers and positions (Å) of ethanol, an isomer of C7H10O2, or an alkane."""
    smiles = {9: "CCO", 19: "CC(=O)C1CCCC1=O"}.get(size, "C" * ((size - 2) // 3))
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    # Long chains are embedded from random coordinates only.
    if AllChem.EmbedMolecule(mol, randomSeed=0, useRandomCoords=size > 100):
        raise RuntimeError(f"no conformer of {size} atoms was found")
    return {
        "numbers": [atom.GetAtomicNum() for atom in mol.GetAtoms()],
        "positions": mol.GetConformer().GetPositions().tolist(),
    }


def cases() -> list[tuple[int, int]]:
    """Atoms of the molecules and molecules in the batch."""
    return [(size, batch) for size in SIZES for batch in BATCHES if size * batch <= MOST_ATOMS]


def speed_of(name: str, size: int, batch: int) -> dict[str, float]:
    """Time and memory of one model, in a process of its own; neighbours are looked for anew in
    every call."""
    given = molecule(size)
    torch.manual_seed(0)
    model = Potential(name, elements=(1, 6, 8))
    single = Data(
        z=torch.tensor(given["numbers"]),
        pos=torch.tensor(given["positions"]),
        energy=torch.zeros(1, dtype=torch.float64),
        forces=torch.zeros(size, 3),
    )
    data = Molecules([single] * batch)[torch.arange(batch)]
    module = PotentialModule(model, PotentialTrainingConfig())
    floor = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def forces() -> None:
        model(data.z, data.pos, data.batch, compute_forces=True, create_graph=False)

    def step() -> None:
        model.zero_grad()
        module.loss(data).backward()

    record = {"forces_seconds": timed(forces), "step_seconds": timed(step)}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - floor
    record["step_mib"] = peak / 1024
    if serves(model.representation):
        model.tabulate()
        record["tabulated_seconds"] = timed(forces)
    return record


def medians(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Of the numbers of several records that else are the same."""
    return {
        key: statistics.median(r[key] for r in records) if isinstance(value, float) else value
        for key, value in records[0].items()
    }


def speed(options: argparse.Namespace) -> None:
    script = str(Path(__file__).parent / "peers" / "potential_speed.py")
    peers = {
        "torch-geometric": (sys.executable, ("schnet",)),
        "graph-pes": (options.graph_pes, ("schnet", "painn")),
        "schnetpack": (options.schnetpack, ("schnet", "painn")),
    }
    rows = result("potentials_speed", options.results)
    for size, batch in cases():
        given = json.dumps(molecule(size) | {"batch": batch})
        for name in options.representations:
            commands = {"ours": [sys.executable, __file__, "one", name, str(size), str(batch)]}
            for peer, (python, names) in peers.items():
                if python and name in names:
                    commands[peer] = [python, script, peer, name, given]
            # One after the other, several times: a machine is not always as fast.
            turns = [{key: run(c) for key, c in commands.items()} for _ in range(options.repeats)]
            row: dict[str, Any] = {"commit": COMMIT, "repeats": options.repeats}
            row |= {key: medians([turn[key] for turn in turns]) for key in commands}
            rows.setdefault(name, {})[f"{size} x {batch}"] = row
            print(name, size, batch, json.dumps(row), flush=True)
            record = {"rows": rows, "note": options.note}
            save("potentials_speed", record, 0, options.results)


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("part", choices=["rmd17", "qm9", "speed", "one"])
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--representations", nargs="+", default=list(REPRESENTATIONS))
    parser.add_argument("--sizes", nargs="+", type=int, default=[1000, 5000, 20000])
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--batch_size", type=int, default=10)
    parser.add_argument("--learning_rate", type=float, default=1e-3)
    parser.add_argument("--energy_weight", type=float, default=0.1)
    parser.add_argument("--num_validation", type=int, default=50)
    parser.add_argument("--accelerator", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=3, help="of every measurement of speed")
    parser.add_argument("--graph-pes", help="Python of an environment with graph-pes")
    parser.add_argument("--schnetpack", help="Python of an environment with schnetpack")
    parser.add_argument("--note", default="", help="what else the machine did meanwhile")
    parser.add_argument("--out", type=Path, default=Path("runs/potentials"))
    options = parser.parse_args()
    if options.part == "one":
        torch.set_num_threads(1)
        name, size, batch = (str(f) for f in options.files)
        print(json.dumps(speed_of(name, int(size), int(batch))))
        return
    {"rmd17": rmd17, "qm9": qm9, "speed": speed}[options.part](options)


if __name__ == "__main__":
    main()
