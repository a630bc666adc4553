"""What `schnetgen_pyg.training.generator.fit` asks of structures that stay on the disk: the checks
that it makes of those in memory, by the arrays of the file."""

from __future__ import annotations

import torch

from schnetgen_pyg.chem.molecules import FORMAL_CHARGE, VALENCE
from schnetgen_pyg.chem.valence_states import ValenceState
from schnetgen_pyg.data.perceived import beyond_states, with_stored_lewis
from schnetgen_pyg.data.stored import CHUNK, StoredStructures
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.generator.model import SchNetGen


def numbered(structures: StoredStructures, *names: str) -> StoredStructures:
    """Structures with these attributes alone and their number in the file as ``index``."""
    return structures.only(*names).with_rows(index=torch.arange(structures.num_in_file))


def with_required(model: SchNetGen, structures: StoredStructures) -> StoredStructures:
    """Structures with types, positions, what the model learns from and their number.

    Raises:
        InputError: naming a structure that is periodic, or lacks what the model's conditions
            require.
    """
    for column in structures.columns("cell"):
        periodic = column.rows.flatten(1).any(1)
        if bool(periodic.any()):
            first = int(periodic.nonzero()[0])
            number = first if column.of is None else int(column.of[first])
            raise InputError(
                f"structure {number}: is periodic, and a generator builds molecules; if it is one "
                "in a box, remove its cell (atoms.pbc = False) and make the file again"
            )
    names = ["z", "pos", *model.required]
    for name in model.required:
        _require(structures, name)
    if "valence_states" in model.conditions:
        names += [FORMAL_CHARGE, VALENCE]
    return numbered(structures, *names)


def _require(structures: StoredStructures, name: str) -> None:
    columns = structures.columns(name)
    found = [column for column in columns if column.of is None]
    if not found:
        there = torch.zeros(structures.num_in_file, dtype=torch.bool)
        for column in columns:
            there[column.of] = True
        lacking = torch.nonzero(~there).flatten().tolist()
        if lacking:
            raise InputError(
                f"structure {lacking[0]}: has no {name!r}, which the model's conditions require"
            )
    for column in columns:
        start = 0
        for rows in column.rows.split(CHUNK):
            if not bool(rows.isfinite().all()):
                place = start + int((~rows.isfinite()).flatten(1).any(1).nonzero()[0])
                number = place if column.ptr is None else int((column.ptr <= place).sum()) - 1
                number = number if column.of is None else int(column.of[number])
                raise InputError(f"structure {number}: its {name!r} is not finite; leave it out")
            start += len(rows)


def with_states(
    model: SchNetGen, structures: StoredStructures
) -> tuple[StoredStructures, dict[str, list[int]], list[int]]:
    """Structures whose Lewis structures the model can make, the numbers of those without any by
    the reason, and of those with valence states that the model has not."""
    kept, failed = with_stored_lewis(structures)
    places = beyond_states(kept, [ValenceState(*state) for state in model.config.states])
    beyond = kept.numbers[places].tolist()
    if places:
        left = torch.ones(len(kept), dtype=torch.bool)
        left[places] = False
        kept = kept[left.nonzero().flatten()]
    return kept, failed, beyond
