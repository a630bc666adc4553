"""Whatever is wrong with a structure of a file is said with the file's name, by everybody."""

import copy
import warnings

import ase
import ase.io
import pytest
import torch
from ase.build import molecule
from torch_geometric.data import Batch, Data

from schnetgen_pyg import InputError, evaluate, load, relax
from schnetgen_pyg.data import cache
from schnetgen_pyg.data.conversion import as_data
from schnetgen_pyg.data.graph_features import with_graphs
from schnetgen_pyg.data.lewis_structures import with_lewis_structures
from schnetgen_pyg.data.readers.npz import save_npz
from schnetgen_pyg.generator.sampling.likelihood import log_prob
from schnetgen_pyg.relaxation.labelling import label_file
from schnetgen_pyg.targets.prediction import predict
from schnetgen_pyg.training.generator import fit
from schnetgen_pyg.training.potential import fit_potential
from tests.conftest import small_model
from tests.potentials.small import small_potential


def two_files(tmp_path, odd):
    """A good file, and one whose second structure is odd."""
    water = molecule("H2O")
    water.info["energy"] = -1.0
    other = water.copy()
    odd(other)
    ase.io.write(tmp_path / "good.extxyz", [water, water, water])
    ase.io.write(tmp_path / "odd.extxyz", [water, other])
    return [tmp_path / "good.extxyz", tmp_path / "odd.extxyz"]


def charged(atoms):
    atoms.info["charge"] = 1


def periodic(atoms):
    atoms.cell, atoms.pbc = [9.0, 9.0, 9.0], True


def one_way(atoms):
    periodic(atoms)
    atoms.pbc = [True, False, False]


def heavy(atoms):
    atoms.numbers[0] = 16


def endless():
    return small_potential(cutoff=None, max_distance=9.0)


def unlabelled(atoms):
    atoms.info.clear()


@pytest.mark.parametrize(
    ("odd", "use"),
    [
        (unlabelled, lambda data, out: fit_potential(small_potential(), data, out)),
        (charged, lambda data, out: fit_potential(small_potential(), data, out)),
        (charged, lambda data, out: predict(small_potential(), data)),
        (heavy, lambda data, out: predict(small_potential(), data)),
        (periodic, lambda data, out: predict(endless(), data)),
        (charged, lambda data, out: log_prob(small_model(elements=(1, 8)), data)),
        (charged, lambda data, out: relax(data, method="potential:c7h10o2-painn-potential")),
        (periodic, lambda data, out: evaluate(data, jobs=1)),
        (periodic, lambda data, out: fit(small_model(elements=(1, 8)), data, out)),
        (one_way, lambda data, out: label_file(data, out / "a.xyz")),
    ],
)
@pytest.mark.filterwarnings("ignore:.*counts as eV")
def test_every_door_names_the_file(tmp_path, odd, use):
    data = load(*two_files(tmp_path, odd))
    with pytest.raises(InputError, match=r"^\S*odd.extxyz: structure 1: "):
        use(data, tmp_path)


def test_it_goes_along_with_copies_and_nowhere_else(tmp_path):
    (data,) = load(ase_file(tmp_path))
    for one in (data, data.clone(), copy.copy(data), copy.deepcopy(data), *as_data([data])):
        one.z = one.z.clone()
        one.z[0] = 0
        with pytest.raises(InputError, match=r"a.extxyz: structure 0: atom 0 has atomic number 0"):
            as_data([one])
        one.z[0] = 8
    plain = Data(**data.to_dict())
    assert sorted(plain.keys()) == sorted(data.keys()) == ["info", "pos", "z"]
    assert Batch.from_data_list([data, plain]).num_graphs == 2
    save_npz(tmp_path / "b.npz", [data])
    plain.z = torch.zeros(3)
    with pytest.raises(InputError, match=r"^structure 0: atom 0"):
        as_data([plain])


@pytest.mark.parametrize("found", [with_graphs, lambda data: with_lewis_structures(data)[0]])
def test_what_was_perceived_is_still_of_its_file(found, tmp_path):
    (one,) = found(load(ase_file(tmp_path)))
    one.z[0] = 0
    with pytest.raises(InputError, match=r"a.extxyz: structure 0: atom 0 has atomic number 0"):
        as_data([one])


def ase_file(tmp_path):
    ase.io.write(tmp_path / "a.extxyz", molecule("H2O"))
    return tmp_path / "a.extxyz"


def test_the_parsed_form_of_a_large_file_is_not_named(tmp_path, monkeypatch):
    monkeypatch.setenv("SCHNETGEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "LARGE", 10)
    path = ase_file(tmp_path)
    for _ in range(2):  # parsed, and from the cache
        (data,) = load(path)
        data.pos[0, 0] = torch.nan
        with pytest.raises(InputError, match=rf"^{tmp_path}/a.extxyz: structure 0"):
            as_data(data)
    assert len(list((tmp_path / "cache").iterdir())) == 1


@pytest.mark.parametrize(
    "use",
    [
        lambda out: evaluate([], jobs=1),
        lambda out: evaluate([molecule("H2O")], train=[], jobs=1),
        lambda out: relax([]),
        lambda out: label_file([], out / "a.xyz"),
        lambda out: predict(small_potential(), []),
        lambda out: log_prob(small_model(elements=(1, 8)), []),
        lambda out: fit(small_model(elements=(1, 8)), [], out),
        lambda out: fit_potential(small_potential(), [], out),
    ],
)
def test_nothing_is_no_input(tmp_path, use):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InputError, match=r"there is no (train: )?structure: an empty list"):
            use(tmp_path)
    assert not list(tmp_path.iterdir())
