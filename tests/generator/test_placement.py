import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from schnetgen_pyg import accelerated
from schnetgen_pyg.accelerated import chunks, kernels
from schnetgen_pyg.generator import placement
from schnetgen_pyg.generator.random_numbers import random_keys


def test_paper_grid():
    grid = placement.grid(4.4, 0.2)
    assert grid.shape == (91_125, 3)
    assert grid.abs().max() == pytest.approx(4.4, abs=1e-5)
    assert (grid.square().sum(1) == 0).sum() == 1


def toy(molecules=3, placed=4, bins=60, seed=0):
    generator = torch.Generator().manual_seed(seed)
    pos = torch.randn(molecules, placed, 3, generator=generator)
    log_prob = torch.log_softmax(torch.randn(molecules, placed, bins, generator=generator), dim=-1)
    return pos, log_prob, 0.1


def test_scores_against_a_loop():
    pos, log_prob, spacing = toy()
    candidates = placement.grid(1.0, 0.5)
    scores = placement.log_scores(candidates, pos, log_prob, spacing)
    for molecule in range(3):
        for c, candidate in enumerate(candidates):
            total = 0.0
            for atom in range(4):
                distance = (candidate - pos[molecule, atom]).norm()
                total += float(log_prob[molecule, atom, min(round(float(distance) / spacing), 59)])
            assert float(scores[molecule, c]) == pytest.approx(total, abs=1e-4)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 3000), st.booleans(), st.booleans())
def test_blocks_do_not_change_the_scores(numbers, own, closed):
    """Of candidates for all or for each, with and without atoms that must not come too close."""
    pos, log_prob, spacing = toy()
    candidates = placement.grid(1.0, 0.5)
    if own:
        candidates = candidates + 0.1 * torch.arange(3)[:, None, None]
    limits = (torch.full((3, 4), 0.8), torch.tensor([0, 1, 2])) if closed else ()
    whole = placement.log_scores(candidates, pos, log_prob, spacing, *limits)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "CPU_CHUNK", numbers)
        parts = placement.log_scores(candidates, pos, log_prob, spacing, *limits)
    assert torch.allclose(whole, parts, atol=1e-4)
    if closed:
        distance = torch.cdist(candidates.expand(3, -1, -1), pos)
        forbidden = (distance < 0.8).sum(2) > torch.tensor([[0], [1], [2]])
        assert ((whole < -5e3) == forbidden).all()
        assert forbidden.any()


def test_below_peak():
    """Nothing at the most probable distances, elsewhere the difference in nats; what lies beyond
    the margin does not count, nor where the table ends."""
    peaks = torch.tensor([[[10, 20]]])
    centers = 0.1 * torch.arange(60)
    log_prob = torch.log_softmax(-((centers - 0.1 * peaks.mT) ** 2) / 0.02, 2)
    pos = torch.tensor([[[0.0, 0, 0], [3.0, 0, 0]]])
    shell = placement.Shell(pos[:, 0], 0.5, 1.5, 1.5, pos, log_prob, 0.1)
    best = torch.tensor([[1.0, 0, 0]])
    assert float(shell.below_peak(best, 0.3)) == pytest.approx(0.0, abs=1e-5)
    # 0.5 Å from both peaks: (0.25 / 0.02) nats in the mean.
    aside = torch.tensor([[1.5, 0, 0]])
    assert float(shell.below_peak(aside, 0.55)) == pytest.approx(12.5, rel=1e-3)
    # From 1.5 Å to both, a margin of 0.2 Å does not reach the second peak.
    near = float(shell.below_peak(aside, 0.2))
    assert near == pytest.approx((12.5 + 12.5 - 0.09 / 0.02) / 2, rel=1e-3)
    shorter = placement.Shell(pos[:, 0], 0.5, 1.5, 1.5, pos, log_prob[:, :, :18], 0.1)
    assert float(shorter.below_peak(aside, 0.2)) == pytest.approx(near, rel=1e-5)


def test_samples_follow_the_distribution():
    """Frequencies of 20,000 Gumbel samples against the softmax of the scores."""
    pos, log_prob, spacing = toy(1, 2)
    candidates = placement.grid(0.6, 0.6)
    expected = placement.log_scores(candidates, pos, log_prob, spacing).softmax(1)[0].double()
    num = 20_000
    keys = random_keys(1, torch.arange(num), 0)
    choice, log_p = placement.sample(
        candidates, pos.expand(num, -1, -1), log_prob.expand(num, -1, -1), spacing, keys
    )
    counts = choice.bincount(minlength=len(candidates)).double()
    chi2 = ((counts - num * expected) ** 2 / (num * expected)).sum()
    assert chi2 < 54.1  # 0.1 % of chi2 with 26 degrees of freedom
    assert torch.allclose(log_p, expected.log().float()[choice], atol=1e-4)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 400))
def test_blocks_do_not_change_the_sample(max_elements):
    pos, log_prob, spacing = toy()
    candidates = placement.grid(1.0, 0.25)
    keys = random_keys(0, torch.arange(3), 0)
    whole = placement.sample(candidates, pos, log_prob, spacing, keys)
    parts = placement.sample(candidates, pos, log_prob, spacing, keys, max_elements)
    assert torch.equal(whole[0], parts[0])
    assert torch.allclose(whole[1], parts[1], atol=1e-4)


def test_placement_rotates_with_the_molecule():
    pos, log_prob, spacing = toy()
    quarter_turn = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    candidates = placement.grid(1.0, 0.25)
    turned = placement.log_scores(
        candidates @ quarter_turn.T, pos @ quarter_turn.T, log_prob, spacing
    )
    assert torch.allclose(
        turned, placement.log_scores(candidates, pos, log_prob, spacing), atol=1e-5
    )


def test_ball():
    points = placement.ball(1.5, 0.125)
    radius = points.norm(dim=1)
    assert torch.equal(radius, radius.sort().values)
    assert radius.max() <= 1.5
    assert len(points) * 0.125**3 == pytest.approx(4 / 3 * torch.pi * 1.5**3, rel=0.02)


def test_upsampling_is_linear():
    log_prob = torch.tensor([[[0.0, 1.0, -1.0]]])
    for way in (placement.upsample, placement._upsample):
        fine = way(log_prob, 4)[0, 0]
        assert torch.allclose(fine, torch.tensor([0, 0.25, 0.5, 0.75, 1, 0.5, 0, -0.5, -1]))


def peaked(num, seed=0):
    """Two placed atoms whose distributions meet on a ring around their axis."""
    centers = torch.arange(80) * 0.05
    log_prob = torch.stack(
        [-0.5 * ((centers - 1.5) / 0.1) ** 2, -0.5 * ((centers - 2.5) / 0.1) ** 2]
    )
    pos = torch.tensor([[0.0, 0, 0], [1.5, 0, 0]])
    return placement.Shell(
        center=torch.zeros(num, 3),
        inner=1.0,
        outer=2.0,
        largest=2.0,
        pos=pos.expand(num, -1, -1),
        log_prob=log_prob.expand(num, -1, -1),
        spacing=0.05,
    )


def test_positions_around_a_focus_follow_the_distances():
    num = 3000
    keys = random_keys(3, torch.arange(num), 0)
    position = peaked(num).sample(keys)
    first, second = position.norm(dim=1), (position - torch.tensor([1.5, 0, 0])).norm(dim=1)
    # The volume element r₁r₂dr₁dr₂ shifts the means by σ²/r, 0.007 and 0.004 Å.
    assert float(first.mean()) == pytest.approx(1.507, abs=0.01)
    assert float(second.mean()) == pytest.approx(2.504, abs=0.01)
    assert float(first.std()) == pytest.approx(0.1, abs=0.012)
    angle = torch.atan2(position[:, 2], position[:, 1])
    counts = torch.histc(angle, 10, -torch.pi, torch.pi)
    assert ((counts - num / 10) ** 2 / (num / 10)).sum() < 27.9  # 0.1 % of chi2, 9 degrees


def test_every_site_has_its_probability():
    """Two sites around a focus: one narrow and high, one four times as wide and a third as high."""
    num, centers = 4000, torch.arange(401) * 0.01
    narrow = torch.exp(-0.5 * ((centers - 0.8) / 0.02) ** 2)
    wide = torch.exp(-0.5 * ((centers - 2.2) / 0.08) ** 2) / 3
    radial = -0.5 * ((centers - 1.5) / 0.03) ** 2
    shell = placement.Shell(
        center=torch.zeros(num, 3),
        inner=1.3,
        outer=1.7,
        largest=2.0,
        pos=torch.tensor([[0.0, 0, 0], [1.5, 0, 0]]).expand(num, -1, -1),
        log_prob=torch.stack([radial, torch.log(narrow + wide + 1e-6)]).expand(num, -1, -1),
        spacing=0.01,
    )
    position = shell.sample(random_keys(5, torch.arange(num), 0))
    second = (position - torch.tensor([1.5, 0, 0])).norm(dim=1)
    far = second > 1.5
    # ∫ r₂ dr₂ over the peaks: 0.8 · 0.02 against 2.2 · 0.08 / 3.
    mass = torch.tensor([0.8 * 0.02, 2.2 * 0.08 / 3])
    assert float(far.float().mean()) == pytest.approx(float(mass[1] / mass.sum()), abs=0.03)
    assert float(second[~far].std()) == pytest.approx(0.02, abs=0.005)
    assert float(second[far].std()) == pytest.approx(0.08, abs=0.01)


def test_no_more_bonds_than_the_limit():
    pos = torch.tensor([[[0.0, 0, 0], [2.4, 0, 0]]])
    table = torch.zeros(1, 2, 100)
    candidates = torch.tensor([[1.2, 0, 0], [-1.2, 0, 0]])
    reach = torch.full((1, 2), 1.5)
    for limit, expected in ((1, [True, False]), (2, [False, False])):
        scores = placement.log_scores(candidates, pos, table, 0.05, reach, torch.tensor([limit]))
        assert (scores[0] < placement.PENALTY / 2).tolist() == expected


def test_plain_torch_where_the_kernels_fail(monkeypatch):
    def fail(*_):
        raise RuntimeError("Failed to find C compiler")

    broken = SimpleNamespace(sample=fail)
    monkeypatch.setitem(sys.modules, "schnetgen_pyg.accelerated.triton_kernels", broken)
    monkeypatch.setattr(accelerated, "triton_kernels", broken, raising=False)
    with pytest.warns(UserWarning, match="Triton fails on cpu .Failed to find C compiler"):
        assert kernels._load.__wrapped__(torch.device("cpu")) is None


@pytest.mark.slow
def test_kernels_with_the_interpreter():
    """The tests of the GPU's kernels, on the CPU: interpreting is chosen before Triton is
    imported, so in a process of their own."""
    pytest.importorskip("triton")
    tests = Path(__file__).parents[1] / "accelerated" / "test_triton_kernels.py"
    command = [sys.executable, "-m", "pytest", "-q", str(tests)]
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
