"""Of several candidates the one that a property model finds nearest to the target."""

import math
from dataclasses import replace

import pytest
import torch

from schnetgen_pyg import InputError, Potential, generate
from schnetgen_pyg.generator.sampling.candidates import Candidates
from schnetgen_pyg.generator.sampling.streaming import generate_file
from schnetgen_pyg.storage.resumable import ResumableFile
from schnetgen_pyg.targets import Target
from tests.generator.conditions.test_properties import GAP, MU, awake, same, told

NUMBER = 5


@pytest.fixture(scope="module")
def judge():
    """It predicts gaps that differ from molecule to molecule."""
    torch.manual_seed(0)
    potential = Potential(
        "schnet", elements=(1, 6, 8), targets=("gap",), hidden_channels=12, cutoff=4.0
    )
    potential.heads["gap"].scale.fill_(300.0)
    return potential.eval()


def predicted(judge, atoms) -> float:
    z, pos = torch.tensor(atoms.numbers), torch.tensor(atoms.positions, dtype=torch.float32)
    return float(judge(z, pos).gap.detach())


@pytest.mark.parametrize("formula", ["C3H6O", ["C3H6O", "C2H4O2"]])
def test_the_nearest_of_each(judge, formula):
    """Against all that were to choose from, which are molecules of the same seed."""
    model = awake(told())
    gaps = [3.0, 6.0, 3.0]
    best = generate(
        model, formula, 3, seed=2, targets={"gap": gaps}, candidates=NUMBER, property_model=judge
    )
    for number, atoms in enumerate(best):
        one = formula if isinstance(formula, str) else formula[number % 2]
        targets = {"gap": [gap for gap in gaps for _ in range(NUMBER)]}
        pool = generate(model, one, 3 * NUMBER, seed=2, targets=targets)
        pool = pool[NUMBER * number : NUMBER * (number + 1)]
        errors = [abs(predicted(judge, candidate) - gaps[number]) for candidate in pool]
        chosen = errors.index(min(errors))
        assert same([atoms], [pool[chosen]])
        assert atoms.info["sample"] == NUMBER * number + chosen
        assert atoms.info["gap_target"] == gaps[number]
        assert atoms.info["gap_predicted"] == pytest.approx(predicted(judge, atoms), abs=1e-3)
    assert len({atoms.info["sample"] % NUMBER for atoms in best}) > 1


def test_what_is_not_asked_does_not_count(judge):
    best = generate(
        awake(told()),
        "CH4",
        2,
        targets={"gap": [math.nan, 4.0], "mu": 1.0},
        candidates=3,
        property_model=judge,
    )
    assert best[0].info["sample"] == 0
    assert "gap_target" not in best[0].info


class Spans(torch.nn.Module):
    """A property model of one's own: distances of the last and the second atom from the first."""

    elements = (1, 6, 8)

    def __init__(self):
        super().__init__()
        self.targets = {"gap": Target("gap", "eV"), "mu": Target("mu")}
        self.register_buffer("one", torch.ones(1))

    def forward(self, z, pos, batch):
        first = torch.searchsorted(batch, torch.arange(int(batch[-1]) + 1))
        last = torch.cat([first[1:], first.new_tensor([len(z)])]) - 1
        spans = [(pos[other] - pos[first]).norm(dim=1) for other in (last, first + 1)]
        return dict(zip(("gap", "mu"), spans, strict=True))


def test_several_properties_count_by_their_spread():
    """Of each molecule those that were asked of it."""
    model, number = awake(told()), 6
    asked = {"gap": [3.0, 3.0, math.nan], "mu": [1.3, math.nan, 1.3]}
    settings = {"seed": 3, "gibbs_rounds": 0}
    best = generate(
        model, "C3H6O", 3, targets=asked, candidates=number, property_model=Spans(), **settings
    )
    each = {name: [one for one in values for _ in range(number)] for name, values in asked.items()}
    pool = generate(model, "C3H6O", 3 * number, targets=each, **settings)
    for k, atoms in enumerate(best):
        errors = []
        for one in pool[number * k : number * (k + 1)]:
            found = {"gap": one.get_distance(0, -1), "mu": one.get_distance(0, 1)}
            missed = [
                abs(found[known.name] - asked[known.name][k]) / known.std for known in (GAP, MU)
            ]
            errors.append(sum(value for value in missed if not math.isnan(value)))
        assert atoms.info["sample"] == number * k + errors.index(min(errors))


def test_into_a_file_that_continues(judge, tmp_path, monkeypatch):
    model, path = awake(told()), tmp_path / "a.extxyz"
    choice = Candidates(3, judge)
    settings = {"seed": 1, "targets": {"gap": [3.0, None, 4.0, 5.0]}, "candidates": choice}
    generate_file(model, "C2H4O", 4, tmp_path / "whole.extxyz", **settings)
    whole = (tmp_path / "whole.extxyz").read_text()
    extend = ResumableFile.extend

    def die(self, frames):
        extend(self, [next(frames), next(frames)])
        raise KeyboardInterrupt

    monkeypatch.setattr(ResumableFile, "extend", die)
    with pytest.raises(KeyboardInterrupt):
        generate_file(model, "C2H4O", 4, path, **settings)
    monkeypatch.setattr(ResumableFile, "extend", extend)
    assert generate_file(model, "C2H4O", 4, path, **settings)
    assert path.read_text() == whole
    with pytest.raises(InputError, match="other settings"):
        generate_file(model, "C2H4O", 4, path, **settings | {"candidates": None})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"property_model": None}, "give one"),
        ({"candidates": 1}, "at least 2"),
        ({"targets": {"mu": 1.0}}, "predicts gap, where the targets are mu"),
        ({"targets": {}}, "where the targets are none"),
        ({"formula": "CH3N"}, "never seen N|may have N"),
    ],
)
def test_what_cannot_be(judge, changes, message):
    asked = {"formula": "CH4", "targets": {"gap": 4.0}, "candidates": 4, "property_model": judge}
    asked |= changes
    model = told(elements=(1, 6, 7, 8), max_counts=(8, 3, 2, 2)) if "formula" in changes else told()
    with pytest.raises(InputError, match=message):
        generate(model, asked.pop("formula"), 2, **asked)


def test_other_units(judge):
    """Predictions are brought to the generator's unit, or refused."""
    found = {}
    for unit, factor in (("eV", 1.0), ("meV", 1000.0)):
        numbers = {name: factor * getattr(GAP, name) for name in ("mean", "std", "low", "high")}
        model = awake(told(properties=(replace(GAP, unit=unit, **numbers), MU)))
        targets = {"gap": 4.0 * factor}
        (found[unit],) = generate(
            model, "CH4", 1, targets=targets, candidates=3, property_model=judge
        )
        value = factor * predicted(judge, found[unit])
        assert found[unit].info["gap_predicted"] == pytest.approx(value, rel=1e-4)
    assert same([found["eV"]], [found["meV"]])
    model = told(properties=(replace(GAP, unit="bohr³"), MU))
    with pytest.raises(InputError, match="gap is in eV for the property model and in bohr³"):
        generate(model, "CH4", 2, targets={"gap": 4.0}, candidates=2, property_model=judge)
