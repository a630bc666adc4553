"""Molecules under construction: what is there, what was decided, and their random numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from schnetgen_pyg.chem.bonds import adjacency
from schnetgen_pyg.chem.valence_states import UNKNOWN, StateTable, state_table
from schnetgen_pyg.generator.graph_rules import BONDED
from schnetgen_pyg.generator.random_numbers import molecule_keys, step_keys
from schnetgen_pyg.generator.valence_states import open_places

if TYPE_CHECKING:
    from schnetgen_pyg.generator.sampling.config import SamplingConfig


@dataclass(frozen=True)
class StepRecord:
    """What the model said at one step.

    Attributes:
        distance_log_prob: of the distances to the new atom [count, size, bins]; with a focus,
            given the one in ``focus``.
        focus_log_prob: that each placed atom is the focus [count, size], with the valence rules;
            ``None`` for models without.
        focus: by which atom the new one was most probably placed [count], or ``None``.
    """

    distance_log_prob: Tensor
    focus_log_prob: Tensor | None = None
    focus: Tensor | None = None


@dataclass(frozen=True)
class State:
    """What is kept of some molecules, in padded rows of as many places as the largest needs.

    Attributes:
        z: atomic numbers in the order of placement [count, places]; 0 where there is no atom.
        pos: positions in Å [count, places, 3].
        valence_state: as far as the model has said [count, places], or `UNKNOWN`.
        room: bonds that atoms of a fragment can have, double bonds among them counted as one
            [count, places]; -1 for all others.
        charge: of the whole molecules in e [count].
        log_prob: of the finished molecules [count]; NaN where nobody asked for it.
        known: what conditions were given, by name [count, …].
        kept: what decisions of one's own keep, by name [count, places].
    """

    z: Tensor
    pos: Tensor
    valence_state: Tensor
    room: Tensor
    charge: Tensor
    log_prob: Tensor
    known: dict[str, Tensor] = field(default_factory=dict)
    kept: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def start(
        cls,
        z: Tensor,
        pos: Tensor,
        known: Mapping[str, Tensor] | None = None,
        charge: Tensor | None = None,
        kept: Mapping[str, Tensor] | None = None,
    ) -> State:
        neutral, unasked = z.new_zeros(len(z)), pos.new_full((len(z),), torch.nan)
        charge = neutral if charge is None else charge
        unknown, own = torch.full_like(z, UNKNOWN), torch.full_like(z, -1)
        return cls(z, pos, unknown, own, charge, unasked, dict(known or {}), dict(kept or {}))

    def _each(self, change: Callable[[Tensor], Tensor]) -> State:
        parts: dict[str, Any] = {
            name: {key: change(part) for key, part in value.items()}
            if isinstance(value, dict)
            else change(value)
            for name, value in vars(self).items()
        }
        return State(**parts)

    def rows(self, rows: Tensor | slice) -> State:
        """Some of them: a copy, or a view where they are a slice."""
        return self._each(lambda part: part[rows])

    def to(self, device: torch.device) -> State:
        return self._each(lambda part: part.to(device))

    def _of_places(self) -> dict[str, Tensor]:
        """What there is of every atom."""
        own = {"z": self.z, "pos": self.pos, "valence_state": self.valence_state}
        return own | {"room": self.room} | self.kept

    def _each_place(self, change: Callable[[Tensor], Tensor]) -> State:
        some: dict[str, Any] = {name: change(part) for name, part in self._of_places().items()}
        kept = {name: some.pop(name) for name in self.kept}
        return replace(self, **some, kept=kept)

    def places(self, places: Tensor) -> State:
        """The same molecules, of their places only these."""
        return self._each_place(lambda part: part[:, places])

    def packed(self, size: int) -> State:
        """Molecules of so many atoms, without the places that have none."""
        rows, there = (self.z > 0).nonzero(as_tuple=True)
        rows, there = rows.view(-1, size), there.view(-1, size)
        return self._each_place(lambda part: part[rows, there])

    def write(self, rows: Tensor, places: Tensor, other: State) -> None:
        """Take over molecules, whose atoms come to these places."""
        theirs = other._of_places()
        for name, mine in self._of_places().items():
            mine[rows.unsqueeze(1), places] = theirs[name].to(mine.device)
        self.log_prob[rows] = other.log_prob.to(self.log_prob.device)


@dataclass
class Draft:
    """A batch of molecules under construction, whose state it changes.

    Attributes:
        state: the molecules, on the device of the model.
        placed: how many places are filled.
        index: their numbers in the run [count].
        seed: of the run.
        config: how they are sampled.
        restart: how often each was begun before [count].
        states: valence states that the model's atoms can have.
        forced: no choices: the molecules are followed, to say how probable they are.
        history: a list gets a `StepRecord` of every step, where molecules are followed.
        parts: natural logarithm of how probable it was that each decision came out as it did
            [count], by its name, summed over the steps.
        error: of the log-densities of all positions together, at most [count].
        told: valence states to follow, where they are known from the start [count, places].
        bonds: of the placed atoms [count, placed, placed], at the step at hand.
        missing: hydrogens that every atom lacks [count, places], once the scaffold is there.
    """

    state: State
    placed: int
    index: Tensor
    seed: int
    config: SamplingConfig
    restart: Tensor
    states: tuple[tuple[int, ...], ...] = field(kw_only=True)
    forced: bool = False
    history: list[StepRecord] | None = None
    parts: dict[str, Tensor] = field(init=False, default_factory=dict)
    error: Tensor = field(init=False)
    told: Tensor = field(init=False)
    bonds: Tensor = field(init=False)
    missing: Tensor | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        state, device = self.state, self.state.z.device
        self.index, self.restart = self.index.to(device), self.restart.to(device)
        self.z, self.pos, self.valence_state = state.z, state.pos, state.valence_state
        self.told = state.valence_state.clone()
        # Nobody knows a state before it is decided; those of a fragment or a graph are given.
        if self.forced and self.bonded is None:
            self.valence_state[:, self.placed if self.placed > 1 else 0 :] = UNKNOWN
        self.error = torch.zeros_like(state.log_prob)
        count, atoms = self.z.shape
        self.rows = torch.arange(count, device=device)
        self.bonds = torch.zeros(count, 0, 0, dtype=torch.bool, device=device)
        # Views: what is written to the state is in them.
        ptr = torch.arange(count + 1, device=device) * atoms
        self.molecules = Data(
            z=self.z.view(-1), pos=self.pos.view(-1, 3), ptr=ptr, **self.state.known
        )
        self._keys = molecule_keys(self.seed, self.index)

    @property
    def table(self) -> StateTable:
        return state_table(self.states, self.z.device)

    @property
    def bonded(self) -> Tensor | None:
        """Which atoms are to be bonded, where the graph is given [count, places, places]."""
        return self.state.known.get(BONDED)

    def take(self, rows: Tensor | slice) -> Draft:
        """Some of the molecules: a copy of their state, or a view where they are a slice."""
        taken = replace(
            self,
            state=self.state.rows(rows),
            index=self.index[rows],
            restart=self.restart[rows],
            history=None,
        )
        taken.missing = None if self.missing is None else self.missing[rows]
        return taken

    def number(self, place: int) -> Tensor:
        """Atoms before a place [count]: its number in the molecule, whatever the padding."""
        return (self.z[:, :place] > 0).sum(1)

    def numbers(self, size: int) -> Tensor:
        """The `number` of each of the first ``size`` places [count, size] (int32)."""
        return ((self.z[:, :size] > 0).cumsum(1) - 1).int()

    def keys(self, place: int, purpose: int) -> Tensor:
        """Of the random numbers for one purpose of placing the atom at a place."""
        return self.step_keys(self.number(place), purpose)

    def step_keys(self, step: int | Tensor, purpose: int) -> Tensor:
        """The same of a step that is no place, for all or [count]."""
        number = (step + 100_000 * purpose + 1_000_000 * self.restart).int()
        return step_keys(self._keys, number)

    def add(self, name: str, log_prob: Tensor | None) -> None:
        """A decision came out as it did with this log-probability [count]."""
        if log_prob is not None:
            self.parts[name] = self.parts.get(name, torch.zeros_like(log_prob)) + log_prob

    def see_bonds(self, size: int) -> None:
        """Look for the bonds of the first ``size`` atoms."""
        self.bonds = adjacency(self.z[:, :size], self.pos[:, :size])

    def valences(self, size: int, rows: Tensor | slice = slice(None)) -> Tensor:
        """Bonds that the atoms of the first ``size`` places can have, at most [count, size]."""
        z, state = self.z[rows, :size], self.valence_state[rows, :size]
        room = self.state.room[rows, :size]
        return torch.where(room < 0, self.table.valences(z, state), room)

    def open_places(self, size: int, rows: Tensor | slice = slice(None)) -> Tensor:
        """Heavier neighbors that the atoms of the first ``size`` places can still have
        [count, size]."""
        bonds, z = self.bonds[rows, :size, :size], self.z[rows, :size]
        state, valence = self.valence_state[rows, :size], self.valences(size, rows)
        return open_places(z, bonds, state, valence, self.table)

    def hydrogens_there(self, size: int) -> Tensor:
        """Hydrogens that the atoms of the first ``size`` places have [count, size]."""
        return (self.bonds[:, :size, :size] & (self.z[:, :size] == 1).unsqueeze(1)).sum(2)

    def raisable(self, size: int) -> Tensor:
        """Bonds of the first ``size`` places that may be double ones: all but those of a fragment,
        whose orders are settled [count, size, size]."""
        given = self.state.room[:, :size] >= 0
        return self.bonds[:, :size, :size] & ~(given.unsqueeze(1) & given.unsqueeze(2))

    def give_hydrogen(self, focus: Tensor) -> None:
        """Hydrogens were placed at these atoms [count]: they lack one less."""
        if self.missing is not None:
            self.missing[self.rows, focus] -= 1
            self.missing.clamp_(min=0)

    def reorder(self, source: Tensor) -> None:
        """Bring the placed atoms into another order: from which place each comes
        [count, placed]."""
        for part in (self.z, self.valence_state, self.state.room):
            part[:, : self.placed] = part.gather(1, source)
        self.pos[:, : self.placed] = self.pos.take_along_dim(source.unsqueeze(2), 1)
