"""Crystals: formation energies and embeddings of perovskites; energies, forces, stress of metals.

    python benchmarks/crystals.py --data FOLDER --seconds 3600
    python benchmarks/crystals.py --data FOLDER --parts perov_5 --representations painn --steps 2000

``FOLDER`` has ``perov_5_{val,test}.npz`` (Castelli et al., Energy Environ. Sci. 5, 9034, 2012, as
CDVAE splits it: its training part is not there, so networks learn from the validation part) and
``mlearn_*_{training,test}.npz`` (Zuo et al., J. Phys. Chem. A 124, 731, 2020).

**perov_5.** The source does not say whether ``heat_ref`` (eV) is of a cell or of an atom. All cells
have five atoms, so the data cannot tell either. It is learned as an intensive number, the mean of
the atoms' contributions: a formation energy in a table does not grow with the cell that somebody
chose. The embeddings of the trained networks go to ``embeddings.png`` and ``.csv`` in the folder of
the run; the row has the share of elements whose nearest one is of their own group, with shuffled
groups beside, in two principal components and in all dimensions: before the training, after it, and
of what the training added, as the random start is large.

**mlearn.** Of Cu and Ni there is a test part alone: of a seeded order three quarters are learned
and the others tested. The files order the components of shear in two ways (compare the sheared
cells of Si and Mo), so the stress, which no network here is trained on, is judged by its diagonal.

Rows that are there serve again; a training that was stopped continues.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ase.units
import numpy as np
import torch
from common import benchmark_parser, digest_of, kept_row, save
from potentials import seconds_per_step
from torch_geometric.data import Data
from trainings import add_training, annealed

from schnetgen_pyg import Potential, fit_potential
from schnetgen_pyg.data.digest import digest
from schnetgen_pyg.data.stored import elements_in
from schnetgen_pyg.evaluation.embeddings import (
    Embeddings,
    element_embeddings,
    principal_components,
    separation,
    write_embeddings,
)
from schnetgen_pyg.report.embeddings import draw_embeddings
from schnetgen_pyg.storage.atomic import replacing
from schnetgen_pyg.targets import targets_in
from schnetgen_pyg.targets.labels import labelled
from schnetgen_pyg.targets.prediction import evaluate
from schnetgen_pyg.training.config import PotentialTrainingConfig

METALS = ("Si", "Ge", "Li", "Mo", "Ni", "Cu")
#: VASP's pressure (kB) to the stress of this library (eV/Å³), which is positive under tension.
STRESS = -0.1 * ase.units.GPa


def perovskites(path: Path) -> list[Data]:
    """Cells with ``heat_ref`` (eV, of a cell or of an atom)."""
    file = dict(np.load(path))
    found, start = [], 0
    for k, number in enumerate(file["n_atoms"].tolist()):
        atoms = slice(start, start := start + number)
        cell = torch.from_numpy(file["cell"][k]).double()
        data = Data(
            z=torch.from_numpy(file["z"][atoms]).long(),
            pos=torch.from_numpy(file["frac"][atoms]).double() @ cell,
            cell=cell[None],
            heat_ref=float(file["heat_ref"][k]),
        )
        data.info = {"material_id": str(file["material_id"][k]), "units": {"heat_ref": "eV"}}
        found.append(data)
    return found


def metals(path: Path) -> list[Data]:
    """Cells with ``energy`` (eV), ``forces`` (eV/Å) and ``diagonal`` [1, 3], that of the stress
    (eV/Å³)."""
    file = dict(np.load(path))
    found, start = [], 0
    for k, number in enumerate(file["n_atoms"].tolist()):
        atoms = slice(start, start := start + number)
        data = Data(
            z=torch.from_numpy(file["z"][atoms]).long(),
            pos=torch.from_numpy(file["pos"][atoms]).double(),
            cell=torch.from_numpy(file["cell"][k]).double()[None],
            energy=torch.tensor([float(file["energy_eV"][k])]).double(),
            forces=torch.from_numpy(file["forces_eV_A"][atoms]),
        )
        data.diagonal = torch.from_numpy(STRESS * file["virial_stress"][k][None, :3]).double()
        found.append(data)
    return found


def parts_of(symbol: str, folder: Path, seed: int) -> tuple[list[Data], list[Data], bool]:
    """To learn from, to test, and whether the test part had to serve for both."""
    test = metals(folder / f"mlearn_{symbol}_test.npz")
    training = folder / f"mlearn_{symbol}_training.npz"
    if training.is_file():
        return metals(training), test, False
    order = np.random.default_rng(seed).permutation(len(test)).tolist()
    cut = 3 * len(test) // 4
    return [test[k] for k in order[:cut]], [test[k] for k in order[cut:]], True


def configured(
    train: list[Data], steps: int, options: argparse.Namespace
) -> PotentialTrainingConfig:
    """A training of so many steps."""
    size = min(options.batch_size, max(1, len(train) // 4))
    held_out = max(1, len(train) // 20)
    return annealed(options, held_out, options.seed, steps=steps, batch_size=size)


def trained(
    name: str, train: list[Data], test: list[Data], folder: Path, options: argparse.Namespace
) -> tuple[Potential, Potential, dict[str, Any]]:
    """A network before and after its training, and what is said of this."""
    targets = targets_in(train, ["energy" if "energy" in train[0] else "heat_ref"])
    elements = sorted(elements_in([*train, *test]))
    cell = {"cutoff": options.cutoff} | json.loads(options.settings)

    def new() -> Potential:
        torch.manual_seed(options.seed)
        return Potential(name, elements, targets, **cell)

    planned = folder / "plan.json"
    continued = planned.is_file()
    if not continued:
        steps = options.steps
        if options.seconds:
            trial = new()
            trial.fit_statistics(labelled(train, trial.elements, trial.targets))
            each = seconds_per_step(trial, train, configured(train, steps, options))
            steps = max(10, round(options.seconds / each))
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(planned) as temporary:
            temporary.write_text(json.dumps({"steps": steps}))
    steps = json.loads(planned.read_text())["steps"]
    start = time.perf_counter()
    model = fit_potential(new(), train, folder, configured(train, steps, options), test=test)
    said = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "structures": len(train),
        "steps": steps,
        "best_step": model.provenance["step"],
        "training_seconds": None if continued else round(time.perf_counter() - start, 1),
        "test": model.provenance["test"],
    }
    return new(), model, said


def known_groups(embeddings: Embeddings, seed: int) -> dict[str, Any]:
    """How groups separate in two components and in all dimensions, with the shuffled control."""
    spaces = {
        "two components": principal_components(embeddings.vectors)[0],
        "all dimensions": embeddings.vectors,
    }
    found = {}
    for space, vectors in spaces.items():
        one = separation(vectors, embeddings.groups, seed=seed)
        found[space] = {
            "accuracy": one.accuracy,
            "shuffled_mean": float(one.shuffled.mean()),
            "shuffled_std": float(one.shuffled.std()),
            "p_value": one.p_value,
            "elements": one.num_elements,
        }
    return found


def perov_row(
    name: str, train: list[Data], test: list[Data], folder: Path, options: argparse.Namespace
) -> dict[str, Any]:
    """Formation energies, and what the embeddings know of the periodic table."""
    before, model, said = trained(name, train, test, folder, options)
    mean = float(np.mean([data.heat_ref for data in train]))
    said["guess_mae"] = float(np.mean([abs(data.heat_ref - mean) for data in test]))
    embeddings, start = element_embeddings(model), element_embeddings(before)
    added = embeddings._replace(vectors=embeddings.vectors - start.vectors)
    draw_embeddings(folder / "embeddings.png", embeddings, f"{name}, perovskites")
    write_embeddings(folder / "embeddings.csv", embeddings)
    kinds = {"untrained": start, "trained": embeddings, "added": added}
    groups = {kind: known_groups(one, options.seed) for kind, one in kinds.items()}
    return said | {"groups": groups}


def metal_row(
    name: str, train: list[Data], test: list[Data], folder: Path, options: argparse.Namespace
) -> dict[str, Any]:
    """Energies and forces, and the stress that follows from them."""
    _, model, said = trained(name, train, test, folder, options)
    missed = []
    for data in test:
        stress = evaluate(model, [data], forces=True, stress=True).stress[0].cpu().double()
        missed.append((stress.diagonal() - data.diagonal[0]).abs())
    said["stress_diagonal_mae_gpa"] = float(torch.stack(missed).mean()) / ase.units.GPa
    return said


def rows(options: argparse.Namespace, part: str) -> dict[str, Any]:
    """Of one part, each network."""
    single = False
    if part == "perov_5":
        train, test = (perovskites(options.data / f"perov_5_{k}.npz") for k in ("val", "test"))
    else:
        train, test, single = parts_of(part, options.data, options.seed)
    if options.num:
        train, test = train[: options.num], test[: options.num]
    measure = perov_row if part == "perov_5" else metal_row
    found = {}
    for name in options.representations:
        keys = ("steps", "seconds", "cutoff", "settings", "batch_size", "learning_rate", "note")
        asked = {key: getattr(options, key) for key in keys}
        asked |= {"part": part, "representation": name, "seed": options.seed, "split": single}
        asked |= {"config": asdict(configured(train, options.steps, options))}
        asked |= {"data": digest([*train, *test])}
        folder = options.out / f"{part}-{name}-{digest_of(asked)}"
        row = kept_row(
            options.out / "rows.json",
            folder.name,
            asked,
            lambda n=name, f=folder: measure(n, train, test, f, options),
        )
        found[name] = row | {"test_structures": len(test), "split_test_part": single}
        print(part, name, json.dumps(row, ensure_ascii=False), flush=True)
    return found


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the npz files")
    parser.add_argument(
        "--parts", nargs="+", default=["perov_5", *METALS], choices=["perov_5", *METALS]
    )
    parser.add_argument("--representations", nargs="+", default=["schnet", "painn"])
    parser.add_argument("--settings", default="{}", help="of the representations, as JSON")
    parser.add_argument("--cutoff", type=float, default=5.0, help="in Å")
    add_training(parser, steps=20_000, learning_rate=5e-4)
    parser.add_argument("--seconds", type=float, default=0, help="of each, instead of --steps")
    parser.add_argument("--num", type=int, default=0, help="structures of each file at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/crystals"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    record: dict[str, Any] = {"note": options.note, "threads": options.threads, "parts": {}}
    for part in options.parts:
        record["parts"][part] = rows(options, part)
        save("crystals", record, options.seed, options.results)


if __name__ == "__main__":
    main()
