"""Fingerprints of structures, for the condition of this name: found once, before a training."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from schnetgen_pyg.chem.fingerprints import BYTES, packed_fingerprint
from schnetgen_pyg.chem.molecules import FORMAL_CHARGE, VALENCE, known_or_perceived
from schnetgen_pyg.data.conversion import to_ase
from schnetgen_pyg.data.lewis_structures import FEW, GROUP, SECONDS
from schnetgen_pyg.data.stored import StoredStructures
from schnetgen_pyg.parallel import Failure, each_in_processes, job_count

#: Array of a file that `schnetgen convert` makes [num_structures, 128] (uint8).
STORED = "perceived:morgan"


def fingerprints_of(structures: Sequence[Data], jobs: int | None = None) -> Tensor:
    """Packed fingerprints [num_structures, 128] (uint8); zeros where there is no valid molecule.

    Those in a file are taken from it. A file of an earlier version has none: they are found anew,
    with a warning.

    Args:
        structures: with ``z`` and ``pos``, and their Lewis structures where they are known.
        jobs: processes; by default one per core, for a few structures one.
    """
    if isinstance(structures, StoredStructures):
        if structures.has_array(STORED):
            return structures.array(STORED)[structures.numbers]
        warnings.warn(
            f"{structures.path}: has no fingerprints; to find them takes some minutes for "
            "100,000 molecules, and `schnetgen convert` of this version keeps them",
            stacklevel=2,
        )
        names = ("z", "pos", "info", "charge", "spin_multiplicity", FORMAL_CHARGE, VALENCE)
        structures = structures.only(*names)
    jobs = 1 if len(structures) < FEW else job_count(jobs)
    result = torch.zeros(len(structures), BYTES, dtype=torch.uint8)
    for number, found in each_in_processes(
        _found, structures, size=GROUP, jobs=jobs, timeout=SECONDS
    ):
        if not isinstance(found, Failure):
            result[number] = torch.from_numpy(found)
    return result


def _found(structures: list[Data]) -> list[np.ndarray]:
    return [_one(data) for data in structures]


def _one(data: Data) -> np.ndarray:
    mol = known_or_perceived(to_ase(data)).mol
    return np.zeros(BYTES, np.uint8) if mol is None else packed_fingerprint(mol)
