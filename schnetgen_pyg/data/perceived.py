"""What perception says of the structures in a file, found once when it is made: Lewis structures,
from which a generator learns valence states, and hashes of what they are, by which it knows what it
has seen.

The attributes ``formal_charge`` and ``valence`` are as `with_lewis_structures` gives them. Beside
them the file has arrays that are no attributes: ``perceived:lewis`` [num_structures], 0 or the
number of the reason why there is no Lewis structure; ``perceived:state`` [num_atoms], the number of
the valence state (none, -1, of hydrogens); ``perceived:morgan`` [num_structures, 128], packed
fingerprints (`schnetgen_pyg.data.fingerprints`); and a hash of each identity
(`schnetgen_pyg.chem.identity.IDENTITIES`), or -1.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any, NamedTuple

import ase
import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from schnetgen_pyg.chem.electrons import stated
from schnetgen_pyg.chem.fingerprints import BYTES, packed_fingerprint
from schnetgen_pyg.chem.identity import IDENTITIES, describe, hash_of
from schnetgen_pyg.chem.molecules import FORMAL_CHARGE, VALENCE
from schnetgen_pyg.chem.perception import perceive
from schnetgen_pyg.chem.valence_states import ValenceState
from schnetgen_pyg.data.conversion import to_ase
from schnetgen_pyg.data.fingerprints import STORED as FINGERPRINTS
from schnetgen_pyg.data.lewis_structures import REASONS, SECONDS, lewis_rows, state_rows
from schnetgen_pyg.data.stored import CHUNK, StoredStructures
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.parallel import Failure, in_order, in_processes

LEWIS, STATE, HASH = "perceived:lewis", "perceived:state", "perceived:{}"

#: Reasons by their numbers; the first is none.
CODES = ("", *REASONS)


class _Item(NamedTuple):
    """What perception needs of a structure; small, as it goes to another process."""

    z: np.ndarray
    pos: np.ndarray
    info: dict[str, int]
    known: np.ndarray | None

    @classmethod
    def of(cls, data: Data) -> _Item | None:
        """None of a periodic one, which is no molecule."""
        if data.get("cell") is not None and bool(data.cell.any()):
            return None
        bare = Data(z=data.z, pos=data.pos, info=data.get("info") or {})
        for name in ("charge", "spin_multiplicity"):
            bare[name] = data.get(name)
        known = None
        if data.get(VALENCE) is not None and data.get(FORMAL_CHARGE) is not None:
            known = torch.stack([data[FORMAL_CHARGE], data[VALENCE]]).numpy()
        return cls(data.z.numpy(), data.pos.numpy(), stated(to_ase(bare)), known)


class _Found(NamedTuple):
    """Reason, formal charges and valences [2, num_atoms], states of the heavy atoms, hashes, and
    the packed fingerprint, zeros where there is none."""

    reason: str
    lewis: np.ndarray | None
    states: list[list[int]]
    hashes: list[int]
    bits: np.ndarray


def _perceive(items: list[_Item | None]) -> list[_Found]:
    return [_perceived(item) for item in items]


def _perceived(item: _Item | None) -> _Found:
    if item is None:
        return _nothing("periodic")
    atoms = ase.Atoms(item.z, item.pos, info=item.info)
    found = perceive(atoms)
    record = describe(atoms, found)
    hashes = [hash_of(record[name]) if name in record else -1 for name in IDENTITIES]
    bits = np.zeros(BYTES, np.uint8) if found.mol is None else packed_fingerprint(found.mol)
    lewis = item.known
    if lewis is None and found.mol is None:
        return _Found(found.failure, None, [], hashes, bits)
    if lewis is None and found.mol is not None:
        lewis = lewis_rows(found.mol)
    assert lewis is not None
    numbers, pos = torch.from_numpy(item.z), torch.from_numpy(item.pos)
    own = state_rows(numbers, pos, *map(torch.from_numpy, lewis))
    return _Found("", lewis, own, hashes, bits)


def _nothing(reason: str) -> _Found:
    return _Found(reason, None, [], [-1] * len(IDENTITIES), np.zeros(BYTES, np.uint8))


def with_perception(
    chunks: Iterable[list[Data]], jobs: int, known: dict[tuple[int, ...], int]
) -> Iterator[tuple[list[Data], dict[str, Tensor]]]:
    """Chunks of structures in their order, with formal charges and valences, and the arrays beside.

    Args:
        chunks: taken one after the other, as there is room.
        jobs: processes.
        known: valence states by their numbers; new ones come in.
    """
    remaining = iter(chunks)
    first = list(islice(remaining, 2))
    if len(first) < 2:  # done before other processes have begun
        for chunk in first:
            yield chunk, _arrays(chunk, _perceive([_Item.of(data) for data in chunk]), known)
        return
    waiting: deque[list[Data]] = deque()

    def tasks() -> Iterator[list[_Item | None]]:
        for chunk in chain(first, remaining):
            waiting.append(chunk)
            yield [_Item.of(data) for data in chunk]

    for found in in_order(in_processes(_perceive, tasks(), jobs=jobs, timeout=SECONDS)):
        chunk = waiting.popleft()
        if isinstance(found, Failure):
            found = _one_by_one(chunk)
        yield chunk, _arrays(chunk, found, known)


def _one_by_one(chunk: list[Data]) -> list[_Found]:
    """What can be found where one of a chunk takes too long or kills its process."""
    singly = in_processes(_perceive, ([_Item.of(data)] for data in chunk), jobs=1, timeout=SECONDS)
    return [
        _nothing("unfinished") if isinstance(found, Failure) else found[0]
        for found in in_order(singly)
    ]


def _arrays(
    chunk: list[Data], found: list[_Found], known: dict[tuple[int, ...], int]
) -> dict[str, Tensor]:
    """Give structures their charges and valences; the arrays beside."""
    states = []
    for data, one in zip(chunk, found, strict=True):
        state = torch.full((data.z.numel(),), -1, dtype=torch.int16)
        if one.lewis is not None:
            data[FORMAL_CHARGE], data[VALENCE] = torch.from_numpy(one.lewis).long()
            numbers = [known.setdefault(tuple(row), len(known)) for row in one.states]
            state[data.z != 1] = torch.tensor(numbers, dtype=torch.int16)
        states.append(state)
    hashes = torch.tensor([one.hashes for one in found])
    arrays = {HASH.format(name): hashes[:, k] for k, name in enumerate(IDENTITIES)}
    reasons = torch.tensor([CODES.index(one.reason) for one in found], dtype=torch.uint8)
    bits = torch.from_numpy(np.stack([one.bits for one in found]))
    return arrays | {LEWIS: reasons, STATE: torch.cat(states), FINGERPRINTS: bits}


def _require(structures: StoredStructures) -> None:
    if "states" not in structures.metadata:
        raise InputError(
            f"{structures.path}: was made without perception (--perceive false), which a generator "
            "needs; make it again with it"
        )


def with_stored_lewis(
    structures: StoredStructures,
) -> tuple[StoredStructures, dict[str, list[int]]]:
    """Those structures that have Lewis structures, and the places of the others by the reason."""
    _require(structures)
    codes = structures.array(LEWIS)[structures.numbers]
    failed = {
        reason: torch.nonzero(codes == code).flatten().tolist()
        for code, reason in enumerate(CODES)
        if code
    }
    failed = {reason: numbers for reason, numbers in failed.items() if numbers}
    return (structures[torch.nonzero(codes == 0).flatten()] if failed else structures), failed


def stored_states(structures: StoredStructures) -> tuple[ValenceState, ...]:
    """Every valence state of the atoms of structures in a file."""
    _require(structures)
    known = [ValenceState(*row) for row in structures.metadata["states"]]
    used = torch.zeros(len(known) + 1, dtype=torch.bool)
    for _, states in _states(structures):
        used[states.long()] = True  # of none the last one
    return tuple(sorted(state for state, there in zip(known, used.tolist(), strict=False) if there))


def beyond_states(structures: StoredStructures, states: Iterable[ValenceState]) -> list[int]:
    """Places of structures that have other valence states than these."""
    _require(structures)
    known = {tuple(state) for state in states}
    own = [tuple(row) in known for row in structures.metadata["states"]]
    foreign = ~torch.tensor([*own, True])  # the last one is none
    found: list[int] = []
    for owner, numbers in _states(structures):
        found += owner[foreign[numbers.long()]].unique().tolist()
    return found


def _states(structures: StoredStructures) -> Iterator[tuple[Tensor, Tensor]]:
    for places, batch, atoms in structures.atoms(CHUNK):
        yield places[batch], structures.array(STATE)[atoms]


def stored_hashes(structures: StoredStructures, identity: str) -> np.ndarray[Any, Any]:
    """Hashes of the different identities of this name, ascending (uint64)."""
    _require(structures)
    found = structures.array(HASH.format(identity))[structures.numbers]
    return found[found >= 0].unique().numpy().astype(np.uint64)
