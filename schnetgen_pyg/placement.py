"""From distance distributions to a position: candidates, their log-probability, a sample.

Pure functions on tensors; no network in sight. Randomness is counter-based: a number is a hash of
(seed, molecule, step, candidate), so a molecule is the same in any batch and on any device.
"""

from __future__ import annotations

import torch
from torch import Tensor

_MASK = 0xFFFFFFFF


def _mix(x: Tensor) -> Tensor:
    """A bijective 32-bit hash (two multiply–xorshift rounds) of int32 values."""
    x = x ^ ((x >> 16) & 0xFFFF)
    x = x * 0x7FEB352D
    x = x ^ ((x >> 15) & 0x1FFFF)
    x = x * -0x7B935975
    return x ^ ((x >> 16) & 0xFFFF)


def _to_int32(value: int) -> int:
    value &= _MASK
    return value - (1 << 32) if value >= 1 << 31 else value


def random_keys(seed: int, molecule: Tensor, step: int) -> Tensor:
    """Two 32-bit keys for each molecule at one step.

    Args:
        seed: the user's seed.
        molecule: index of each molecule in the whole run [num_molecules].
        step: what the numbers are for.

    Returns:
        int32 [2, num_molecules].
    """
    molecule = molecule.to(torch.int32)
    keys = []
    for salt in (0x1B873593, 0x2C1B3C6D):
        key = _mix(torch.full_like(molecule, _to_int32(seed)) ^ salt)
        key = _mix(key + _to_int32(seed >> 32))
        key = _mix(key ^ molecule)
        keys.append(_mix(key + step))
    return torch.stack(keys)


def uniform(keys: Tensor, index: Tensor) -> Tensor:
    """Uniform numbers in (0, 1) with 24 bits.

    Args:
        keys: from `random_keys` [2, num_molecules].
        index: counters [num] (int32).

    Returns:
        float32 [num_molecules, num].
    """
    bits = _mix(_mix(index).unsqueeze(0) ^ keys[0].unsqueeze(1))
    bits = _mix(bits + keys[1].unsqueeze(1))
    return (((bits >> 8) & 0xFFFFFF).float() + 0.5) * 2.0**-24


def gumbel(keys: Tensor, index: Tensor) -> Tensor:
    """Standard Gumbel noise, as `uniform`; −log of an exponential variate."""
    return -torch.log(-torch.log1p(-uniform(keys, index)))


def grid(extent: float, spacing: float, device: torch.device | None = None) -> Tensor:
    """Cubic grid of candidates [num_candidates, 3] in Å from −extent to +extent.

    The paper's is ``grid(4.4, 0.2)``: 45³ = 91,125 points with the origin among them.
    """
    half = round(extent / spacing)
    axis = torch.arange(-half, half + 1, device=device) * spacing
    return torch.cartesian_prod(axis, axis, axis)


def log_scores(candidates: Tensor, pos: Tensor, log_prob: Tensor, spacing: float) -> Tensor:
    """Σ_j log p(Δ_j) at each candidate: the unnormalised log-probability of a position.

    Args:
        candidates: [num_candidates, 3] in Å.
        pos: placed atoms [num_molecules, num_placed, 3] in Å.
        log_prob: of their distances, over temperature [num_molecules, num_placed, num_bins].
        spacing: of the bins in Å.

    Returns:
        [num_molecules, num_candidates].
    """
    scores = log_prob.new_zeros(pos.shape[0], candidates.shape[0])
    last = log_prob.shape[2] - 1
    squares = candidates.square().sum(1)
    for placed in range(pos.shape[1]):
        # |c − r|² by one small matrix product; at Å scales its rounding is far below a bin.
        where = pos[:, placed]
        squared = torch.addmm(squares, where, candidates.T, alpha=-2.0)
        squared += where.square().sum(1, keepdim=True)
        bins = squared.clamp_(min=0.0).sqrt_().mul_(1.0 / spacing).add_(0.5).long()
        scores += log_prob[:, placed].gather(1, bins.clamp_(max=last))
    return scores


def sample(
    candidates: Tensor,
    pos: Tensor,
    log_prob: Tensor,
    spacing: float,
    keys: Tensor,
    max_elements: int = 1 << 20,
) -> tuple[Tensor, Tensor]:
    """Sample one candidate per molecule from p ∝ exp(score), exactly, by Gumbel arg max.

    Args:
        candidates, pos, log_prob, spacing: as in `log_scores`.
        keys: from `random_keys` [2, num_molecules].
        max_elements: the most numbers in any temporary tensor; candidates go in blocks.

    Returns:
        index of the candidate [num_molecules] and its log-probability [num_molecules].
    """
    molecules = pos.shape[0]
    block = max(1, max_elements // molecules)
    best = log_prob.new_full((molecules,), -torch.inf)
    choice = torch.zeros(molecules, dtype=torch.long, device=pos.device)
    score = torch.zeros_like(best)
    log_norm = torch.full_like(best, -torch.inf)
    for start in range(0, candidates.shape[0], block):
        part = candidates[start : start + block]
        scores = log_scores(part, pos, log_prob, spacing)
        log_norm = torch.logaddexp(log_norm, scores.logsumexp(1))
        index = torch.arange(start, start + part.shape[0], dtype=torch.int32, device=pos.device)
        value, where = (scores + gumbel(keys, index)).max(1)
        better = value > best
        best = torch.where(better, value, best)
        choice = torch.where(better, start + where, choice)
        score = torch.where(better, scores.gather(1, where.unsqueeze(1)).squeeze(1), score)
    return choice, score - log_norm


def log_prob(
    candidates: Tensor, pos: Tensor, log_prob: Tensor, spacing: float, index: Tensor
) -> Tensor:
    """Log-probability [num_molecules] that `sample` chooses candidate ``index``."""
    scores = log_scores(candidates, pos, log_prob, spacing)
    return scores[:, index] - scores.logsumexp(1)
