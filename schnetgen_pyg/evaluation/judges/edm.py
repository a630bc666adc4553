"""EDM's lookup tables: a bond's order follows from its length; an atom is stable whose orders
sum to its valence, a molecule whose atoms all are (Hoogeboom et al., ICML 2022, for QM9's
elements)."""

from __future__ import annotations

from functools import lru_cache

import ase
import ase.data
import numpy as np

from schnetgen_pyg.chem.geometry import collect

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


def stable_atoms(atoms: ase.Atoms) -> np.ndarray | None:
    """Which atoms EDM calls stable [num_atoms], or ``None`` where an element is not in its
    tables."""
    if not set(atoms.numbers.tolist()) <= set(VALENCES):
        return None
    everything = collect([atoms])
    limits = _limits()[:, *everything.numbers[everything.pairs]]
    # A bond has an order only if it has the one below, too.
    order = np.minimum.accumulate(everything.distance < limits, axis=0).sum(0)
    valence = np.zeros(len(atoms), dtype=int)
    for ends in everything.pairs:
        np.add.at(valence, ends, order)
    return np.asarray(valence == [VALENCES[number] for number in atoms.numbers.tolist()])
