"""Quality of a model that makes molecules of any composition, beside that of real molecules.

    python benchmarks/quality_any.py --checkpoint qm9 --test test.extxyz.gz

Generates ``--num`` structures of any composition for every seed, and for the first seed without
refinement, without revision, without restarts, and without all that chemistry adds to the network;
judges them and as many held-out molecules alike, and writes ``quality_NAME.json``. A run that was
stopped continues; one that is asked for more structures makes the others only.

The judges: EDM's tables (stable atoms and molecules; valid, and different ones, by its own
protocol); ours, strict; the bonds that the builder says; Open Babel and PoseBusters (extras
``openbabel`` and ``posebusters``), where they are installed, on the first ``--judged``. Novel is
what is not among the molecules that the model says it has seen. ``--energies`` structures also take
PoseBusters' energy test, about a second each.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import ase
from common import benchmark_parser, kept_row, save
from edm_protocol import EDM_PROTOCOL
from quality import file_name, summary
from samples import drawn, structures, weights_of
from tqdm import tqdm

from schnetgen_pyg import SamplingConfig, SchNetGen, evaluate, load
from schnetgen_pyg.chem.identity import smiles
from schnetgen_pyg.chem.molecules import VALENCE, known_or_perceived
from schnetgen_pyg.data.conversion import to_ase
from schnetgen_pyg.data.digest import digest
from schnetgen_pyg.evaluation.evaluation import Evaluation
from schnetgen_pyg.evaluation.judges import JUDGES
from schnetgen_pyg.evaluation.judges.posebusters import ENERGY, POSEBUSTERS
from schnetgen_pyg.evaluation.judging import ask
from schnetgen_pyg.parallel import Failure, each_in_processes, job_count

USUAL, NETWORK = "default", "what the network knows"
#: Judges that need an extra, and how long they take decides on how many they are asked.
SLOW = ("openbabel", "posebusters")
#: By our name, the row of a judge.
ROWS = {
    "edm_atoms": "EDM: stable atoms (%)",
    "edm_stable": "EDM: stable molecules (%)",
    "edm_valid": "EDM: valid (%)",
    "edm_valid_unique": "EDM: valid and unique (%)",
    "openbabel": "Open Babel: valid (%)",
    "posebusters": "PoseBusters: of all (%)",
}


def settings(model: SchNetGen, jobs: int | None) -> dict[str, SamplingConfig]:
    """By the name of a row, how it is sampled."""
    usual = SamplingConfig(jobs=jobs)
    found = {USUAL: usual}
    if model.refinement is not None:
        found["not refined"] = replace(usual, refinement_steps=0)
    found |= {
        "not revised": replace(usual, gibbs_rounds=0),
        "every scaffold kept": replace(usual, restarts=0),
        NETWORK: replace(usual, valence_rules=False, restarts=0, gibbs_rounds=0),
    }
    return found


def judged(
    molecules: Sequence[ase.Atoms], model: SchNetGen, options: argparse.Namespace, energies: int
) -> dict[str, Any]:
    """Percentages of one set of structures, by `ROWS` and our own names; what cannot be said is
    not there."""
    asked = {"jobs": options.jobs, "progress": tqdm}
    whole = evaluate(list(molecules), model=model, judges=("edm",), **asked)
    ask(EDM_PROTOCOL, molecules, whole.records, **(asked | {"jobs": job_count(options.jobs)}))
    figures = whole.figures()
    judges = figures["judges"]["edm"] | EDM_PROTOCOL.rows(whole.records)
    if there := [name for name in SLOW if JUDGES[name].installed]:
        some = list(molecules[: options.judged])
        energies *= ENERGY.installed
        slow = evaluate(some, model=model, judges=there, energy_tests=energies, **asked)
        for name in there:
            judges |= slow.figures()["judges"][name]
    row = {name: judges[label] for name, label in ROWS.items() if label in judges}
    if there and (share := all_tests(slow)) is not None:
        row["posebusters_all_tests"] = share
    count, unique = figures["n"], figures["unique"]["smiles"]
    row |= {"valid": 100 * figures["valid"] / count, "valid_unique": 100 * unique / count}
    if "novelty" in figures:
        row["novel"] = 100 * figures["novelty"]
        row["valid_unique_novel"] = row["valid_unique"] * figures["novelty"]
    return row | built(molecules, whole, options.jobs)


def all_tests(result: Evaluation) -> float | None:
    """Percentage that passes all tests of PoseBusters, that of the energy too: the share of valid
    structures, and among those with an energy test the share that passes all."""
    tested = [record for record in result.records if ENERGY.name in record]
    if not tested:
        return None
    passed = [
        all(record[name].values()) and "unfinished" not in record[name]
        for record in tested
        for name in (POSEBUSTERS.name, ENERGY.name)
    ]
    both = sum(first and second for first, second in zip(passed[::2], passed[1::2], strict=True))
    valid = sum(not record["failure"] for record in result.records)
    return 100 * valid / len(result.records) * both / len(tested)


def own_smiles(items: Sequence[ase.Atoms]) -> list[str]:
    """What the builder says of each; empty where that is no connected, closed-shell molecule."""
    found = [known_or_perceived(atoms).mol for atoms in items]
    return ["" if mol is None else smiles(mol) for mol in found]


def built(molecules: Sequence[ase.Atoms], result: Evaluation, jobs: int | None) -> dict[str, float]:
    """Of structures that say how they were built: percentage that is a molecule by that, and of
    those that is the same as the one perceived."""
    if not all(VALENCE in atoms.arrays for atoms in molecules):
        return {}
    texts = [""] * len(molecules)
    found = each_in_processes(
        own_smiles, list(molecules), size=100, jobs=job_count(jobs), timeout=60.0
    )
    for place, text in found:
        texts[place] = "" if isinstance(text, Failure) else text
    good = [k for k, text in enumerate(texts) if text]
    same = sum(texts[k] == result.records[k].get("smiles") for k in good)
    return {
        "own_bonds": 100 * len(good) / len(texts),
        "own_bonds_perceived": 100 * same / max(len(good), 1),
    }


def row(
    model: SchNetGen, config: SamplingConfig, seeds: list[int], options: argparse.Namespace
) -> dict[str, Any]:
    """Figures of one setting over its seeds."""
    runs = []
    for seed in seeds:
        path = options.out / file_name(config, seed)
        molecules, made = structures(model, options.num, path, seed, config, formula=None)
        energies = options.energies if seed == seeds[0] and config.valence_rules else 0
        run = judged(molecules, model, options, energies)
        run["atoms"] = sum(map(len, molecules)) / len(molecules)
        if made["seconds"]:
            run["molecules_per_second"] = options.num / made["seconds"]
        runs.append(run)
        if seed == seeds[0]:
            generated = made
    return {"runs": runs, "summary": summary(runs), "generation": generated}


def model_parser(doc: str | None) -> argparse.ArgumentParser:
    """Options that all benchmarks of models of any composition have."""
    parser = benchmark_parser(doc)
    parser.add_argument("--checkpoint", default="qm9")
    parser.add_argument("--name", help="of the model in the tables; by default the checkpoint's")
    parser.add_argument("--num", type=int, default=10_000)
    parser.add_argument("--jobs", type=int, help="processes; by default one per core")
    parser.add_argument("--note", default="", help="what else the machine did meanwhile")
    parser.add_argument(
        "--out", type=Path, help="folder of the structures; by default of runs/quality"
    )
    return parser


def read_options(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """With the name of the model."""
    options = parser.parse_args()
    options.name = options.name or Path(options.checkpoint).stem
    return options


def load_model(options: argparse.Namespace) -> SchNetGen:
    """The model; the folder of its structures follows from its name and weights."""
    model = SchNetGen.from_pretrained(options.checkpoint)
    usual = Path("runs/quality") / f"{options.name}_{weights_of(model)[:8]}"
    options.out = options.out or usual
    return model


def main() -> None:
    parser = model_parser(__doc__)
    parser.add_argument("--test", required=True, help="held-out molecules")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--judged", type=int, help="structures for the slow judges; all of them")
    parser.add_argument("--energies", type=int, default=200, help="energy tests of a sample")
    options = read_options(parser)

    model = load_model(options)
    real = drawn(load(options.test), options.num, options.seeds[0])
    record: dict[str, Any] = {
        "checkpoint": options.name,
        "training": model.provenance,
        "structures": options.num,
        "seeds": options.seeds,
        "judged": min(options.judged or options.num, options.num),
        "energies": options.energies,
        "note": options.note,
        "rows": {},
    }
    there = [name for name in SLOW if JUDGES[name].installed]
    if absent := sorted({*SLOW} - {*there}):
        print(f"not installed, and left out: {', '.join(absent)}", flush=True)
    asked = {"structures": options.num, "judges": there, "weights": weights_of(model)}
    asked |= {name: getattr(options, name) for name in ("judged", "energies")}
    kept = options.out / "rows.json"
    record["real"] = kept_row(
        kept,
        "held-out molecules",
        asked | {"data": digest(real)},
        lambda: (
            judged([to_ase(data) for data in real], model, options, options.energies)
            | {"structures": len(real)}
        ),
    )
    print("held-out molecules", json.dumps(record["real"]), flush=True)
    for name, config in settings(model, options.jobs).items():
        seeds = options.seeds if name == USUAL else options.seeds[:1]
        wanted = asked | {"seeds": seeds, "config": asdict(replace(config, jobs=None))}
        record["rows"][name] = found = kept_row(
            kept, name, wanted, lambda c=config, s=seeds: row(model, c, s, options)
        )
        print(name, json.dumps(found["summary"]), flush=True)
        save(f"quality_{options.name}", record, options.seeds[0], options.results)


if __name__ == "__main__":
    main()
