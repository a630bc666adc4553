"""Conformers beside those of RDKit: what of reference ensembles is found, and how strained it is.

    OMP_NUM_THREADS=1 python benchmarks/conformers.py --checkpoint conformers --name qm9 \
        --references runs/ensembles/qm9-test.extxyz --thresholds 0.5
    OMP_NUM_THREADS=1 python benchmarks/conformers.py --checkpoint conformers --name druglike \
        --references hutchison.npz --num 50 --thresholds 1.25 0.75

Every molecule is built by the generator, by ETKDGv3 and by ETKDGv3 with MMFF94s, ``--turns`` times
in turn for the time (its median). By default there are two conformers for each reference. RMSDs are
of heavy atoms, superposed, the least over the symmetries (the first 1,000). Of a reference ensemble
recall (R) says how much of it is found, precision (P) how much of what is made is in it: COV, the
share that is nearer than a threshold (Å), and MAT, the mean distance to the nearest one (Å).

``--relaxed`` conformers of each molecule, drawn by the seed, are relaxed with GFN2-xTB: the energy
that they release is their strain. The one of lowest energy is relaxed, too, and compared with the
lowest reference, relaxed in the same way. The same command continues what was stopped; all that is
lost is the molecule that was under way. Writes ``conformers_NAME.json``.
"""

from __future__ import annotations

import hashlib
import json
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import ase
import numpy as np
import torch
from common import benchmark_parser, save
from conformer_references import Reference, references
from rdkit import Chem, rdBase
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers, rdMolAlign
from tqdm import tqdm

from schnetgen_pyg import SchNetGen, conformers
from schnetgen_pyg.chem.conformers import MATCHES, with_conformers
from schnetgen_pyg.chem.molecular_graphs import MolecularGraph
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.relaxation.calculators import energies
from schnetgen_pyg.relaxation.single import KCAL, RelaxConfig, relax_one
from schnetgen_pyg.storage.models import weights_digest
from schnetgen_pyg.storage.resumable import ResumableFile

METHOD = "gfn2-xtb"
OURS, ETKDG, MMFF = "SchNetGen", "ETKDGv3", "ETKDGv3 + MMFF94s"
#: Time of one relaxation (s), and steps of MMFF94s.
SECONDS, STEPS = 600.0, 2000

#: Positions [num_atoms, 3] of as many conformers as could be made, and what failed.
Made = tuple[list[np.ndarray], str]
Builder = Callable[[Chem.Mol, int], Made]


def builders(model: SchNetGen, seed: int) -> dict[str, Builder]:
    """By their names what makes so many conformers of a molecule."""

    def ours(mol: Chem.Mol, num: int) -> Made:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            (found,) = conformers(model, mol, num, seed=seed, prune=0)
        return [one.GetPositions() for one in found.mol.GetConformers()], found.failure

    def etkdg(mol: Chem.Mol, num: int) -> Made:
        return _embedded(mol, num, seed, relax=False)

    def mmff(mol: Chem.Mol, num: int) -> Made:
        return _embedded(mol, num, seed, relax=True)

    return {OURS: ours, ETKDG: etkdg, MMFF: mmff}


def _embedded(mol: Chem.Mol, num: int, seed: int, relax: bool) -> Made:
    mol, parameters = Chem.Mol(mol), rdDistGeom.ETKDGv3()
    # RDKit multiplies the seed with the conformer's number: 0 makes all alike.
    parameters.randomSeed = seed + 1
    made = len(rdDistGeom.EmbedMultipleConfs(mol, num, parameters))
    failure = f"{num - made} of {num} could not be embedded" if made < num else ""
    if relax and not rdForceFieldHelpers.MMFFHasAllMoleculeParams(mol):
        failure = "; ".join(filter(None, [failure, "MMFF94s has no parameters for it"]))
    elif relax and made:
        settings = {"mmffVariant": "MMFF94s", "maxIters": STEPS, "numThreads": 1}
        rdForceFieldHelpers.MMFFOptimizeMoleculeConfs(mol, **settings)
    return [one.GetPositions() for one in mol.GetConformers()], failure


def nearest(mol: Chem.Mol, found: list[np.ndarray], real: list[np.ndarray]) -> dict[str, Any]:
    """Distance (Å) of every reference to the nearest that was made, and the reverse."""
    bare = [Chem.RemoveAllHs(with_conformers(mol, some), sanitize=False) for some in (found, real)]
    if not found or bare[0].GetNumAtoms() < 2:
        return {"recall": [0.0 if found else None] * len(real), "precision": [0.0] * len(found)}
    rmsd = np.array(
        [
            [
                rdMolAlign.GetBestRMS(bare[0], bare[1], one, other, maxMatches=MATCHES)
                for other in range(len(real))
            ]
            for one in range(len(found))
        ]
    )
    return {"recall": rmsd.min(0).round(4).tolist(), "precision": rmsd.min(1).round(4).tolist()}


def relaxed(graph: MolecularGraph, pos: np.ndarray) -> dict[str, Any]:
    """What a relaxation says of one conformer."""
    config = RelaxConfig(METHOD, "lbfgs", fmax=0.05, max_seconds=SECONDS)
    record, _ = relax_one(_atoms(graph, pos), config)
    return record


def _atoms(graph: MolecularGraph, pos: np.ndarray) -> ase.Atoms:
    info = {"charge": graph.charge} if graph.charge else {}
    return ase.Atoms(graph.numbers, pos, info=info)


def strain(graph: MolecularGraph, found: list[np.ndarray], num: int, seed: int) -> dict[str, Any]:
    """Energies (kcal/mol) that ``num`` of the conformers release, drawn by the seed, and the energy
    (eV) of the lowest of all after its relaxation."""
    chosen = np.random.default_rng(seed).permutation(len(found))[:num]
    records = [relaxed(graph, found[k]) for k in sorted(chosen)]
    released = [one["released"] for one in records if one["status"] == "converged"]
    return {
        "released": [round(one, 4) for one in released],
        "not_relaxed": len(records) - len(released),
        "lowest": lowest(graph, found),
    }


def lowest(graph: MolecularGraph, found: list[np.ndarray]) -> float | None:
    """Energy (eV) of the conformer of lowest energy, relaxed; nothing where that failed."""
    known = [
        (one, k)
        for k, one in enumerate(energies([_atoms(graph, pos) for pos in found], METHOD))
        if not isinstance(one, str)
    ]
    if not known:
        return None
    record = relaxed(graph, found[min(known)[1]])
    return float(record["energy_after"]) if record["status"] == "converged" else None


def judged(one: Reference, makers: dict[str, Builder], options: Any) -> dict[str, Any]:
    """The record of one molecule."""
    if one.mol is None:
        return {"name": one.name, "failure": one.failure}
    graph, num = MolecularGraph.of_mol(one.mol), options.num or 2 * len(one.positions)
    made: dict[str, Made] = {}
    seconds: dict[str, list[float]] = {name: [] for name in makers}
    for _ in range(options.turns):
        for name, build in makers.items():
            start = time.perf_counter()
            try:
                made[name] = build(one.mol, num)
            except InputError as error:
                made[name] = [], str(error)
            seconds[name].append(time.perf_counter() - start)
    record: dict[str, Any] = {"name": one.name, "heavy": int((graph.numbers != 1).sum())}
    record |= {"references": len(one.positions), "asked": num, "methods": {}}
    if options.relaxed:
        record["lowest_reference"] = lowest(graph, one.positions)
    for name, (found, failure) in made.items():
        row = {"made": len(found), "failure": failure, "seconds": statistics.median(seconds[name])}
        row["as_asked"] = sum(graph.as_asked(pos) for pos in found)
        row |= nearest(one.mol, found, one.positions)
        if options.relaxed:
            row |= strain(graph, found, options.relaxed, options.seed)
        record["methods"][name] = row
    return record


def summary(records: Sequence[dict[str, Any]], name: str, thresholds: Sequence[float]) -> dict:
    """The figures of a method over all molecules."""
    rows = [(record, record["methods"][name]) for record in records]
    found: dict[str, Any] = {"asked": sum(record["asked"] for record, _ in rows)}
    found |= {key: sum(row[key] for _, row in rows) for key in ("made", "as_asked")}
    found["failed"] = [f"{r['name']}: {row['failure']}" for r, row in rows if row["failure"]]
    for kind in ("recall", "precision"):
        # Nothing was made: nothing is covered, and there is no distance.
        own = [np.array(row[kind], dtype=float) for _, row in rows]
        for threshold in thresholds:
            shares = [float((one < threshold).mean()) if one.size else 0.0 for one in own]
            found[f"cov_{kind}_{threshold:g}"] = float(np.mean(shares))
        means = [float(one.mean()) for one in own if one.size and np.isfinite(one).all()]
        found[f"mat_{kind}"] = float(np.mean(means)) if means else None
        found[f"mat_{kind}_molecules"] = len(means)
    each = [row["seconds"] / record["asked"] for record, row in rows]
    found["seconds_a_conformer"] = statistics.median(each)
    found["conformers_a_second"] = found["made"] / sum(row["seconds"] for _, row in rows)
    if "lowest_reference" in rows[0][0]:
        released = [one for _, row in rows for one in row["released"]]
        found["released_median"] = statistics.median(released) if released else None
        found["not_relaxed"] = sum(row["not_relaxed"] for _, row in rows)
        above = [
            (row["lowest"] - record["lowest_reference"]) / KCAL
            for record, row in rows
            if row["lowest"] is not None and record["lowest_reference"] is not None
        ]
        found["best_above_median"] = statistics.median(above) if above else None
        found["best_above_mean"] = statistics.mean(above) if above else None
        found["best_molecules"] = len(above)
    return found


def lines(given: Sequence[Reference], makers: dict[str, Builder], options: Any) -> Iterator[str]:
    for one in tqdm(given):
        with rdBase.BlockLogs():
            yield json.dumps(judged(one, makers, options)) + "\n"


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--checkpoint", default="conformers", help="generator of conformers")
    parser.add_argument("--references", type=Path, required=True, help="ensembles, or a .npz")
    parser.add_argument("--name", required=True, help="of the record: conformers_NAME.json")
    parser.add_argument("--molecules", type=int, default=0, help="so many, by the seed; 0 for all")
    parser.add_argument("--num", type=int, default=0, help="of each; 0 for two a reference")
    parser.add_argument("--thresholds", type=float, nargs="+", default=[0.5], help="in Å")
    parser.add_argument("--relaxed", type=int, default=5, help="of each molecule; 0 for none")
    parser.add_argument("--turns", type=int, default=3, help="repetitions for the time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/conformers"))
    options = parser.parse_args()

    torch.set_num_threads(1)
    model = SchNetGen.from_pretrained(options.checkpoint)
    given = references(options.references)
    order = np.random.default_rng(options.seed).permutation(len(given))
    given = [given[k] for k in order[: options.molecules or len(given)]]
    names = ("num", "relaxed", "turns", "seed")
    asked: dict[str, Any] = {name: getattr(options, name) for name in names}
    asked |= {"weights": weights_digest(model.state_dict()), "method": METHOD}
    content = hashlib.sha256(options.references.read_bytes()).hexdigest()
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"{options.name}.jsonl"
    number = {"molecules": len(given)}
    file = ResumableFile(path, "jsonl", asked | {"references": content}, result=number)
    if not file.finished:
        makers = builders(model, options.seed)
        file.extend(lines(given[file.done :], makers, options))
        file.publish()
    records = [json.loads(line) for line in path.read_text().splitlines()]
    good = [record for record in records if "failure" not in record]
    left_out = [f"{r['name']}: {r['failure']}" for r in records if "failure" in r]
    record = {"checkpoint": options.checkpoint, "references": options.references.name, **asked}
    record |= {"thresholds": options.thresholds, "molecules": len(good), "left_out": left_out}
    record["reference_conformers"] = sum(one["references"] for one in good)
    record["rows"] = {
        name: summary(good, name, options.thresholds) for name in (OURS, ETKDG, MMFF) if good
    }
    for name, row in record["rows"].items():
        print(name, {key: value for key, value in row.items() if key != "failed"})
    save(f"conformers_{options.name}", record, options.seed, options.results)


if __name__ == "__main__":
    main()
