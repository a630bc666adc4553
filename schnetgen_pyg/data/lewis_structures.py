"""Structures with what their Lewis structures say of every atom: formal charge and valence.

A generator learns valence states from them. Bond orders are perceived once, in several processes,
and kept with the structure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from rdkit import Chem
from torch import Tensor
from torch_geometric.data import Data

from schnetgen_pyg.chem.bonds import adjacency
from schnetgen_pyg.chem.molecules import FORMAL_CHARGE, VALENCE
from schnetgen_pyg.chem.perception import perceive
from schnetgen_pyg.chem.valence_states import ValenceState, states_of
from schnetgen_pyg.data.conversion import to_ase
from schnetgen_pyg.data.origin import changed
from schnetgen_pyg.parallel import Failure, each_in_processes, job_count

#: Why a structure has no Lewis structure that a generator could learn from, by what
#: `schnetgen_pyg.chem.perception.perceive` says.
REASONS = {
    "clash": "with atoms on top of each other",
    "fragments": "of several fragments",
    "valence": "with more neighbours at an atom than its element has",
    "bond orders": "without bond orders that close all shells",
    "radical": "with unpaired electrons",
    "unfinished": "whose bond orders could not be found",
    "periodic": "that are periodic",
}

#: Structures that travel together, fewer than which one process looks at, and seconds for them.
GROUP, FEW, SECONDS = 200, 2000, 600.0


def with_lewis_structures(
    structures: Sequence[Data], jobs: int | None = None
) -> tuple[list[Data | None], dict[str, list[int]]]:
    """Copies of the structures with ``formal_charge`` and ``valence`` [num_atoms], both int64.

    Args:
        structures: with ``z`` and ``pos`` (Å). Those that have both attributes keep them.
        jobs: processes; by default one per core, for a few structures one.

    Returns:
        the structures, ``None`` where there is no closed-shell Lewis structure, and the
        numbers of these by their reason, one of `REASONS`.
    """
    waiting = [k for k, data in enumerate(structures) if data.get(VALENCE) is None]
    jobs = 1 if len(waiting) < FEW else job_count(jobs)
    result: list[Data | None] = list(structures)
    failed: dict[str, list[int]] = {}
    asked = [structures[k] for k in waiting]
    for place, found in each_in_processes(
        _perceived, asked, size=GROUP, jobs=jobs, timeout=SECONDS
    ):
        number = waiting[place]
        if isinstance(found, Failure):
            found = "unfinished"
        if isinstance(found, str):
            failed.setdefault(found, []).append(number)
            result[number] = None
            continue
        told = {
            name: torch.from_numpy(values).long()
            for name, values in zip((FORMAL_CHARGE, VALENCE), found, strict=True)
        }
        result[number] = changed(structures[number], **told)
    return result, {reason: sorted(failed[reason]) for reason in REASONS if reason in failed}


def _perceived(structures: list[Data]) -> list[Any]:
    return [_one(data) for data in structures]


def _one(data: Data) -> np.ndarray | str:
    """Formal charges and valences [2, num_atoms], or why there are none."""
    found = perceive(to_ase(data))
    return found.failure if found.mol is None else lewis_rows(found.mol)


def lewis_rows(mol: Chem.Mol) -> np.ndarray:
    """Formal charges and valences of a molecule's atoms [2, num_atoms]."""
    states = states_of(mol)
    rows = [(0, 1) if state is None else (state.charge, state.valence) for state in states]
    return np.array(rows, dtype=np.int64).T


def state_rows(z: Tensor, pos: Tensor, charge: Tensor, valence: Tensor) -> list[list[int]]:
    """The fields of the `ValenceState` of every atom that is no hydrogen, in their order."""
    bonds = adjacency(z[None], pos[None])[0]
    hydrogens = (bonds & (z == 1)).sum(1)
    columns = z, charge, valence, hydrogens, bonds.sum(1) - hydrogens
    found: list[list[int]] = torch.stack(columns, 1)[z != 1].tolist()
    return found


def states_in(structures: Sequence[Data]) -> tuple[ValenceState, ...]:
    """Every valence state of the atoms of structures with Lewis structures."""
    found: set[ValenceState] = set()
    for data in structures:
        rows = state_rows(data.z, data.pos, data[FORMAL_CHARGE], data[VALENCE])
        found.update(ValenceState(*row) for row in rows)
    return tuple(sorted(found))


def told(failed: dict[str, list[int]], total: int, named: int = 3) -> str:
    """In one sentence, how many of ``total`` structures have no Lewis structure, and why."""
    number = sum(map(len, failed.values()))
    parts = []
    for reason, numbers in failed.items():
        some = ", ".join(map(str, numbers[:named])) + ", …" * (len(numbers) > named)
        several = "s" * (len(numbers) > 1)
        parts.append(f"{len(numbers):,} {REASONS[reason]} (structure{several} {some})")
    share = f"{number:,} of {total:,} structures ({100 * number / total:.1f} %)"
    return f"{share} are no closed-shell molecules: {'; '.join(parts)}"
