"""EDM's lookup tables: a bond's order follows from its length; an atom is stable whose orders
sum to its valence, a molecule whose atoms all are (Hoogeboom et al., ICML 2022, for QM9's
elements)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import ase
import ase.data
import numpy as np

from schnetgen_pyg.chem.electrons import stated
from schnetgen_pyg.chem.geometry import collect
from schnetgen_pyg.chem.perception import Perception
from schnetgen_pyg.evaluation.judges.base import (
    Entry,
    Judge,
    Record,
    count_unfinished,
    finished,
)

#: Mean lengths (pm) of single, double and triple bonds: wiredchemist.com, "Common Bond Energies and
#: Bond Lengths", as they are in EDM's lookup tables.
BOND_LENGTHS = {
    1: {
        **{"H-H": 74, "C-H": 109, "H-N": 101, "H-O": 96, "F-H": 92},
        **{"C-C": 154, "C-N": 147, "C-O": 143, "C-F": 135},
        **{"N-N": 145, "N-O": 140, "F-N": 136, "O-O": 148, "F-O": 142, "F-F": 142},
    },
    2: {"C-C": 134, "C-N": 129, "C-O": 120, "N-N": 125, "N-O": 121, "O-O": 121},
    3: {"C-C": 120, "C-N": 116, "C-O": 113, "N-N": 110},
}


#: A bond of an order may be longer by this (pm); EDM chose it so that QM9's molecules are stable.
MARGINS = {1: 10, 2: 5, 3: 3}


#: Usual valences of the elements.
VALENCES = {1: 1, 6: 4, 7: 3, 8: 2, 9: 1}


@lru_cache(maxsize=1)
def _limits() -> np.ndarray:
    """Bonds of order k + 1 are shorter than ``limits[k, z1, z2]`` (Å)."""
    limits = np.zeros((3, 10, 10))
    for order, table in BOND_LENGTHS.items():
        for pair, length in table.items():
            first, second = (ase.data.atomic_numbers[symbol] for symbol in pair.split("-"))
            limit = (length + MARGINS[order]) / 100
            limits[order - 1, first, second] = limits[order - 1, second, first] = limit
    return limits


def bond_orders(atoms: ase.Atoms) -> tuple[np.ndarray, np.ndarray] | None:
    """Pairs of atoms [2, num_pairs] and the order of the bond between them [num_pairs], 0 for none,
    or ``None`` where an element is not in the tables."""
    if not set(atoms.numbers.tolist()) <= set(VALENCES):
        return None
    everything = collect([atoms])
    limits = _limits()[:, *everything.numbers[everything.pairs]]
    # A bond has an order only if it has the one below, too.
    order = np.minimum.accumulate(everything.distance < limits, axis=0).sum(0)
    return everything.pairs, order


def stable_atoms(atoms: ase.Atoms) -> np.ndarray | None:
    """Which atoms EDM calls stable [num_atoms], or ``None`` where an element is not in its
    tables."""
    found = bond_orders(atoms)
    if found is None:
        return None
    pairs, order = found
    valence = np.zeros(len(atoms), dtype=int)
    for ends in pairs:
        np.add.at(valence, ends, order)
    return np.asarray(valence == [VALENCES[number] for number in atoms.numbers.tolist()])


def judge(atoms: ase.Atoms, _: Perception) -> Entry | None:
    """``stable_atoms`` of ``num_atoms``; nothing where an element is not in the tables, which are
    those of neutral closed-shell molecules."""
    stable = None if stated(atoms) else stable_atoms(atoms)
    return None if stable is None else {"stable_atoms": int(stable.sum()), "num_atoms": len(atoms)}


def rows(records: Sequence[Record]) -> dict[str, float]:
    """Shares of stable atoms and molecules; what was not finished is not stable, what has other
    elements, a charge or unpaired electrons is not counted."""
    entries = list(finished(records, EDM.name))
    if not entries:
        return {}
    stable = sum(entry["stable_atoms"] == entry["num_atoms"] for entry in entries)
    atoms = sum(entry["num_atoms"] for entry in entries)
    count = len(entries) + count_unfinished(records, EDM.name)
    return {
        "EDM: stable atoms (%)": 100 * sum(entry["stable_atoms"] for entry in entries) / atoms,
        "EDM: stable molecules (%)": 100 * stable / count,
    }


EDM = Judge(
    name="edm",
    title="EDM",
    judge=judge,
    rows=rows,
    verdict=lambda entry: f"{entry['stable_atoms']} of {entry['num_atoms']} atoms stable",
    accepts=lambda entry: bool(entry["stable_atoms"] == entry["num_atoms"]),
    about="Bond orders by lookup tables of lengths; an atom is stable if they sum to its valence, "
    "a molecule if all its atoms are. An error of a few hundredths of an Å can fail it.",
)
