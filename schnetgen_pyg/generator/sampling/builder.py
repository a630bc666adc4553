"""The one generation loop."""

from __future__ import annotations

import copy

import torch
from torch import Tensor
from torch_geometric.data import Data

from schnetgen_pyg.accelerated import enabled
from schnetgen_pyg.chem.bonds import adjacency, connected
from schnetgen_pyg.chem.pairing import closes
from schnetgen_pyg.chem.valence_states import UNKNOWN
from schnetgen_pyg.generator.decisions import ValenceState
from schnetgen_pyg.generator.draft import Draft
from schnetgen_pyg.generator.model import SchNetGen
from schnetgen_pyg.generator.sampling.filter_cache import FilterCache
from schnetgen_pyg.generator.step import Step
from schnetgen_pyg.generator.steps import new_pairs, partial_molecules, step_graph


class Builder:
    """Places the atoms of a draft, one step of the whole batch after the other.

    Args:
        model: whose decisions are taken.
        draft: the molecules, whose state is changed.
        cache: filters of placed pairs that are known already.
    """

    def __init__(self, model: SchNetGen, draft: Draft, cache: FilterCache | None = None):
        self.model, self.draft = model, draft
        if cache is None and model.shares_filters and enabled("kept_filters"):
            cache = FilterCache(model, draft.placed)
        self.cache = cache

    def take(self, rows: Tensor | slice) -> Builder:
        """A builder of some of the molecules, with the filters that are known: of a copy of their
        state, or of the state itself where they are a slice."""
        cache = None if self.cache is None else self.cache.rows(rows)
        return Builder(self.model, self.draft.take(rows), cache)

    @torch.inference_mode()
    def run(self, size: int | None = None) -> Builder:
        """Fill the places until there are ``size``, by default all. Molecules with an atom at a
        place come before those without."""
        draft = self.draft
        size = draft.z.shape[1] if size is None else size
        if self.cache is not None:
            self.cache.make_room(size - 1)  # the last one is never looked at
        self._decide_first()
        part = self
        counts = (draft.z[:, draft.placed : size] > 0).sum(0).tolist()
        for place, count in enumerate(counts, draft.placed):
            if not count:
                break
            if count < len(part.draft.rows):
                part = part.take(slice(count))
            step = part.step(place)
            for name, decision in self.model.decisions.items():
                part.draft.add(name, decision.draw(step, part.draft))
            part.draft.placed = place + 1
        draft.placed = size
        return self

    def _decide_first(self) -> None:
        """The valence state of a first atom, which is there from the start."""
        draft = self.draft
        state = getattr(self.model.decisions, "valence_state", None)
        several = draft.placed == 1 < draft.z.shape[1]
        undecided = several and (draft.valence_state[:, 0] == UNKNOWN).all()
        if isinstance(state, ValenceState) and undecided:
            draft.add("valence_state", state.draw_first(self.step(1), draft))

    def step(self, size: int) -> Step:
        """What is known of the first ``size`` places, before any decision on the next atom."""
        model, draft = self.model, self.draft
        every = torch.full_like(draft.rows, size)
        partial = partial_molecules(draft.molecules, draft.rows, every)
        if model.config.focused:
            draft.see_bonds(size)
        for condition in model.conditions.values():
            condition.recall(partial, draft)
        given = self._graph(partial)
        step = model.step(partial, *given)
        if draft.config.guidance and not draft.forced and draft.state.known.keys() & model.optional:
            step.untold = model.step(self._untold(partial), *given)
            step.guidance = draft.config.guidance
        if size < draft.z.shape[1] and "next_type" not in model.decisions:
            step.decide(next_z=draft.z[:, size])
        return step

    def _untold(self, partial: Data) -> Data:
        """The partial molecules without what was given of the optional attributes."""
        molecules, untold = copy.copy(self.draft.molecules), copy.copy(partial)
        for name in self.model.optional:
            molecules.pop(name, None)
        for condition in self.model.conditions.values():
            if condition.optional:
                condition.prepare(untold, molecules)
        return untold

    def _graph(self, partial: Data) -> tuple:
        """The graph of the placed atoms, and the filters of all their pairs where they are kept."""
        draft, size = self.draft, len(partial.z) // len(self.draft.rows)
        if self.cache is None:
            there = copy.copy(partial)
            there.atom = torch.arange(len(partial.z), device=partial.z.device)
            return step_graph(partial, there, self.model.config.cutoff, dense=False), None
        # Filters beyond the cutoff are zero.
        graph = new_pairs(draft.pos[:, :size], self.cache.known)
        return graph, self.cache.add(graph, draft.z[:, :size] == 0)

    @torch.inference_mode()
    def refine(self, fixed: int = 0) -> None:
        """Move the atoms of finished molecules to where the model's refinement would have them,
        where it has one; the first ``fixed`` stay. A molecule that was built by the rules of
        valence stays as it is if its bonds would not."""
        draft, refinement = self.draft, self.model.refinement
        steps = draft.config.refinement_steps
        if refinement is not None and steps:
            found = refinement.refined(draft.z, draft.pos, draft.valence_state, steps, fixed)
            if draft.config.valence_rules:
                bonds = adjacency(draft.z, draft.pos)
                other = (adjacency(draft.z, found) != bonds).flatten(1).any(1)
                found = torch.where(other.view(-1, 1, 1), draft.pos, found)
            draft.pos.copy_(found)

    @torch.inference_mode()
    def dead_ends(self) -> Tensor:
        """Scaffolds that no hydrogens can complete [count]: an atom has not the neighbors that
        were foretold, parts of a fragment are not joined, or valences are left that no double bonds
        can pair."""
        draft, size = self.draft, self.draft.placed
        table, state, z = draft.table, draft.valence_state[:, :size], draft.z[:, :size]
        draft.see_bonds(size)
        to_heavy = (draft.bonds & (z != 1).unsqueeze(1)).sum(2)
        there, known = draft.hydrogens_there(size).masked_fill(z <= 1, 0), state != UNKNOWN
        foretold = torch.where(known, table.hydrogens[state], there).masked_fill(z <= 1, 0)
        free = (draft.z[:, size:] == 1).sum(1) - (foretold - there).sum(1)
        dead = (known & (to_heavy != table.neighbors[state])).any(1)
        dead |= table.charge[state].sum(1) != draft.state.charge
        left = (draft.valences(size) - to_heavy - foretold).masked_fill(z <= 1, 0)
        bonds, anybody = draft.raisable(size), ~known & (z > 1)
        if not bool(anybody.any()):
            return dead | (free != 0) | ~closes(left, bonds)
        dead |= (free < 0) | ~connected(draft.bonds, z > 0)
        # Hydrogens that nobody has foretold: each is bonded to one of the atoms that are open.
        more = int(free.clamp(min=0).max())
        single = torch.arange(more, device=z.device) < free.unsqueeze(1)
        to_open = anybody.unsqueeze(2) & single.unsqueeze(1)
        bonds = torch.nn.functional.pad(bonds, (0, more, 0, more))
        bonds[:, :size, size:], bonds[:, size:, :size] = to_open, to_open.mT
        return dead | ~closes(torch.cat([left, single.long()], 1), bonds)

    def to_last(self, place: Tensor) -> Tensor:
        """Make the atoms at one place of each molecule [count] the last of the placed ones; the
        atom before comes where it was. Return the place from which each atom came
        [count, placed]."""
        rows, last = self.draft.rows, self.draft.placed - 1
        source = torch.arange(last + 1, device=rows.device).repeat(len(rows), 1)
        source[rows, place] = last - 1
        source[:, last - 1] = torch.where(place == last, last - 1, last)
        source[rows, last] = place
        self.draft.reorder(source)
        if self.cache is not None:
            self.cache.replace(place, last - 1)
        return source

    def reorder(self, source: Tensor) -> None:
        """Bring the placed atoms into another order: from which place each comes
        [count, placed]."""
        self.draft.reorder(source)
        if self.cache is not None:
            self.cache.forget()
