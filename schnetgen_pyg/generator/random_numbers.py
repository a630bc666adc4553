"""Counter-based random numbers: each is a hash of (seed, molecule, step, counter).

So a molecule is the same in any batch and on any device; `triton_kernels` has the same hash.
"""

from __future__ import annotations

import torch
from torch import Tensor

from schnetgen_pyg.accelerated.kernels import kernels

_MASK = 0xFFFFFFFF


# As tensors: bitwise operations convert a Python number in every call.
_HALF, _HALF_MASK, _OTHER, _OTHER_MASK, _FIRST, _SECOND = (
    torch.tensor(value, dtype=torch.int32)
    for value in (16, 0xFFFF, 15, 0x1FFFF, 0x7FEB352D, -0x7B935975)
)


def _fold(x: Tensor, shift: Tensor, mask: Tensor) -> Tensor:
    """x ^ (x >> shift), the shift without sign."""
    return (x >> shift).bitwise_and_(mask).bitwise_xor_(x)


def _mix(x: Tensor) -> Tensor:
    """A bijective 32-bit hash (two multiply–xorshift rounds) of int32 values."""
    x = _fold(x, _HALF, _HALF_MASK).mul_(_FIRST)
    x = _fold(x, _OTHER, _OTHER_MASK).mul_(_SECOND)
    return _fold(x, _HALF, _HALF_MASK)


def _to_int32(value: int) -> int:
    value &= _MASK
    return value - (1 << 32) if value >= 1 << 31 else value


def molecule_keys(seed: int, molecule: Tensor) -> Tensor:
    """Two 32-bit keys for each molecule, from which `step_keys` makes those of a step.

    Args:
        seed: the user's seed.
        molecule: index of each molecule in the whole run [num_molecules].

    Returns:
        int32 [2, num_molecules].
    """
    salts = torch.tensor([[0x1B873593], [0x2C1B3C6D]], dtype=torch.int32, device=molecule.device)
    keys = _mix(salts ^ _to_int32(seed))
    keys = _mix(keys + _to_int32(seed >> 32))
    return _mix(keys ^ molecule.to(torch.int32))


def step_keys(keys: Tensor, step: int | Tensor) -> Tensor:
    """Of `molecule_keys`, those of one step: what the numbers are for, the same for all or
    [num_molecules] (int32)."""
    return _mix(keys + step)


def random_keys(seed: int, molecule: Tensor, step: int | Tensor) -> Tensor:
    """`step_keys` of `molecule_keys`: two for each molecule at one step [2, num_molecules]."""
    return step_keys(molecule_keys(seed, molecule), step)


def uniform(keys: Tensor, index: Tensor) -> Tensor:
    """Uniform numbers in (0, 1) with 24 bits.

    Args:
        keys: from `random_keys` [2, num_molecules].
        index: counters [num], or for each molecule [num_molecules, num] (int32).

    Returns:
        float32 [num_molecules, num].
    """
    if fused := kernels(keys):
        return fused.noise(keys, index, False)
    bits = _mix(index ^ keys[0].unsqueeze(1))
    bits = _mix(bits.add_(keys[1].unsqueeze(1)))
    return (bits >> 8).bitwise_and_(0xFFFFFF).float().add_(0.5).mul_(2.0**-24)


def gumbel(keys: Tensor, index: Tensor) -> Tensor:
    """Standard Gumbel noise, as `uniform`; −log of an exponential variate."""
    if fused := kernels(keys):
        return fused.noise(keys, index, True)
    return uniform(keys, index).neg_().log1p_().neg_().log_().neg_()


def choose(log_prob: Tensor, keys: Tensor, index: Tensor | None = None) -> Tensor:
    """Sample one of a few options per molecule [num_molecules].

    Args:
        log_prob: unnormalised [num_molecules, num_options].
        keys: from `random_keys`.
        index: counters of the options, as in `uniform`; by default 0, 1, ….
    """
    if index is None:
        index = torch.arange(log_prob.shape[1], dtype=torch.int32, device=log_prob.device)
    return (log_prob + gumbel(keys, index)).argmax(1)


def draw_without_replacement(
    log_weight: Tensor, count: int, keys: Tensor, number: Tensor
) -> tuple[Tensor, Tensor]:
    """Gumbel top-k (Kool, van Hoof, Welling 2019).

    Args:
        log_weight: unnormalised [num_molecules, num_options].
        count: how many of the options to draw.
        keys: from `random_keys`.
        number: counters of the options [num_options] or [num_molecules, num_options] (int32).

    Returns:
        indices [num_molecules, count] and the log of the probability with which each was taken,
        given the threshold: the inverses weigh a sum over the drawn without bias.
    """
    scores = log_weight.log_softmax(1)
    count = min(count, scores.shape[1] - 1)
    best = (scores + gumbel(keys, number)).topk(count + 1, dim=1)
    chosen, threshold = best.indices[:, :-1], best.values[:, -1:]
    # 1 − exp(−exp(s − κ)): an option's chance to beat the threshold κ.
    return chosen, torch.log(-torch.expm1(-torch.exp(scores.gather(1, chosen) - threshold)))


def rotations(keys: Tensor) -> Tensor:
    """Uniformly random rotation matrices [num_molecules, 3, 3] (Shoemake 1992)."""
    u = uniform(keys, torch.arange(3, dtype=torch.int32, device=keys.device))
    angle = 2 * torch.pi * u[:, 1:]
    parts = torch.stack([angle.sin(), angle.cos()], 2)
    # A quaternion (x, y, z | w), and by it the images of the three axes, the columns of the matrix.
    parts = parts * torch.stack([1 - u[:, 0], u[:, 0]], 1).sqrt().unsqueeze(2)
    quaternion = parts.flatten(1)
    vector, scalar = quaternion[:, None, :3], quaternion[:, None, 3:]
    axes = torch.eye(3, device=keys.device).expand(len(u), -1, -1)
    turned = torch.linalg.cross(vector, axes)
    return (axes + 2 * (scalar * turned + torch.linalg.cross(vector, turned))).mT
