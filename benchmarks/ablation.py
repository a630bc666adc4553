"""What each part of the recipe brings and costs: one change at a time to a small model.

    python benchmarks/ablation.py --train train.extxyz.gz --out runs/ablation

Every row trains for the same number of steps on the training isomers, generates with the rules of
valence, with every first scaffold kept, and without rules, and relaxes some of the valid molecules
with GFN2-xTB. Last, the training steps of all rows are timed in turn, for which the machine should
be quiet. Writes ``ablation.json``. A run that was stopped continues.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import time
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from ase.optimize import LBFGS
from common import benchmark_parser, kept_row, save

from schnetgen_pyg import SamplingConfig, SchNetGen, evaluate, fit, generate, load
from schnetgen_pyg.data.batches import seeded
from schnetgen_pyg.data.digest import digest
from schnetgen_pyg.data.molecules import Molecules
from schnetgen_pyg.generator.losses import losses
from schnetgen_pyg.generator.model import GeneratorConfig
from schnetgen_pyg.generator.presets import PRESETS
from schnetgen_pyg.relaxation.single import KCAL
from schnetgen_pyg.representations import REPRESENTATIONS
from schnetgen_pyg.training.generator import TrainingConfig

#: Name of the row, and the settings that differ from the preset ``small``.
ROWS: dict[str, dict[str, Any]] = {
    "base": {},
    "label width 0.08 Å": {"label_width": 0.08},
    "label width 0.04 Å": {"label_width": 0.04},
    "without noise on positions": {"position_noise": 0.0},
    "noise up to 0.06 Å": {"position_noise": 0.06},
    "no focus, the paper's grid and labels": {
        "decisions": ["distance"],
        "conditions": [],
        "order": "scaffold_first",
        "label_width": 0.16,
    },
    "types not predicted": {"decisions": ["focus", "distance"], "conditions": []},
    "numbers of hydrogens not predicted": {
        "decisions": ["next_type", "focus", "distance"],
        "conditions": ["remaining_formula"],
    },
    "environments not predicted": {
        "decisions": ["next_type", "hydrogens", "focus", "distance"],
        "conditions": ["remaining_formula"],
    },
    "every hydrogen in every step": {"hydrogen_steps": 0},
    "hydrogens grouped by their atom": {"order": "bonded_grouped"},
    "PaiNN, cutoff 5 Å": {"representation": "painn", "cutoff": 5.0},
    "cutoff 5 Å": {"cutoff": 5.0},
    "cosine learning rate": {"schedule": "cosine"},
    "without averaged weights": {"ema_decay": 0.0},
    "6 random partial molecules": {"partial_molecules": 6},
    "6 blocks": {"num_interactions": 6},
    "128 features": {"hidden_channels": 128, "num_filters": 128},
    "bins of 0.05 Å": {"num_bins": 241},
    "4 dense layers to the bins": {"num_head_layers": 4},
    "mixed precision (bfloat16)": {"precision": "bf16-mixed"},
    "sampling: not revised": {"gibbs_rounds": 0},
    "sampling: positions at T = 0.1": {"temperature": 0.1},
}

#: How each model is judged: sampling settings.
JUDGED: dict[str, dict[str, Any]] = {
    "with rules": {},
    "every scaffold kept": {"restarts": 0},
    "without rules": {"valence_rules": False},
}


def preset() -> dict[str, Any]:
    return dict(yaml.safe_load(PRESETS["small"].read_text()))


def settings(kind: type, values: dict[str, Any]) -> Any:
    return kind(**{k: v for k, v in values.items() if k in kind.__dataclass_fields__})


def strain(molecules: list[Any]) -> list[float]:
    """Energy in kcal/mol that each molecule loses in a relaxation with GFN2-xTB."""
    from tblite.ase import TBLite

    drops = []
    for atoms in molecules:
        atoms = atoms.copy()
        atoms.calc = TBLite(method="GFN2-xTB", verbosity=0)
        before = atoms.get_potential_energy()
        LBFGS(atoms, logfile=None).run(fmax=0.05, steps=200)
        drops.append((before - atoms.get_potential_energy()) / KCAL)
    return drops


def judge(model: SchNetGen, train: Any, config: SamplingConfig, num: int, num_relaxed: int) -> Any:
    result: dict[str, Any] = {}
    for name, changes in JUDGED.items():
        start = time.perf_counter()
        molecules = generate(model, "C7H10O2", num, seed=1, config=replace(config, **changes))
        seconds = time.perf_counter() - start
        evaluation = evaluate(molecules, train=train, judges=(), jobs=1)
        figures = evaluation.figures()
        valid = [m for m, r in zip(molecules, evaluation.records, strict=True) if not r["failure"]]
        result[name] = {
            "valid": figures["valid"] / num,
            "unique": figures["unique"]["smiles"] / max(figures["valid"], 1),
            "molecules_per_second": num / seconds,
        }
        if not changes:
            drops = strain(valid[:num_relaxed])
            result["relaxed"] = len(drops)
            result["strain_kcal"] = float(np.median(drops)) if drops else None
    return result


def network(values: dict[str, Any], elements: tuple[int, ...], seed: int) -> SchNetGen:
    """A new model; of the settings of a representation those that this one has."""
    torch.manual_seed(seed)
    names = {field.name for field in fields(GeneratorConfig)} - {"elements", "settings"}
    names |= set(REPRESENTATIONS[values["representation"]].setting_names())
    architecture = {name: value for name, value in values.items() if name in names}
    return SchNetGen(elements=elements, **architecture)


def asked(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """All settings of a row: the preset's, those of all rows, and its own changes."""
    values = preset() | {"steps": options.steps, "seed": options.seed, "accelerator": "cpu"}
    return values | {"num_validation": 100, "validation_interval": 500} | ROWS[name]


def row(name: str, options: argparse.Namespace, data: Any) -> dict[str, Any]:
    """Training, or the base's where only the sampling changes, and judgement."""
    values = asked(name, options)
    model = network(values, elements_of(data), options.seed)
    training = settings(TrainingConfig, values)
    known = json.dumps([asdict(model.config), asdict(training)], sort_keys=True, default=str)
    folder = options.out / hashlib.sha256(known.encode()).hexdigest()[:12]
    model = fit(model, data, folder, training)
    sampling = settings(SamplingConfig, ROWS[name] | {"jobs": 1})
    return {
        "changes": ROWS[name],
        "parameters": sum(p.numel() for p in model.parameters()),
        "validation_loss": model.provenance["metrics"].get("validation_loss"),
    } | judge(model, data, sampling, options.num, options.relaxed)


def elements_of(data: Any) -> tuple[int, ...]:
    return tuple(sorted({int(n) for d in data for n in d.z}))


def step_seconds(data: Any, rounds: int, seed: int) -> dict[str, float]:
    """Median seconds of a training step of every row, all in turn in each round."""
    molecules = Molecules(data)
    models = {}
    for name, changes in ROWS.items():
        values = preset() | changes
        model = network(values, elements_of(data), seed)
        models[name] = model, torch.optim.Adam(model.parameters()), values
    times: dict[str, list[float]] = {name: [] for name in models}
    for number in range(rounds + 1):
        batch = molecules[(torch.arange(20) + 20 * number) % len(data)]
        for name, (model, optimizer, values) in models.items():
            start = time.perf_counter()
            half = values.get("precision") == "bf16-mixed"
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                parts = losses(
                    model,
                    batch,
                    seeded(seed, number),
                    noise=values["position_noise"],
                    num_steps=values.get("partial_molecules", 0),
                    num_hydrogen_steps=values["hydrogen_steps"],
                )
            optimizer.zero_grad()
            torch.stack(list(parts.values())).sum().backward()
            optimizer.step()
            if number:  # the first round warms up
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--train", required=True)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--num", type=int, default=200)
    parser.add_argument("--relaxed", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=7, help="of the timing")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--note", default="", help="what else the machine did meanwhile")
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"))
    options = parser.parse_args()

    data = load(options.train)
    options.out.mkdir(parents=True, exist_ok=True)
    rows: dict[str, Any] = {}
    figures = {"steps": options.steps, "structures": options.num, "note": options.note}
    amounts = {"structures": options.num, "relaxed": options.relaxed, "data": digest(data)}
    for name in ROWS:
        rows[name] = kept_row(
            options.out / "rows.json",
            name,
            asked(name, options) | amounts,
            lambda n=name: row(n, options, data),
        )
        print(name, json.dumps(rows[name]), flush=True)
        save("ablation", figures | {"rows": rows}, options.seed, options.results)
    figures["step_seconds"] = step_seconds(data, options.rounds, options.seed)
    save("ablation", figures | {"rows": rows}, options.seed, options.results)


if __name__ == "__main__":
    main()
