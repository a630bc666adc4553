import json
from itertools import pairwise

import pytest
import torch
from torch_geometric.data import Data

from schnetgen_pyg import InputError
from schnetgen_pyg.data.digest import digest
from schnetgen_pyg.data.splits import split
from tests.conftest import batch_of


@pytest.fixture
def structures() -> list[Data]:
    return batch_of([3] * 50).to_data_list()


def test_a_split_is_kept(structures, tmp_path):
    path = tmp_path / "split.json"
    parts = split(structures, num_validation=10, num_test=5, seed=3, path=path)
    assert [len(part) for part in parts.values()] == [35, 10, 5]
    assert sorted(k for part in parts.values() for k in part) == list(range(50))
    assert split(structures, num_validation=20, seed=99, path=path) == parts
    assert json.loads(path.read_text())["seed"] == 3
    assert split(structures, num_validation=10, num_test=5, seed=4) != parts
    with pytest.raises(InputError, match=r"split.json.*50 structures, the data hold 49"):
        split(structures[:49], num_validation=10, seed=3, path=path)
    with pytest.raises(InputError, match="cannot hold out 9 of 9"):
        split(structures[:9], num_validation=9, seed=0)


def test_splits_of_a_seed_stay(structures):
    """Runs of earlier versions continue with the same ones."""
    assert split(structures, num_validation=4, seed=0)["validation"] == [0, 17, 41, 44]
    assert split(structures, num_validation=4, num_test=3, seed=1)["test"] == [4, 18, 24]


def changed(structures: list[Data], change: str) -> list[Data]:
    other = [data.clone() for data in structures]
    if change == "position":
        other[7].pos[0, 1] += 0.001
    elif change == "type":
        other[7].z[2] = 7
    else:
        other.reverse()
    return other


@pytest.mark.parametrize("change", ["position", "type", "order"])
def test_a_split_is_of_these_very_structures(structures, tmp_path, change):
    path = tmp_path / "split.json"
    split(structures, num_validation=10, seed=3, path=path)
    other = changed(structures, change)
    with pytest.raises(InputError, match=r"split.json.*of other ones.*another folder"):
        split(other, num_validation=10, seed=3, path=path)
    assert digest(other) != digest(structures)


def test_a_digest_is_of_what_the_types_hold(structures):
    other = [Data(z=d.z.int(), pos=d.pos.double().requires_grad_()) for d in structures]
    assert digest(other) == digest(structures)


@pytest.mark.parametrize("text", ["", "[]", '{"train": [1]}', "{"])
def test_a_damaged_split_is_named(structures, tmp_path, text):
    (tmp_path / "split.json").write_text(text)
    with pytest.raises(InputError, match=r"split.json: damaged; remove it"):
        split(structures, num_validation=10, seed=3, path=tmp_path / "split.json")


def test_small_structures_are_counted_and_left_out():
    structures = batch_of([1, 3, 2, 1, 4, 5]).to_data_list()
    with pytest.warns(UserWarning, match="2 of 6 structures have fewer than 2 atoms"):
        parts = split(structures, num_validation=1, seed=0, min_atoms=2)
    assert sorted(parts["train"] + parts["validation"]) == [1, 2, 4, 5]
    with (
        pytest.warns(UserWarning, match="1 of 1 structures"),
        pytest.raises(InputError, match="no structure has at least 2 atoms"),
    ):
        split(structures[:1], num_validation=0, seed=0, min_atoms=2)


def test_groups_stay_together():
    structures = batch_of([2] * 36).to_data_list()
    for index, data in enumerate(structures):
        data.info = {"source": index // 4, "method": "springs"}
    parts = split(structures, num_validation=8, num_test=4, seed=0, group_by="source")
    assert [len(part) for part in parts.values()] == [24, 8, 4]
    sources = [{structures[k].info["source"] for k in part} for part in parts.values()]
    assert all(not (a & b) for a, b in pairwise([*sources, sources[0]]))
    with pytest.raises(InputError, match=r"structure 0: no 'family' .*'method', 'source'"):
        split(structures, num_validation=8, seed=0, group_by="family")


def test_parts_are_drawn_not_cut_off():
    """Data are often sorted, by size or by energy: every structure is held out by some seed, and no
    seed takes a run of neighbours."""
    data = [Data(z=torch.tensor([6, 1]), pos=torch.eye(3)[:2] + k) for k in range(40)]
    held_out, neighbors = set(), 0
    for seed in range(40):
        parts = split(data, num_validation=8, num_test=2, seed=seed)
        chosen = parts["validation"]
        held_out |= set(chosen)
        neighbors += max(chosen) - min(chosen) == len(chosen) - 1
        every = [number for part in parts.values() for number in part]
        assert sorted(every) == list(range(40))
    assert held_out == set(range(40))
    assert neighbors == 0
