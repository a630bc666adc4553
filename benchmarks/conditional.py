"""Conditional QM9: molecules of six properties, one at a time, judged by a network of ours.

    OMP_NUM_THREADS=1 python benchmarks/conditional.py --checkpoint qm9-targets \\
        --judge qm9-judge.safetensors --ranker qm9-properties.safetensors \\
        --judged_on qm9-judge.safetensors --labels qm9-ranker.safetensors \\
        --test qm9-held-out.safetensors

The files are those of `make_targets.py`; judge and ranker are made by `checkpoints.py`, from
``qm9-judge`` and ``qm9-ranker``: one potential for all properties (or one for each). The generator
learned properties of the second half alone, and so did the ranker; the judge learned those of the
first, as in EDM's protocol (Hoogeboom et al., ICML 2022).

Every target is the property of a molecule of the second half, drawn at random, asked for with that
molecule's number of heavy atoms. ``--num`` targets a property; mean absolute errors of what the
judge says of the molecules: of single samples, with every weight of ``--guidance``, and of the best
of ``--candidates`` by the ranker. A molecule is a hit if it is within a tolerance of its target.
Beside that the judge's own error on held-out molecules, and what share of the generated molecules
it was trained on. Writes ``conditional_NAME.json``; a run that was stopped continues.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import ase
import numpy as np
from ase.units import Bohr
from common import kept_row, save
from make_targets import UNITS
from quality_any import load_model, model_parser, read_options
from samples import file_of, kept, made_with, weights_of
from torch_geometric.data import Data

from schnetgen_pyg import Potential, SamplingConfig, SchNetGen, load
from schnetgen_pyg.chem.formulas import FormulaPattern
from schnetgen_pyg.chem.identity import hash_of
from schnetgen_pyg.data.digest import digest
from schnetgen_pyg.data.perceived import stored_hashes
from schnetgen_pyg.data.properties import property_values
from schnetgen_pyg.data.stored import StoredStructures
from schnetgen_pyg.data.units import conversion
from schnetgen_pyg.errors import InputError, require
from schnetgen_pyg.evaluation.judging import perceive_all
from schnetgen_pyg.generator.sampling.candidates import AT_ONCE, Candidates
from schnetgen_pyg.generator.sampling.generate import sample
from schnetgen_pyg.parallel import job_count
from schnetgen_pyg.targets.prediction import predict


@dataclass(frozen=True)
class Quantity:
    """How a property is shown.

    Attributes:
        factor: from the library's unit to ``unit``, which the published tables have.
        tolerance: what counts as a hit, in ``unit``.
    """

    unit: str
    factor: float
    tolerance: float


#: The properties of the published tables, in their order.
QUANTITIES = {
    "mu": Quantity("D", 1.0, 0.2),
    "alpha": Quantity("bohr³", Bohr**-3, 1.0),
    "Cv": Quantity("cal/(mol K)", 1.0, 0.5),
    "homo": Quantity("meV", 1e3, 100.0),
    "lumo": Quantity("meV", 1e3, 100.0),
    "gap": Quantity("meV", 1e3, 100.0),
}
SINGLE = "single samples"


@dataclass(frozen=True)
class Way:
    """How molecules are sampled: with a weight of guidance, as the best of so many candidates."""

    guidance: float = 0.0
    candidates: int = 1

    @property
    def name(self) -> str:
        parts = [f"guidance {self.guidance:g}"] * bool(self.guidance)
        parts += [f"best of {self.candidates}"] * (self.candidates > 1)
        return ", ".join(parts) or SINGLE


@dataclass(frozen=True)
class Targets:
    """What is asked for, those of the fewest heavy atoms first.

    Attributes:
        values: of each molecule, in the library's unit [num].
        heavy: heavy atoms of each [num].
    """

    values: np.ndarray
    heavy: np.ndarray

    @classmethod
    def drawn(cls, values: np.ndarray, heavy: np.ndarray, num: int, seed: int) -> Targets:
        """Of molecules drawn with replacement, so that value and size belong together."""
        chosen = np.random.default_rng(seed).integers(len(values), size=num)
        chosen = chosen[np.argsort(heavy[chosen], kind="stable")]
        return cls(values[chosen], heavy[chosen])

    def groups(self, first: int) -> Iterator[tuple[int, int, int]]:
        """From a number on: heavy atoms, first number and end of each group of as many."""
        for size in np.unique(self.heavy[first:]).tolist():
            begin, end = np.searchsorted(self.heavy, [size, size + 1]).tolist()
            yield size, max(begin, first), end


def molecules(
    model: SchNetGen,
    name: str,
    targets: Targets,
    way: Way,
    options: argparse.Namespace,
    ranker: Any,
) -> tuple[list[ase.Atoms], dict[str, Any]]:
    """Molecules of all targets of a property, and how long they took."""
    config = SamplingConfig(guidance=way.guidance, jobs=options.jobs)
    candidates = Candidates(way.candidates, ranker) if way.candidates > 1 else None

    def make(first: int) -> Iterator[ase.Atoms]:
        for size, begin, end in targets.groups(first):
            yield from sample(
                model,
                FormulaPattern({}, heavy=(size, size), others=True),
                end - begin,
                seed=options.seed,
                targets={name: targets.values[begin:end].tolist()},
                config=config,
                first=begin,
                candidates=candidates,
            )

    asked = {"property": name, "values": targets.values.tolist(), "heavy": targets.heavy.tolist()}
    asked |= {"candidates": candidates.settings if candidates else None}
    settings = made_with(model, options.seed, config) | asked
    path = file_of(options.out, f"conditional_{name}", settings)
    return kept(path, len(targets.values), settings, make)


def judge_of(name: str, models: Sequence[Potential]) -> Potential:
    """The first of several property models that predicts a property."""
    for model in models:
        if name in model.targets:
            return model
    raise InputError(f"none of the property models predicts {name}; train one on it")


def predicted(model: Potential, name: str, structures: Sequence[Any]) -> np.ndarray:
    """A property of structures by a model [num], in the unit of the data (`UNITS`)."""
    factor = conversion(model.targets[name].unit, UNITS[name])
    require(factor is not None, "unit", model.targets[name].unit, f"one that {UNITS[name]} is of")
    found = [float(data[name]) for data in predict(model, structures, AT_ONCE)]
    return float(factor or 1.0) * np.array(found)


def errors_of(
    found: np.ndarray, wanted: np.ndarray, known: np.ndarray, quantity: Quantity
) -> dict[str, float]:
    """Errors in the unit that is shown.

    Args:
        found, wanted: in the library's unit [num].
        known: which molecules the judge was trained on [num].
    """
    error = np.abs(found - wanted) * quantity.factor
    row = {"mae": float(error.mean()), "hits": float((error <= quantity.tolerance).mean())}
    row["known_to_judge"] = float(known.mean())
    if not known.all():
        row["mae_unknown"] = float(error[~known].mean())
    return row


def measured(
    model: SchNetGen,
    name: str,
    targets: Targets,
    way: Way,
    options: argparse.Namespace,
    models: dict[str, Any],
) -> dict[str, Any]:
    """Figures of one property and way."""
    ranker = judge_of(name, models["rankers"]) if way.candidates > 1 else None
    made, told = molecules(model, name, targets, way, options, ranker)
    records = perceive_all(made, jobs=job_count(options.jobs))
    valid = np.array([not record["failure"] for record in records])
    hashes = [0 if record["failure"] else hash_of(record["smiles"]) for record in records]
    known = np.isin(np.array(hashes, dtype=np.uint64), models["judged_on"])
    judge = judge_of(name, models["judges"])
    row = errors_of(predicted(judge, name, made), targets.values, known, QUANTITIES[name])
    row["valid"] = float(valid.mean())
    return row | {"generation": told["commit"], "seconds_a_molecule": told["seconds_a_molecule"]}


def floor(name: str, models: dict[str, Any], test: Sequence[Data]) -> dict[str, float]:
    """Errors of judge and ranker on held-out molecules, and the spread of the property there: what
    molecules would miss that know nothing of their target."""
    wanted, factor = property_values(test, [name])[name].numpy(), QUANTITIES[name].factor
    row = {}
    for kind in ("judges", "rankers"):
        found = predicted(judge_of(name, models[kind]), name, test)
        row[kind.removesuffix("s")] = float(np.abs(found - wanted).mean() * factor)
    shuffled = np.random.default_rng(0).permutation(wanted)
    return row | {"shuffled": float(np.abs(wanted - shuffled).mean() * factor)}


def property_models(paths: Sequence[str]) -> list[Potential]:
    return [Potential.from_pretrained(path).eval() for path in paths]


def main() -> None:
    parser = model_parser(__doc__)
    parser.add_argument("--judge", nargs="+", required=True, help="property models that judge")
    parser.add_argument("--ranker", nargs="+", required=True, help="those that rank candidates")
    parser.add_argument("--judged_on", required=True, help="structures the judge was trained on")
    parser.add_argument("--labels", required=True, help="structures whose properties are asked for")
    parser.add_argument("--test", required=True, help="held-out molecules with properties")
    parser.add_argument("--properties", nargs="+", default=[*QUANTITIES], choices=[*QUANTITIES])
    parser.add_argument("--guidance", nargs="*", type=float, default=[0.5, 1.0, 2.0])
    parser.add_argument("--candidates", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    options = read_options(parser)

    model = load_model(options)
    judged_on = StoredStructures(options.judged_on)
    models: dict[str, Any] = {
        "judges": property_models(options.judge),
        "rankers": property_models(options.ranker),
        "judged_on": stored_hashes(judged_on, "smiles"),
    }
    labels, test = StoredStructures(options.labels), load(options.test)
    known = property_values(labels, options.properties)
    heavy = np.array([int((data.z != 1).sum()) for data in labels.only("z")])
    ways = [Way(), *(Way(guidance=weight) for weight in options.guidance)]
    ways.append(Way(candidates=options.candidates))
    asked = {"weights": weights_of(model), "num": options.num, "seed": options.seed}
    asked |= {kind: [*map(weights_of, models[kind])] for kind in ("judges", "rankers")}
    asked |= {"labels": digest(labels), "judged_on": digest(judged_on)}
    record: dict[str, Any] = {"checkpoint": options.name, "num": options.num, "rows": {}}
    record |= {"training": model.provenance, "note": options.note}
    record["quantities"] = {name: asdict(QUANTITIES[name]) for name in options.properties}
    record["floor"] = {name: floor(name, models, list(test)) for name in options.properties}
    path = options.out / "conditional.json"
    for name in options.properties:
        targets = Targets.drawn(known[name].numpy(), heavy, options.num, options.seed)
        for way in ways:
            wanted = asked | {"property": name, "way": asdict(way)}
            row = kept_row(
                path,
                f"{name}, {way.name}",
                wanted,
                lambda n=name, t=targets, w=way: measured(model, n, t, w, options, models),
            )
            record["rows"].setdefault(way.name, {})[name] = row
            print(
                name, way.name, {k: v for k, v in row.items() if isinstance(v, float)}, flush=True
            )
            save(f"conditional_{options.name}", record, options.seed, options.results)


if __name__ == "__main__":
    main()
