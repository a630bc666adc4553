"""`placement.log_scores`, `placement.sample` and the noise of `random_numbers`, each as one Triton
kernel.

A program scores one block of candidates of one molecule in registers; no distance, and in `sample`
no score, is written to memory. `kernels` imports this module only for tensors on a GPU.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

#: Candidates of a program: enough to hide the latency of the tables, and for the few of a shell.
SAMPLE_BLOCK = 1024


SCORE_BLOCK = 256


NOISE_BLOCK = 256


#: What changes from step to step; a kernel for each of its divisors would be compiled otherwise.
_VARIABLE = ("stride", "num", "placed", "bins", "molecules")


@triton.jit
def _mix(x):
    """`random_numbers._mix` of uint32 values, whose shifts are logical ones."""
    x = x ^ (x >> 16)
    x = x * 0x7FEB352D
    x = x ^ (x >> 15)
    x = x * 0x846CA68B
    return x ^ (x >> 16)


@triton.jit
def _uniform(index, first_key, second_key):
    """`random_numbers.uniform`, bit by bit."""
    bits = _mix(index.to(tl.uint32) ^ first_key.to(tl.uint32, bitcast=True))
    bits = _mix(bits + second_key.to(tl.uint32, bitcast=True))
    return ((bits >> 8).to(tl.float32) + 0.5) * 5.9604644775390625e-8


@triton.jit
def _gumbel(index, first_key, second_key):
    """`random_numbers.gumbel`. Winners have a small u, of which 1 − u keeps few digits, and Triton
    has no log1p: −log(1 − u) = 2 artanh(u / (2 − u)) by its series."""
    u = _uniform(index, first_key, second_key)
    s = u / (2.0 - u)
    square = s * s
    series = 2.0 * s * (1.0 + square * (1.0 / 3 + square * (1.0 / 5 + square * (1.0 / 7))))
    return -tl.log(tl.where(u < 0.25, series, -tl.log(1.0 - u)))


@triton.jit(do_not_specialize=("stride", "num", "molecules"))
def _noise_kernel(
    out, keys, index, stride, num, molecules, GUMBEL: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    blocks = tl.cdiv(num, BLOCK)
    molecule = (tl.program_id(0) // blocks).to(tl.int64)
    place = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    counter = tl.load(index + molecule * stride + place, mask=place < num, other=0)
    first_key, second_key = tl.load(keys + molecule), tl.load(keys + molecules + molecule)
    if GUMBEL:
        noise = _gumbel(counter, first_key, second_key)
    else:
        noise = _uniform(counter, first_key, second_key)
    tl.store(out + molecule * num + place, noise, mask=place < num)


def noise(keys: Tensor, index: Tensor, gumbel: bool) -> Tensor:
    """`random_numbers.uniform` or `random_numbers.gumbel`."""
    molecules, num = keys.shape[1], index.shape[-1]
    out = torch.empty(molecules, num, device=keys.device)
    with torch.cuda.device_of(keys):
        _noise_kernel[(molecules * triton.cdiv(num, NOISE_BLOCK),)](
            out,
            keys.contiguous(),
            index.contiguous(),
            num if index.dim() == 2 else 0,
            num,
            molecules,
            GUMBEL=gumbel,
            BLOCK=NOISE_BLOCK,
        )
    return out


@triton.jit
def _scores(
    molecule, index, candidates, stride, pos, table, reach, limit,
    num, placed, bins, per_spacing, penalty, BLOCK: tl.constexpr,
):  # fmt: skip
    """Scores [BLOCK] of candidates ``index`` of one ``molecule``, −∞ behind the last."""
    valid = index < num
    here = candidates + molecule * stride + index * 3
    x = tl.load(here, mask=valid, other=0.0)
    y = tl.load(here + 1, mask=valid, other=0.0)
    z = tl.load(here + 2, mask=valid, other=0.0)
    scores = tl.zeros([BLOCK], tl.float32)
    near = tl.zeros([BLOCK], tl.int32)
    for k in range(placed):
        atom = molecule * placed + k
        dx = x - tl.load(pos + atom * 3)
        dy = y - tl.load(pos + atom * 3 + 1)
        dz = z - tl.load(pos + atom * 3 + 2)
        squared = dx * dx + dy * dy + dz * dz
        place = tl.sqrt(squared) * per_spacing + 0.5
        place = tl.where(place < bins - 1, place, bins - 1)  # the last bin also for NaN
        scores += tl.load(table + atom * bins + place.to(tl.int32))
        if reach is not None:
            closest = tl.load(reach + atom)
            near += (squared < closest * closest).to(tl.int32)
    if reach is not None:
        scores += tl.where(near > tl.load(limit + molecule), penalty, 0.0)
    return tl.where(valid, scores, float("-inf"))


@triton.jit(do_not_specialize=_VARIABLE)
def _score_kernel(
    out, candidates, stride, pos, table, reach, limit,
    num, placed, bins, per_spacing, penalty, BLOCK: tl.constexpr,
):  # fmt: skip
    blocks = tl.cdiv(num, BLOCK)
    molecule = (tl.program_id(0) // blocks).to(tl.int64)
    index = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    scores = _scores(
        molecule, index, candidates, stride, pos, table, reach, limit,
        num, placed, bins, per_spacing, penalty, BLOCK,
    )  # fmt: skip
    tl.store(out + molecule * num + index, scores, mask=index < num)


@triton.jit(do_not_specialize=_VARIABLE)
def _sample_kernel(
    best, choice, score, log_norm, keys, candidates, pos, table,
    num, placed, bins, molecules, per_spacing, BLOCK: tl.constexpr,
):  # fmt: skip
    """Of one block: the largest of scores with noise, its candidate, that one's score, and the
    log-sum-exp of the scores."""
    program = tl.program_id(0)
    blocks = tl.cdiv(num, BLOCK)
    molecule = (program // blocks).to(tl.int64)
    index = program % blocks * BLOCK + tl.arange(0, BLOCK)
    scores = _scores(
        molecule, index, candidates, 0, pos, table, None, None,
        num, placed, bins, per_spacing, 0.0, BLOCK,
    )  # fmt: skip
    first_key, second_key = tl.load(keys + molecule), tl.load(keys + molecules + molecule)
    noisy = scores + _gumbel(index, first_key, second_key)
    value, where = tl.max(noisy, 0, return_indices=True)
    tl.store(best + program, value)
    tl.store(choice + program, program % blocks * BLOCK + where)
    tl.store(score + program, tl.sum(tl.where(tl.arange(0, BLOCK) == where, scores, 0.0), 0))
    largest = tl.max(scores, 0)
    largest = tl.where(largest == float("-inf"), 0.0, largest)
    tl.store(log_norm + program, largest + tl.log(tl.sum(tl.exp(scores - largest), 0)))


def log_scores(
    candidates: Tensor,
    pos: Tensor,
    log_prob: Tensor,
    spacing: float,
    reach: Tensor | None,
    limit: Tensor | None,
    penalty: float,
) -> Tensor:
    """`placement.log_scores`; ``penalty`` is what a candidate with too many bonds gets."""
    molecules, placed, bins = log_prob.shape
    num = candidates.shape[-2]
    out = torch.empty(molecules, num, device=pos.device)
    if reach is None or limit is None:
        reach = limit = None
    with torch.cuda.device_of(pos):
        _score_kernel[(molecules * triton.cdiv(num, SCORE_BLOCK),)](
            out,
            candidates.contiguous(),
            3 * num if candidates.dim() == 3 else 0,
            pos.contiguous(),
            log_prob.contiguous(),
            None if reach is None else reach.contiguous(),
            None if limit is None else limit.contiguous(),
            num,
            placed,
            bins,
            1.0 / spacing,
            penalty,
            BLOCK=SCORE_BLOCK,
        )
    return out


def sample(
    candidates: Tensor, pos: Tensor, log_prob: Tensor, spacing: float, keys: Tensor
) -> tuple[Tensor, Tensor]:
    """`placement.sample`, in two stages: the kernel reduces over blocks, and this over them."""
    molecules, placed, bins = log_prob.shape
    num = candidates.shape[0]
    blocks = triton.cdiv(num, SAMPLE_BLOCK)
    best, score, log_norm = torch.empty(3, molecules, blocks, device=pos.device)
    choice = torch.empty(molecules, blocks, dtype=torch.int32, device=pos.device)
    with torch.cuda.device_of(pos):
        _sample_kernel[(molecules * blocks,)](
            best,
            choice,
            score,
            log_norm,
            keys.contiguous(),
            candidates.contiguous(),
            pos.contiguous(),
            log_prob.contiguous(),
            num,
            placed,
            bins,
            molecules,
            1.0 / spacing,
            BLOCK=SAMPLE_BLOCK,
        )
    where = best.argmax(1, keepdim=True)
    index = choice.gather(1, where).squeeze(1).long()
    return index, score.gather(1, where).squeeze(1) - log_norm.logsumexp(1)
