"""Some molecules of a run: scaffolds, those that lead nowhere begun again, drawn anew by Gibbs
sampling, and their hydrogens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from schnetgen_pyg.chem.fragments import Fragment
from schnetgen_pyg.chem.valence_states import state_table
from schnetgen_pyg.generator.draft import Draft, State
from schnetgen_pyg.generator.model import SchNetGen
from schnetgen_pyg.generator.random_numbers import random_keys, uniform
from schnetgen_pyg.generator.sampling import hydrogens
from schnetgen_pyg.generator.sampling.builder import Builder
from schnetgen_pyg.generator.sampling.config import SamplingConfig
from schnetgen_pyg.generator.sampling.fragments import Placed
from schnetgen_pyg.generator.sampling.gibbs import resample
from schnetgen_pyg.generator.sampling.likelihood import follow, log_prob_of
from schnetgen_pyg.generator.valence_states import settled_states
from schnetgen_pyg.graphs.indexing import ranges
from schnetgen_pyg.modes import evaluating

#: How often a scaffold is begun again by default: one that is drawn, and one on a fragment.
RESTARTS = (9, 49)

#: A batch of so many times fewer molecules than usual hardly takes less time.
FEW = 8


@torch.inference_mode()
def assemble(model: SchNetGen, asked: Asked, fragment: Fragment | None, how: How) -> State:
    """Build molecules, which come out in the order they were asked for.

    Args:
        asked: for which molecules.
        fragment: what all of them are to hold.
        how: the settings.
    """
    with evaluating(model):
        run = _Run(model, asked, fragment, how)
        every = torch.arange(len(asked.index))
        result = run.start(every, torch.zeros_like(every))
        scaffolds = int(run.sizes.max())
        _build_scaffolds(run, result)
        at_once = hydrogens.at_once(model, how.config, result.z[:, :scaffolds])
        # Alike ones together; where hydrogens come one by one, those with most of them first.
        for together, by in ((True, run.sizes), (False, run.hydrogens)):
            order = by.argsort(descending=True, stable=True)
            order = order[at_once[order] == together]
            for start in range(0, len(order), how.batch_size):
                _finish(run, result, order[start : start + how.batch_size], together)
        if fragment is not None:  # it was built about its mean
            result.pos.add_(torch.from_numpy(fragment.positions.mean(0)).float())
        return result


def _finish(run: _Run, result: State, rows: Tensor, at_once: bool) -> None:
    """The hydrogens of molecules whose scaffolds are there."""
    places = run.places(rows)
    state = result.rows(rows).places(places).to(run.model.device)
    builder = run.builder(state, int(run.sizes[rows].max()), rows, torch.zeros_like(rows))
    if at_once:
        hydrogens.add_hydrogens(builder)
    builder.run()
    builder.refine(run.fixed)
    if run.how.config.log_prob:
        _add_log_prob(run, state)
    result.write(rows, places, state)


def _add_log_prob(run: _Run, state: State) -> None:
    """Of the finished molecules: valence states are those of the bonds that they have now."""
    table = state_table(run.model.config.states, state.z.device)
    number = (state.z > 0).sum(1)
    for size in number.unique().tolist():
        rows = (number == size).nonzero().squeeze(1)
        there = state.rows(rows).packed(size)
        charge, valence = table.charge[there.valence_state], table.valence[there.valence_state]
        if run.start_from is not None:
            fragment = run.start_from.fragment
            charge[:, : run.fixed] = torch.from_numpy(fragment.formal_charge).to(charge)
            valence[:, : run.fixed] = torch.from_numpy(fragment.valence).to(valence)
        settled = settled_states(there.z, there.pos, charge, valence, table)
        finished = replace(there, valence_state=settled, room=torch.full_like(settled, -1))
        followed = follow(run.model, finished, run.how.config, max(1, run.fixed))
        state.log_prob[rows] = log_prob_of(followed).value.to(state.log_prob.device)


def _build_scaffolds(run: _Run, result: State) -> None:
    """Build the scaffold of every molecule; one that leads nowhere is begun again at most
    ``config.restarts`` times."""
    batch_size, config = run.how.batch_size, run.how.config
    attempts = run.restarts + 1
    attempt = torch.zeros_like(run.sizes)
    pending = run.sizes.argsort(descending=True, stable=True)
    while len(pending):
        rows, pending = pending[:batch_size], pending[batch_size:]
        rows = rows[run.sizes[rows].argsort(descending=True, stable=True)]
        # A few molecules take as long as many: their next attempts are made together.
        together = max(1, batch_size // (FEW * len(rows)))
        owner, tried = ranges((attempts - attempt[rows]).clamp(max=together))
        tried, owner = tried + attempt[rows[owner]], rows[owner]
        state = run.start(owner, tried).to(run.model.device)
        size = int(run.sizes[owner[0]])
        builder = run.builder(state, max(1, run.fixed), owner, tried)
        builder.run(size)
        last = tried + 1 == attempts
        usable = last if attempts == 1 else last | ~builder.dead_ends().cpu()
        kept = usable.nonzero().squeeze(1)
        different = owner[kept].diff(prepend=owner.new_tensor([-1])) != 0
        kept = kept[different]  # the first of each
        attempt[owner] = tried + 1
        attempt[owner[kept]] = tried[kept] + 1
        again = torch.ones(len(run.sizes), dtype=torch.bool)
        if len(kept):
            state = state.rows(kept.to(run.model.device))
            surprise = _resample(run, state, owner[kept], tried[kept])
            places = torch.arange(size)
            result.write(owner[kept], places, state.places(places))
            again[owner[kept]] = (surprise > config.max_surprise) & ~last[kept]
        pending = torch.cat([pending, rows[again[rows]]])


def _resample(run: _Run, state: State, rows: Tensor, tried: Tensor) -> Tensor:
    """`resample` scaffolds, those of the same size together [count]."""
    found = []
    sizes, counts = run.sizes[rows].unique_consecutive(return_counts=True)
    start = 0
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        some = slice(start, start + count)
        builder = run.builder(state.rows(some), size, rows[some], tried[some])
        found.append(resample(builder, run.fixed).cpu())
        start += count
    return torch.cat(found)


@dataclass(frozen=True)
class Asked:
    """Some molecules of a run.

    Attributes:
        index: their numbers in it [count].
        z: atomic numbers of their whole formulas, beside a fragment's, in any order
            [count, atoms]; 0 where there is no atom.
        charge: their charges in e [count].
        targets: what conditions require of each, by name [count, …].
    """

    index: Tensor
    z: Tensor
    charge: Tensor
    targets: Mapping[str, Tensor] = field(default_factory=dict)

    def rows(self, rows: Tensor) -> Asked:
        targets = {name: value[rows] for name, value in self.targets.items()}
        return Asked(self.index[rows], self.z[rows], self.charge[rows], targets)


@dataclass(frozen=True)
class How:
    """What all parts of a run share.

    Attributes:
        seed: of the run.
        config: how molecules are sampled.
        batch_size: molecules built at once.
    """

    seed: int
    config: SamplingConfig
    batch_size: int


class _Run:
    """What all molecules of a part share.

    Attributes:
        fixed: atoms of the fragment.
        sizes: atoms of each scaffold, which come before all hydrogens but a fragment's [count].
        hydrogens: how many come after it [count].
        restarts: how often a scaffold is begun again.
    """

    def __init__(self, model: SchNetGen, asked: Asked, fragment: Fragment | None, how: How):
        self.model, self.asked, self.how = model, asked, how
        self.fixed = 0 if fragment is None else len(fragment)
        table = state_table(model.config.states, torch.device("cpu"))
        self.start_from = None if fragment is None else Placed.of(fragment, table)
        self.sizes = (self.fixed + (asked.z > 1).sum(1)).clamp(min=1)
        self.hydrogens = self.fixed + (asked.z > 0).sum(1) - self.sizes
        # Whether a scaffold can be completed its states say.
        foretold = "valence_state" in model.decisions and how.config.valence_rules
        usual = RESTARTS[self.fixed > 0]
        most = usual if how.config.restarts is None else how.config.restarts
        self.restarts = most if foretold else 0

    def places(self, rows: Tensor) -> Tensor:
        """Those of a part of the molecules, in rows for all of them."""
        size, number = int(self.sizes[rows].max()), int(self.hydrogens[rows].max())
        return torch.cat([torch.arange(size), int(self.sizes.max()) + torch.arange(number)])

    def start(self, rows: Tensor, tried: Tensor) -> State:
        """Molecules with their random type sequences, hydrogens in places of their own after the
        largest scaffold, and no placed atoms but the fragment's, or the first one at the origin."""
        numbers = self.asked.z[rows]
        keys = random_keys(self.how.seed, self.asked.index[rows], (-1 - tried).int())
        noise = uniform(keys, torch.arange(numbers.shape[1], dtype=torch.int32))
        order = (noise + (numbers == 1) + 2 * (numbers == 0)).argsort(dim=1)
        sizes, count = self.sizes[rows] - self.fixed, self.hydrogens[rows]
        heavy = torch.arange(int(sizes.max())) < sizes.unsqueeze(1)
        z = numbers.gather(1, order)[:, : heavy.shape[1]] * heavy
        z = torch.cat([z, torch.arange(int(count.max())) < count.unsqueeze(1)], 1)
        pos = torch.zeros(*z.shape, 3)
        given = self.start_from
        if given is not None:
            z = torch.cat([given.z.expand(len(rows), -1), z], 1)
            pos = torch.cat([given.pos.expand(len(rows), -1, -1), pos], 1)
        targets = {name: value[rows] for name, value in self.asked.targets.items()}
        kept = {
            name: torch.zeros_like(z, dtype=dtype)
            for decision in self.model.decisions.values()
            for name, dtype in decision.keeps.items()
        }
        state = State.start(z, pos, targets, self.asked.charge[rows], kept)
        if given is not None:
            state.valence_state[:, : self.fixed] = given.state
            state.room[:, : self.fixed] = given.room
        return state

    def builder(self, state: State, placed: int, rows: Tensor, tried: Tensor) -> Builder:
        """Of molecules that have filled so many places."""
        arguments = state, placed, self.asked.index[rows], self.how.seed, self.how.config, tried
        return Builder(self.model, Draft(*arguments, states=self.model.config.states))
