"""The paper's Table 1: what relaxation changes of the generated structures of lowest energy.

    python benchmarks/relaxation.py generated.extxyz --train train.extxyz.gz --test test.extxyz.gz

Relaxes the 20 of lowest predicted energy with GFN2-xTB and, as many as ``--dft_seconds`` allow,
with PBE/def2-SVP (the lowest first), and 300 structures chosen at random with GFN2-xTB; beside
these as many real molecules, and others with ``--beside "not revised=other.extxyz"``. Writes
``relaxation.json``. A run that was stopped continues in ``--out``.
"""

from __future__ import annotations

import argparse
import random
import statistics
from pathlib import Path
from typing import Any

from common import benchmark_parser, save
from tqdm import tqdm

from schnetgen_pyg import evaluate, load, relax
from schnetgen_pyg.data.conversion import to_ase
from schnetgen_pyg.relaxation.many import Relaxation

#: Gebauer et al. 2018, Table 1: relaxation at PBE/def2-SVP, mean RMSD in Å.
PAPER = {
    "train": {"structures": 5, "rmsd": 0.36, "rmsd_heavy": 0.20},
    "test": {"structures": 8, "rmsd": 0.37, "rmsd_heavy": 0.20},
    "new": {"structures": 2, "rmsd": 0.36, "rmsd_heavy": 0.17},
    "valid": {"structures": 15, "rmsd": 0.36, "rmsd_heavy": 0.20},
    "failed": {"structures": 5, "rmsd": 0.63, "rmsd_heavy": 0.53},
}
#: G-SchNet's published QM9 samples, relaxed with GFN2-xTB.
PEER = {"rmsd": 0.231, "rmsd_heavy": 0.155, "released": 14.7, "released_median": 10.2}


def classes_of(structures: list[Any], options: argparse.Namespace) -> list[str]:
    """``train``, ``test``, ``new`` or ``failed`` (not valid), by the paper's fingerprint."""
    result = evaluate(structures, train=load(options.train), test=load(options.test))
    known = {
        name: {record.get("fingerprint") for record in records}
        for name, records in result.references.items()
    }
    return [
        "failed"
        if record["failure"]
        else next((name for name, found in known.items() if record["fingerprint"] in found), "new")
        for record in result.records
    ]


def summary(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over the structures that converged, and how many of how many did."""
    done = [record for record in records if record["status"] == "converged"]
    result: dict[str, Any] = {"structures": len(done), "of": len(records)}
    if done:
        for name in ("rmsd", "rmsd_heavy", "released"):
            result[name] = statistics.fmean(record[name] for record in done)
        result["released_median"] = statistics.median(record["released"] for record in done)
        result["kept"] = statistics.fmean(not record["changed"] for record in done)
    return result


def by_class(result: Relaxation, kinds: dict[int, str]) -> dict[str, Any]:
    """Summaries by class; ``kinds`` by the structure's number in the relaxation."""
    records = [{**record, "class": kinds[record["structure"]]} for record in result.records]
    groups = {name: {name} for name in PAPER} | {"valid": {"train", "test", "new"}}
    return {
        "classes": {
            name: summary([record for record in records if record["class"] in members])
            for name, members in groups.items()
        },
        "relaxation": result.figures() | {"records": records},
    }


def at_random(
    path: str, options: argparse.Namespace, out: Path, shared: dict[str, Any]
) -> dict[str, Any]:
    """Structures of a file chosen at random, relaxed with GFN2-xTB."""
    structures = load(path)
    count = min(options.random, len(structures))
    chosen = sorted(random.Random(options.seed).sample(range(len(structures)), count))
    result = relax([to_ase(structures[k]) for k in chosen], out=out, **shared)
    valid = [record for record in result.records if not record["failure_before"]]
    return {
        "structures": count,
        "chosen": chosen,
        "all": summary(result.records),
        "valid": summary(valid),
        "relaxation": result.figures(),
    }


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("structures")
    parser.add_argument("--train", required=True)
    parser.add_argument("--test", required=True)
    parser.add_argument("--top", type=int, default=20)
    parser.add_argument("--rank", default="gfn2-xtb", help="method that predicts the energies")
    parser.add_argument("--random", type=int, default=300)
    parser.add_argument("--beside", nargs="*", default=[], help="other samples, NAME=FILE each")
    parser.add_argument("--dft_seconds", type=float, default=3600.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=None)
    parser.add_argument("--note", default="", help="what else the machine did meanwhile")
    parser.add_argument("--out", type=Path, default=Path("runs/relaxation"))
    options = parser.parse_args()

    structures = [to_ase(data) for data in load(options.structures)]
    shared: dict[str, Any] = {"jobs": options.jobs, "progress": tqdm}
    lowest = relax(
        structures, top=options.top, rank=options.rank, out=options.out / "lowest.db", **shared
    )
    kinds = classes_of(lowest.before, options)
    numbers = [record["structure"] for record in lowest.records]
    table = {"gfn2-xtb": by_class(lowest, dict(zip(numbers, kinds, strict=True)))}
    if options.dft_seconds > 0:
        dft = relax(
            lowest.before,
            method="pbe/def2-svp",
            optimizer="geometric",
            seconds=options.dft_seconds,
            out=options.out / "dft.db",
            **shared,
        )
        table["pbe/def2-svp"] = by_class(dft, dict(enumerate(kinds)))

    others = {"real molecules, unseen": options.test}
    others |= dict(text.rsplit("=", 1) for text in options.beside)
    record = {
        "file": Path(options.structures).name,
        "structures": len(structures),
        "top": options.top,
        "rank": options.rank,
        "dft_seconds": options.dft_seconds,
        "note": options.note,
        "paper": PAPER,
        "peer": PEER,
        "lowest": table,
        "random": at_random(options.structures, options, options.out / "random.db", shared),
        "beside": {
            name: at_random(path, options, options.out / f"beside{k}.db", shared)
            for k, (name, path) in enumerate(others.items())
        },
    }
    for method, part in table.items():
        print(method, part["classes"])
    print("random, valid:", record["random"]["valid"])
    save("relaxation", record, options.seed, options.results)


if __name__ == "__main__":
    main()
