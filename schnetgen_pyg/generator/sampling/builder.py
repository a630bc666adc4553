"""One batch of molecules under construction: the one generation loop."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from schnetgen_pyg.chem import saturation
from schnetgen_pyg.chem.bonds import adjacency, bond_limits
from schnetgen_pyg.chem.elements import valences
from schnetgen_pyg.generator import placement
from schnetgen_pyg.generator.losses import allowed_types
from schnetgen_pyg.generator.model import SchNetGen
from schnetgen_pyg.generator.placement import PENALTY, forbid
from schnetgen_pyg.generator.random_numbers import choose, molecule_keys, step_keys
from schnetgen_pyg.generator.sampling.config import SamplingConfig
from schnetgen_pyg.generator.sampling.state import FilterCache, State, StepRecord
from schnetgen_pyg.generator.steps import partial_molecules, step_graph
from schnetgen_pyg.generator.valence_states import (
    UNKNOWN,
    UNKNOWN_OPEN,
    allowed_environments,
    open_places,
)

#: Shortest bond looked for, relative to the longest distance that counts as one.
SHORTEST_BOND = 0.65


#: More bonds than any atom has.
UNCOUNTED = 99


class Builder:
    """Places the atoms of a batch of molecules, whose state it changes.

    With ``forced`` it makes no choice of its own: it follows these molecules, and their
    ``log_prob`` says how probable they were. A list as ``history`` gets a `StepRecord` of every
    step.

    Args:
        state: the molecules, on the device of the model.
        placed: how many atoms of each are there.
        index: their numbers in the run [count].
        attempt: how often each was begun before [count].
    """

    def __init__(
        self,
        model: SchNetGen,
        state: State,
        placed: int,
        index: Tensor,
        seed: int,
        config: SamplingConfig,
        attempt: Tensor | None = None,
        forced: bool = False,
    ):
        device = model.bins.centers.device
        self.model, self.config, self.seed = model, config, seed
        default = 0.04 if model.config.focus else 0.01
        self.temperature = default if config.temperature is None else config.temperature
        self.index, self.placed = index.to(device), placed
        self.attempt = torch.zeros_like(self.index) if attempt is None else attempt.to(device)
        self.own_keys = molecule_keys(seed, self.index)
        self.forced = forced
        self.state, self.log_prob = state, state.log_prob
        self.z, self.pos, self.environment = state.z, state.pos, state.environment
        self.count, self.atoms = self.z.shape
        self.rows = torch.arange(self.count, device=device)
        # Views: what is written to the state is in them.
        ptr = torch.arange(self.count + 1, device=device) * self.atoms
        self.molecules = Data(z=self.z.view(-1), pos=self.pos.view(-1, 3), ptr=ptr)
        self.cache = FilterCache(model, placed) if model.shares_filters else None
        #: Of positions that are revised later, the probability is not known.
        self.scored = forced or not (model.config.focus and config.revisions)
        if not self.scored:
            self.log_prob.fill_(torch.nan)
        #: Of the placed atoms [count, placed, placed], at the step at hand.
        self.bonds = torch.zeros(self.count, 0, 0, dtype=torch.bool, device=device)
        #: Hydrogens that every placed atom lacks, once the scaffold is there.
        self.missing: Tensor | None = None
        self.history: list[StepRecord] | None = None
        elements = torch.tensor(model.config.elements)
        self.largest = float(bond_limits(elements.unsqueeze(0), elements.unsqueeze(1)).max())

    def take(self, rows: Tensor | slice) -> Builder:
        """A builder of some of the molecules, with the filters that are known: of a copy of their
        state, or of the state itself where they are a slice."""
        state, index, attempt = self.state.rows(rows), self.index[rows], self.attempt[rows]
        arguments = self.seed, self.config, attempt, self.forced
        taken = Builder(self.model, state, self.placed, index, *arguments)
        taken.cache = None if self.cache is None else self.cache.rows(rows)
        return taken

    @torch.inference_mode()
    def run(self, size: int | None = None) -> Builder:
        """Place atoms until there are ``size``, by default all."""
        if self.cache is not None:
            self.cache.make_room((size or self.atoms) - 1)  # the last one is never looked at
        undecided = bool((self.environment[:, 0] == UNKNOWN).all())
        if self.model.config.environments and undecided and self.placed == 1 < self.atoms:
            self._choose_environment(self.model.environment_head(self.features(1)[0]), 0)
        for place in range(self.placed, size or self.atoms):
            self._step(place)
            self.placed = place + 1
        return self

    @torch.inference_mode()
    def dead_ends(self) -> Tensor:
        """Scaffolds that no hydrogens can complete [count]: an atom has not the neighbors that
        were foretold, or valences are left that no double bonds can pair."""
        size = self.placed
        environment = self.environment[:, :size]
        z, hydrogens = self.z[:, :size], environment % 5
        bonds = adjacency(z, self.pos[:, :size])
        dead = (bonds.sum(2) != environment // 5).any(1)
        dead |= hydrogens.sum(1) != self.atoms - size
        return dead | ~saturation.closes(valences(z) - bonds.sum(2) - hydrogens, bonds)

    def to_last(self, place: Tensor) -> Tensor:
        """Make the atoms at one place of each molecule [count] the last of the placed ones; the
        atom before comes where it was. Return the place from which each atom came
        [count, placed]."""
        last, rows = self.placed - 1, self.rows
        source = torch.arange(self.placed, device=rows.device).repeat(self.count, 1)
        source[rows, place] = last - 1
        source[:, last - 1] = torch.where(place == last, last - 1, last)
        source[rows, last] = place
        self._reorder(source)
        if self.cache is not None:
            self.cache.replace(place, last - 1)
        return source

    def reorder(self, source: Tensor) -> None:
        """Bring the placed atoms into another order: from which place each comes
        [count, placed]."""
        self._reorder(source)
        if self.cache is not None:
            self.cache.forget()

    def _reorder(self, source: Tensor) -> None:
        for part in (self.z, self.environment):
            part[:, : self.placed] = part.gather(1, source)
        self.pos[:, : self.placed] = self.pos.take_along_dim(source.unsqueeze(2), 1)

    def keys(self, step: int, purpose: int) -> Tensor:
        """Of the random numbers for one purpose."""
        number = (step + 100_000 * purpose + 1_000_000 * self.attempt).int()
        return step_keys(self.own_keys, number)

    def features(self, size: int) -> tuple[Tensor, Data, Tensor]:
        """Features of the first ``size`` atoms, their batch, and what is left of the formula."""
        model = self.model
        partial = partial_molecules(self.molecules, self.rows, torch.full_like(self.rows, size))
        if model.config.focus:
            self.bonds = adjacency(self.z[:, :size], self.pos[:, :size])
        if model.config.environments:
            environment = self.environment[:, :size]
            places = self._open_places(size).clamp(0, UNKNOWN_OPEN - 1)
            partial.environment = environment.flatten()
            partial.open = places.masked_fill(environment == UNKNOWN, UNKNOWN_OPEN).flatten()
        if self.cache is None:
            graph = step_graph(self.molecules, partial, model.config.cutoff, dense=False)
        else:  # filters beyond the cutoff are zero
            known = self.cache.known
            graph = step_graph(self.molecules, partial, placed_before=known, dense=True)
        remaining = model.remaining(self.molecules, partial)
        filters = None if self.cache is None else self.cache.add(graph)
        return model.features(partial, graph, remaining, filters), partial, remaining

    def _step(self, size: int) -> None:
        """Place atom ``size`` of every molecule."""
        model = self.model
        x, partial, remaining = self.features(size)
        if model.config.next_type:
            self._choose_type(x, partial, remaining, size)
        if model.config.environments and (self.z[:, size] != 1).any():
            partial.next_z = self.z[:, size]
            self._choose_environment(model.next_environment_log_prob(x, partial), size)
        y = model.meet(x, self.z[:, size], partial.batch, self.environment[:, size])
        if model.config.focus:
            self._place_by_focus(x, y, partial, size)
        else:
            log_prob = model.distance_log_prob(y, partial).view(self.count, size, -1)
            if self.history is not None:
                self.history.append(StepRecord(log_prob))
            self._place_on_grid(log_prob / self.temperature, size)

    def _choose_type(self, x: Tensor, partial: Data, remaining: Tensor, size: int) -> None:
        log_prob = self.model.type_head(x, partial.batch, allowed_types(self.model, remaining))
        log_prob = (log_prob / self.config.choice_temperature).log_softmax(1)
        if self.forced:
            choice = self.model.element_index[self.z[:, size]]
        else:
            choice = choose(log_prob, self.keys(size, 1))
            elements = torch.tensor(self.model.config.elements, device=x.device)[choice]
            # The types stay a permutation of the formula: swap with the first such atom.
            here = (self.z[:, size:] == elements.unsqueeze(1)).int().argmax(1) + size
            self.z[self.rows, here] = self.z[:, size].clone()
            self.z[:, size] = elements
        self.log_prob += log_prob[self.rows, choice]

    def _choose_environment(self, log_prob: Tensor, place: int) -> None:
        """Environment of the atom at ``place``, unless it is a hydrogen, from log-probabilities
        [count, 25]."""
        log_prob = log_prob / self.config.choice_temperature
        if self.config.valence_rules:
            places = self._open_places(place)
            allowed = allowed_environments(self.z, place, places, self.environment)
            log_prob = log_prob + PENALTY * ~allowed
        log_prob = log_prob.log_softmax(1)
        hydrogen = self.z[:, place] == 1
        if self.forced:
            bonds = adjacency(self.z, self.pos)[:, place]
            numbers = [(bonds & kind).sum(1).clamp(max=4) for kind in (self.z == 1, self.z != 1)]
            choice = numbers[0] + 5 * numbers[1]
        else:
            choice = choose(log_prob, self.keys(place, 3))
        self.environment[:, place] = choice.masked_fill(hydrogen, UNKNOWN)
        self.log_prob += log_prob[self.rows, choice] * ~hydrogen

    def _open_places(self, size: int, rows: Tensor | slice = slice(None)) -> Tensor:
        """Heavier neighbors that the first ``size`` atoms can still have [count, size]."""
        bonds = self.bonds[rows, :size, :size]
        return open_places(self.z[rows, :size], bonds, self.environment[rows, :size])

    def _place_on_grid(self, log_prob: Tensor, size: int) -> None:
        candidates = placement.grid(
            self.config.grid_extent, self.config.grid_spacing, log_prob.device
        )
        placed, spacing = self.pos[:, :size], self.model.bins.spacing
        if self.forced:
            nearest = torch.cdist(self.pos[:, size], candidates).argmin(1)
            log_p = placement.log_prob(candidates, placed, log_prob, spacing, nearest)
        else:
            choice, log_p = placement.sample(
                candidates, placed, log_prob, spacing, self.keys(size, 0)
            )
            self.pos[:, size] = candidates[choice]
        self.log_prob += log_p

    def _place_by_focus(self, x: Tensor, y: Tensor, partial: Data, size: int) -> None:
        """p(r) = Σ_f p(f) p(r | f): draw f, then r; the probability is that of the sum."""
        focus_log_prob = self.focus_log_prob(x, y, partial, size)
        terms = torch.full_like(focus_log_prob, -torch.inf)
        y, keys = y.view(self.count, size, -1), self.keys(size, 0)
        if not self.forced:
            focus = choose(focus_log_prob, self.keys(size, 2))
            shell = self.shell(y, self.rows, focus, size)
            self.pos[:, size], terms[self.rows, focus] = shell.sample(keys)
            if self.missing is not None:
                # Hydrogens are bonded to one atom: the focus.
                self.missing[self.rows, focus] -= 1
                self.missing.clamp_(min=0)
        if not self.scored:
            return
        # Every other atom whose shell the position lies in could have been the focus.
        bond = bond_limits(self.z[:, :size], self.z[:, size, None])
        distance = (self.pos[:, :size] - self.pos[:, size, None]).norm(dim=2)
        margin = self.model.bins.spacing
        possible = (distance < bond + margin) & (distance > SHORTEST_BOND * bond - margin)
        rows, focus = (possible & terms.isinf()).nonzero(as_tuple=True)
        if len(rows):
            shell = self.shell(y, rows, focus, size)
            terms[rows, focus] = shell.log_density(self.pos[rows, size], keys[:, rows])
        joint = focus_log_prob + terms
        self.log_prob += joint.logsumexp(1)
        if self.history is not None:
            focus = joint.argmax(1)
            log_prob = self.model.distance_log_prob(
                y.flatten(0, 1), partial, self.rows * size + focus
            )
            log_prob = log_prob.view(self.count, size, -1)
            self.history.append(StepRecord(log_prob, focus_log_prob, focus))
        if self.forced and self.missing is not None:
            self.missing[self.rows, joint.argmax(1)] -= 1
            self.missing.clamp_(min=0)

    def focus_log_prob(self, x: Tensor, y: Tensor, partial: Data, size: int) -> Tensor:
        """Normalised log-probability of every placed atom as focus [count, size]."""
        shape = self.count, size
        log_prob = self.model.focus_head(y, partial.batch, self.count).view(shape)
        log_prob = log_prob / self.config.choice_temperature
        if self.config.valence_rules:
            bonds = self.bonds
            hydrogen = (self.z[:, size] == 1).unsqueeze(1)
            free = valences(self.z[:, :size]) - bonds.sum(2)
            places = torch.where(hydrogen, free, self._open_places(size))
            log_prob = log_prob + PENALTY * (places < 1)
            if self.model.config.hydrogens and hydrogen.any():
                if self.missing is None:
                    self._distribute_hydrogens(x.view(*shape, -1), free, bonds, size)
                assert self.missing is not None
                missing = self.missing[:, :size]
                known = hydrogen & (missing.sum(1, keepdim=True) > 0)
                log_prob = torch.where(known, missing.clamp(min=1e-30).log(), log_prob)
        return log_prob.log_softmax(1)

    def _distribute_hydrogens(self, x: Tensor, free: Tensor, bonds: Tensor, size: int) -> None:
        """Draw how many hydrogens each placed atom will get, jointly, where that is not known yet;
        a molecule for which no closed-shell distribution is left goes by its focuses."""
        log_prob = self.model.hydrogen_head(x) / self.config.choice_temperature
        environment = self.environment[:, :size]
        known = environment != UNKNOWN
        hydrogens = environment % 5
        claims = PENALTY * (torch.arange(5, device=x.device) != hydrogens.unsqueeze(2))
        log_prob = torch.where(known.unsqueeze(2), claims, log_prob.log_softmax(2))
        table = log_prob.cpu().double().numpy()
        later = (self.z[:, size:] == 1).cpu()
        final = (adjacency(self.z, self.pos)[:, :size, size:].cpu() & later.unsqueeze(1)).sum(2)
        open_valences, pairs = free.cpu().numpy(), bonds.triu().cpu()
        totals = later.sum(1).tolist()
        missing = torch.zeros(self.count, self.atoms)
        missing[:, :size] = hydrogens.masked_fill(~known, 0).cpu().float()
        undecided = (~known & (self.z[:, :size] != 1)).any(1).cpu()
        for row in undecided.nonzero().flatten().tolist():
            drawn = saturation.assign_hydrogens(
                table[row],
                open_valences[row],
                pairs[row].nonzero().numpy(),
                totals[row],
                np.random.default_rng([self.seed, int(self.index[row])]),
                final[row].numpy() if self.forced else None,
            )
            if drawn is not None:
                missing[row, :size] = torch.from_numpy(drawn[0]).float()
                self.log_prob[row] += drawn[1]
        self.missing = missing.to(x.device)

    def distances(self, y: Tensor, pos: Tensor, focus: Tensor, reach: float) -> Tensor:
        """Log-probabilities over temperature of the distances from placed atoms to new ones that
        are no farther than ``reach`` (Å) from their ``focus`` [count, size, bins], from features
        [count, size, channels] and positions [count, size, 3]. Where nobody asks for the
        probability of the result they are not normalised, and end where no distance does."""
        count, size = pos.shape[:2]
        here = torch.arange(count, device=pos.device)
        partial = Data(pos=pos.flatten(0, 1), batch=here.repeat_interleave(size))
        arguments = y.flatten(0, 1), partial, here * size + focus
        if self.scored:
            log_prob = self.model.distance_log_prob(*arguments)
        else:
            log_prob = self.model.distance_scores(*arguments, reach=reach)
        return log_prob.view(count, size, -1) / self.temperature

    def shell(self, y: Tensor, rows: Tensor, focus: Tensor, size: int) -> placement.Shell:
        """The candidates around each ``focus`` of molecules ``rows`` and their log-probabilities,
        from the features ``y`` [count, size, channels]."""
        config, centers = self.config, self.model.bins.centers
        z, new, pos = self.z[rows, :size], self.z[rows, size, None], self.pos[rows, :size]
        here = torch.arange(len(rows), device=rows.device)
        bond = bond_limits(z, new)
        longest = bond[here, focus]
        log_prob = self.distances(y[rows], pos, focus, float(longest.max()) + config.shell_spacing)
        centers = centers[: log_prob.shape[2]]
        too_far = (centers > longest[:, None]) | (centers < SHORTEST_BOND * longest[:, None])
        at_focus = log_prob[here, focus] + PENALTY * too_far
        limit = None
        if config.valence_rules:
            bonds = self.bonds[rows]
            closures = saturation.rings_left(self.z[rows], size, bonds)
            environment = self.environment[rows, size]
            most = valences(new).squeeze(1)
            most = torch.where(environment == UNKNOWN, most, environment // 5)
            limit = torch.minimum(1 + closures, most)
            places = valences(z) - bonds.sum(2)
            places = torch.where(new == 1, places, self._open_places(size, rows))
            full = (places < 1) | (limit < 2).unsqueeze(1)
            forbid(log_prob, centers, torch.where(full, bond, 0.0))
            # Where only the focus may be bonded to, that table says so already.
            limit = limit.masked_fill(limit < 2, UNCOUNTED) if (limit > 1).any() else None
        log_prob[here, focus] = at_focus
        return placement.Shell(
            center=pos[here, focus],
            inner=SHORTEST_BOND * float(longest.min()),
            outer=float(longest.max()),
            largest=self.largest,
            pos=pos,
            log_prob=log_prob,
            spacing=self.model.bins.spacing,
            reach=None if limit is None else bond,
            limit=limit,
            coarse_spacing=config.shell_spacing,
        )
