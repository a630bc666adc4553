"""Molecules completed from scaffolds and joined from pairs of fragments of held-out molecules.

    OMP_NUM_THREADS=1 python benchmarks/completions.py --checkpoint qm9 --test test.extxyz.gz \\
        --train train.safetensors

**Scaffolds**: the Murcko scaffolds (Bemis, Murcko, J. Med. Chem. 39, 2887, 1996) of ``--num``
held-out molecules, where these have them, with bond orders and without hydrogens: every atom that
lacks a bond may grow. ``--draws`` completions of any size each. Known completions that are found
are counted in the first tenth of the draws and in all of them; beside that what drawing the sets of
side chains as often as training molecules have them would find, wherever on the scaffold they are.

**Linkers**: held-out molecules that a connected part of one to four heavy atoms holds together; the
part is cut out, both rests stay where they are, and as many heavy atoms are asked for. A tenth as
many draws. Strain by GFN2-xTB of ``--relaxed`` of what was made, and of the molecules themselves.

A completion counts as valid by perception from its positions, as everywhere; the fragment as kept
where its atoms have not moved by a bit and perception finds the bond orders that it had (or an
aromatic ring). Writes ``completions_NAME.json``; a run that was stopped continues. ``--pictures
FOLDER`` draws completions of four scaffolds.
"""

from __future__ import annotations

import argparse
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import ase
import numpy as np
from common import kept_row, save
from fragment_tasks import Task, linker_task, pattern_of, scaffold_of, scaffold_task, side_chains
from quality_any import load_model, model_parser, read_options
from rdkit import Chem
from samples import drawn, file_of, kept, made_with, weights_of
from strain import METHOD, strain_of
from torch_geometric.data import Data
from tqdm import tqdm

from schnetgen_pyg import SamplingConfig, SchNetGen, evaluate, generate, load
from schnetgen_pyg.chem.fragments import Fragment
from schnetgen_pyg.chem.molecules import known_or_perceived
from schnetgen_pyg.data.conversion import to_ase
from schnetgen_pyg.data.digest import digest
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.evaluation.judges import Record
from schnetgen_pyg.evaluation.judging import perceive_all
from schnetgen_pyg.generator.sampling.generate import sample
from schnetgen_pyg.parallel import job_count
from schnetgen_pyg.report.pictures import draw_molecules, valid_molecules

#: Scaffolds of the pictures, the last of many drugs (erlotinib, gefitinib).
PICTURES = {
    "benzene": "c1ccccc1",
    "thiophene": "c1ccsc1",
    "triazole": "c1nc[nH]n1",
    "quinazoline": "c1ccc2ncncc2c1",
}
#: Training molecules whose side chains are counted.
COUNTED = 20_000


def usable(model: SchNetGen, tasks: Sequence[Task]) -> tuple[list[Task], list[str]]:
    """Those that the model takes, and why it refuses the others."""
    good, refused = [], []
    for task in tasks:
        try:
            sample(model, pattern_of(task), 1, fragment=task.fragment)  # checks, builds nothing
            good.append(task)
        except InputError as error:
            refused.append(f"{task.known}: {error}")
    return good, refused


def completed(
    model: SchNetGen, tasks: Sequence[Task], draws: int, name: str, options: argparse.Namespace
) -> tuple[list[ase.Atoms], dict[str, Any]]:
    """So many molecules of each task, one task after the other, with ``info["unmoved"]``."""
    config = SamplingConfig(jobs=options.jobs)

    def make(first: int) -> Iterator[ase.Atoms]:
        for number in range(first // draws, len(tasks)):
            task, begin = tasks[number], first % draws if number == first // draws else 0
            common: dict[str, Any] = {"config": config, "fragment": task.fragment}
            made = sample(
                model,
                pattern_of(task),
                draws - begin,
                seed=options.seed,
                first=number * draws + begin,
                **common,
            )
            for atoms in made:
                atoms.info["unmoved"] = unmoved(atoms, task.fragment)
                yield atoms

    settings = made_with(model, options.seed, config) | {"draws": draws}
    settings["tasks"] = [[task.known, len(task.fragment)] for task in tasks]
    return kept(file_of(options.out, name, settings), draws * len(tasks), settings, make)


def unmoved(atoms: ase.Atoms, fragment: Fragment) -> bool:
    """Whether the first atoms of a molecule are a fragment's, where they were to the last bit."""
    number = len(fragment)
    same = np.array_equal(atoms.positions[:number], fragment.positions)
    return same and np.array_equal(atoms.numbers[:number], fragment.numbers)


def orders_kept(mol: Chem.Mol, fragment: Fragment) -> bool:
    """Whether a molecule that begins with a fragment has its bond orders there, or an aromatic
    ring, which has no other ones."""
    plain = Chem.RWMol(mol)
    Chem.Kekulize(plain, clearAromaticFlags=True)
    for (one, other), order in zip(fragment.bonds.tolist(), fragment.orders.tolist(), strict=True):
        bond = plain.GetBondBetweenAtoms(one, other)
        if bond is None:
            return False
        aromatic = mol.GetBondBetweenAtoms(one, other).GetIsAromatic()
        if round(bond.GetBondTypeAsDouble()) != order and not aromatic:
            return False
    return True


def judged(task: Task, molecules: Sequence[ase.Atoms], records: Sequence[Record]) -> dict[str, Any]:
    """What became of one task: how many are valid, different among these, with the fragment
    unmoved, and with its bond orders; and in which draw, from 1, the known molecule first came."""
    texts = ["" if record["failure"] else record["smiles"] for record in records]
    mols = [record.mol for record, text in zip(records, texts, strict=True) if text]
    return {
        "known": task.known,
        "valid": len(mols),
        "unique": len({*texts} - {""}),
        "unmoved": sum(bool(atoms.info["unmoved"]) for atoms in molecules),
        "orders_kept": sum(mol is not None and orders_kept(mol, task.fragment) for mol in mols),
        "found_at": texts.index(task.known) + 1 if task.known in texts else None,
    }


def recovery(found_at: Sequence[int | None], draws: int) -> float:
    """Share of the tasks whose known molecule came within so many draws."""
    return sum(at is not None and at <= draws for at in found_at) / len(found_at)


def by_frequency(frequencies: Sequence[float], draws: int) -> float:
    """The same where every draw finds it with the probability that is its frequency."""
    return float(np.mean(1 - (1 - np.array(frequencies)) ** draws))


def chain_frequencies(structures: Sequence[Data], seed: int) -> Counter[tuple[str, ...]]:
    """How often training molecules with scaffolds have each set of side chains."""
    found: Counter[tuple[str, ...]] = Counter()
    for data in tqdm(drawn(structures, COUNTED, seed), desc="side chains"):
        mol = known_or_perceived(to_ase(data)).mol
        if mol is not None and (core := scaffold_of(mol)):
            found[side_chains(mol, core)] += 1
    return found


def together(rows: Sequence[dict[str, Any]], draws: int) -> dict[str, Any]:
    """Shares over all draws of all tasks: valid ones, with the fragment unmoved; of the valid ones
    those that differ from the others of their task, and those with its bond orders; recoveries."""
    valid, of_all = sum(row["valid"] for row in rows), draws * len(rows)
    shares = {"valid": of_all, "unmoved": of_all, "unique": valid, "orders_kept": valid}
    found = {
        name: sum(row[name] for row in rows) / max(number, 1) for name, number in shares.items()
    }
    for number in sorted({max(1, draws // 10), draws}):
        found[f"found_in_{number}"] = recovery([row["found_at"] for row in rows], number)
    return found | {"tasks": len(rows), "draws": draws, "each": list(rows)}


def measured(
    model: SchNetGen, tasks: Sequence[Task], draws: int, name: str, options: argparse.Namespace
) -> tuple[dict[str, Any], list[ase.Atoms]]:
    """Figures of some tasks, and a valid molecule of each that has one."""
    good, refused = usable(model, tasks)
    if not good:
        raise InputError(f"the model refuses all {len(tasks)} fragments: {refused[0]}")
    molecules, told = completed(model, good, draws, name, options)
    rows, some = [], []
    for number, task in enumerate(good):
        mine = molecules[number * draws : (number + 1) * draws]
        records = perceive_all(mine, jobs=job_count(options.jobs))
        rows.append(judged(task, mine, records))
        some += [a for a, r in zip(mine, records, strict=True) if not r["failure"]][:1]
    row = together(rows, draws) | {"refused": refused, "generation": told["commit"]}
    return row | {"seconds_a_molecule": told["seconds_a_molecule"]}, some


def scaffolds(
    model: SchNetGen, real: Sequence[ase.Atoms], train: Sequence[Data], options: argparse.Namespace
) -> dict[str, Any]:
    """Figures of scaffolds, beside what drawing by frequency would find."""
    tasks = [task for atoms in real if (task := scaffold_task(atoms))]
    row, _ = measured(model, tasks, options.draws, "scaffolds", options)
    counts = chain_frequencies(train, options.seed)
    chains = {task.known: task.chains for task in tasks}
    share = [counts[chains[one["known"]]] / max(1, counts.total()) for one in row["each"]]
    row["frequency"] = {str(n): by_frequency(share, n) for n in found_in(row)}
    return row | {"median_frequency": float(np.median(share))}


def found_in(row: dict[str, Any]) -> list[int]:
    """Numbers of draws that recoveries are given for."""
    return [int(key.removeprefix("found_in_")) for key in row if key.startswith("found_in_")]


def joined(
    model: SchNetGen, real: Sequence[ase.Atoms], options: argparse.Namespace
) -> dict[str, Any]:
    """Figures of linkers, with their strain beside that of the molecules that they are from."""
    pairs = [
        (task, atoms)
        for number, atoms in enumerate(real)
        if (task := linker_task(atoms, (options.seed, number)))
    ]
    tasks, draws = [task for task, _ in pairs], max(1, options.draws // 10)
    row, made = measured(model, tasks, draws, "linkers", options)
    whole = [atoms for _, atoms in pairs]
    for name, some in {"strain": made, "strain_real": whole}.items():
        if some and options.relaxed:
            row[name] = strain_of(some[: options.relaxed], options.out, options.jobs)
    return row


def draw_pictures(model: SchNetGen, folder: Path, seed: int) -> None:
    """A picture of completions of each scaffold that the model takes."""
    for name, text in PICTURES.items():
        try:
            made = generate(model, fragment=text, num_molecules=60, seed=seed)
        except InputError as error:
            print(f"no picture of {name}: {error}")
            continue
        mols = valid_molecules(made, evaluate(made, model=model, judges=(), jobs=1))
        folder.mkdir(parents=True, exist_ok=True)
        draw_molecules(folder / f"completions_{name}.png", list(islice(mols, 12)))
        print(f"wrote {folder / f'completions_{name}.png'}")


def main() -> None:
    parser = model_parser(__doc__)
    parser.set_defaults(num=100)
    parser.add_argument("--test", required=True, help="held-out molecules")
    parser.add_argument("--train", required=True, help="training molecules, for frequencies")
    parser.add_argument("--draws", type=int, default=1_000)
    parser.add_argument("--relaxed", type=int, default=100, help="with GFN2-xTB")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", type=Path, help="folder for pictures, such as docs/pictures")
    options = read_options(parser)

    model = load_model(options)
    data = drawn(load(options.test), options.num, options.seed)
    train = load(options.train)
    real = [to_ase(one) for one in data]
    asked = {"weights": weights_of(model), "draws": options.draws, "seed": options.seed}
    asked |= {"data": digest(data), "train": digest(train)}
    record: dict[str, Any] = {"checkpoint": options.name, "training": model.provenance}
    record |= {"molecules": len(data), "method": METHOD, "note": options.note, "rows": {}}
    parts = {
        "scaffolds": (asked, lambda: scaffolds(model, real, train, options)),
        "linkers": (asked | {"relaxed": options.relaxed}, lambda: joined(model, real, options)),
    }
    for name, (wanted, measure) in parts.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of formulas that were never seen
            row = kept_row(options.out / "completions.json", name, wanted, measure)
        record["rows"][name] = row
        print(name, {k: v for k, v in row.items() if isinstance(v, (int, float))}, flush=True)
        save(f"completions_{options.name}", record, options.seed, options.results)
    if options.pictures:
        draw_pictures(model, options.pictures, options.seed)


if __name__ == "__main__":
    main()
