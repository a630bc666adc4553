"""What a generator learns from, of the structures that the user has given: checked, with Lewis
structures, 2-D graphs and whatever else its conditions read."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch_geometric.data import Data

from schnetgen_pyg.chem.electrons import CHARGE, SPIN
from schnetgen_pyg.chem.elements import hill_formula
from schnetgen_pyg.chem.molecules import FORMAL_CHARGE, VALENCE
from schnetgen_pyg.chem.valence_states import ValenceState
from schnetgen_pyg.data.coincidence import require_distinct
from schnetgen_pyg.data.electrons import require_closed_shell
from schnetgen_pyg.data.graph_features import GRAPH, with_graphs
from schnetgen_pyg.data.lewis_structures import states_in, told, with_lewis_structures
from schnetgen_pyg.data.origin import named
from schnetgen_pyg.data.stored import StoredStructures, elements_in, most_of_each
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.generator.conditions.graph import graph_of
from schnetgen_pyg.generator.model import SchNetGen
from schnetgen_pyg.training import stored
from schnetgen_pyg.training.optional import with_optional


def learnable(
    model: SchNetGen, whole: Sequence[Data], known: bool
) -> tuple[Sequence[Data], dict[str, Any]]:
    """Structures with all that a model's decisions and conditions learn from, and for the
    provenance what was left out.

    Args:
        model: the generator.
        whole: the structures with everything that the user has given.
        known: whether the model was trained before.
    """
    data = _with_required(model, whole)
    _check_elements(model, data)
    data, beyond = _with_states(model, data)
    if graph_of(model.conditions) is not None:
        data = with_valid_graphs(data)
    data = with_optional(model, data, whole, known)
    if not isinstance(data, StoredStructures):
        for single, name in product(data, (CHARGE, SPIN)):
            single.pop(name, None)  # their Lewis structures say it
    return data, beyond


def _with_required(model: SchNetGen, structures: Sequence[Data]) -> Sequence[Data]:
    """Types, positions, what the model's conditions require of every structure, and its number."""
    if isinstance(structures, StoredStructures):
        return stored.with_required(model, structures)
    for number, data in enumerate(structures):
        where = named(data, f"structure {number}")
        require_distinct(data, where)
        if data.get("cell") is not None and bool(data.cell.any()):
            raise InputError(
                f"{where}: is periodic, and a generator builds molecules; if it is one "
                "in a box, remove its cell (atoms.pbc = False), else leave it out"
            )
        if "valence_states" not in model.conditions:  # else they are left out, and said
            require_closed_shell(data, "a generator makes", where)
        missing = [name for name in model.required if data.get(name) is None]
        if missing:
            raise InputError(
                f"{where}: has no {missing[0]!r}, which the model's conditions require"
            )
        for name in model.required:
            if not bool(torch.as_tensor(data[name]).isfinite().all()):
                raise InputError(f"{where}: its {name!r} is not finite; leave it out")
    names = ("z", "pos", *model.required)
    # What is known already of Lewis structures, and what they are to have.
    further = (FORMAL_CHARGE, VALENCE, CHARGE, SPIN, GRAPH)
    return [
        Data(
            **{name: data[name] for name in names},
            **{name: data[name] for name in further if data.get(name) is not None},
            index=number,
        )
        for number, data in enumerate(structures)
    ]


def _check_elements(model: SchNetGen, data: Sequence[Data]) -> None:
    present = elements_in(data)
    unseen = sorted(present - set(model.config.elements))
    if unseen:
        raise InputError(
            f"the data hold atomic numbers {unseen}, the model is for "
            f"{list(model.config.elements)}; build it with their union"
        )
    if model.composition is not None and data:
        found = most_of_each(data)
        most = dict(zip(model.config.elements, model.config.max_counts, strict=True))
        beyond = [z for z, number in found.items() if number > most[z]]
        if beyond:
            raise InputError(
                f"a structure has {found[beyond[0]]} atoms of {hill_formula(beyond[:1])}, the "
                f"model's p(Z) is for {most[beyond[0]]}; build it with larger max_counts"
            )


def _with_states(model: SchNetGen, data: Sequence[Data]) -> tuple[Sequence[Data], dict[str, Any]]:
    """Structures with the Lewis structures that a model with valence states learns from. Those
    that have none it can make are left out, and said; for the provenance.

    Raises:
        InputError: if none is left.
    """
    if "valence_states" not in model.conditions:
        return data, {}
    kept, failed, beyond = _with_lewis(model, data)
    text = told(failed, len(data)) if failed else ""
    if beyond:
        some = ", ".join(map(str, beyond[:3]))
        text += "; " * bool(text) + (
            f"{len(beyond):,} structures (such as {some}) have valence states that the model does "
            "not; build it with states=states_in(structures)"
        )
    if not kept:
        raise InputError(f"{text}. Nothing is left to train on")
    if text:
        rank_zero_warn(f"{text}. They are left out")
    left_out = {reason: len(numbers) for reason, numbers in failed.items()}
    left_out |= {"states": len(beyond)} if beyond else {}
    return kept, {"left_out": left_out} if left_out else {}


def _with_lewis(
    model: SchNetGen, data: Sequence[Data]
) -> tuple[Sequence[Data], dict[str, list[int]], list[int]]:
    """Structures whose Lewis structures the model can make, the numbers of those without any by
    the reason, and of those with valence states that the model has not."""
    if isinstance(data, StoredStructures):
        return stored.with_states(model, data)
    found, failed = with_lewis_structures(data)
    own, beyond = {ValenceState(*state) for state in model.config.states}, []
    for number, single in enumerate(found):
        if single is not None and not own.issuperset(states_in([single])):
            beyond.append(number)
            found[number] = None
    return [single for single in found if single is not None], failed, beyond


def with_valid_graphs(structures: Sequence[Data]) -> list[Data]:
    """Those structures that are valid molecules, with their 2-D graphs, found once; a warning says
    how many are none.

    Raises:
        InputError: if none is left.
    """
    found = with_graphs(structures)
    kept = [single for single in found if single is not None]
    if not kept:
        raise InputError("no structure is a valid molecule; nothing is left to train on")
    if len(kept) < len(found):
        number = len(found) - len(kept)
        rank_zero_warn(f"{number:,} of {len(found):,} structures are no valid molecules: left out")
    return kept
