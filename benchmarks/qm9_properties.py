"""Errors of networks on properties of QM9, over the number of labels.

    python benchmarks/qm9_properties.py --representation painn --targets mu alpha gap --labels 10000
    python benchmarks/qm9_properties.py --data qm9.safetensors --labels 1000 10000 --steps 20000

The test part is the first ``--test`` molecules of a seeded order, the same for any number of
labels; the labels are those after them, a twentieth of which (1,000 at most) is held out for the
validation. All targets are learned together, by one network. A training that was stopped continues;
its seconds are then not known. Writes ``qm9_properties.json``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import benchmark_parser, digest_of, kept_row, save
from torch_geometric.data import Data
from trainings import add_training, annealed

from schnetgen_pyg import Potential, fit_potential, load
from schnetgen_pyg.data.digest import digest
from schnetgen_pyg.data.stored import StoredStructures, elements_in, taken
from schnetgen_pyg.targets import targets_in
from schnetgen_pyg.training.config import PotentialTrainingConfig

#: By which networks are compared.
TWELVE = ("mu", "alpha", "homo", "lumo", "gap", "r2", "zpve", "U0", "U", "H", "G", "Cv")


def training(size: int, options: argparse.Namespace) -> PotentialTrainingConfig:
    """With so many labels."""
    return annealed(options, max(1, min(1_000, size // 20)), options.seed)


def row(
    train: Sequence[Data],
    test: Sequence[Data],
    config: PotentialTrainingConfig,
    folder: Path,
    options: argparse.Namespace,
) -> dict[str, Any]:
    """One training, and its errors on the test part."""
    torch.manual_seed(options.seed)
    elements = sorted(elements_in(train) | elements_in(test))
    targets = targets_in(train, options.targets)
    settings = json.loads(options.settings)
    model = Potential(options.representation, elements, targets, **settings)
    continued = (folder / "last.ckpt").is_file()
    start = time.perf_counter()
    trained = fit_potential(model, train, folder, config, test=test)
    return {
        "parameters": sum(p.numel() for p in trained.parameters()),
        "best_step": trained.provenance["step"],
        "training_seconds": None if continued else round(time.perf_counter() - start, 1),
        "test": trained.provenance["test"],
    }


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--data", nargs="+", default=["qm9"], help="files, or a data set by name")
    parser.add_argument("--targets", nargs="+", default=list(TWELVE))
    parser.add_argument("--representation", default="painn")
    parser.add_argument("--settings", default="{}", help="of the representation, as JSON")
    parser.add_argument("--labels", type=int, nargs="+", default=[10_000], help="to learn from")
    parser.add_argument("--test", type=int, default=10_000, help="molecules of the test part")
    add_training(parser, steps=50_000, learning_rate=5e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/qm9_properties"))
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    data = load(*options.data)
    if options.test + max(options.labels) > len(data):
        parser.error(f"there are {len(data):,} molecules; ask for fewer --labels or --test")
    order = np.random.default_rng(options.seed).permutation(len(data)).tolist()
    content = data.metadata["digest"] if isinstance(data, StoredStructures) else digest(data)
    test = taken(data, order[: options.test])
    record: dict[str, Any] = {"note": options.note, "threads": options.threads, "rows": {}}
    for size in options.labels:
        train = taken(data, order[options.test : options.test + size])
        config = training(size, options)
        asked = {"representation": options.representation, "targets": options.targets}
        asked |= {"settings": options.settings, "labels": size, "test": options.test}
        asked |= {"config": asdict(config), "data": content, "seed": options.seed}
        name = f"{options.representation}-{size}-{digest_of(asked)}"
        record["rows"][name] = found = kept_row(
            options.out / "rows.json",
            name,
            asked,
            lambda t=train, c=config, f=options.out / name: row(t, test, c, f, options),
        )
        print(name, json.dumps(found, ensure_ascii=False), flush=True)
        save("qm9_properties", record, options.seed, options.results)


if __name__ == "__main__":
    main()
