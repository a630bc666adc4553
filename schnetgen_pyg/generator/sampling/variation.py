"""A molecule varied: a part of it is removed and drawn anew, many times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import ase
import networkx as nx
import numpy as np

from schnetgen_pyg.chem.bonds import bond_pairs
from schnetgen_pyg.chem.formulas import FormulaPattern
from schnetgen_pyg.chem.fragments import Fragment
from schnetgen_pyg.chem.identity import smiles
from schnetgen_pyg.chem.molecules import known_or_perceived, to_rdkit
from schnetgen_pyg.data.conversion import as_data, to_ase
from schnetgen_pyg.data.electrons import electrons
from schnetgen_pyg.errors import require
from schnetgen_pyg.generator.model import SchNetGen
from schnetgen_pyg.generator.sampling.config import SamplingConfig
from schnetgen_pyg.generator.sampling.formulas import Formulas
from schnetgen_pyg.generator.sampling.fragments import learned_fragments
from schnetgen_pyg.generator.sampling.generate import sample
from schnetgen_pyg.generator.sampling.likelihood import log_prob

#: Molecules that are drawn for one removed part at least, where parts are random.
FOR_A_PART = 10


def vary(
    model: SchNetGen,
    molecule: Any,
    removed: int | Sequence[int],
    num_molecules: int = 100,
    *,
    formula: Formulas = None,
    keep_hydrogens: bool | None = None,
    seed: int = 0,
    config: SamplingConfig | None = None,
    progress: Callable[..., Any] | None = None,
    **changes: Any,
) -> list[ase.Atoms]:
    """Remove a part of a molecule and draw it anew: what else could be there?

    Args:
        model: a trained generator.
        molecule: ``Atoms`` or ``Data``, a valid one.
        removed: numbers of atoms, from 0, whose hydrogens go with them; or how many heavy atoms
            random connected parts have, which differ from draw to draw.
        num_molecules: how many are drawn; those that are the same molecule come once.
        formula: of the whole molecules, as in `generate`; by default that of the given one.
        keep_hydrogens: whether hydrogens of what stays are kept, too, or drawn anew; by default
            kept by models that were trained with fragments.
        seed, config, progress, changes: as in `generate`.

    Returns:
        valid molecules, each once, without the given one: in ``info`` how often it was drawn
        (``count``), its ``smiles``, and the log-density of what was drawn given the rest
        (``log_prob``), by which they are ranked among those of the same formula; the most frequent
        formula first. What stays is where it was, to the last bit, and comes first.

    Raises:
        InputError: for a molecule that is not valid, atoms that it does not have, and as
            `generate`.
    """
    config = replace(config or SamplingConfig(), **changes)
    (data,) = as_data(molecule, "molecule")
    atoms = molecule if isinstance(molecule, ase.Atoms) else to_ase(data)
    if formula is None:
        charge = electrons(data, "molecule").charge
        formula = FormulaPattern.of(atoms.numbers.tolist(), charge)
    if keep_hydrogens is None:
        keep_hydrogens = learned_fragments(model)
    fragments = _fragments(atoms, removed, num_molecules, seed, keep_hydrogens)
    drawn = _drawn(model, fragments, formula, seed, config)
    drawn = progress(drawn, total=num_molecules) if progress else drawn
    return _ranked(model, _different(drawn, atoms), config)


def _fragments(
    atoms: ase.Atoms,
    removed: int | Sequence[int],
    num_molecules: int,
    seed: int,
    keep_hydrogens: bool,
) -> list[tuple[Fragment, int]]:
    """What is left of the molecule, and how many are drawn on it."""
    if isinstance(removed, int):
        parts = random_parts(atoms, removed, num_molecules, seed)
    else:
        parts = [tuple(removed)] * num_molecules
    found = []
    for part, number in Counter(parts).items():
        left = Fragment.without(atoms, part)
        found.append((left if keep_hydrogens else left.without_hydrogens(), number))
    return found


def _drawn(
    model: SchNetGen,
    fragments: Sequence[tuple[Fragment, int]],
    formula: Formulas,
    seed: int,
    config: SamplingConfig,
) -> Iterator[ase.Atoms]:
    groups, first = [], 0
    for left, number in fragments:
        own: dict[str, Any] = {"seed": seed, "fragment": left, "config": config, "first": first}
        groups.append(sample(model, formula, number, **own))  # refuses what is wrong
        first += number
    return chain.from_iterable(groups)


def random_parts(atoms: ase.Atoms, size: int, number: int, seed: int) -> list[tuple[int, ...]]:
    """Random connected parts of so many heavy atoms, each `FOR_A_PART` times.

    Raises:
        InputError: if the molecule is not valid or too small.
    """
    mol = to_rdkit(atoms, "molecule")
    heavy = [atom.GetIdx() for atom in mol.GetAtoms() if atom.GetAtomicNum() != 1]
    fits = 1 <= size < len(heavy)
    require(fits, "removed", size, f"1 to {len(heavy) - 1}, as it has {len(heavy)} heavy atoms")
    graph = nx.Graph(bond_pairs(mol).tolist()).subgraph(heavy)
    generator = np.random.default_rng(seed)
    parts: list[tuple[int, ...]] = []
    while len(parts) < number:
        part = [int(generator.choice(heavy))]
        while len(part) < size:
            near = sorted({k for one in part for k in graph[one]} - {*part})
            part.append(int(generator.choice(near)))
        parts += [tuple(sorted(part))] * FOR_A_PART
    return parts[:number]


def _different(drawn: Iterator[ase.Atoms], given: ase.Atoms) -> list[ase.Atoms]:
    """The valid ones, each once, and how often it came."""
    mol = known_or_perceived(given).mol
    own = "" if mol is None else smiles(mol, stereo=True)
    found: dict[str, ase.Atoms] = {}
    for atoms in drawn:
        mol = known_or_perceived(atoms).mol
        if mol is None or (text := smiles(mol, stereo=True)) == own:
            continue
        if text not in found:
            found[text] = atoms
            atoms.info |= {"smiles": text, "count": 0}
        found[text].info["count"] += 1
    return list(found.values())


def _ranked(
    model: SchNetGen, molecules: list[ase.Atoms], config: SamplingConfig
) -> list[ase.Atoms]:
    """The most frequent formula first, in it the most probable."""
    formulas: Counter[str] = Counter()
    for atoms in molecules:
        formulas[atoms.get_chemical_formula()] += atoms.info["count"]
        given, rules = atoms.info["given"], config.valence_rules
        found = log_prob(model, [atoms], placed=given, valence_rules=rules)
        atoms.info["log_prob"] = float(found.value)
    return sorted(
        molecules,
        key=lambda one: (-formulas[one.get_chemical_formula()], -one.info["log_prob"]),
    )
