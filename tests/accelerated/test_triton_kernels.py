"""The fused kernels against plain torch on the CPU: on a GPU, or by Triton's interpreter."""

import os

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from schnetgen_pyg.generator import placement, random_numbers

triton = pytest.importorskip("triton")

from schnetgen_pyg.accelerated import triton_kernels  # noqa: E402

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"

#: By the interpreter they run from `test_placement.py`.
pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("seed", [0, 1, 2**40 + 3])
@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("num", [3, 256, 4097])
def test_same_noise(seed, own, num):
    """The same counters for all molecules, and their own for each."""
    keys = random_numbers.random_keys(seed, torch.arange(3), 7)
    index = torch.arange(num, dtype=torch.int32)
    if own:
        index = index + torch.tensor([[0], [1 << 28], [-5]], dtype=torch.int32)
    found = [
        triton_kernels.noise(keys.to(DEVICE), index.to(DEVICE), kind) for kind in (False, True)
    ]
    assert torch.equal(found[0].cpu(), random_numbers.uniform(keys, index))
    assert torch.allclose(found[1].cpu(), random_numbers.gumbel(keys, index), atol=1e-5, rtol=1e-6)


def lattice(generator, *shape):
    """Coordinates whose distances are exact in single precision, and far from the edges of bins
    of 1/16 Å: no rounding moves one to another bin."""
    return torch.randint(-20, 21, (*shape, 3), generator=generator) / 8


def tables(generator, molecules, placed, bins):
    return torch.randn(molecules, placed, bins, generator=generator).log_softmax(2)


shapes = st.tuples(
    st.integers(1, 3),
    st.integers(1, 5),
    st.sampled_from([1, 2, 255, 256, 257, 1023, 1024, 1025, 2500]) | st.integers(1, 2100),
    st.integers(1, 90),
    st.integers(0, 2**31),
)


@settings(deadline=None, max_examples=15)
@given(shapes)
def test_same_sample(shape):
    molecules, placed, num, bins, seed = shape
    generator = torch.Generator().manual_seed(seed)
    candidates, pos = lattice(generator, num), lattice(generator, molecules, placed)
    log_prob = tables(generator, molecules, placed, bins)
    keys = random_numbers.random_keys(seed, torch.arange(molecules), placed)
    choice, log_p = placement.sample(candidates, pos, log_prob, 1 / 16, keys)
    arguments = [t.to(DEVICE) for t in (candidates, pos, log_prob)]
    fused = triton_kernels.sample(*arguments, 1 / 16, keys.to(DEVICE))
    assert torch.equal(fused[0].cpu(), choice)
    assert torch.allclose(fused[1].cpu(), log_p, atol=1e-4)


@settings(deadline=None, max_examples=15)
@given(shapes, st.booleans(), st.booleans())
def test_same_scores(shape, own_candidates, limited):
    molecules, placed, num, bins, seed = shape
    generator = torch.Generator().manual_seed(seed)
    candidates = lattice(generator, *([molecules] if own_candidates else []), num)
    pos = lattice(generator, molecules, placed)
    log_prob = tables(generator, molecules, placed, bins)
    reach = limit = None
    if limited:
        reach = torch.rand(molecules, placed, generator=generator) * 3
        limit = torch.randint(0, placed + 1, (molecules,), generator=generator)
    scores = placement.log_scores(candidates, pos, log_prob, 1 / 16, reach, limit)
    on_device = [
        None if t is None else t.to(DEVICE) for t in (candidates, pos, log_prob, reach, limit)
    ]
    fused = triton_kernels.log_scores(
        *on_device[:3], 1 / 16, *on_device[3:], placement.PENALTY
    ).cpu()
    assert fused.shape == scores.shape
    assert torch.allclose(fused, scores, atol=1e-3 if limited else 1e-4)


def realistic(molecules=1 if INTERPRETED else 16, placed=6, num_bins=100):
    """Peaks of width 0.3 Å."""
    generator = torch.Generator().manual_seed(3)
    pos = torch.randn(molecules, placed, 3, generator=generator)
    peaks = 1 + 2 * torch.rand(molecules, placed, 1, generator=generator)
    centers = torch.arange(num_bins) * 0.05
    return pos, (-0.5 * ((centers - peaks) / 0.3) ** 2).log_softmax(2)


def test_same_sample_from_the_grid_of_the_paper():
    pos, log_prob = realistic()
    candidates = placement.grid(4.4, 0.2)
    keys = random_numbers.random_keys(0, torch.arange(len(pos)), 0)
    choice, log_p = placement.sample(candidates, pos, log_prob, 0.05, keys)
    arguments = [t.to(DEVICE) for t in (candidates, pos, log_prob)]
    fused = triton_kernels.sample(*arguments, 0.05, keys.to(DEVICE))
    assert torch.equal(fused[0].cpu(), choice)
    assert torch.allclose(fused[1].cpu(), log_p, atol=1e-4)


def test_same_positions_around_a_focus(monkeypatch):
    pos, log_prob = realistic(molecules=4)
    keys = random_numbers.random_keys(2, torch.arange(4), 0)

    def draw(device):
        shell = placement.Shell(
            center=pos[:, 0].to(device),
            inner=1.0,
            outer=1.5,
            largest=1.5,
            pos=pos.to(device),
            log_prob=log_prob.to(device),
            spacing=0.05,
            reach=torch.full((4, 6), 1.6, device=device),
            limit=torch.full((4,), 2, device=device),
        )
        return shell.sample(keys.to(device)).cpu()

    position = draw("cpu")
    monkeypatch.setattr(placement, "kernels", lambda _: triton_kernels)
    fused = draw(DEVICE)
    same = (position - fused).norm(dim=1) < 1e-4
    assert same.sum() >= 3  # rounding may move a candidate to the next bin


def test_nothing_possible_and_nothing_finite():
    """−∞ in the tables and positions that are none read nothing out of bounds."""
    pos, log_prob = realistic(3, 2)
    log_prob[0], pos[1] = -torch.inf, torch.nan
    candidates = placement.grid(1.0, 0.25)
    arguments = [t.to(DEVICE) for t in (candidates, pos, log_prob)]
    keys = random_numbers.random_keys(0, torch.arange(3), 0).to(DEVICE)
    choice, log_p = (t.cpu() for t in triton_kernels.sample(*arguments, 0.05, keys))
    assert ((choice >= 0) & (choice < len(candidates))).all()
    assert torch.isfinite(log_p[2])


@pytest.mark.skipif(INTERPRETED, reason="tensors on a CPU go to plain torch")
def test_cpu_and_gpu_choose_the_same():
    pos, log_prob = realistic()
    candidates = placement.grid(4.4, 0.2)
    keys = random_numbers.random_keys(1, torch.arange(len(pos)), 0)
    assert placement.kernels(log_prob.cuda()) is triton_kernels
    choice, log_p = placement.sample(candidates, pos, log_prob, 0.05, keys)
    arguments = [t.cuda() for t in (candidates, pos, log_prob)]
    on_gpu = placement.sample(*arguments, 0.05, keys.cuda())
    assert torch.equal(on_gpu[0].cpu(), choice)
    assert torch.allclose(on_gpu[1].cpu(), log_p, atol=1e-4)
    assert torch.allclose(
        placement.log_scores(*arguments, 0.05).cpu().logsumexp(1),
        placement.log_scores(candidates, pos, log_prob, 0.05).logsumexp(1),
        atol=1e-4,
    )
