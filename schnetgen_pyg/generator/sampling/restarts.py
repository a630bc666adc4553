"""Some molecules of a run: scaffolds, those that lead nowhere begun again, drawn anew by Gibbs
sampling, and their hydrogens."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch_geometric.data import Data

from schnetgen_pyg.generator.draft import Draft, State
from schnetgen_pyg.generator.model import SchNetGen
from schnetgen_pyg.generator.random_numbers import random_keys, uniform
from schnetgen_pyg.generator.sampling.builder import Builder
from schnetgen_pyg.generator.sampling.config import SamplingConfig
from schnetgen_pyg.generator.sampling.gibbs import resample
from schnetgen_pyg.generator.sampling.hydrogens import add_hydrogens
from schnetgen_pyg.generator.sampling.likelihood import follow, log_prob_of
from schnetgen_pyg.graphs.indexing import ranges
from schnetgen_pyg.modes import evaluating

#: A batch of so many times fewer molecules than usual hardly takes less time.
FEW = 8


@torch.inference_mode()
def assemble(
    model: SchNetGen,
    index: Tensor,
    remaining: Tensor,
    fragment: Data | None,
    targets: Mapping[str, Tensor],
    seed: int,
    config: SamplingConfig,
    batch_size: int,
) -> State:
    """Build the molecules with the numbers ``index`` in the run [count].

    Args:
        remaining: the atomic numbers that are not in the fragment [num_remaining].
        targets: what conditions require of each molecule, by name [count, …].
        batch_size: molecules built at once.
    """
    with evaluating(model):
        fixed, origin, moved = 0, torch.zeros(3), None
        if fragment is not None:
            # The grid is centred on the first atom, or on the fragment.
            fixed, origin = fragment.z.numel(), fragment.pos.mean(0)
            moved = Data(z=fragment.z, pos=fragment.pos - origin)
        run = _Run(model, index, remaining, moved, targets, seed, config)
        result = run.start(torch.arange(len(index)), torch.zeros_like(index))
        scaffold = max(1, fixed + int((remaining != 1).sum()))
        # Whether a scaffold can be completed its states say, and of a fragment's none is known.
        foretold = "valence_state" in model.decisions and config.valence_rules and not fixed
        restarts = config.restarts if foretold and scaffold < len(remaining) else 0
        _build_scaffolds(run, result, scaffold, fixed, restarts, batch_size)
        for rows in torch.arange(len(index)).split(batch_size):
            state = result.rows(rows).to(model.device)
            builder = run.builder(state, scaffold, rows, torch.zeros_like(rows))
            add_hydrogens(builder)
            builder.run()
            if config.log_prob:
                # Of the finished molecules: valence states are those that they have now.
                finished = State.start(state.z, state.pos, state.known)
                followed = follow(model, finished, config, max(1, fixed))
                state.log_prob.copy_(log_prob_of(followed).value)
            result.write(rows, state)
        result.pos.add_(origin)
        if fragment is not None:
            result.pos[:, :fixed] = fragment.pos
        return result


def _build_scaffolds(
    run: _Run, result: State, scaffold: int, fixed: int, restarts: int, batch_size: int
) -> None:
    """Build every molecule up to its ``scaffold`` of so many atoms; one that leads nowhere is begun
    again at most ``restarts`` times."""
    attempts = restarts + 1
    attempt = torch.zeros_like(run.index)
    pending = torch.arange(len(run.index))
    while len(pending):
        rows, pending = pending[:batch_size], pending[batch_size:]
        # A few molecules take as long as many: their next attempts are made together.
        together = max(1, batch_size // (FEW * len(rows)))
        owner, tried = ranges((attempts - attempt[rows]).clamp(max=together))
        tried, owner = tried + attempt[rows[owner]], rows[owner]
        state = run.start(owner, tried).to(run.model.device)
        builder = run.builder(state, max(1, fixed), owner, tried)
        builder.run(scaffold)
        last = tried + 1 == attempts
        usable = last if attempts == 1 else last | ~builder.dead_ends().cpu()
        kept = usable.nonzero().squeeze(1)
        kept = kept[owner[kept].diff(prepend=owner.new_tensor([-1])) != 0]  # the first of each
        attempt[owner] = tried + 1
        attempt[owner[kept]] = tried[kept] + 1
        again = torch.ones(len(run.index), dtype=torch.bool)
        if len(kept):
            state = state.rows(kept.to(run.model.device))
            builder = run.builder(state, scaffold, owner[kept], tried[kept])
            surprise = resample(builder, fixed).cpu()
            result.write(owner[kept], state)
            again[owner[kept]] = (surprise > run.config.max_surprise) & ~last[kept]
        pending = torch.cat([pending, rows[again[rows]]])


class _Run:
    """What all molecules of a run share."""

    def __init__(
        self,
        model: SchNetGen,
        index: Tensor,
        remaining: Tensor,
        fragment: Data | None,
        targets: Mapping[str, Tensor],
        seed: int,
        config: SamplingConfig,
    ):
        self.model, self.index, self.remaining = model, index, remaining
        self.fragment, self.targets, self.seed, self.config = fragment, targets, seed, config

    def start(self, rows: Tensor, tried: Tensor) -> State:
        """Molecules with their random type sequences (hydrogens last) and no placed atoms but the
        fragment's, or the first one at the origin."""
        keys = random_keys(self.seed, self.index[rows], (-1 - tried).int())
        remaining = self.remaining
        noise = uniform(keys, torch.arange(remaining.numel(), dtype=torch.int32))
        z = remaining[(noise + (remaining == 1)).argsort(dim=1)]
        pos = torch.zeros(*z.shape, 3)
        if self.fragment is not None:
            z = torch.cat([self.fragment.z.expand(len(rows), -1), z], 1)
            pos = torch.cat([self.fragment.pos.expand(len(rows), -1, -1), pos], 1)
        return State.start(z, pos, {name: value[rows] for name, value in self.targets.items()})

    def builder(self, state: State, placed: int, rows: Tensor, tried: Tensor) -> Builder:
        """Of molecules that have so many atoms."""
        arguments = state, placed, self.index[rows], self.seed, self.config, tried
        return Builder(self.model, Draft(*arguments, states=self.model.config.states))
