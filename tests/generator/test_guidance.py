"""Guidance: every decision by log p_c + w (log p_c − log p_0)."""

import math

import pytest
import torch

from schnetgen_pyg import InputError, SamplingConfig, generate
from schnetgen_pyg.generator.draft import Draft, State
from schnetgen_pyg.generator.guidance import guided
from schnetgen_pyg.generator.sampling.builder import Builder
from schnetgen_pyg.generator.sampling.gibbs import resample
from schnetgen_pyg.generator.sampling.hydrogens import add_hydrogens
from schnetgen_pyg.modes import evaluating
from tests.conftest import small_model
from tests.generator.conditions.test_properties import awake, same, told

WEIGHT = 1.5


#: Atoms in the order of their places, and how many are there.
SOME, CHAIN = ((6, 8, 6, 6, 8, 8, 1, 1, 1, 1), 2), ((6, 6, 8, 1, 1, 1, 1), 3)
#: Of which it is certain where the hydrogens are.
SATURATED = ((6, 6, 8, 1, 1, 1, 1, 1, 1), 3)


def building(model, count, known, config, atoms=SOME) -> Builder:
    """Molecules of which the first atoms are there, in a chain with a right angle."""
    z = torch.tensor(atoms[0]).repeat(count, 1)
    pos = torch.zeros(*z.shape, 3)
    pos[:, 1:, 0], pos[:, 2, 1] = 1.4, 1.4
    rows = torch.arange(count)
    state = State.start(z, pos, known)
    arguments = state, atoms[1], rows, 0, config, torch.zeros_like(rows)
    return Builder(model, Draft(*arguments, states=model.config.states))


@pytest.fixture(scope="module")
def steps():
    """The same step guided, told and untold."""
    model = awake(told())
    gap = {"gap": torch.full((3,), 6.5)}
    plain, exaggerated = SamplingConfig(), SamplingConfig(guidance=WEIGHT)
    with evaluating(model), torch.inference_mode():
        builders = [
            building(model, 3, gap, exaggerated),
            building(model, 3, gap, plain),
            building(model, 3, {}, plain),
        ]
        found = [builder.step(2) for builder in builders]
        for step in found:
            step.decide(next_z=torch.tensor([6, 8, 8]), valence_state=torch.tensor([0, 1, 1]))
    return model, builders, found


@pytest.mark.parametrize("name", ["next_type", "valence_state", "hydrogens", "focus"])
def test_choices(steps, name):
    model, _, (step, own, other) = steps
    log_prob = model.decisions[name].log_prob
    with torch.inference_mode():
        found, p, q = step.guided(log_prob), log_prob(own), log_prob(other)
    possible = p.isfinite()
    assert (p - q)[possible].abs().max() > 1e-3
    assert torch.allclose(found[possible], (p + WEIGHT * (p - q))[possible], atol=1e-4)
    assert torch.equal(found.isneginf(), p.isneginf())


def test_positions(steps):
    """The tables that positions are drawn from, beyond what no distance can be."""
    model, builders, found = steps
    with torch.inference_mode():
        tables = [
            model.distance.tables(
                builder.draft,
                step.drawn_y.view(3, 2, -1),
                builder.draft.pos[:, :2],
                torch.tensor([0, 1, 1]),
                2.0,
            ).log_softmax(2)
            for builder, step in zip(builders, found, strict=True)
        ]
        exaggerated, p, q = tables
        # Of the temperature nothing is in the way: tables are over T.
        expected = (p + WEIGHT * (p - q)).log_softmax(2)
    likely = expected > -20
    assert (p - q)[likely].abs().max() > 1e-3
    assert torch.allclose(exaggerated[likely], expected[likely], atol=2e-2)


COUNT = 200


@pytest.fixture
def pair(request):
    """Builders of the same molecules with the same random numbers, guided and not."""
    name = request.node.name
    atoms = SATURATED if "at once" in name else CHAIN if "hydrogens" in name else SOME
    model = awake(told())
    known = {"gap": torch.full((COUNT,), 6.5)}
    configs = [SamplingConfig(guidance=weight) for weight in (3.0, 0.0)]
    with evaluating(model), torch.inference_mode():
        yield [building(model, COUNT, known, config, atoms) for config in configs]


@pytest.mark.parametrize("name", ["next_type", "valence_state", "hydrogens", "focus", "distance"])
def test_draws_are_guided(pair, name):
    """Some come out otherwise."""
    outcomes = []
    for builder in pair:
        draft, step = builder.draft, builder.step(builder.draft.placed)
        if name != "next_type":
            step.decide(next_z=draft.z[:, 2])
        if name in ("focus", "distance"):
            step.decide(valence_state=torch.zeros(COUNT, dtype=torch.long))
        if name == "distance":
            step.decide(focus=2 * draft.rows)
        builder.model.decisions[name].draw(step, draft)
        outcomes.append(
            {
                "next_type": draft.z[:, 2],
                "valence_state": draft.valence_state[:, 2],
                "hydrogens": draft.missing,
                "focus": step.focus,
                "distance": draft.pos[:, 2],
            }[name]
        )
    assert not torch.equal(*outcomes)


@pytest.mark.parametrize("how", ["first state", "gibbs", "hydrogens at once"])
def test_so_are_revisions_and_hydrogens(pair, how):
    outcomes = []
    for builder in pair:
        draft = builder.draft
        if how == "first state":
            builder.model.decisions["valence_state"].draw_first(builder.step(1), draft)
            outcomes.append(draft.valence_state[:, 0])
            continue
        if how == "gibbs":
            draft.placed = 3
            resample(builder)
        else:
            add_hydrogens(builder)
        outcomes.append(draft.pos)
    assert not torch.equal(*outcomes)


def test_draws_have_these_probabilities():
    model, count = awake(told()), 6000
    known = {"gap": torch.full((count,), 6.5)}
    with evaluating(model), torch.inference_mode():
        builder = building(model, count, known, SamplingConfig(guidance=WEIGHT))
        step = builder.step(2)
        expected = step.guided(model.decisions["next_type"].log_prob)[0].softmax(0)
        model.decisions["next_type"].draw(step, builder.draft)
        drawn = builder.draft.z[:, 2]
    for element, probability in zip((1, 6, 8), expected.tolist(), strict=True):
        share = (drawn == element).float().mean().item()
        assert share == pytest.approx(probability, abs=4 * (0.25 / count) ** 0.5)


def test_the_formula_is_guided():
    """Drawn formulas are as probable as log p_c + w (log p_c − log p_0) says of each count."""
    composition = awake(told()).composition
    channels = 20.0 * torch.randn(1, 16, generator=torch.Generator().manual_seed(0))
    index = torch.arange(4000)
    drawn = composition.draw(index, 0, told=channels.expand(4000, -1), guidance=WEIGHT)
    first = drawn[:, 0]
    none = torch.zeros(1, 3, dtype=torch.long)
    p, q = composition(none, channels)[0, 0], composition(none)[0, 0]
    expected = guided(p, q, WEIGHT).softmax(0)
    assert (expected - p.exp()).abs().max() > 0.1
    share = torch.bincount(first, minlength=len(expected)) / len(first)
    assert (share - expected).abs().max() < 4 * (0.25 / 4000) ** 0.5


def test_what_cannot_be_stays_impossible():
    p = torch.tensor([0.5, 0.5, 0.0]).log()
    q = torch.tensor([0.25, 0.75, 0.0]).log()
    found = guided(p, q, 1.0).softmax(0)
    assert found.tolist() == pytest.approx([0.75, 0.25, 0.0])


def test_who_is_told_nothing_is_not_guided():
    """In one batch with others; and molecules that are told something are."""
    model = awake(told())
    asked = {"gap": [6.5, math.nan, 6.5, math.nan]}
    mixed = generate(model, "C4H8O", 4, seed=4, targets=asked, guidance=2.0)
    untold = generate(model, "C4H8O", 4, seed=4)
    plain = generate(model, "C4H8O", 4, seed=4, targets=asked)
    assert same(mixed[1::2], untold[1::2])
    assert not same(mixed[::2], plain[::2])


def test_in_any_batch():
    model = awake(told())
    settings = {"seed": 5, "targets": {"gap": [6.5, 3.0, 4.0]}, "guidance": 1.0}
    reference = generate(model, "C4H8O", 3, **settings)
    assert same(reference, generate(model, "C4H8O", 3, batch_size=1, **settings))


def test_it_needs_a_target():
    with pytest.raises(InputError, match=r"none is given; give some \(of gap, mu\)"):
        generate(told(), "CH4", 2, guidance=1.0)
    with pytest.raises(InputError, match="this model knows none"):
        generate(small_model(), "CH4", 2, guidance=1.0)
    with pytest.raises(InputError, match="guidance must be 0 or more"):
        SamplingConfig(guidance=-1.0)
