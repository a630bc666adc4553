"""Conformers of given molecules, drawn atom by atom in batches; dead ends are begun anew."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from schnetgen_pyg.chem.bonds import adjacency
from schnetgen_pyg.generator.conditions.graph import ATOMS
from schnetgen_pyg.generator.draft import Draft, State
from schnetgen_pyg.generator.graph_rules import BONDED
from schnetgen_pyg.generator.model import SchNetGen
from schnetgen_pyg.generator.sampling.builder import Builder
from schnetgen_pyg.generator.sampling.config import SamplingConfig
from schnetgen_pyg.generator.sampling.generate import batch_size_of
from schnetgen_pyg.generator.sampling.given_graphs import Known, Layout, random_orders
from schnetgen_pyg.generator.sampling.latents import importance_weighted, with_latents
from schnetgen_pyg.generator.sampling.likelihood import LogProb, follow, log_prob_of
from schnetgen_pyg.generator.sampling.restarts import RESTARTS
from schnetgen_pyg.generator.shells import shell
from schnetgen_pyg.generator.step import Step
from schnetgen_pyg.modes import evaluating

#: Draws of a latent from which a log-density is estimated.
SAMPLES = 16
#: Why a conformer could not be built.
BONDS, STEREO = "bonds", "stereo"


@dataclass
class Drawn:
    """What was drawn of one molecule.

    Attributes:
        positions: of its conformers in Å [num_atoms, 3], by their numbers.
        failures: how many could not be built, by the reason: `BONDS`, an atom found no place where
            it is bonded as the graph says, `STEREO`, or another stereochemistry came out.
    """

    positions: dict[int, np.ndarray] = field(default_factory=dict)
    failures: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Job:
    """One conformer to build: the molecule's place in the list, and the conformer's number."""

    molecule: int
    number: int


def draw(
    model: SchNetGen, molecules: Sequence[Known], num: int, seed: int, config: SamplingConfig
) -> Iterator[tuple[int, Drawn]]:
    """``num`` conformers of every molecule, which come with their place in the list as they are
    finished. Conformer k of a seed is the same whatever is built beside it."""
    found = {place: Drawn() for place in range(len(molecules))}
    left = dict.fromkeys(found, num)
    with evaluating(model):
        for jobs in _batches(model, molecules, num, config):
            for job, result in _until_done(model, molecules, jobs, seed, config):
                drawn = found[job.molecule]
                if isinstance(result, str):
                    drawn.failures[result] += 1
                else:
                    drawn.positions[job.number] = result
                left[job.molecule] -= 1
                if not left[job.molecule]:
                    yield job.molecule, found.pop(job.molecule)


def _batches(
    model: SchNetGen, molecules: Sequence[Known], num: int, config: SamplingConfig
) -> Iterator[list[Job]]:
    """All conformers, those of molecules that are alike together, as many as there is room for."""
    heavy = [one.num_heavy for one in molecules]
    atoms = [len(one.graph) for one in molecules]
    order = sorted(range(len(molecules)), key=lambda place: (-heavy[place], -atoms[place]))
    jobs = [Job(place, k) for place in order for k in range(num)]
    while jobs:
        # With the first, which has most heavy atoms; more hydrogens others may have.
        size = batch_size_of(model, atoms[jobs[0].molecule], config)
        largest = max(atoms[job.molecule] for job in jobs[:size])
        size = batch_size_of(model, largest, config)
        yield jobs[:size]
        jobs = jobs[size:]


def _until_done(
    model: SchNetGen,
    molecules: Sequence[Known],
    jobs: list[Job],
    seed: int,
    config: SamplingConfig,
) -> Iterator[tuple[Job, np.ndarray | str]]:
    """Positions [num_atoms, 3], or why there are none after ``config.restarts`` more attempts."""
    restarts = RESTARTS[0] if config.restarts is None else config.restarts
    for attempt in range(restarts + 1):
        results = _attempt(model, molecules, jobs, seed, attempt, config)
        again = []
        for job, result in zip(jobs, results, strict=True):
            if isinstance(result, str) and attempt < restarts:
                again.append(job)
            else:
                yield job, result
        if not again:
            return
        jobs = again


@torch.inference_mode()
def _attempt(
    model: SchNetGen,
    molecules: Sequence[Known],
    jobs: Sequence[Job],
    seed: int,
    attempt: int,
    config: SamplingConfig,
) -> list[np.ndarray | str]:
    """The same after one attempt."""
    # Those with most heavy atoms first, as the builder takes them.
    order = sorted(range(len(jobs)), key=lambda k: -molecules[jobs[k].molecule].num_heavy)
    own = [molecules[jobs[k].molecule] for k in order]
    number = torch.tensor([jobs[k].number for k in order])
    tried = torch.full_like(number, attempt)
    own = list(with_latents(model, own, seed, number, tried))
    layout = Layout.of(own, random_orders(own, seed, number, tried))
    at_once = config.gibbs_rounds > 0 and config.valence_rules
    widths: list[int] = []
    if at_once:
        layout, widths = layout.in_rounds(own)
    state = layout.state(own).to(model.device)

    def builder(state: State, placed: int, rows: Tensor) -> Builder:
        arguments = state, placed, number[rows], seed, config, tried[rows]
        return Builder(model, Draft(*arguments, states=model.config.states))

    size = layout.num_heavy
    builder(state, 1, torch.arange(len(own))).run(size)
    alive = torch.arange(len(own))[_bonded_as_asked(state, size).cpu()]
    # Where hydrogens come one by one, those with most of them first.
    left = (state.z[:, size:] > 0).sum(1).cpu()[alive]
    alive = alive[left.argsort(descending=True, stable=True)]
    some = state.rows(alive.to(model.device))
    if len(alive):
        later = builder(some, size, alive)
        if at_once:
            _add_hydrogens(later, widths)
        else:
            later.run()
        later.refine()
    results: list[np.ndarray | str] = [BONDS] * len(jobs)
    sound = _bonded_as_asked(some, some.z.shape[1]).cpu().tolist()
    for k, row in enumerate(alive.tolist()):
        if sound[k]:
            source = layout.source[row]
            pos = np.empty((len(own[row].graph), 3))
            pos[source[source >= 0]] = some.pos[k].double().cpu().numpy()[source >= 0]
            results[order[row]] = pos if own[row].graph.as_asked(pos) else STEREO
    return results


def _bonded_as_asked(state: State, size: int) -> Tensor:
    """Whether the first ``size`` atoms are bonded as the graph says, and to nothing else
    [count]."""
    found = adjacency(state.z[:, :size], state.pos[:, :size])
    return (found == state.known[BONDED][:, :size, :size]).flatten(1).all(1)


def _add_hydrogens(builder: Builder, widths: Sequence[int]) -> None:
    """Place the hydrogens in rounds of so many places, given what was there before the round."""
    model, draft = builder.model, builder.draft
    if builder.cache is not None and widths:
        builder.cache.make_room(draft.z.shape[1] - widths[-1])
    for width in widths:
        size = draft.placed
        step = builder.step(size)
        rows, offset = (draft.z[:, size : size + width] > 0).nonzero(as_tuple=True)
        place = size + offset
        if len(rows):  # none where all with these hydrogens are dead ends
            bonded = draft.state.known[BONDED][rows, place, :size]
            y = _combined(model, draft, step, rows, place)
            around = shell(model.distance, draft, y, rows, bonded.int().argmax(1), place)
            keys = torch.stack([draft.keys(one, 0) for one in range(size, size + width)], 2)
            draft.pos[rows, place] = around.sample(keys[:, rows, offset])
        draft.placed += width


def _combined(model: SchNetGen, draft: Draft, step: Step, rows: Tensor, place: Tensor) -> Tensor:
    """Features of the placed atoms combined with each hydrogen at a place [num, size, channels]."""
    size = draft.placed
    each = torch.arange(len(rows), device=rows.device).repeat_interleave(size)
    partial = Data(batch=each)
    if ATOMS in draft.state.known:
        partial.graph_next = draft.state.known[ATOMS][rows, place]
    x = step.x.view(len(draft.z), size, -1)[rows].flatten(0, 1)
    alone = Step(partial, x, model.combine_with_new_atom)
    alone.decide(next_z=torch.ones_like(rows), valence_state=draft.valence_state[rows, place])
    return alone.y.view(len(rows), size, -1)


def log_prob_of_conformers(
    model: SchNetGen,
    known: Known,
    positions: Sequence[np.ndarray],
    seed: int,
    numbers: Sequence[int],
    samples: int = SAMPLES,
) -> LogProb:
    """Log-densities of conformers of one molecule [num_atoms, 3], each in the random order of its
    number; with a latent estimates from so many ``samples``."""
    own = [known] * len(positions)
    number = torch.tensor(numbers)
    orders = random_orders(own, seed, number, torch.zeros_like(number))
    if known.prior is not None:
        return importance_weighted(model, known, positions, orders, seed, number, samples)
    state = Layout.of(own, orders).state(own, positions)
    return log_prob_of(follow(model, state, SamplingConfig()))
