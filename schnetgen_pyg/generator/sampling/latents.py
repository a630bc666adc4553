"""The latents of conformers: drawn from the prior, and integrated over."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch_geometric.utils import cumsum

from schnetgen_pyg.data.graph_features import GraphBatch
from schnetgen_pyg.generator.conditions.graph import graph_of
from schnetgen_pyg.generator.conditions.latent import SIZE, Latent
from schnetgen_pyg.generator.model import SchNetGen
from schnetgen_pyg.generator.random_numbers import random_keys, uniform
from schnetgen_pyg.generator.sampling.config import SamplingConfig
from schnetgen_pyg.generator.sampling.given_graphs import Known, Layout
from schnetgen_pyg.generator.sampling.likelihood import LogProb, follow, log_prob_of

#: What latents are drawn with, as steps of their own: by the prior, and by the posterior.
PRIOR, POSTERIOR = 910_000, 920_000


def latent_of(model: SchNetGen) -> Latent | None:
    """The condition of a model that has a latent."""
    condition = graph_of(model.conditions)
    return condition if isinstance(condition, Latent) else None


def with_latents(
    model: SchNetGen, molecules: Sequence[Known], seed: int, number: Tensor, attempt: Tensor
) -> Sequence[Known]:
    """Molecules to be built, each with a latent of its own from the prior; of a model without one
    they stay as they are. It depends on the seed, the number of the conformer and the attempt, not
    on the others."""
    condition = latent_of(model)
    if condition is None:
        return molecules
    keys, found = random_keys(seed, number, (PRIOR + attempt).int()), []
    for row, one in enumerate(molecules):
        assert one.prior is not None
        assert one.vectors is not None
        noise = _normal(keys[:, row : row + 1], len(one.graph))[0].to(one.vectors)
        found.append(
            replace(one, vectors=condition.with_latent(one.vectors, one.prior.draw(noise)))
        )
    return found


def _normal(keys: Tensor, num_atoms: int) -> Tensor:
    """Standard normal numbers [num_keys, num_atoms, `SIZE`]."""
    counter = torch.arange(num_atoms * SIZE, dtype=torch.int32, device=keys.device)
    return torch.special.ndtri(uniform(keys, counter)).view(-1, num_atoms, SIZE)


@torch.inference_mode()
def importance_weighted(
    model: SchNetGen,
    known: Known,
    positions: Sequence[np.ndarray],
    orders: Sequence[np.ndarray],
    seed: int,
    number: Tensor,
    samples: int,
) -> LogProb:
    """ln p(R | G) of conformers [num_atoms, 3] from latents that the posterior draws: the logarithm
    of the mean of p(R | z, G) p(z | G) / q(z | G, R) (Burda et al., ICLR 2016).

    On average it is below the true value, by less and less the more samples there are. Its parts
    are the mean of ln p(R | z, G), ``distance``, and the rest, ``latent``, so that what is left of
    the divergence from the prior is seen.
    """
    condition = latent_of(model)
    assert condition is not None
    assert known.vectors is not None
    count, size = len(positions), len(known.graph)
    whole = GraphBatch.of_graphs([known.graph] * count)
    graphs = GraphBatch(*(part.to(model.device) for part in whole))
    pos = torch.tensor(np.concatenate(positions), dtype=torch.float32, device=model.device)
    ptr = cumsum(torch.full((count,), size, device=model.device))
    atoms = known.vectors.repeat(count, 1)
    p = condition.prior_of(graphs, atoms)
    q = condition.posterior_of(graphs, atoms, p, pos, ptr)
    layout, found = Layout.of([known] * count, orders), []
    for sample in range(samples):
        keys = random_keys(seed, number, POSTERIOR + sample)
        z = q.draw(_normal(keys, size).flatten(0, 1).to(q.mean))
        told = condition.with_latent(atoms, z).view(count, size, -1)
        own = [replace(known, vectors=vectors) for vectors in told]
        decoded = log_prob_of(follow(model, layout.state(own, positions), SamplingConfig()))
        ratio = (p.log_prob(z) - q.log_prob(z)).view(count, -1).sum(1).cpu()
        found.append((decoded.value, ratio, decoded.error))
    decoder, ratio, error = (torch.stack(part).double() for part in zip(*found, strict=True))
    return estimate(decoder, ratio, error.amax(0))


def estimate(decoder: Tensor, ratio: Tensor, error: Tensor) -> LogProb:
    """From ln p(R | z, G) and ln p(z | G) − ln q(z | G, R) of samples [samples, count]."""
    weight = decoder + ratio
    value = weight.logsumexp(0) - math.log(len(weight))
    # Of the logarithm of a mean: the error of the mean, relative to it.
    relative = torch.exp(weight - value)
    spread = relative.std(0) / math.sqrt(len(weight)) if len(weight) > 1 else value + torch.nan
    spread = torch.where(value.isneginf(), torch.zeros_like(value), spread)
    mean = decoder.mean(0)
    rest = torch.where(value.isneginf(), torch.zeros_like(value), value - mean)
    return LogProb(value, error, {"distance": mean, "latent": rest}, spread)
