"""The density of a position, with its norm: what the model says, not what a sampler finds.

``p(r) = ∏_j p_j(|r − r_j|) / N``, where N is the integral over all positions that are possible. It
is taken on a cubic lattice that becomes finer where the density is: cubes that hold next to
nothing, by a bound on the density in them, are left as they are, all others are divided into eight
until the integral no longer changes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from schnetgen_pyg.accelerated import per_chunk
from schnetgen_pyg.generator.placement import Sides, ball, blurred, upsample

#: Error of log N that is small enough.
TOLERANCE = 0.01
#: Share of the integral that cubes which are not divided may hold at most.
NEGLIGIBLE = 1e-3
#: Cubes at most.
MOST = 1 << 22


@dataclass(frozen=True)
class PositionDensity:
    """Where one atom may lie, and how probable that is.

    Attributes:
        pos: placed atoms [placed, 3] in Å.
        log_prob: of their distances to the new one [placed, bins]; linear between the bins, and
            beyond the last as there.
        spacing: of the bins in Å.
        center: about which the new atom lies [3] in Å.
        inner, outer: least and largest distance from there in Å.
        width: of the finest detail of ``log_prob`` in Å; cubes are at most twice as large in the
            end.
        below, above: distances from the placed atoms that are too short, and the largest that are
            possible [placed] in Å.
        bond: distances that count as bonds [placed] in Å.
        limit: so many bonds the new atom may have, or any number.
        sides: half-spaces [1, number, …] that it lies in, or none.
    """

    pos: Tensor
    log_prob: Tensor
    spacing: float
    center: Tensor
    inner: float
    outer: float
    width: float
    below: Tensor | None = None
    above: Tensor | None = None
    bond: Tensor | None = None
    limit: int | None = None
    sides: Sides | None = None

    def log_score(self, point: Tensor) -> float:
        """log ∏_j p_j at a point [3] in Å; −∞ where no atom may lie."""
        relative = (point - self.center)[None]
        inside = self.inner <= float(relative.norm()) <= self.outer
        return float(self._scores(relative, *self._tables(0.0))[0]) if inside else -math.inf

    def log_norm(self) -> tuple[float, float]:
        """log N, with N in Å³, and how much it changed when cubes were divided for the last time,
        which is more than its error."""
        spacing = min(0.4, self.outer / 8)
        cubes = ball(self.outer + spacing, spacing, self.pos.device)
        cubes = cubes[cubes.norm(dim=1) > self.inner - spacing]
        left = cubes.new_tensor(-torch.inf)  # in cubes that stay as they are
        before = math.inf
        while True:
            mass, bound = self._masses(cubes, spacing)
            total = torch.logaddexp(left, mass.logsumexp(0))
            change = abs(float(total) - before)
            divided = bound > total + math.log(NEGLIGIBLE / len(cubes))
            number = 8 * int(divided.sum())
            fine = spacing <= 2 * self.width and change < TOLERANCE
            if fine or not number or (number > MOST and math.isfinite(change)):
                return float(total), change
            left = torch.logaddexp(left, mass[~divided].logsumexp(0))
            before, spacing = float(total), spacing / 2
            corner = torch.tensor([-0.5, 0.5], device=cubes.device) * spacing
            offsets = torch.cartesian_prod(corner, corner, corner)
            cubes = (cubes[divided].unsqueeze(1) + offsets).flatten(0, 1)

    def _masses(self, cubes: Tensor, spacing: float) -> tuple[Tensor, Tensor]:
        """Log of what cubes [num, 3] about the center hold, by the density in their middle, and
        at most [num]."""
        tables = self._tables(0.5 * math.sqrt(3) * spacing)  # from the middle to a corner
        size = per_chunk(cubes, len(self.pos))
        parts = [self._scores(part, *tables) for part in cubes.split(size)]
        mass, bound = torch.cat(parts, 1) + 3 * math.log(spacing)
        # Of cubes that the region ends in, the share inside.
        radius = cubes.norm(dim=1)
        ends = [self.outer - radius] + [radius - self.inner] * (self.inner > 0)
        for depth in ends:
            mass += (depth / spacing + 0.5).clamp_(0.0, 1.0).log_()
        return mass, bound

    def _tables(self, blur: float) -> tuple[Tensor, float]:
        """The largest log-probability within ``blur`` (Å) of each distance, and their spacing."""
        finer = max(1, math.ceil(2 * self.spacing / max(blur, self.spacing / 8)))
        step = self.spacing / finer
        return blurred(upsample(self.log_prob[None], finer), step, blur + 2 * step)[0], step

    def _scores(self, points: Tensor, table: Tensor, step: float) -> Tensor:
        """At points about the center [num, 3]: the log of the product, and the sum of the entries
        in a table [2, num]."""
        pos = self.pos - self.center
        distance = torch.cdist(pos, points)
        most = table.gather(1, _entries(distance / step, table, 1)[0]).sum(0)
        lower, rest = _entries(distance / self.spacing, self.log_prob, 2)
        start, end = self.log_prob.gather(1, lower), self.log_prob.gather(1, lower + 1)
        scores = torch.lerp(start, end, rest).sum(0)
        if self.below is not None:
            short = (distance < self.below.unsqueeze(1)).any(0)
            scores.masked_fill_(short, -torch.inf)
        if self.above is not None:
            scores.masked_fill_((distance > self.above.unsqueeze(1)).any(0), -torch.inf)
        if self.sides is not None:
            outside = self.sides.outside((points + self.center)[None])[0]
            scores.masked_fill_(outside, -torch.inf)
        if self.limit is not None and self.bond is not None:
            bonds = (distance < self.bond.unsqueeze(1)).sum(0)
            scores.masked_fill_(bonds > self.limit, -torch.inf)
        return torch.stack([scores, most])


def _entries(place: Tensor, table: Tensor, before_end: int) -> tuple[Tensor, Tensor]:
    """Which entries of a table lie before each place, and how far behind them it is, 0 to 1."""
    lower = place.long().clamp_(max=table.shape[1] - before_end)
    return lower, (place - lower).clamp_(max=1.0)


def log_densities(densities: Sequence[PositionDensity], positions: Tensor) -> tuple[Tensor, Tensor]:
    """Log-densities (1/Å³) of one position each [num, 3], and their errors at most [num]."""
    values, errors = [], []
    for one, position in zip(densities, positions, strict=True):
        score = one.log_score(position)
        norm, error = one.log_norm() if score > -math.inf else (0.0, 0.0)
        values.append(score - norm)
        errors.append(error)
    return positions.new_tensor(values), positions.new_tensor(errors)
