"""Quality of the bundled model over temperatures and seeds.

    python benchmarks/quality.py --train train.extxyz.gz --test test.extxyz.gz

Generates ``--num`` structures for every seed with the sampler's own settings and with strict ones,
and for the first seed at other temperatures, without revision, with scaffolds that lead nowhere
kept, and without the rules of valence, and judges them; prints the mean and the standard deviation
over the seeds, and writes ``quality.json``. A run that was stopped continues; one that is asked for
more structures makes the others only.

Valid is what our own judge says, and the sampler knows its bonds. So the first ``--judged``
structures of every row, and as many real isomers of the test set, are also judged by EDM's tables,
Open Babel and PoseBusters (extras ``openbabel`` and ``posebusters``); of the isomers that state
their SMILES it is said how many get it back.
"""

from __future__ import annotations

import argparse
import json
import statistics
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from common import benchmark_parser, kept_row, save
from samples import structures, weights_of
from tqdm import tqdm

from schnetgen_pyg import SamplingConfig, SchNetGen, evaluate, load
from schnetgen_pyg.data.conversion import to_ase
from schnetgen_pyg.data.digest import digest
from schnetgen_pyg.evaluation.evaluation import Evaluation
from schnetgen_pyg.evaluation.judges import JUDGES
from schnetgen_pyg.evaluation.judges.rdkit import OWN_SMILES

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


#: Judges that are not the sampler, and which of their rows the table shows.
OTHERS = {
    "edm": "EDM: stable molecules (%)",
    "openbabel": "Open Babel: valid (%)",
    "posebusters": "PoseBusters: of all (%)",
}


def by_others(molecules: list[Any], options: argparse.Namespace) -> dict[str, Any]:
    """Percentages of the first structures that the judges who are not the sampler accept."""
    chosen = molecules[: options.judged]
    result = evaluate(chosen, judges=tuple(OTHERS), jobs=options.jobs, progress=tqdm).figures()
    shares = {name: result["judges"][name][row] for name, row in OTHERS.items()}
    valid = {"valid": 100 * result["valid"] / len(chosen)}
    own = result["judges"]["rdkit"].get(OWN_SMILES)
    valid |= {} if own is None else {"own_smiles": own}
    return valid | shares | {"structures": len(chosen), "versions": result["versions"]}


def file_name(config: SamplingConfig, seed: int) -> str:
    """By the settings that are not the sampler's own."""
    usual, settings = asdict(replace(SamplingConfig(), jobs=config.jobs)), asdict(config)
    changes = [f"{key}{value:g}_" for key, value in settings.items() if value != usual[key]]
    return f"{''.join(changes)}seed{seed}.extxyz"


def row(
    model: SchNetGen,
    config: SamplingConfig,
    seeds: list[int],
    options: argparse.Namespace,
    sets: Any,
) -> dict[str, Any]:
    """Figures of one setting over its seeds."""
    runs: list[dict[str, float]] = []
    for seed in seeds:
        path = options.out / file_name(config, seed)
        molecules, made = structures(model, options.num, path, seed, config)
        run = figures_of(evaluate(molecules, **sets, judges=(), jobs=options.jobs, progress=tqdm))
        run["molecules_per_second"] = options.num / made["seconds"] if made["seconds"] else 0.0
        runs.append(run)
        if seed == seeds[0]:
            generated, others = made, by_others(molecules, options)
    return {"runs": runs, "summary": summary(runs), "generation": generated, "judges": others}


def summary(runs: list[dict[str, float]]) -> dict[str, list[float]]:
    """Mean and standard deviation over the seeds; of each figure over the runs that have it."""
    values = {name: [run[name] for run in runs if name in run] for run in runs for name in run}
    return {
        name: [statistics.mean(found), statistics.stdev(found) if len(found) > 1 else 0.0]
        for name, found in values.items()
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
    parser.add_argument("--judged", type=int, default=600, help="structures for other judges")
    parser.add_argument("--jobs", type=int, help="processes; by default one per core")
    parser.add_argument("--note", default="", help="what else the machine did meanwhile")
    parser.add_argument("--out", type=Path, default=Path("runs/quality"))
    options = parser.parse_args()

    model = SchNetGen.from_pretrained(options.checkpoint)
    for name in OTHERS:
        JUDGES[name].require_installed()
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
    asked = {
        "weights": weights_of(model),
        "structures": options.num,
        "judged": options.judged,
        "sets": {name: digest(data) for name, data in sets.items()},
    }
    kept = options.out / "rows.json"
    real = [to_ase(data) for data in sets["test"][: options.judged]]
    record["real"] = kept_row(kept, "real isomers", asked, lambda: by_others(real, options))
    for name, config in settings.items():
        seeds = options.seeds if name in (usual, STRICT) else options.seeds[:1]
        wanted = asked | {"seeds": seeds, "config": asdict(replace(config, jobs=None))}
        found = kept_row(
            kept, name, wanted, lambda c=config, s=seeds: row(model, c, s, options, sets)
        )
        record["rows"][name] = found
        print(name, json.dumps(found["summary"]), found["judges"], flush=True)
        save("quality", record, options.seeds[0], options.results)


if __name__ == "__main__":
    main()
