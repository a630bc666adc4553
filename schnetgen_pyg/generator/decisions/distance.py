"""The distances from the placed atoms to the new one, and with them its position."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import Data

from schnetgen_pyg.accelerated import per_chunk
from schnetgen_pyg.chem.bonds import bond_limits
from schnetgen_pyg.data.means import Mean
from schnetgen_pyg.generator import placement
from schnetgen_pyg.generator.decisions.base import Decision
from schnetgen_pyg.generator.density import PositionDensity, log_densities
from schnetgen_pyg.generator.distances import DistanceBins
from schnetgen_pyg.generator.draft import StepRecord
from schnetgen_pyg.generator.guidance import guided
from schnetgen_pyg.generator.placement import PENALTY
from schnetgen_pyg.generator.shells import densities, shell, shell_factors
from schnetgen_pyg.representations.layers import GaussianSmearing, ShiftedSoftplus, mlp

if TYPE_CHECKING:
    from schnetgen_pyg.generator.config import GeneratorConfig
    from schnetgen_pyg.generator.draft import Draft
    from schnetgen_pyg.generator.sampling.config import SamplingConfig
    from schnetgen_pyg.generator.step import Step


class FocusMixer(nn.Module):
    """Let each placed atom see the focus: its features and the distance to it."""

    def __init__(self, hidden_channels: int, max_distance: float):
        super().__init__()
        num_gaussians = round(max_distance / 0.1) + 1
        self.expansion = GaussianSmearing(0.0, max_distance, num_gaussians, gamma=10.0)
        self.own = nn.Linear(hidden_channels, hidden_channels)
        self.focus = nn.Linear(hidden_channels, hidden_channels, bias=False)
        self.distance = nn.Linear(num_gaussians, hidden_channels, bias=False)
        self.act = ShiftedSoftplus()

    def forward(self, x: Tensor, focus: Tensor, distance: Tensor) -> Tensor:
        """x [num_nodes, channels]; of the node's focus, what `focus` makes of its features
        [num_nodes, channels]; the ``distance`` between the two [num_nodes] in Å."""
        return self.act(self.own(x) + focus + self.distance(self.expansion(distance)))


class Distance(Decision):
    """Dense layers of growing width from the features of every placed atom to a softmax over
    distances (Gebauer et al. 2018, figure 2); with a focus the features see it first.

    Drawn is a position: from the product of the distributions of all placed atoms, on the paper's
    grid or, with a focus, in the shell around it.
    """

    def __init__(self, config: GeneratorConfig):
        super().__init__(config)
        self.channels = config.hidden_channels
        self.bins = DistanceBins(config.num_bins, config.max_distance, config.label_width)
        widths = torch.linspace(config.hidden_channels, config.num_bins, config.num_head_layers + 1)
        self.head = mlp([round(width) for width in widths.tolist()])
        self.mixer: Any = None
        if config.focused:
            self.mixer = FocusMixer(config.hidden_channels, config.max_distance)
        elements = torch.tensor(config.elements)
        limits = bond_limits(elements.unsqueeze(0), elements.unsqueeze(1))
        #: Longest bond (Å) of any two elements.
        self.longest_bond = float(limits.max())

    def temperature(self, config: SamplingConfig) -> float:
        """That of positions; by default the paper's on a grid."""
        default = 0.01 if self.mixer is None else 0.04
        return default if config.temperature is None else config.temperature

    def log_prob(self, step: Step) -> Tensor:
        """Of the bins [num_nodes, num_bins]; with a focus, given `Step.focus`."""
        return torch.log_softmax(self.scores(step.y, step.partial, step.focus), dim=-1)

    def loss(self, step: Step, molecules: Data) -> Mean:
        """Mean over all distances: the paper's loss."""
        partial = step.partial
        target = molecules.pos[partial.next_atom][partial.batch]
        distance = (partial.pos - target).norm(dim=1)
        return Mean(self.bins.cross_entropy(self.log_prob(step), distance).sum(), len(distance))

    def scores(
        self,
        y: Tensor,
        partial: Data,
        focus: Tensor | None = None,
        reach: float = math.inf,
    ) -> Tensor:
        """`log_prob` up to a constant of each node, which sampling has no use for
        [num_nodes, bins].

        Args:
            y: placed atoms combined with the new one [num_nodes, channels].
            partial: the partial molecules.
            focus: node of each partial molecule's focus [num_graphs], for a model with focus.
            reach: with a focus, how far from it the new atom is at most, in Å: bins that no node
                can then have, because of its own distance to the focus, get `PENALTY` or are
                left out.
        """
        hidden: Any = self.head[:-1]
        last: Any = self.head[-1]
        distance = at_focus = y.new_zeros(len(y), 0)
        if self.mixer is not None:
            assert focus is not None
            distance = (partial.pos - partial.pos[focus[partial.batch]]).norm(dim=1)
            at_focus = self.mixer.focus(y[focus])

        def scores(rows: Tensor | slice, bins: slice) -> Tensor:
            part = y[rows]
            if self.mixer is not None:
                part = self.mixer(part, at_focus[partial.batch[rows]], distance[rows])
            return F.linear(hidden(part), last.weight[bins], last.bias[bins])

        if torch.is_grad_enabled():
            return scores(slice(None), slice(None))
        num_bins = self.bins.centers.numel()
        size = per_chunk(y, num_bins)
        if math.isinf(reach):
            rows = [slice(start, start + size) for start in range(0, len(y), size)]
            return torch.cat([scores(part, slice(None)) for part in rows])
        spacing = self.bins.spacing
        bins = min(num_bins, int((float(distance.max()) + reach) / spacing) + 3)
        result = y.new_full((len(y), bins), PENALTY)
        for part in distance.argsort().split(size):
            closest, farthest = distance[part[[0, -1]]].tolist()
            start = max(0, int((closest - reach) / spacing) - 1)
            reached = slice(start, min(bins, int((farthest + reach) / spacing) + 3))
            result[part, reached] = scores(part, reached)
        return result

    def tables(self, draft: Draft, y: Tensor, pos: Tensor, focus: Tensor, reach: float) -> Tensor:
        """Log-probabilities over temperature, up to a constant, of the distances from placed atoms
        to new ones that are no farther than ``reach`` (Å) from their ``focus`` [count, size, bins],
        from features (`Step.drawn_y`) [count, size, …] and positions [count, size, 3]; they end
        where no distance does."""
        told, *untold = y.split(self.channels, dim=-1)
        scores = self.scores(*_flat(told, pos, focus), reach=reach)
        if untold:
            other = self.scores(*_flat(untold[0], pos, focus), reach=reach)
            scores = guided(scores, other, draft.config.guidance)
        return scores.view(*pos.shape[:2], -1) / self.temperature(draft.config)

    def normalised(self, y: Tensor, pos: Tensor, focus: Tensor | None) -> Tensor:
        """Log-probabilities of all distances [count, size, bins], with arguments as those of
        `tables`."""
        log_prob = torch.log_softmax(self.scores(*_flat(y, pos, focus)), dim=-1)
        return log_prob.view(*pos.shape[:2], -1)

    def draw(self, step: Step, draft: Draft) -> Tensor | None:
        """A position; of one that is followed the log-density in 1/Å³."""
        if draft.forced:
            return self._following(step)(step, draft)
        (self._on_grid if self.mixer is None else self._in_shell)(step, draft)
        return None

    def _on_grid(self, step: Step, draft: Draft) -> None:
        size, config = draft.placed, draft.config
        log_prob = step.guided(self.log_prob).view(len(draft.z), size, -1)
        log_prob = log_prob / self.temperature(config)
        log_prob.masked_fill_((draft.z[:, :size] == 0).unsqueeze(2), 0.0)
        candidates = placement.grid(config.grid_extent, config.grid_spacing, log_prob.device)
        placed, keys = draft.pos[:, :size], draft.keys(size, 0)
        choice, _ = placement.sample(candidates, placed, log_prob, self.bins.spacing, keys)
        draft.pos[:, size] = candidates[choice]

    def _in_shell(self, step: Step, draft: Draft) -> None:
        size = draft.placed
        assert step.focus is not None
        focus = step.focus - draft.rows * size
        y = step.drawn_y.view(len(draft.z), size, -1)
        around = shell(self, draft, y, draft.rows, focus)
        draft.pos[:, size] = around.sample(draft.keys(size, 0))
        draft.give_hydrogen(focus)

    def _following(self, step: Step) -> Callable[[Step, Draft], Tensor]:
        """How molecules are followed: without a focus, with one that is told, or with any."""
        if self.mixer is None:
            return self._follow
        return self._follow_mixture if step.focus is None else self._follow_focus

    def _follow(self, step: Step, draft: Draft) -> Tensor:
        """Positions about the first atom, as far as the distributions reach."""
        size = draft.placed
        pos = draft.pos[:, :size]
        log_prob = self.normalised(step.y.view(len(pos), size, -1), pos, None)
        if draft.history is not None:
            draft.history.append(StepRecord(log_prob))
            return pos.new_zeros(len(pos))
        spacing, outer = self.bins.spacing, float(self.bins.centers[-1])
        found = [
            PositionDensity(one, table, spacing, one[0], 0.0, outer, self.bins.label_width)
            for one, table in zip(pos, log_prob, strict=True)
        ]
        value, error = log_densities(found, draft.pos[:, size])
        draft.error += error
        return value

    def _follow_focus(self, step: Step, draft: Draft) -> Tensor:
        """Positions in the shell around the focus."""
        assert step.focus is not None
        size = draft.placed
        focus = step.focus - draft.rows * size
        around = densities(self, draft, step.y.view(len(draft.z), size, -1), draft.rows, focus)
        value, error = log_densities(around, draft.pos[:, size])
        draft.error += error
        return value

    def _follow_mixture(self, step: Step, draft: Draft) -> Tensor:
        """p(r) = Σ_f p(f) p(r | f) over all atoms in whose shell the position lies."""
        count, size = len(draft.z), draft.placed
        focus_log_prob = step.focus_log_prob
        assert focus_log_prob is not None
        least, most = shell_factors(draft.config)
        bond = bond_limits(draft.z[:, :size], draft.z[:, size, None])
        position = draft.pos[:, size]
        distance = (draft.pos[:, :size] - position.unsqueeze(1)).norm(dim=2)
        rows, focus = ((distance <= most * bond) & (distance >= least * bond)).nonzero(
            as_tuple=True
        )
        terms = torch.full_like(focus_log_prob, -torch.inf)
        errors = torch.zeros_like(terms)
        if len(rows):
            y = step.y.view(count, size, -1)
            around = densities(self, draft, y[rows], rows, focus)
            terms[rows, focus], errors[rows, focus] = log_densities(around, position[rows])
        joint = focus_log_prob + terms
        # That of the sum: the mean over the focuses, as probable as they are here.
        draft.error += (joint.softmax(1).nan_to_num(0.0) * errors).sum(1)
        best = joint.argmax(1)
        draft.give_hydrogen(best)
        if draft.history is not None:
            step.decide(focus=draft.rows * size + best)
            log_prob = self.log_prob(step).view(count, size, -1)
            draft.history.append(StepRecord(log_prob, focus_log_prob, best))
        return joint.logsumexp(1)


def _flat(y: Tensor, pos: Tensor, focus: Tensor | None) -> tuple[Tensor, Data, Tensor | None]:
    """Features, partial molecules and focuses as `Distance.scores` takes them, from those of
    equally large molecules [count, size, …]."""
    count, size = pos.shape[:2]
    here = torch.arange(count, device=pos.device)
    partial = Data(pos=pos.flatten(0, 1), batch=here.repeat_interleave(size))
    return y.flatten(0, 1), partial, None if focus is None else here * size + focus
