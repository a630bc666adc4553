"""Distributions of geometries and rings, and how far two sets of structures are apart.

Lengths and distances in Å, angles in degrees. A distance between two distributions is the
Wasserstein distance (in the quantity's unit), between shares of kinds the total variation (0 to 1).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ase
import ase.data
import numpy as np
from scipy.stats import wasserstein_distance

from schnetgen_pyg.chem.geometry import (
    Floats,
    Integers,
    angle_values,
    angles,
    collect,
    torsion_values,
    torsions,
)
from schnetgen_pyg.chem.geometry import lengths as bond_lengths

#: What is measured, with its unit.
QUANTITIES = {"bonds": "Å", "angles": "°", "torsions": "°", "pairs": "Å"}


#: Most structures that are measured; of more, evenly spaced ones.
MAX_STRUCTURES = 50_000

#: Most values of one kind that are compared; of more, evenly spaced ones.
MAX_VALUES = 200_000


@dataclass(frozen=True)
class Distributions:
    """Of a set of structures.

    Attributes:
        values: by quantity (`QUANTITIES`) and element types, such as ``C-C-O``, all values.
            Torsions are from 0° (ends on the same side) to 180°; ``pairs`` are all interatomic
            distances, of which radial distribution functions are made.
        environments: numbers of atoms with their bonded neighbours, such as ``C(CHHO)``.
        rings: numbers of rings by their size, of the smallest set of rings.
        structures: how many.
    """

    values: dict[str, dict[str, Floats]]
    environments: dict[str, int]
    rings: dict[int, int]
    structures: int

    def rdf(self, pair: str, largest: float = 8.0, bins: int = 200) -> tuple[Floats, Floats]:
        """Radial distribution function of two elements (``"C-O"``): distances and the mean number
        of pairs per structure and Å, divided by 4πr²."""
        counts, edges = np.histogram(
            self.values["pairs"].get(pair, np.empty(0)), bins, (0.0, largest)
        )
        middle = (edges[1:] + edges[:-1]) / 2
        shell = 4 * np.pi * middle**2 * (largest / bins) * max(self.structures, 1)
        return middle, counts / shell


def _by_kind(numbers: Integers, atoms: Integers, values: Floats) -> dict[str, Floats]:
    """Values by the element symbols of their atoms, read in the direction that comes first."""
    if not values.size:
        return {}
    kinds = np.array([numbers[row] for row in atoms])
    powers = 128 ** np.arange(len(atoms))
    key = np.minimum(powers @ kinds, powers[::-1] @ kinds)
    order = np.argsort(key, kind="stable")
    found, starts = np.unique(key[order], return_index=True)
    result = {}
    for code, part in zip(found.tolist(), np.split(values[order], starts[1:]), strict=True):
        symbols = [ase.data.chemical_symbols[code // power % 128] for power in powers.tolist()]
        result[min("-".join(symbols), "-".join(symbols[::-1]))] = part
    return result


def measure(structures: Sequence[ase.Atoms], rings: Sequence[str] = ()) -> Distributions:
    """Distributions of a set of structures; of more than `MAX_STRUCTURES`, of so many of them.

    Args:
        structures: whose bonds are those of `schnetgen_pyg.chem.bonds`.
        rings: sizes of the rings of each, as in the records of `schnetgen_pyg.evaluation.judges`.
    """
    step = -(-len(structures) // MAX_STRUCTURES) or 1
    structures, rings = [structures[k] for k in range(0, len(structures), step)], rings[::step]
    everything = collect(structures)
    z, pos, count = everything.numbers, everything.positions, everything.numbers.size
    bonds = everything.bonds()
    triples, chains = angles(bonds, count), torsions(bonds, count)
    values = {
        "bonds": _by_kind(z, bonds, bond_lengths(pos, bonds)),
        "angles": _by_kind(z, triples, angle_values(pos, triples)),
        "torsions": _by_kind(z, chains, np.abs(torsion_values(pos, chains))),
        "pairs": _by_kind(z, everything.pairs, everything.distance),
    }
    sizes = Counter(int(size) for text in rings for size in text.split())
    return Distributions(values, _environments(z, bonds), dict(sizes), len(structures))


def _environments(z: Integers, bonds: Integers) -> dict[str, int]:
    elements = np.unique(z)
    neighbors = np.zeros((z.size, elements.size), dtype=np.int64)
    for here, there in (bonds, bonds[::-1]):
        np.add.at(neighbors, (here, np.searchsorted(elements, z[there])), 1)
    rows, counts = np.unique(np.column_stack([z, neighbors]), axis=0, return_counts=True)
    symbols = sorted((ase.data.chemical_symbols[number], k) for k, number in enumerate(elements))
    result = {}
    for row, number in zip(rows.tolist(), counts.tolist(), strict=True):
        around = "".join(symbol * row[1 + k] for symbol, k in symbols)
        result[f"{ase.data.chemical_symbols[row[0]]}({around})"] = number
    return result


def _thinned(values: Floats) -> Floats:
    return values[:: -(-values.size // MAX_VALUES)]


def variation(one: Mapping[Any, float], other: Mapping[Any, float]) -> float:
    """Total variation (0 to 1) of two distributions over kinds, given by their numbers."""
    first, second = sum(one.values()) or 1, sum(other.values()) or 1
    kinds = {*one, *other}
    return sum(abs(one.get(k, 0) / first - other.get(k, 0) / second) for k in kinds) / 2


def compare(sample: Distributions, reference: Distributions) -> dict[str, Any]:
    """How far a sample is from the reference.

    Returns:
        for each quantity ``mean`` (of the distances by element types, weighted by how many values
        the reference has; ``None`` if there is nothing to compare), ``types`` and ``missing``
        (types of the reference that the sample has none of); for ``environments`` and ``rings`` the
        total variation, and ``rings_per_structure`` of both by size.
    """
    result: dict[str, Any] = {}
    for quantity in QUANTITIES:
        theirs, ours = reference.values[quantity], sample.values[quantity]
        types = {
            kind: float(wasserstein_distance(_thinned(ours[kind]), _thinned(values)))
            for kind, values in theirs.items()
            if kind in ours
        }
        weights = {kind: theirs[kind].size for kind in types}
        total = sum(weights.values())
        result[quantity] = {
            "mean": sum(types[k] * weights[k] for k in types) / total if total else None,
            "types": types,
            "missing": sorted(set(theirs) - set(ours)),
        }
    result["environments"] = variation(sample.environments, reference.environments)
    result["rings"] = variation(sample.rings, reference.rings)
    result["rings_per_structure"] = {
        str(size): [d.rings.get(size, 0) / max(d.structures, 1) for d in (sample, reference)]
        for size in sorted({*sample.rings, *reference.rings})
    }
    return result
