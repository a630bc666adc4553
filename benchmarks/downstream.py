"""Encoders of 2-D graphs on five sets of MoleculeNet, beside training from scratch and Chemprop.

    python benchmarks/downstream.py --data moleculenet --encoders scratch exact=a.safetensors
    python benchmarks/downstream.py --data moleculenet --chemprop VENV/bin/chemprop

ESOL, FreeSolv and Lipophilicity (RMSE), BACE and BBBP (area under the ROC curve), with scaffold
splits (80:10:10, DeepChem's); with all labels of the training part and with a tenth, drawn by the
seed. All rows get the same molecules, splits and seeds. Ours are trained as `TRAINING` says, the
same for every row and set. Chemprop is its command line with its
own settings, in an environment of its own (``pip install chemprop==2.3.1``); its ``--chemprop`` is
the path of that command. Every run is kept: what was stopped goes on. Writes ``downstream.json``.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import logging
import math
import os
import statistics
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from common import benchmark_parser, digest_of, kept_row, save

from schnetgen_pyg.data.labelled_graphs import LabelledGraphs, read_labelled
from schnetgen_pyg.data.molecule_splits import split_molecules
from schnetgen_pyg.graph_models.measures import errors
from schnetgen_pyg.storage.models import find_model
from schnetgen_pyg.training.config import GraphTrainingConfig
from schnetgen_pyg.training.graph import fit_graph

#: How all of ours are trained.
TRAINING = GraphTrainingConfig(accelerator="cpu")
#: The row that others are compared with, and that of Chemprop.
SCRATCH, CHEMPROP = "scratch", "Chemprop"


class Task(NamedTuple):
    """A set: its column, whether that is a class, and the unit of the error."""

    column: str
    classify: bool
    unit: str


SETS = {
    "esol": Task("logS_mol_per_L", False, "log mol/L"),
    "freesolv": Task("expt_kcal_mol", False, "kcal/mol"),
    "lipo": Task("lipo", False, "log D"),
    "bace": Task("Class", True, ""),
    "bbbp": Task("label_1", True, ""),
}


def read(folder: Path, name: str) -> LabelledGraphs:
    """A set; what RDKit does not read is left out."""
    task = SETS[name]
    path = next((p for p in sorted(folder.glob(f"{name}.csv*"))), folder / f"{name}.csv")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        kind = {"classify" if task.classify else "target": [task.column]}
        return read_labelled(path, **kind, skip_bad=True)


def parts_of(data: LabelledGraphs, share: float, seed: int) -> dict[str, list[int]]:
    """The scaffold split, with a share of the training part, drawn by the seed; of a class at least
    one of each."""
    parts = split_molecules(data.smiles, "scaffold", TRAINING.validation, TRAINING.test, seed)
    if share == 1:
        return parts
    train = parts["train"]
    order = np.random.default_rng(seed).permutation(len(train)).tolist()
    chosen = order[: max(2, round(share * len(train)))]
    labels = data.labels[:, 0]
    if data.targets[0].classify:
        for value in (0, 1):
            of_it = [k for k in order if labels[train[k]] == value]
            if of_it and not {*of_it} & {*chosen}:
                chosen[-1 - value] = of_it[0]
    return parts | {"train": sorted(train[k] for k in chosen)}


def figure(found: torch.Tensor, data: LabelledGraphs, chosen: list[int]) -> float:
    """RMSE, or area under the ROC curve, of predictions of the molecules with these numbers."""
    target = data.targets[0]
    told = errors(target, found, data.labels[chosen, 0])
    return told[target.called("roc_auc" if target.classify else "rmse")]


def ours(
    data: LabelledGraphs, parts: dict[str, list[int]], init: str | None, config: GraphTrainingConfig
) -> dict[str, Any]:
    """Figures of one training."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = fit_graph(data, folder, config, init=init, parts=parts)
    found = model.predict(data.smiles)[data.targets[0].name]
    told = {
        name: figure(torch.from_numpy(found[parts[name]]), data, parts[name])
        for name in ("validation", "test")
    }
    return told | {"best_step": model.provenance["step"]}


def chemprop(
    data: LabelledGraphs, parts: dict[str, list[int]], seed: int, command: str
) -> dict[str, Any]:
    """The same of Chemprop's command line with its defaults."""
    classify = data.targets[0].classify
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (folder / "x.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["smiles", "y"])
            table.writerows(zip(data.smiles, data.labels[:, 0].tolist(), strict=True))
        split = {"train": parts["train"], "val": parts["validation"], "test": parts["test"]}
        (folder / "splits.json").write_text(json.dumps([split]))
        words = [command, "train", "--data-path", "x.csv", "--splits-file", "splits.json"]
        words += ["--task-type", "classification" if classify else "regression"]
        words += ["--smiles-columns", "smiles", "--target-columns", "y", "--output-dir", "out"]
        words += ["--pytorch-seed", str(seed), "--num-workers", "0", "--accelerator", "cpu"]
        environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, env=environment)
        if done.returncode:
            raise SystemExit(f"{' '.join(words)} failed:\n{done.stderr[-2000:]}")
        with next((folder / "out").rglob("test_predictions.csv")).open() as file:
            rows = list(csv.DictReader(file))
    # Its file has the test part in the order that it was given.
    assert [row["smiles"] for row in rows] == [data.smiles[k] for k in parts["test"]]
    found = torch.tensor([float(row["y"]) for row in rows]).double()
    return {"test": figure(found, data, parts["test"])}


def compared(rows: dict[str, dict[str, Any]], names: list[str]) -> None:
    """Add to every row its mean rank over the sets, and how many standard errors of the difference
    it is better than the row from scratch on each set."""
    for share in {one for row in rows.values() for one in row}:
        there = {title: row[share] for title, row in rows.items() if share in row}
        ranks: dict[str, list[int]] = {title: [] for title in there}
        for name in names:
            sign = 1 if SETS[name].classify else -1
            means = {title: sign * row["sets"][name]["mean"] for title, row in there.items()}
            for title, mean in means.items():
                ranks[title].append(1 + sum(other > mean for other in means.values()))
                first = there.get(SCRATCH, there[title])["sets"][name]
                own = there[title]["sets"][name]
                error = math.hypot(
                    *(one["std"] / len(one["values"]) ** 0.5 for one in (own, first))
                )
                gain = sign * (own["mean"] - first["mean"])
                own["gain"] = gain / error if error else 0.0
        for title, row in there.items():
            row["mean_rank"] = statistics.mean(ranks[title])


def encoders_of(words: list[str]) -> dict[str, str | None]:
    """Files of encoders by the names of their rows; nothing for the one from scratch."""
    found: dict[str, str | None] = {}
    for word in words:
        name, _, file = word.partition("=")
        found[name] = None if word == SCRATCH else file or word
    return found


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of esol.csv.gz and so on")
    parser.add_argument(
        "--encoders", nargs="*", default=[SCRATCH], help="scratch, names of bundled ones, NAME=FILE"
    )
    parser.add_argument("--chemprop", help="its command, in an environment of its own")
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--shares", type=float, nargs="+", default=[1.0, 0.1], help="of the labels")
    parser.add_argument("--epochs", type=int, default=TRAINING.epochs, help="of ours")
    parser.add_argument("--note", default="", help="what else the machine did meanwhile")
    parser.add_argument("--out", type=Path, default=Path("runs/downstream"))
    options = parser.parse_args()

    torch.set_num_threads(1)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    rows: dict[str, dict[str, Any]] = {}
    inits = encoders_of(options.encoders)
    for name in options.sets:
        data = read(options.data, name)
        for share in options.shares:
            for title in [*inits, *([CHEMPROP] if options.chemprop else [])]:
                told = [
                    one_run(title, name, data, share, seed, inits, options)
                    for seed in options.seeds
                ]
                row = rows.setdefault(title, {}).setdefault(f"{share:g}", {"sets": {}})
                row["sets"][name] = summary(told)
                print(title, name, share, json.dumps(row["sets"][name]), flush=True)
    compared(rows, options.sets)
    config = asdict(replace(TRAINING, epochs=options.epochs))
    record = {"note": options.note, "training": config, "seeds": options.seeds, "rows": rows}
    save("downstream", record, options.seeds[0], options.results)


def one_run(
    title: str,
    name: str,
    data: LabelledGraphs,
    share: float,
    seed: int,
    inits: Mapping[str, str | None],
    options: argparse.Namespace,
) -> dict[str, Any]:
    """The kept figures of a row on a set, with a share of the labels and a seed."""
    parts = parts_of(data, share, seed)
    config = replace(TRAINING, seed=seed, epochs=options.epochs)
    asked: dict[str, Any] = {"data": data.digest(), "parts": digest_of(parts), "seed": seed}
    measure: Callable[[], dict[str, Any]]
    if title == CHEMPROP:
        told = subprocess.run([options.chemprop, "--version"], capture_output=True, text=True)
        asked["version"] = told.stdout.strip()

        def measure() -> dict[str, Any]:
            return chemprop(data, parts, seed, options.chemprop)

    else:
        init = inits[title]
        content = find_model(init).read_bytes() if init else b""
        asked |= {"config": asdict(config), "encoder": hashlib.sha256(content).hexdigest()[:16]}

        def measure() -> dict[str, Any]:
            return ours(data, parts, init, config)

    return kept_row(options.out / "rows.json", f"{title}-{name}-{share:g}-{seed}", asked, measure)


def summary(told: list[dict[str, Any]]) -> dict[str, Any]:
    values = [one["test"] for one in told]
    std = statistics.stdev(values) if len(values) > 1 else 0.0
    seconds = statistics.median(one["seconds"] for one in told)
    return {"mean": statistics.mean(values), "std": std, "values": values, "seconds": seconds}


if __name__ == "__main__":
    main()
