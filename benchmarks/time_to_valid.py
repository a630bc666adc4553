"""How long it takes from nothing until most generated molecules are valid.

    python benchmarks/time_to_valid.py --train train.extxyz.gz

Trains a preset on the training isomers for so many steps, then anew for twice as many, until enough
of its molecules are valid. Each row has the time of its own training only, validation included.
Writes ``time_to_valid.json``, or ``time_to_valid_gpu.json`` where it trains on a
GPU; molecules are made on the CPU.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from typing import Any

import torch
import yaml
from ablation import elements_of, network, settings
from common import benchmark_parser, now, save

from schnetgen_pyg import SamplingConfig, SchNetGen, evaluate, fit, generate, load
from schnetgen_pyg.generator.presets import PRESETS
from schnetgen_pyg.training.config import TrainingConfig


def valid(model: SchNetGen, options: argparse.Namespace, config: SamplingConfig) -> float:
    molecules = generate(model, "C7H10O2", options.num, seed=options.seed, config=config)
    return evaluate(molecules, judges=(), jobs=config.jobs).figures()["valid"] / options.num


def row(steps: int, options: argparse.Namespace, data: Any) -> dict[str, float]:
    """One training from nothing, and what share of its molecules is valid."""
    values = yaml.safe_load(PRESETS[options.preset].read_text())
    values |= {"steps": steps, "num_samples": 0, "seed": options.seed}
    values["accelerator"] = options.accelerator
    began = time.perf_counter()
    model = network(values, elements_of(data), options.seed)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        model = fit(model, data, folder, settings(TrainingConfig, values))
        seconds = time.perf_counter() - start
    config = SamplingConfig(jobs=options.jobs)
    return {
        "steps": steps,
        "training_seconds": seconds,
        "valid": valid(model, options, config),
        "valid_first_scaffolds": valid(model, options, replace(config, restarts=0)),
        "valid_without_rules": valid(model, options, replace(config, valence_rules=False)),
    } | now(began)


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--train", required=True)
    parser.add_argument("--preset", default="small", choices=sorted(PRESETS))
    parser.add_argument("--steps", type=int, default=250, help="of the first training")
    parser.add_argument("--enough", type=float, default=0.8, help="share of valid molecules")
    parser.add_argument("--num", type=int, default=500)
    parser.add_argument("--jobs", type=int, help="processes; by default one per core")
    parser.add_argument("--accelerator", default="auto", help="Lightning's name: cpu, gpu, …")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--note", default="", help="what else the machine did meanwhile")
    options = parser.parse_args()

    measure(options)


def measure(options: argparse.Namespace) -> None:
    """Train longer and longer until enough molecules are valid; every row is saved at once."""
    data = load(options.train)
    record: dict[str, Any] = {
        "preset": options.preset,
        "structures": options.num,
        "enough": options.enough,
        "threads": torch.get_num_threads(),
        "note": options.note,
        "rows": [],
    }
    on_gpu = options.accelerator != "cpu" and torch.cuda.is_available()
    steps = options.steps
    while not record["rows"] or record["rows"][-1]["valid"] < options.enough:
        record["rows"].append(row(steps, options, data))
        print(record["rows"][-1], flush=True)
        save(f"time_to_valid{'_gpu' * on_gpu}", record, options.seed, options.results)
        steps *= 2


if __name__ == "__main__":
    main()
