"""Molecules like a given one: similarity to the fingerprint that was asked for.

    OMP_NUM_THREADS=1 python benchmarks/fingerprints.py --checkpoint qm9-targets \\
        --test test.extxyz.gz

Asks for ``--each`` molecules like each of ``--num`` held-out ones, drawn by a seed, without and
with guidance, and compares Morgan fingerprints (radius 2, 1,024 bits) by Tanimoto's similarity.
Beside that molecules of which nothing was asked, and pairs of held-out molecules: what two
molecules have in common by chance. A structure that is no valid molecule has the similarity 0.
Writes ``fingerprints_NAME.json``; a run that was stopped continues.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

import ase
import numpy as np
from common import kept_row, save
from quality_any import load_model, model_parser, read_options
from samples import drawn, file_of, kept, made_with, weights_of

from schnetgen_pyg import SamplingConfig, SchNetGen, load
from schnetgen_pyg.chem.fingerprints import BYTES, packed_fingerprint, similarity
from schnetgen_pyg.chem.molecules import known_or_perceived
from schnetgen_pyg.data.conversion import to_ase
from schnetgen_pyg.data.digest import digest
from schnetgen_pyg.evaluation.judging import perceive_all
from schnetgen_pyg.generator.sampling.generate import sample
from schnetgen_pyg.parallel import job_count

FINGERPRINT = "fingerprint"


def fingerprints(structures: Sequence[ase.Atoms], jobs: int | None) -> np.ndarray:
    """Packed fingerprints [num, 128]; zeros of what is no valid molecule, as it is perceived."""
    found = np.zeros((len(structures), BYTES), np.uint8)
    for place, record in enumerate(perceive_all(structures, jobs=job_count(jobs))):
        if not record["failure"] and record.mol is not None:
            found[place] = packed_fingerprint(record.mol)
    return found


def summary(table: np.ndarray) -> dict[str, float]:
    """Figures of similarities [num_targets, each]: over all, and of the best for each target."""
    best = table.max(1)
    return {
        "mean": float(table.mean()),
        "median": float(np.median(table)),
        "above_half": float((table > 0.5).mean()),
        "the_same": float((table == 1).mean()),
        "best_mean": float(best.mean()),
        "best_the_same": float((best == 1).mean()),
    }


def molecules(
    model: SchNetGen,
    targets: Sequence[ase.Atoms],
    asked: bool,
    config: SamplingConfig,
    options: argparse.Namespace,
) -> tuple[list[ase.Atoms], dict[str, Any]]:
    """So many molecules for each target, one target after the other."""
    number = len(targets) * options.each

    def make(first: int) -> Iterator[ase.Atoms]:
        told: dict[str, Any] = {}
        if asked:
            wanted = [known_or_perceived(one).mol for one in targets]
            told["targets"] = {
                FINGERPRINT: [mol for mol in wanted for _ in range(options.each)][first:]
            }
        common: dict[str, Any] = {"seed": options.seed, "config": config, "first": first}
        return sample(model, None, number - first, **common, **told)

    settings = made_with(model, options.seed, config) | {"each": options.each, "asked": asked}
    settings |= {"like": digest(options.data)}
    path = file_of(options.out, "fingerprints", settings)
    return kept(path, number, settings, make)


def measured(
    model: SchNetGen,
    targets: Sequence[ase.Atoms],
    asked: bool,
    config: SamplingConfig,
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Figures of one row."""
    made, told = molecules(model, targets, asked, config, options)
    found = fingerprints(made, options.jobs).reshape(len(targets), options.each, BYTES)
    row = summary(similarity(found, fingerprints(targets, options.jobs)[:, None]))
    row["valid"] = float(found.any(-1).mean())
    return row | {"generation": told["commit"], "seconds_a_molecule": told["seconds_a_molecule"]}


def pairs(targets: Sequence[ase.Atoms], options: argparse.Namespace) -> dict[str, Any]:
    """Figures of as many pairs of different held-out molecules."""
    found = fingerprints(targets, options.jobs)
    shifts = np.random.default_rng(options.seed).permutation(np.arange(1, len(targets)))
    others = [np.roll(found, shift, axis=0) for shift in shifts[: options.each].tolist()]
    return summary(similarity(np.stack(others, 1), found[:, None]))


def main() -> None:
    parser = model_parser(__doc__)
    parser.set_defaults(num=1_000)
    parser.add_argument("--test", required=True, help="held-out molecules")
    parser.add_argument("--each", type=int, default=10, help="molecules like each of them")
    parser.add_argument("--guidance", type=float, nargs="*", default=[1.0, 2.0])
    parser.add_argument("--seed", type=int, default=0)
    options = read_options(parser)

    model = load_model(options)
    data = drawn(load(options.test), options.num, options.seed)
    valid = [known_or_perceived(to_ase(one)).mol is not None for one in data]
    options.data = [one for one, good in zip(data, valid, strict=True) if good]
    targets = [to_ase(one) for one in options.data]
    plain = SamplingConfig(jobs=options.jobs)
    rows: dict[str, tuple[bool, SamplingConfig]] = {"nothing was asked": (False, plain)}
    if FINGERPRINT in model.optional:
        rows["like a molecule"] = (True, plain)
        for weight in options.guidance:
            rows[f"like a molecule, guidance {weight:g}"] = (True, replace(plain, guidance=weight))
    else:
        print("nothing is asked for: the model does not know fingerprints", flush=True)
    record: dict[str, Any] = {"checkpoint": options.name, "training": model.provenance}
    record |= {"targets": len(targets), "each": options.each, "note": options.note}
    record["rows"] = {"pairs of held-out molecules": pairs(targets, options)}
    for name, (asked, config) in rows.items():
        wanted = {"weights": weights_of(model), "each": options.each, "seed": options.seed}
        wanted |= {"data": digest(options.data), "config": asdict(replace(config, jobs=None))}
        row = kept_row(
            options.out / "fingerprints.json",
            name,
            wanted,
            lambda a=asked, c=config: measured(model, targets, a, c, options),
        )
        record["rows"][name] = row
        print(name, {k: v for k, v in row.items() if isinstance(v, float)}, flush=True)
        save(f"fingerprints_{options.name}", record, options.seed, options.results)


if __name__ == "__main__":
    main()
