"""Hydrogens for structures that lack them: crystal structures, docked molecules, drawings in 3-D.

Which atoms lack how many hydrogens bond orders say, those of a file or those that bond lengths
show. Their positions the generator draws, all of a molecule together, as it does for scaffolds of
its own.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import ase
import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from schnetgen_pyg.chem.fragments import Fragment
from schnetgen_pyg.chem.valence_states import state_table
from schnetgen_pyg.data.bare import MOST, bare_structure
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.generator.draft import Draft, State
from schnetgen_pyg.generator.model import SchNetGen
from schnetgen_pyg.generator.sampling import hydrogens
from schnetgen_pyg.generator.sampling.builder import Builder
from schnetgen_pyg.generator.sampling.config import SamplingConfig
from schnetgen_pyg.generator.sampling.formulas import check_seen
from schnetgen_pyg.generator.sampling.fragments import Placed, check_fragment
from schnetgen_pyg.modes import evaluating
from schnetgen_pyg.parallel import grouped

#: Structures whose molecules are completed together.
TOGETHER = 1024


def add_hydrogens(
    model: SchNetGen,
    structures: Iterable[Any],
    *,
    seed: int = 0,
    config: SamplingConfig | None = None,
    progress: Callable[..., Any] | None = None,
    **changes: Any,
) -> Iterator[ase.Atoms]:
    """The structures with the hydrogens that they lack, one after the other.

    Every connected molecule of a structure is completed for itself, also in a periodic one. Atoms
    that are there stay where they are, to the last bit, and come first, in their order.

    Args:
        model: a generator that decides on valence states and hydrogens.
        structures: RDKit molecules with a conformer, which say their bond orders; ASE ``Atoms`` or
            ``Data``, whose bond orders are found by bond lengths. Those of a file
            `schnetgen_pyg.data.bare.read_bare` reads.
        seed: the hydrogens of structure k are the same whatever comes beside it.
        config: sampling settings; keyword arguments replace its fields.
        progress: wraps the structures, e.g. ``tqdm.tqdm``.

    Yields:
        ASE ``Atoms`` (Å) with ``info["added"]``, how many hydrogens are new.

    Raises:
        InputError: for elements or atoms that the model has never seen, networks that are no
            molecules, or bonds that make no closed shells.
    """
    needed = [name for name in ("valence_state", "hydrogens") if name not in model.decisions]
    if needed:
        raise InputError(
            f"the model does not decide on {', '.join(needed)}, which hydrogens for given atoms "
            "need; take one of the preset focus"
        )
    config = replace(config or SamplingConfig(), **changes)
    items: Any = progress(structures) if progress else structures
    number = 0
    for group in grouped(items, TOGETHER):
        bare = [bare_structure(one, f"structure {number + k}") for k, one in enumerate(group)]
        jobs = [
            _Job(MOST * (number + k) + part, fragment, one.where)
            for k, one in enumerate(bare)
            for part, fragment in enumerate(one.molecules)
        ]
        for job in jobs:
            check_seen(model, job.fragment.numbers.tolist(), f"{job.where}: ")
            check_fragment(model, job.fragment, job.where)
        added = iter(_completed(model, jobs, seed, config))
        for one in bare:
            yield one.with_hydrogens([next(added) for _ in one.molecules])
        number += len(group)
    if number == 0:
        warnings.warn("no structures were given", stacklevel=2)


@dataclass(frozen=True)
class _Job:
    """One molecule to complete, the number of its random numbers, and what messages call it."""

    index: int
    fragment: Fragment
    where: str

    @property
    def number(self) -> int:
        """Hydrogens that it lacks."""
        return int(self.fragment.hydrogens.sum())


def _completed(
    model: SchNetGen, jobs: Sequence[_Job], seed: int, config: SamplingConfig
) -> list[np.ndarray]:
    """Positions of the new hydrogens of every molecule [number, 3]."""
    found = [np.zeros((0, 3))] * len(jobs)
    waiting = [k for k, job in enumerate(jobs) if job.number]
    several = {k: len(jobs[k].fragment) > 1 for k in waiting}
    waiting.sort(key=lambda k: (several[k], jobs[k].number, len(jobs[k].fragment)))
    for kind in (False, True):
        alike = [k for k in reversed(waiting) if several[k] == kind]
        for chosen in grouped(alike, config.batch_size or 128):
            positions = _batch(model, [jobs[k] for k in chosen], seed, config)
            for k, pos in zip(chosen, positions, strict=True):
                found[k] = pos + jobs[k].fragment.positions.mean(0)
    return found


@torch.inference_mode()
def _batch(
    model: SchNetGen, jobs: Sequence[_Job], seed: int, config: SamplingConfig
) -> list[np.ndarray]:
    """The same of some molecules, those with most hydrogens first."""
    table = state_table(model.config.states, torch.device("cpu"))
    placed = [Placed.of(job.fragment, table) for job in jobs]
    size = max(len(job.fragment) for job in jobs)
    number = torch.tensor([job.number for job in jobs])

    def padded(rows: Sequence[Tensor], value: float) -> Tensor:
        return pad_sequence(list(rows), batch_first=True, padding_value=value)

    new = torch.arange(int(number.max())) < number.unsqueeze(1)
    z = torch.cat([padded([one.z for one in placed], 0), new.long()], 1)
    pos = torch.zeros(*z.shape, 3)
    pos[:, :size] = padded([one.pos for one in placed], 0.0)
    charge = torch.tensor([job.fragment.charge for job in jobs])
    state = State.start(z, pos, charge=charge)
    state.valence_state[:, :size] = padded([one.state for one in placed], -1)
    state.room[:, :size] = padded([one.room for one in placed], -1)
    state = state.to(model.device)
    index = torch.tensor([job.index for job in jobs])
    draft = Draft(
        state, size, index, seed, config, torch.zeros_like(index), states=model.config.states
    )
    with evaluating(model):
        builder = Builder(model, draft)
        if bool(hydrogens.at_once(model, config, z[:, :size]).all()):
            hydrogens.add_hydrogens(builder)
        builder.run()
        builder.refine(size)
    there = (state.z[:, size:] > 0).cpu().numpy()
    rows = state.pos[:, size:].double().cpu().numpy()
    return [row[own] for row, own in zip(rows, there, strict=True)]
