"""cG-SchNet's experiment: isomers of C7H10O2, of which the training had none, with low energies.

    OMP_NUM_THREADS=1 python benchmarks/unseen_formula.py --checkpoint qm9-targets

Asks for molecules of a formula that the model has never seen, at a relative energy of −0.1 eV per
atom (Gebauer et al., Nat. Commun. 13, 973, 2022), and without that target; counts the different
valid isomers (SMILES without stereochemistry) in 10,000 and in ``--num`` samples, and relaxes a
sample of ``--relaxed`` different ones with GFN2-xTB: how many keep their constitution. Writes
``unseen_formula_NAME.json``; a run that was stopped continues.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Mapping, Sequence
from typing import Any

import ase
from common import kept_row, save
from quality_any import load_model, model_parser, read_options
from samples import FORMULA, structures, weights_of
from strain import METHOD, strain_of

from schnetgen_pyg import SamplingConfig, SchNetGen
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.evaluation.judging import perceive_all
from schnetgen_pyg.parallel import job_count

#: What molecules are asked for, of what `make_targets.py` has: eV per atom.
TARGETS = {"relative_energy": -0.1}
#: The first so many samples are counted for themselves.
FEWER = 10_000


def require_unseen(model: SchNetGen, formula: str) -> None:
    """Refuse a model that has seen the formula.

    Raises:
        InputError: if it has, or does not say what it has seen.
    """
    if model.training_set is None:
        raise InputError(f"{model.name}: does not say what it was trained on")
    if number := model.training_set.formulas.get(formula):
        raise InputError(
            f"{model.name}: was trained on {number} molecules {formula}; take one that was not, or "
            "ask for another formula (--formula)"
        )


def different(texts: Sequence[str]) -> dict[str, int]:
    """Where each text that is not empty comes first, in that order."""
    first: dict[str, int] = {}
    for place, text in enumerate(texts):
        if text:
            first.setdefault(text, place)
    return first


def sampled(
    model: SchNetGen, targets: Mapping[str, float], options: argparse.Namespace
) -> tuple[list[ase.Atoms], dict[str, Any]]:
    """All samples of a row, and the seconds of the first `FEWER` and of all."""
    config = SamplingConfig(jobs=options.jobs)
    name = "_".join(["unseen", options.formula, str(options.seed), *targets])
    path, seconds = options.out / f"{name}.extxyz", {}
    for num in sorted({min(FEWER, options.num), options.num}):
        made, told = structures(
            model, num, path, options.seed, config, options.formula, targets or None
        )
        seconds[str(num)] = told["seconds"]
    return made, {"seconds": seconds, "commit": told["commit"]}


def measured(
    model: SchNetGen, targets: Mapping[str, float], options: argparse.Namespace
) -> dict[str, Any]:
    """Figures of one row."""
    made, told = sampled(model, targets, options)
    records = perceive_all(made, jobs=job_count(options.jobs))
    row: dict[str, Any] = {"generation": told, "counts": {}}
    for num in map(int, told["seconds"]):
        texts = ["" if one["failure"] else one["smiles"] for one in records[:num]]
        stereo = {one["stereo_smiles"] for one in records[:num] if not one["failure"]}
        first = different(texts)
        row["counts"][str(num)] = {
            "valid": sum(map(bool, texts)),
            "different": len(first),
            "different_stereoisomers": len(stereo),
        }
    chosen = random.Random(options.seed).sample([*first.values()], min(options.relaxed, len(first)))
    if chosen:
        row["strain"] = strain_of([made[k] for k in sorted(chosen)], options.out, options.jobs)
    return row


def main() -> None:
    parser = model_parser(__doc__)
    parser.set_defaults(num=100_000)
    parser.add_argument("--formula", default=FORMULA)
    parser.add_argument("--relaxed", type=int, default=300, help="with GFN2-xTB")
    parser.add_argument("--seed", type=int, default=0)
    options = read_options(parser)

    model = load_model(options)
    require_unseen(model, options.formula)
    ways: dict[str, Mapping[str, float]] = {"no target": {}}
    if unknown := sorted(TARGETS.keys() - model.optional.keys()):
        print(f"no target is asked for: the model does not know {', '.join(unknown)}", flush=True)
    else:
        ways["−0.1 eV per atom"] = TARGETS
    record: dict[str, Any] = {"checkpoint": options.name, "training": model.provenance}
    record |= {"formula": options.formula, "num": options.num, "method": METHOD}
    record |= {"note": options.note, "rows": {}}
    for name, targets in ways.items():
        asked = {"weights": weights_of(model), "num": options.num, "seed": options.seed}
        asked |= {"formula": options.formula, "relaxed": options.relaxed, "targets": dict(targets)}
        row = kept_row(
            options.out / "unseen_formula.json",
            name,
            asked,
            lambda t=targets: measured(model, t, options),
        )
        record["rows"][name] = row
        print(name, row["counts"], flush=True)
        save(f"unseen_formula_{options.name}", record, options.seed, options.results)


if __name__ == "__main__":
    main()
