"""Distributions of molecules of any composition against those of held-out molecules.

    python benchmarks/distributions_any.py --checkpoint qm9 --train train.extxyz.gz \\
        --test test.extxyz.gz

Compares ``--num`` structures of a seed, and as many training molecules (the floor: what two samples
of the same data differ by), with held-out molecules: formulas, sizes, elements, rings, functional
groups (RDKit's ``Fragments``), bond lengths, angles and torsions by their elements, neighbours of
atoms. Beside that how far the model's p(Z) and the histogram of its training formulas are from the
held-out formulas. Writes ``distributions_NAME.json``; the structures are those of `quality_any.py`
where these are there.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import ase
from common import kept_row, save
from compositions import compared, elements, sizes
from quality import file_name
from quality_any import USUAL, load_model, model_parser, read_options, settings
from rdkit import Chem, rdBase
from rdkit.Chem import Fragments
from samples import drawn, structures, weights_of
from tqdm import tqdm

from schnetgen_pyg import SchNetGen, load
from schnetgen_pyg.chem.elements import hill_formula
from schnetgen_pyg.data.conversion import to_ase
from schnetgen_pyg.data.digest import digest
from schnetgen_pyg.evaluation.distributions import (
    QUANTITIES,
    Distributions,
    compare,
    measure,
    variation,
)
from schnetgen_pyg.evaluation.judging import perceive_all
from schnetgen_pyg.parallel import job_count

#: RDKit's counts of functional groups, by their names there without ``fr_``.
GROUPS = {
    name.removeprefix("fr_"): count
    for name, count in vars(Fragments).items()
    if name.startswith("fr_")
}


#: Kinds of elements of each quantity that the table names: the most frequent ones.
KINDS = 5


@dataclass(frozen=True)
class Sample:
    """What is known of a set of structures: of all their formulas, of the valid ones the rest."""

    formulas: Counter[str]
    geometry: Distributions
    ring_numbers: Counter[int]
    groups: dict[str, float]

    @classmethod
    def of(cls, structures: Sequence[ase.Atoms], jobs: int | None) -> Sample:
        records = perceive_all(structures, jobs=job_count(jobs), progress=tqdm)
        valid = [k for k, record in enumerate(records) if not record["failure"]]
        rings = [records[k]["rings"] for k in valid]
        return cls(
            Counter(hill_formula(atoms.numbers) for atoms in structures),
            measure([structures[k] for k in valid], rings),
            Counter(len(text.split()) for text in rings),
            groups_of([records[k]["smiles"] for k in valid]),
        )


def groups_of(texts: Sequence[str]) -> dict[str, float]:
    """Shares of the molecules that have each functional group; of those that any has."""
    found: Counter[str] = Counter()
    with rdBase.BlockLogs():
        for text in texts:
            mol = Chem.MolFromSmiles(text)
            found.update(name for name, count in GROUPS.items() if count(mol))
    return {name: found[name] / len(texts) for name in sorted(found)}


def distances(sample: Sample, reference: Sample) -> dict[str, Any]:
    """How far a sample is from the reference: total variations, and Wasserstein distances of
    geometries by their elements."""
    geometry = compare(sample.geometry, reference.geometry)
    pairs = {
        "formulas": (sample.formulas, reference.formulas),
        "sizes": (sizes(sample.formulas), sizes(reference.formulas)),
        "elements": (elements(sample.formulas), elements(reference.formulas)),
        "numbers of rings": (sample.ring_numbers, reference.ring_numbers),
        "functional groups": (sample.groups, reference.groups),
    }
    result: dict[str, Any] = {name: variation(*pair) for name, pair in pairs.items()}
    result["sizes of rings"] = geometry["rings"]
    result["neighbours of atoms"] = geometry["environments"]
    return result | {name: geometry[name] for name in QUANTITIES}


def frequent(geometry: Distributions) -> dict[str, list[str]]:
    """Of each quantity the kinds of elements that it has most values of."""
    return {
        name: sorted(kinds, key=lambda kind: -len(kinds[kind]))[:KINDS]
        for name, kinds in geometry.values.items()
    }


def measured(model: SchNetGen, options: argparse.Namespace, sets: dict[str, Any]) -> dict[str, Any]:
    config = settings(model, options.jobs)[USUAL]
    path = options.out / file_name(config, options.seed)
    made, _ = structures(model, options.num, path, options.seed, config, formula=None)
    reference = Sample.of([to_ase(data) for data in sets["test"]], options.jobs)
    samples = {
        "generated": Sample.of(made, options.jobs),
        "training molecules": Sample.of([to_ase(data) for data in sets["train"]], options.jobs),
    }
    seen = {} if model.training_set is None else model.training_set.formulas
    composition: dict[str, Any] = {}
    if seen:
        composition = compared(model.composition, seen, reference.formulas, options.seed)
    everyone = samples | {"held-out molecules": reference}
    return {
        "distances": {name: distances(sample, reference) for name, sample in samples.items()},
        "groups": {name: sample.groups for name, sample in everyone.items()},
        "kinds": frequent(reference.geometry),
        "composition": composition,
        "different_formulas": {
            "held-out molecules": len(reference.formulas),
            "training": len(seen),
        },
    }


def main() -> None:
    parser = model_parser(__doc__)
    parser.add_argument("--train", required=True)
    parser.add_argument("--test", required=True, help="held-out molecules")
    parser.add_argument("--seed", type=int, default=0)
    options = read_options(parser)

    model = load_model(options)
    sets = {
        name: drawn(load(getattr(options, name)), options.num, options.seed)
        for name in ("train", "test")
    }
    config = settings(model, options.jobs)[USUAL]
    asked = {"weights": weights_of(model), "structures": options.num, "seed": options.seed}
    asked |= {"config": asdict(replace(config, jobs=None))}
    asked |= {"sets": {name: digest(data) for name, data in sets.items()}}
    row = kept_row(
        options.out / "distributions.json",
        "distributions",
        asked,
        lambda: measured(model, options, sets),
    )
    record = {"checkpoint": options.name, "structures": options.num, "note": options.note}
    record |= {"molecules": {name: len(data) for name, data in sets.items()}, "row": row}
    save(f"distributions_{options.name}", record, options.seed, options.results)


if __name__ == "__main__":
    main()
