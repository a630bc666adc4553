"""What to expect of one's own data: models trained on 100 to 10,000 molecules.

    python benchmarks/learning_curve.py --train train.extxyz.gz

Trains a preset from nothing on the first so many molecules of a seeded order, for the number of
steps that stands in ``--steps`` at the same place, generates ``--num`` molecules of any composition
with it and judges them; writes ``learning_curve.json``. A training that was stopped continues; its
minutes are then not known.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from common import benchmark_parser, kept_row, save
from samples import drawn, structures
from torch_geometric.data import Data
from tqdm import tqdm

from schnetgen_pyg import SamplingConfig, SchNetGen, evaluate, fit, load
from schnetgen_pyg.data.digest import digest
from schnetgen_pyg.data.lewis_structures import states_in, with_lewis_structures
from schnetgen_pyg.data.stored import most_of_each
from schnetgen_pyg.generator.presets import PRESETS
from schnetgen_pyg.training.config import TrainingConfig

SIZES = (100, 500, 2_000, 10_000)
STEPS = (2_000, 4_000, 8_000, 12_000)


def untrained(preset: str, data: Sequence[Data], seed: int) -> SchNetGen:
    """A new model of a preset for data with Lewis structures: their elements, valence states and
    most atoms."""
    torch.manual_seed(seed)
    most = most_of_each(data)
    architecture = {"elements": tuple(most), "max_counts": tuple(most.values())}
    return SchNetGen.from_preset(preset, **architecture, states=states_in(data))


def training(steps: int, size: int, options: argparse.Namespace) -> TrainingConfig:
    """Of a preset; a twentieth of the molecules, 100 at most, is held out."""
    return TrainingConfig.from_preset(
        options.preset,
        steps=steps,
        num_validation=min(100, size // 20),
        validation_interval=min(1_000, steps),
        num_samples=0,
        seed=options.seed,
        accelerator=options.accelerator,
    )


def row(
    data: Sequence[Data], config: TrainingConfig, folder: Path, options: argparse.Namespace
) -> dict[str, Any]:
    """One training, and what share of its molecules is valid, different and new."""
    found, _ = with_lewis_structures(data, jobs=options.jobs)
    kept = [one for one in found if one is not None]
    continued = folder.exists()
    start = time.perf_counter()
    model = fit(untrained(options.preset, kept, options.seed), kept, folder, config)
    seconds = None if continued else time.perf_counter() - start
    return {
        "training_seconds": seconds,
        "validation_loss": model.provenance.get("metrics", {}).get("validation_loss"),
    } | quality(model, folder / "generated.extxyz", options.seed, options)


def quality(model: SchNetGen, path: Path, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """What share of ``options.num`` molecules of any composition is valid, different and new; they
    are kept in this file."""
    sampling = SamplingConfig(jobs=options.jobs)
    made, _ = structures(model, options.num, path, seed, sampling, formula=None)
    result = evaluate(made, model=model, judges=("edm",), jobs=options.jobs, progress=tqdm)
    figures = result.figures()
    return {
        "valid": figures["valid"] / options.num,
        "unique": figures["uniqueness"],
        "novel": figures["novelty"],
        "edm": figures["judges"]["edm"],
    }


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--train", required=True)
    parser.add_argument("--preset", default="focus", choices=sorted(PRESETS))
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="molecules to learn")
    parser.add_argument("--steps", type=int, nargs="+", default=STEPS, help="of each training")
    parser.add_argument("--num", type=int, default=1_000)
    parser.add_argument("--threads", type=int, default=2, help="of a training on a CPU")
    parser.add_argument("--jobs", type=int, help="processes; by default one per core")
    parser.add_argument("--accelerator", default="cpu", help="Lightning's name: cpu, gpu, …")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--note", default="", help="what else the machine did meanwhile")
    parser.add_argument("--out", type=Path, default=Path("runs/learning_curve"))
    options = parser.parse_args()
    if len(options.steps) != len(options.sizes):
        parser.error(f"--steps needs {len(options.sizes)} numbers, one for each of --sizes")

    torch.set_num_threads(options.threads)
    data = load(options.train)
    record: dict[str, Any] = {"preset": options.preset, "structures": options.num}
    record |= {"threads": options.threads, "note": options.note, "rows": {}}
    for size, steps in zip(options.sizes, options.steps, strict=True):
        some = drawn(data, size, options.seed)
        if len(some) < size:
            parser.error(f"--sizes {size}: {options.train} holds {len(data):,} molecules")
        config = training(steps, size, options)
        asked = {"size": size, "structures": options.num, "threads": options.threads}
        asked |= {"data": digest(some), "config": asdict(config), "preset": options.preset}
        folder = options.out / f"{size}_{steps}"
        record["rows"][str(size)] = found = kept_row(
            options.out / "rows.json",
            str(size),
            asked,
            lambda s=some, c=config, f=folder: row(s, c, f, options) | {"steps": c.steps},
        )
        print(size, json.dumps(found), flush=True)
        save("learning_curve", record, options.seed, options.results)


if __name__ == "__main__":
    main()
