"""Quality of the bundled model over temperatures and seeds.

    python benchmarks/quality.py --train train.extxyz.gz --test test.extxyz.gz

Generates ``--num`` structures for every seed with the sampler's own settings and with strict ones,
and for the first seed at other temperatures, without revision, with scaffolds that lead nowhere
kept, and without the rules of valence, and judges them; prints the mean and the standard deviation
over the seeds, and writes ``quality.json``. A run that was stopped continues.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import ase.io
from common import COMMIT, benchmark_parser, save
from tqdm import tqdm

from schnetgen_pyg import SamplingConfig, SchNetGen, evaluate, load
from schnetgen_pyg.evaluation.evaluation import Evaluation
from schnetgen_pyg.generator.sampling.streaming import generate_file
from schnetgen_pyg.storage.atomic import replacing

FORMULA = "C7H10O2"
#: Revised once, and at most 0.55 nats of surprise: geometry before variety.
STRICT = "T = 1, strict"


def figures_of(result: Evaluation) -> dict[str, float]:
    """What the table shows, from the figures of one evaluation."""
    figures = result.figures()
    count, valid = figures["n"], figures["valid"]
    return {
        "valid": valid / count,
        "unique": figures["unique"]["smiles"] / max(valid, 1),
        "different": figures["unique"]["smiles"],
        "train_found": figures["matches"]["train"]["smiles"],
        "test_found": figures["matches"]["test"]["smiles"],
        "new": figures["new"]["smiles"],
        "test_size": figures["references"]["test"]["own"]["smiles"],
    }


def generated(
    model: SchNetGen, options: argparse.Namespace, seed: int, config: SamplingConfig
) -> tuple[list[Any], dict[str, Any]]:
    """Structures of one setting, from the disk where they are there already."""
    usual, settings = asdict(replace(SamplingConfig(), jobs=config.jobs)), asdict(config)
    changes = [f"{key}{value:g}_" for key, value in settings.items() if value != usual[key]]
    path = options.out / f"{''.join(changes)}seed{seed}.extxyz"
    log = path.with_suffix(".json")
    if not path.exists():
        fresh = not path.with_name(path.name + ".partial.json").exists()
        start = time.perf_counter()
        generate_file(model, FORMULA, options.num, path, seed=seed, config=config, progress=tqdm)
        seconds = time.perf_counter() - start if fresh else None
        with replacing(log) as temporary:
            temporary.write_text(json.dumps({"commit": COMMIT, "seconds": seconds}))
    return ase.io.read(path, ":"), json.loads(log.read_text())


def summary(runs: list[dict[str, float]]) -> dict[str, list[float]]:
    """Mean and standard deviation over the seeds."""
    return {
        name: [
            statistics.mean(run[name] for run in runs),
            statistics.stdev(run[name] for run in runs) if len(runs) > 1 else 0.0,
        ]
        for name in runs[0]
    }


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--checkpoint", default="c7h10o2")
    parser.add_argument("--train", required=True)
    parser.add_argument("--test", required=True)
    parser.add_argument("--num", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--temperatures",
        type=float,
        nargs="*",
        default=[],
        help="of choices, besides the default",
    )
    parser.add_argument("--jobs", type=int, help="processes; by default one per core")
    parser.add_argument("--note", default="", help="what else the machine did meanwhile")
    parser.add_argument("--out", type=Path, default=Path("runs/quality"))
    options = parser.parse_args()

    model = SchNetGen.from_pretrained(options.checkpoint)
    sets = {"train": load(options.train), "test": load(options.test)}
    first = SamplingConfig(jobs=options.jobs)
    usual = f"T = {first.choice_temperature:g}"
    settings = {usual: first}
    settings |= {f"T = {t:g}": replace(first, choice_temperature=t) for t in options.temperatures}
    settings |= {
        STRICT: replace(first, gibbs_rounds=1, max_surprise=0.55),
        f"{usual}, not revised": replace(first, gibbs_rounds=0),
        f"{usual}, every scaffold kept": replace(first, restarts=0),
        f"{usual}, no rules": replace(first, valence_rules=False),
    }
    record: dict[str, Any] = {
        "checkpoint": Path(options.checkpoint).name,
        "training": model.provenance,
        "structures": options.num,
        "seeds": options.seeds,
        "note": options.note,
        "rows": {},
    }
    for name, config in settings.items():
        runs = []
        for seed in options.seeds if name in (usual, STRICT) else options.seeds[:1]:
            molecules, log = generated(model, options, seed, config)
            start = time.perf_counter()
            run = figures_of(evaluate(molecules, **sets, jobs=options.jobs, progress=tqdm))
            run["evaluation_seconds"] = time.perf_counter() - start
            run["molecules_per_second"] = options.num / log["seconds"] if log["seconds"] else 0.0
            runs.append(run)
        record["rows"][name] = {"runs": runs, "summary": summary(runs), "commit": log["commit"]}
        print(name, json.dumps(record["rows"][name]["summary"]), flush=True)
        save("quality", record, options.seeds[0], options.results)


if __name__ == "__main__":
    main()
