"""What networks have learned of elements."""

import csv

import numpy as np
import pytest
import torch

from schnetgen_pyg.chem.elements import group_of
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.evaluation.embeddings import (
    Embeddings,
    element_embeddings,
    principal_components,
    separation,
    write_embeddings,
)
from schnetgen_pyg.potentials.model import Potential
from schnetgen_pyg.report.embeddings import draw_embeddings

#: By the columns of the periodic table.
GROUPS = {
    1: [1, 3, 11, 19, 37, 55, 87],
    2: [4, 12, 20, 38, 56, 88],
    3: [21, 39, 57, 64, 71, 92],
    4: [22, 40, 72],
    8: [26, 44, 76],
    12: [30, 48, 80],
    13: [5, 13, 31, 49, 81],
    16: [8, 16, 34, 52, 84],
    18: [2, 10, 18, 36, 54, 86],
}


@pytest.mark.parametrize("group", GROUPS)
def test_groups(group):
    assert {group_of(number) for number in GROUPS[group]} == {group}


def grouped(spread, seed=0):
    """Elements of five groups at random places, of which one group's are near each other."""
    elements = [number for group in (1, 2, 13, 16, 18) for number in GROUPS[group][:5]]
    rng = np.random.default_rng(seed)
    middles = rng.normal(size=(19, 8))
    vectors = np.stack([middles[group_of(n)] for n in elements])
    return Embeddings(tuple(elements), vectors + spread * rng.normal(size=vectors.shape))


def test_groups_that_are_there_are_found_and_others_are_not():
    clear, none = grouped(0.05), grouped(100.0)
    found = separation(clear.vectors, clear.groups, shuffles=500)
    assert found.accuracy == 1.0
    assert found.p_value == pytest.approx(1 / 501)
    # Of 25 elements in fives each has four partners among 24 others.
    assert found.shuffled.mean() == pytest.approx(4 / 24, abs=0.02)
    assert "100% of 25 elements" in found.words()
    assert separation(none.vectors, none.groups, shuffles=500).p_value > 0.05


def test_p_values_of_noise_are_uniform():
    """None that is too small too often: the control has the same sizes of groups."""
    values = []
    for seed in range(60):
        noise = grouped(100.0, seed)
        values.append(separation(noise.vectors, noise.groups, 200, seed).p_value)
    assert np.mean(np.array(values) <= 0.1) < 0.2


def test_the_same_seed_shuffles_alike():
    one = grouped(1.0)
    first, again, other = (separation(one.vectors, one.groups, 50, seed) for seed in (3, 3, 4))
    assert (first.shuffled == again.shuffled).all()
    assert (first.shuffled != other.shuffled).any()


def test_a_group_of_one_is_left_out():
    one = grouped(0.05)
    vectors = np.concatenate([one.vectors, one.vectors[:1] + 1e-3])
    found = separation(vectors, [*one.groups, 17], shuffles=10)
    assert (found.accuracy, found.num_elements) == (1.0, 25)


def test_components():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(30, 5)) * [0.1, 5.0, 0.1, 2.0, 0.1]
    places, share = principal_components(vectors)
    assert np.allclose(np.cov(places.T), np.diag(np.var(places, axis=0, ddof=1)), atol=1e-9)
    assert np.abs(np.corrcoef(places[:, 0], vectors[:, 1])[0, 1]) > 0.99
    assert share[0] > share[1] > 0.05
    assert share.sum() > 0.98


def test_table_and_picture_of_a_potential(tmp_path):
    torch.manual_seed(0)
    potential = Potential("painn", (8, 1, 6, 16), hidden_channels=8)
    embeddings = element_embeddings(potential)
    assert embeddings.elements == (1, 6, 8, 16)
    weight = potential.representation.embedding.weight
    assert np.allclose(embeddings.vectors[3], weight[16].detach().numpy())
    write_embeddings(tmp_path / "x.csv", embeddings)
    rows = list(csv.DictReader((tmp_path / "x.csv").open()))
    assert [(row["element"], row["group"]) for row in rows] == [
        *(("H", "1"), ("C", "14"), ("O", "16"), ("S", "16")),
    ]
    assert float(rows[2]["x5"]) == pytest.approx(weight[8, 5].item(), rel=1e-4)
    draw_embeddings(tmp_path / "x.png", embeddings, "four elements")
    assert (tmp_path / "x.png").stat().st_size > 5_000


def test_what_cannot_be_used():
    with pytest.raises(InputError, match="GMNN has no embedding of elements alone"):
        element_embeddings(Potential("gmnn", (1, 6)))
    with pytest.raises(InputError, match="two groups with two elements each"):
        separation(np.eye(3), [1, 1, 2])
    with pytest.raises(InputError, match="shuffles must be at least 1"):
        separation(np.eye(4), [1, 1, 2, 2], shuffles=0)
    with pytest.raises(InputError, match="number of elements must be at least 3"):
        principal_components(np.eye(2))
