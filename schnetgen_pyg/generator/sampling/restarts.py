"""Some molecules of a run: scaffolds, those that lead nowhere again and again, their revision,
hydrogens."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.data import Data

from schnetgen_pyg.accelerated.memory import memory_kept
from schnetgen_pyg.generator.model import SchNetGen
from schnetgen_pyg.generator.random_numbers import random_keys, uniform
from schnetgen_pyg.generator.sampling.builder import Builder
from schnetgen_pyg.generator.sampling.config import SamplingConfig
from schnetgen_pyg.generator.sampling.gibbs import revise
from schnetgen_pyg.generator.sampling.hydrogens import add_hydrogens
from schnetgen_pyg.generator.sampling.state import State
from schnetgen_pyg.graphs.indexing import ranges

#: A batch of so many times fewer molecules than usual hardly takes less time.
FEW = 8


@memory_kept()
@torch.inference_mode()
def assemble(
    model: SchNetGen,
    index: Tensor,
    remaining: Tensor,
    fragment: Data | None,
    seed: int,
    config: SamplingConfig,
    batch_size: int,
) -> State:
    """Build the molecules with the numbers ``index`` in the run [count].

    Args:
        remaining: the atomic numbers that are not in the fragment [num_remaining].
        batch_size: molecules built at once.
    """
    device = model.bins.centers.device
    fixed, origin, moved = 0, torch.zeros(3), None
    if fragment is not None:
        # The grid is centred on the first atom, or on the fragment.
        fixed, origin = fragment.z.numel(), fragment.pos.mean(0)
        moved = Data(z=fragment.z, pos=fragment.pos - origin)
    scaffold = max(1, fixed + int((remaining != 1).sum()))
    # Whether a scaffold can be completed its environments say, and of a fragment's none is known.
    foretold = model.config.environments and config.valence_rules and not fixed
    attempts = config.attempts if foretold and scaffold < remaining.numel() else 1

    attempt, pending = torch.zeros_like(index), torch.arange(len(index))
    result = _start(index, attempt, remaining, moved, seed)
    while len(pending):
        rows, pending = pending[:batch_size], pending[batch_size:]
        # A few molecules take as long as many: their next attempts are made together.
        together = max(1, batch_size // (FEW * len(rows)))
        owner, tried = ranges((attempts - attempt[rows]).clamp(max=together))
        tried, owner = tried + attempt[rows[owner]], rows[owner]
        state = _start(index[owner], tried, remaining, moved, seed).to(device)
        builder = Builder(model, state, max(1, fixed), index[owner], seed, config, tried)
        builder.run(scaffold)
        last = tried + 1 == attempts
        usable = last if attempts == 1 else last | ~builder.dead_ends().cpu()
        kept = usable.nonzero().squeeze(1)
        kept = kept[owner[kept].diff(prepend=owner.new_tensor([-1])) != 0]  # the first of each
        attempt[owner] = tried + 1
        attempt[owner[kept]] = tried[kept] + 1
        again = torch.ones(len(index), dtype=torch.bool)
        if len(kept):
            state = state.rows(kept.to(device))
            builder = Builder(model, state, scaffold, index[owner[kept]], seed, config, tried[kept])
            surprise = revise(builder, fixed).cpu()
            result.write(owner[kept], state)
            again[owner[kept]] = (surprise > config.max_surprise) & ~last[kept]
        pending = torch.cat([pending, rows[again[rows]]])
    for rows in torch.arange(len(index)).split(batch_size):
        state = result.rows(rows).to(device)
        builder = Builder(model, state, scaffold, index[rows], seed, config)
        add_hydrogens(builder)
        builder.run()
        result.write(rows, state)
    result.pos.add_(origin)
    if fragment is not None:
        result.pos[:, :fixed] = fragment.pos
    return result


def _start(
    index: Tensor, attempt: Tensor, remaining: Tensor, fragment: Data | None, seed: int
) -> State:
    """Molecules with their random type sequences (hydrogens last) and no placed atoms but the
    fragment's, or the first one at the origin."""
    keys = random_keys(seed, index, (-1 - attempt).int())
    noise = uniform(keys, torch.arange(remaining.numel(), dtype=torch.int32))
    z = remaining[(noise + (remaining == 1)).argsort(dim=1)]
    pos = torch.zeros(*z.shape, 3)
    if fragment is not None:
        z = torch.cat([fragment.z.expand(len(index), -1), z], 1)
        pos = torch.cat([fragment.pos.expand(len(index), -1, -1), pos], 1)
    return State.start(z, pos)
