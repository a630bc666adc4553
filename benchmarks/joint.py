"""Does a network that generates predict better? Errors on QM9 over the number of labels.

    python benchmarks/joint.py --checkpoint qm9 --data qm9-ranker.safetensors \\
        --test qm9-held-out.safetensors --keys U0=energy

Of ``--data``, molecules that the checkpoint was trained on with their properties
(`make_targets.py`), so many of a seeded order have labels. All networks are the checkpoint's
representation with the same read-outs:

- ``scratch``: a potential with new weights;
- ``fine-tuned``: a potential that begins with the checkpoint's representation;
- ``joint``: a new generator that learns both at once;
- ``continued``: the checkpoint, trained further on both at once;
- ``generator``: a new generator trained as ``joint`` is, without labels: what its quality is
  compared with. That of ``continued`` is compared with the checkpoint's own.

A generator learns from ``--pool`` molecules; labelled ones are repeated until they are ``--share``
of these, as else hardly a batch would hold one. Errors are of ``--test``. A training that was
stopped continues; its seconds are then not known. Writes ``joint.json``, row by row.
"""

from __future__ import annotations

import argparse
import functools
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import benchmark_parser, digest_of, kept_row, save
from learning_curve import quality
from qm9_properties import training as training_of_potentials
from samples import weights_of
from torch_geometric.data import Data
from trainings import add_training

from schnetgen_pyg import Potential, SchNetGen, fit, fit_potential, load
from schnetgen_pyg.data.digest import digest
from schnetgen_pyg.data.lewis_structures import with_lewis_structures
from schnetgen_pyg.data.stored import taken
from schnetgen_pyg.targets import as_targets, targets_in
from schnetgen_pyg.targets.labels import errors
from schnetgen_pyg.training.config import TrainingConfig
from schnetgen_pyg.training.fine_tuning import as_potential

TARGETS = ("U0", "gap", "mu", "alpha", "Cv")
LABELS = (100, 500, 2_000, 10_000)
POTENTIALS = ("scratch", "fine-tuned")
GENERATORS = ("joint", "continued")
ALONE, CHECKPOINT = "generator", "checkpoint"


def renamed(data: Data, keys: dict[str, str]) -> Data:
    """With labels under the names of the targets, and nothing else that could be learned."""
    data = data.clone()
    info = dict(data.get("info") or {})
    units = dict(info.get("units") or {})
    for name, key in keys.items():
        info[name] = float(info.pop(key) if key in info else data[key])
        units[name] = units.pop(key, "eV" if key == "energy" else "")
        data[key] = None
    data.info = info | {"units": {name: unit for name, unit in units.items() if unit}}
    return data


def bare(data: Data, targets: Sequence[str]) -> Data:
    """Without its labels."""
    data = data.clone()
    data.info = {k: v for k, v in (data.get("info") or {}).items() if k not in targets}
    for name in targets:
        data[name] = None
    return data


def repeated(labelled: Sequence[Data], pool: Sequence[Data], share: float) -> list[Data]:
    """The labelled ones, as often as makes them this share of all, and the others."""
    times = max(1, round(share / (1 - share) * len(pool) / len(labelled)))
    return [*labelled] * times + [*pool]


def training_of_generators(seed: int, options: argparse.Namespace) -> TrainingConfig:
    """As the preset of the checkpoint has it."""
    return TrainingConfig.from_preset(
        "focus",
        steps=options.generator_steps,
        num_validation=0,
        num_samples=0,
        target_weight=options.target_weight,
        seed=seed,
        accelerator=options.accelerator,
    )


def predicted_by_potential(
    way: str,
    data: Sequence[Data],
    test: Sequence[Data],
    seed: int,
    folder: Path,
    options: argparse.Namespace,
) -> dict[str, Any]:
    """One potential, and its errors on the test part."""
    model = SchNetGen.from_pretrained(options.checkpoint)
    torch.manual_seed(seed)
    architecture = replace(as_potential(model.config), targets=targets_in(data, options.targets))
    trained = fit_potential(
        Potential(architecture),
        data,
        folder,
        replace(training_of_potentials(len(data), options), seed=seed),
        test=test,
        init=options.checkpoint if way == "fine-tuned" else None,
    )
    return {"best_step": trained.provenance["step"], "test": trained.provenance["test"]}


def made_by_generator(
    way: str,
    data: Sequence[Data],
    test: Sequence[Data],
    seed: int,
    folder: Path,
    options: argparse.Namespace,
) -> dict[str, Any]:
    """One generator, its errors on the test part and the quality of its molecules."""
    known = SchNetGen.from_pretrained(options.checkpoint)
    targets = () if way == ALONE else targets_in(data, options.targets)
    torch.manual_seed(seed)
    model = SchNetGen(replace(known.config, targets=targets))
    init = options.checkpoint if way == "continued" else None
    trained = fit(model, data, folder, training_of_generators(seed, options), init=init)
    row = {"quality": quality(trained, folder / "generated.extxyz", seed, options)}
    if targets:
        row["test"] = errors(trained.predict(test), test, trained.targets)
    return row


def told(
    way: str, size: int, seed: int, data: Sequence[Data], options: argparse.Namespace
) -> list[Data]:
    """What a network learns from: the first so many of a seeded order with labels; a generator also
    from others without."""
    order = np.random.default_rng(seed).permutation(len(data)).tolist()
    labelled = [data[k] for k in order[:size]]
    if way in POTENTIALS:
        return labelled
    others = [bare(data[k], options.targets) for k in order[size : options.pool]]
    return repeated(labelled, others, options.share) if size else others


def row(
    way: str,
    size: int,
    seed: int,
    parts: tuple[Sequence[Data], Sequence[Data]],
    folder: Path,
    options: argparse.Namespace,
) -> dict[str, Any]:
    """One training, on a part of the first and tested on the second."""
    measure = predicted_by_potential if way in POTENTIALS else made_by_generator
    continued, start = (folder / "last.ckpt").is_file(), time.perf_counter()
    found = measure(way, told(way, size, seed, parts[0], options), parts[1], seed, folder, options)
    return found | {"whole_seconds": None if continued else round(time.perf_counter() - start, 1)}


def asked_of(way: str, size: int, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """All that decides a row beside the data and the checkpoint."""
    asked = {"way": way, "labels": size, "seed": seed, "targets": options.targets}
    if way in POTENTIALS:
        config = asdict(replace(training_of_potentials(size, options), seed=seed))
        return asked | {"config": config}
    asked |= {name: getattr(options, name) for name in ("pool", "share", "num")}
    return asked | {"config": asdict(training_of_generators(seed, options))}


def joint_parser() -> argparse.ArgumentParser:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--checkpoint", default="qm9")
    parser.add_argument("--data", required=True, help="training molecules with properties")
    parser.add_argument("--test", required=True, help="held-out molecules with properties")
    parser.add_argument("--keys", nargs="*", default=[], help="TARGET=NAME in the files")
    parser.add_argument("--targets", nargs="+", default=list(TARGETS))
    parser.add_argument("--labels", type=int, nargs="+", default=LABELS, help="to learn from")
    ways = (*POTENTIALS, *GENERATORS, ALONE)
    parser.add_argument("--ways", nargs="+", default=list(ways), choices=ways)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--pool", type=int, default=50_000, help="molecules that generators see")
    parser.add_argument("--share", type=float, default=0.2, help="of the labelled ones among them")
    parser.add_argument("--target_weight", type=float, default=1.0)
    add_training(parser, steps=5_000, learning_rate=5e-4)
    parser.add_argument("--generator_steps", type=int, default=12_000, help="of a generator")
    parser.add_argument("--num", type=int, default=1_000, help="molecules generated for quality")
    parser.add_argument("--num_test", type=int, default=5_000, help="molecules of the test part")
    parser.add_argument("--jobs", type=int, help="processes; by default one per core")
    parser.add_argument("--out", type=Path, default=Path("runs/joint"))
    return parser


def read(options: argparse.Namespace, model: SchNetGen) -> tuple[list[Data], list[Data]]:
    """Molecules to learn from, with Lewis structures where the model needs them, and to test on."""
    keys = dict(pair.split("=") for pair in options.keys)
    whole, held_out = load(options.data), load(options.test)
    needed = max(*options.labels, options.pool)
    chosen = np.random.default_rng(0).permutation(len(whole))[:needed].tolist()
    data = [renamed(one, keys) for one in taken(whole, chosen)]
    if "valence_states" in model.conditions:
        found, _ = with_lewis_structures(data, jobs=options.jobs)
        data = [one for one in found if one is not None]
    test = [renamed(one, keys) for one in taken(held_out, range(len(held_out)))]
    return data, test[: options.num_test]


def main() -> None:
    parser = joint_parser()
    options = parser.parse_args()
    options.seed = options.seeds[0]
    torch.set_num_threads(options.threads)
    model = SchNetGen.from_pretrained(options.checkpoint)
    data, test = read(options, model)
    if max(options.labels) > len(data):
        parser.error(f"there are {len(data):,} molecules; ask for fewer --labels")
    learned = as_targets(targets_in(data, options.targets))
    units = {name: target.unit for name, target in learned.items()}
    record: dict[str, Any] = {"note": options.note, "threads": options.threads, "units": units}
    record |= {"checkpoint": Path(options.checkpoint).stem, "labels": list(options.labels)}
    record |= {"tested": len(test), "num": options.num, "rows": {}}
    kept = options.out / "rows.json"
    asked = {"weights": weights_of(model), "num": options.num, "seed": options.seed}
    record["rows"][CHECKPOINT] = kept_row(
        kept,
        CHECKPOINT,
        asked,
        lambda: {
            "quality": quality(model, options.out / "checkpoint.extxyz", options.seed, options)
        },
    )
    same = {"weights": weights_of(model), "data": digest(data), "test": digest(test)}
    for seed, size in product(options.seeds, (*options.labels, 0)):
        for way in options.ways:
            if (size == 0) != (way == ALONE):
                continue
            wanted = same | asked_of(way, size, seed, options)
            name = f"{way}, {size}, {seed}"
            folder = options.out / f"{way}-{size}-{seed}-{digest_of(wanted)}"
            measure = functools.partial(row, way, size, seed, (data, test), folder, options)
            record["rows"][name] = found = kept_row(kept, name, wanted, measure)
            print(name, json.dumps(found, ensure_ascii=False), flush=True)
            save("joint", record, options.seed, options.results)


if __name__ == "__main__":
    main()
