import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from schnetgen_pyg.generator.distances import DistanceBins
from schnetgen_pyg.representations.layers import CosineCutoff, GaussianSmearing, ShiftedSoftplus


@settings(deadline=None)
@given(
    st.integers(20, 300), st.floats(0.05, 0.5), st.lists(st.floats(0, 15), min_size=1, max_size=9)
)
def test_labels(num_bins, width, distances):
    bins = DistanceBins(num_bins, 15.0, width)
    distance = torch.tensor(distances)
    labels = bins.labels(distance)
    assert torch.allclose(labels.sum(1), torch.ones(len(distances)), atol=1e-5)
    peak = bins.centers[labels.argmax(1)]
    assert (peak - distance).abs().max() <= bins.spacing / 2 + 1e-4


def test_paper_labels():
    """γ = 1/spacing: q_c ∝ exp(−(Δ − μ_c)²/spacing)."""
    bins = DistanceBins(300, math.sqrt(3) * 8.8, 0.15966)
    distance = torch.tensor([1.54])
    expected = torch.softmax(-((distance - bins.centers) ** 2) / bins.spacing, 0)
    assert torch.allclose(bins.labels(distance)[0], expected, atol=1e-5)


def test_cross_entropy_is_least_at_the_label():
    bins = DistanceBins(100, 10.0, 0.2)
    distance = torch.tensor([1.0, 3.3, 7.0])
    labels = bins.labels(distance)
    entropy = -(labels * labels.clamp(min=1e-30).log()).sum(1)
    assert torch.allclose(bins.cross_entropy(labels.clamp(min=1e-30).log(), distance), entropy)
    other = torch.log_softmax(torch.randn(3, 100), 1)
    assert (bins.cross_entropy(other, distance) > entropy).all()


def test_beyond_the_last_bin():
    assert DistanceBins(10, 9.0, 0.5).labels(torch.tensor([4.4, 4.6, 99.0])).argmax(1).tolist() == [
        4,
        5,
        9,
    ]


def test_layers():
    x = torch.linspace(-5, 5, 11)
    assert torch.allclose(ShiftedSoftplus()(x), torch.log(0.5 * x.exp() + 0.5), atol=1e-6)
    smearing = GaussianSmearing(0.0, 5.0, 11)
    assert torch.allclose(smearing(torch.tensor([2.5]))[0, 5], torch.tensor(1.0))
    assert torch.allclose(smearing(torch.tensor([2.5]))[0, 6], torch.tensor(math.exp(-0.5)))
    envelope = CosineCutoff(4.0)(torch.tensor([0.0, 2.0, 4.0, 5.0]))
    assert torch.allclose(envelope, torch.tensor([1.0, 0.5, 0.0, 0.0]))
