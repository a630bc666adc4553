"""From distance distributions to a position: candidates, their log-probability, a sample.

Pure functions on tensors; no network in sight.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from schnetgen_pyg.accelerated import per_chunk
from schnetgen_pyg.accelerated.kernels import kernels
from schnetgen_pyg.generator.random_numbers import draw_without_replacement, gumbel, rotations

#: Added to the log-probability of what is not allowed: lost against anything that is, also where
#: many unlikely distances, over a low temperature, add up.
PENALTY = -1e6
#: Log-probabilities over temperature beyond this, either way, say no more than this.
LARGEST = 1e4
#: Spacing of the finest tables of log-probabilities at most, in Å; linear between the bins.
TABLE_SPACING = 0.0125
#: An entry of a table stands for distances so much shorter and longer than its own (Å), too; and
#: a rounding.
HALF_ENTRY = 0.5 * TABLE_SPACING + 1e-4


class Sides(NamedTuple):
    """Half-spaces in which positions lie: normal · r ≥ offset for all of them.

    Attributes:
        normal: unit vectors [num_molecules, number, 3].
        offset: in Å [num_molecules, number].
    """

    normal: Tensor
    offset: Tensor

    def rows(self, rows: slice) -> Sides:
        """Those of some molecules."""
        return Sides(self.normal[rows], self.offset[rows])

    def outside(self, points: Tensor, margin: float = 0.0) -> Tensor:
        """Which points [num_molecules, num, 3] lie more than ``margin`` (Å) outside of any of them
        [num_molecules, num]."""
        height = torch.matmul(points, self.normal.mT) - self.offset.unsqueeze(1)
        return (height < -margin).any(2)

    def seen_from(self, center: Tensor, turn: Tensor) -> Sides:
        """The same of positions about centers [num_molecules, 3] before they are turned
        [num_molecules, 3, 3]."""
        offset = self.offset - torch.matmul(self.normal, center.unsqueeze(2)).squeeze(2)
        return Sides(torch.matmul(self.normal, turn), offset)


def grid(extent: float, spacing: float, device: torch.device | None = None) -> Tensor:
    """Cubic grid of candidates [num_candidates, 3] in Å from −extent to +extent.

    The paper's is ``grid(4.4, 0.2)``: 45³ = 91,125 points with the origin among them.
    """
    half = round(extent / spacing)
    axis = torch.arange(-half, half + 1, device=device) * spacing
    return torch.cartesian_prod(axis, axis, axis)


@lru_cache(maxsize=16)
def ball(radius: float, spacing: float, device: torch.device | None = None) -> Tensor:
    """Cubic lattice points [num_points, 3] no further than ``radius`` from the origin (Å), by
    ascending distance."""
    if device is not None:
        return ball(radius, spacing).to(device)
    points = grid(radius, spacing) + 0.5 * spacing
    distance = points.norm(dim=1)
    order = distance.argsort(stable=True)
    return points[order][distance[order] <= radius]


def upsample(log_prob: Tensor, factor: int) -> Tensor:
    """Log-probabilities on bins ``factor`` times finer, linear in between."""
    if log_prob.is_cuda:  # torch's kernel took two thirds of a GPU's time in generation
        return _upsample(log_prob, factor)
    size = (log_prob.shape[-1] - 1) * factor + 1
    return torch.nn.functional.interpolate(log_prob, size=size, mode="linear", align_corners=True)


def _upsample(log_prob: Tensor, factor: int) -> Tensor:
    """`upsample` in plain arithmetic."""
    between = torch.arange(factor, device=log_prob.device) / factor
    finer = torch.lerp(log_prob[..., :-1, None], log_prob[..., 1:, None], between)
    return torch.cat([finer.flatten(-2), log_prob[..., -1:]], -1)


def log_scores(
    candidates: Tensor,
    pos: Tensor,
    log_prob: Tensor,
    spacing: float,
    reach: Tensor | None = None,
    limit: Tensor | None = None,
) -> Tensor:
    """Σ_j log p(Δ_j) at each candidate: the unnormalised log-probability of a position.

    Args:
        candidates: the same for all [num_candidates, 3], or for each molecule
            [num_molecules, num_candidates, 3], in Å.
        pos: placed atoms [num_molecules, num_placed, 3] in Å.
        log_prob: of their distances, over temperature [num_molecules, num_placed, num_bins].
        spacing: of the bins in Å.
        reach, limit: a candidate closer than ``reach`` [num_molecules, num_placed] (Å) to more
            than ``limit`` [num_molecules] placed atoms is as good as impossible.

    Returns:
        [num_molecules, num_candidates].
    """
    if fused := kernels(log_prob):
        return fused.log_scores(candidates, pos, log_prob, spacing, reach, limit, PENALTY)
    molecules, placed = pos.shape[:2]
    size = min(molecules, per_chunk(pos, placed * candidates.shape[-2]))
    blocks = []
    for start in range(0, molecules, size):
        here = slice(start, start + size)
        few = candidates if candidates.dim() == 2 else candidates[here]
        closest, most = (None if part is None else part[here] for part in (reach, limit))
        columns = few.mT.split(per_chunk(pos, size * placed), dim=-1)
        scores = [
            _block_scores(part, pos[here], log_prob[here], spacing, closest, most)
            for part in columns
        ]
        blocks.append(scores[0] if len(scores) == 1 else torch.cat(scores, dim=1))
    return torch.cat(blocks)


def _block_scores(
    candidates: Tensor,
    pos: Tensor,
    log_prob: Tensor,
    spacing: float,
    reach: Tensor | None,
    limit: Tensor | None,
) -> Tensor:
    """`log_scores` of candidates [3, num] or [num_molecules, 3, num], all at once."""
    # |c − r|² in bins by one small matrix product; its rounding is far below a bin.
    pos, candidates = pos / spacing, candidates / spacing
    one = pos.new_ones(())
    pos = torch.cat([-2.0 * pos, pos.square().sum(2, True), one.expand(*pos.shape[:2], 1)], 2)
    square = candidates.square().sum(-2, True)
    candidates = torch.cat([candidates, one.expand_as(square), square], -2)
    squared = torch.matmul(pos, candidates)
    allowed = None
    if reach is not None and limit is not None:
        near = (squared < (reach / spacing).square().unsqueeze(2)).sum(1)
        allowed = near <= limit.unsqueeze(1)
    bins = squared.clamp_(min=0.0).sqrt_().add_(0.5).clamp_(max=log_prob.shape[2] - 1).long()
    scores = log_prob.gather(2, bins).sum(1)
    return scores if allowed is None else scores + PENALTY * ~allowed


def blurred(log_prob: Tensor, spacing: float, blur: float) -> Tensor:
    """The largest log-probability within ``blur`` (Å) of each distance."""
    reach = round(blur / spacing)
    return torch.nn.functional.max_pool1d(log_prob, 2 * reach + 1, stride=1, padding=reach)


@dataclass(frozen=True)
class Shell:
    """Positions around one atom of each molecule, from coarse to fine.

    Coarse candidates stand for cubes of their spacing, in a lattice that is turned at random about
    the centre. At each level some cubes are drawn without replacement and divided into smaller
    ones, and each of those weighs the inverse of the probability with which its cube was taken,
    so that nothing is truncated. A coarse cube is scored by the best distances inside it, and
    scores are made flatter, for what lies in a cube is known only roughly.

    Attributes:
        center: the atom [num_molecules, 3] in Å.
        inner, outer: no position outside these radii (Å) is possible for any of the molecules;
            which ones a molecule may take its own ``log_prob`` says.
        largest: radius of the whole lattice in Å; numbers the cubes.
        pos, log_prob, spacing, reach, limit: as in `log_scores`.
        sides: half-spaces that a position has to lie in, or none.
        coarse_spacing: of the coarse lattice in Å.
        levels: how many cubes are drawn, and into how many along each axis they are divided.
        flattening: of the scores from which cubes are drawn.
    """

    center: Tensor
    inner: float
    outer: float
    largest: float
    pos: Tensor
    log_prob: Tensor
    spacing: float
    reach: Tensor | None = None
    limit: Tensor | None = None
    sides: Sides | None = None
    coarse_spacing: float = 0.25
    levels: tuple[tuple[int, int], ...] = ((24, 2), (16, 2), (16, 3))
    flattening: float = 0.7

    @property
    def _finer(self) -> int:
        """Entries of a fine table per bin of ``log_prob``."""
        return math.ceil(self.spacing / TABLE_SPACING - 1e-6)

    @cached_property
    def _fine_table(self) -> Tensor:
        return upsample(self.log_prob, self._finer)

    def _scores(self, candidates: Tensor, turn: Tensor, blur: float = 0.0) -> Tensor:
        """Of candidates in the lattice, the same for all [num_candidates, 3] or
        [num_molecules, num_candidates, 3], that `rotations` ``turn`` about the centre; with
        ``blur`` (Å) the best of distances that are so much shorter or longer."""
        if blur < self.spacing:
            table, spacing = self._fine_table, self.spacing / self._finer
        else:
            table, spacing = blurred(self.log_prob, self.spacing, blur), self.spacing
        reach = None if self.reach is None else self.reach - blur
        relative = torch.matmul(self.pos - self.center.unsqueeze(1), turn)
        scores = log_scores(candidates, relative, table, spacing, reach, self.limit)
        if self.sides is not None:
            sides = self.sides.seen_from(self.center, turn)
            scores = scores + PENALTY * sides.outside(candidates, math.sqrt(3) * blur)
        return scores

    def _lattice(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """The coarse cubes that any molecule needs [num_cubes, 3], and their numbers."""
        spacing, margin = self.coarse_spacing, 0.5 * self.coarse_spacing
        # Counted on the CPU: for a GPU one would have to wait.
        radius = ball(self.largest + spacing, spacing).norm(dim=1)
        first, last = (
            int(torch.searchsorted(radius, limit))
            for limit in (self.inner - margin, self.outer + margin)
        )
        lattice = ball(self.largest + spacing, spacing, device)
        return lattice[first:last], torch.arange(first, last, device=device)

    def _fine(self, keys: Tensor, turn: Tensor) -> tuple[Tensor, Tensor]:
        """Fine candidates in the lattice [num_molecules, num_fine, 3], and their Gumbel numbers
        with weights."""
        device = self.pos.device
        cubes, number = self._lattice(device)
        number = number.expand(len(turn), -1)
        log_weight = self.pos.new_zeros(len(turn), 1)
        spacing = self.coarse_spacing
        for depth, (count, width) in enumerate(self.levels):
            scores = self._scores(cubes, turn, 0.5 * spacing) + log_weight
            drawn, taken = draw_without_replacement(
                self.flattening * scores, count, keys, _counter(number, depth)
            )
            spacing /= width
            offsets = torch.arange(width, device=device) * spacing
            offsets = torch.cartesian_prod(offsets, offsets, offsets)
            offsets = offsets - offsets.mean(0)
            rows = torch.arange(len(turn), device=device).unsqueeze(1)
            cubes = cubes[rows, drawn] if depth else cubes[drawn]
            cubes = (cubes.unsqueeze(2) + offsets).flatten(1, 2)
            number = number.gather(1, drawn).unsqueeze(2) * len(offsets)
            number = (number + torch.arange(len(offsets), device=device)).flatten(1)
            if depth:
                log_weight = log_weight.gather(1, drawn)
            log_weight = (log_weight - taken).repeat_interleave(len(offsets), 1)
        weighted = self._scores(cubes, turn) + log_weight
        return cubes, weighted + gumbel(keys, _counter(number, len(self.levels)))

    def sample(self, keys: Tensor) -> Tensor:
        """Positions [num_molecules, 3]."""
        turn = rotations(keys)
        fine, noisy = self._fine(keys, turn)
        choice = noisy.argmax(1)
        rows = torch.arange(len(choice), device=fine.device)
        position = torch.matmul(turn, fine[rows, choice].unsqueeze(2)).squeeze(2)
        return self.center + position

    def below_peak(self, position: Tensor, margin: float) -> Tensor:
        """How much less than the largest the log-probabilities of the distances at given positions
        [num_molecules, 3] are, in their mean [num_molecules]; of distances up to the longest and
        ``margin`` (Å) more, for how far ``log_prob`` reaches depends on the other molecules."""
        distance = (self.pos - position.unsqueeze(1)).norm(dim=2, keepdim=True)
        most = self.log_prob.shape[2] - 1
        bins = (distance / self.spacing).round().clamp(max=most).long()
        longest = (distance.amax(1, keepdim=True) + margin) / self.spacing
        beyond = torch.arange(most + 1, device=position.device) > longest
        peak = self.log_prob.masked_fill(beyond, -torch.inf).amax(2)
        return (peak - self.log_prob.gather(2, bins).squeeze(2)).mean(1)


def _counter(number: Tensor, depth: int) -> Tensor:
    """Counters of the candidates of one level, no two alike."""
    return (number + ((depth + 1) << 28)).int()


def sample(
    candidates: Tensor,
    pos: Tensor,
    log_prob: Tensor,
    spacing: float,
    keys: Tensor,
    max_elements: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Sample one candidate per molecule from p ∝ exp(score), exactly, by Gumbel arg max.

    Args:
        candidates, pos, log_prob, spacing: as in `log_scores`.
        keys: from `random_numbers.random_keys` [2, num_molecules].
        max_elements: the most scores held at once; candidates go in blocks. The kernel holds none.

    Returns:
        index of the candidate [num_molecules] and its log-probability [num_molecules].
    """
    if fused := kernels(log_prob):
        return fused.sample(candidates, pos, log_prob, spacing, keys)
    molecules = pos.shape[0]
    block = max(1, max_elements // molecules) if max_elements else per_chunk(pos, molecules)
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


def forbid(table: Tensor, centers: Tensor, below: Tensor) -> None:
    """Forbid distances shorter than ``below`` [molecules, atoms] (Å) in log-probabilities of
    distances [molecules, atoms, bins]; 0 forbids nothing."""
    least = torch.where(below > 0, below + HALF_ENTRY, below)
    short = centers[centers < least.max()]
    table[:, :, : len(short)] += PENALTY * (short < least.unsqueeze(2))


def forbid_beyond(table: Tensor, centers: Tensor, above: Tensor) -> None:
    """The same of distances longer than ``above`` [molecules, atoms] (Å)."""
    most = above - HALF_ENTRY
    first = int(torch.searchsorted(centers, most.min()))
    table[:, :, first:] += PENALTY * (centers[first:] > most.unsqueeze(2))
