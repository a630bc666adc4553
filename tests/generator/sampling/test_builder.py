"""Dead ends, against what can be counted by hand on a chain of three carbons."""

import pytest
import torch

from schnetgen_pyg import SamplingConfig
from schnetgen_pyg.generator.draft import Draft, State
from schnetgen_pyg.generator.sampling.builder import Builder
from tests.conftest import deciding, small_model


def state(hydrogens, neighbors):
    return (6, 0, 4, hydrogens, neighbors)


PROPANE = [state(3, 1), state(2, 2), state(3, 1)]


@pytest.mark.parametrize(
    ("states", "hydrogens", "dead"),
    [
        (PROPANE, 8, False),
        ([state(2, 1), state(1, 2), state(3, 1)], 6, False),  # propene
        ([PROPANE[0], state(1, 3), state(2, 1)], 6, True),  # fewer neighbors than foretold
        ([PROPANE[0], state(2, 1), PROPANE[2]], 8, True),  # more
        ([state(2, 1), state(1, 2), state(3, 1)], 8, True),  # fewer hydrogens than the formula
        (PROPANE, 6, True),  # more
        ([state(2, 1), state(2, 2), state(2, 1)], 6, True),  # electrons that no bond pairs
        ([state(2, 1), state(2, 2), state(3, 1)], 7, True),  # one of them alone
    ],
)
def test_dead_ends(states, hydrogens, dead):
    z = torch.tensor([[6] * 3 + [1] * hydrogens])
    pos = torch.zeros(1, z.shape[1], 3)
    pos[0, :3] = torch.tensor([[0.0, 0, 0], [1.5, 0, 0], [2.1, 1.4, 0]])
    molecule = State.start(z, pos)
    index = torch.zeros(1, dtype=torch.long)
    model = small_model(**deciding("focus", "next_type", "hydrogens", "valence_state"))
    numbers = [model.config.states.index(state) for state in states]
    molecule.valence_state[0, :3] = torch.tensor(numbers)
    draft = Draft(molecule, 3, index, 0, SamplingConfig(), index, states=model.config.states)
    assert bool(Builder(model, draft).dead_ends()[0]) is dead
