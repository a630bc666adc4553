"""On a real Dask and a real Ray, each of two processes here: what this machine's own give."""

import contextlib
import os

import joblib
import numpy as np
import pytest
from ase.build import molecule

from schnetgen_pyg import evaluate, generate, relax
from schnetgen_pyg.data.conversion import to_ase
from schnetgen_pyg.parallel import Failure, in_processes, job_count
from schnetgen_pyg.relaxation.labelling import label_file
from tests.conftest import small_model

pytestmark = pytest.mark.slow


@contextlib.contextmanager
def dask():
    distributed = pytest.importorskip("dask.distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster),
        joblib.parallel_config("dask"),
    ):
        yield


@contextlib.contextmanager
def ray():
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # nobody else is to connect
    package = pytest.importorskip("ray")
    from ray.util.joblib import register_ray

    package.init(num_cpus=2, include_dashboard=False)
    register_ray()
    try:
        with joblib.parallel_config("ray"):
            yield
    finally:
        package.shutdown()


@pytest.fixture(scope="module", params=[dask, ray], ids=["dask", "ray"])
def cluster(request):
    """Makes what runs inside run there."""
    backend = request.param
    with contextlib.ExitStack() as stack:
        stack.enter_context(backend())
        yield backend.__name__


@contextlib.contextmanager
def here():
    with joblib.parallel_config("loky"):
        yield


def water(length: float):
    atoms = molecule("H2O")
    atoms.set_distance(0, 1, length)
    return atoms


def test_processes_are_the_clusters_and_one_that_dies_is_named(cluster):
    assert job_count(None) == 2

    def process(task):  # travels by value: nothing heavy is imported there
        if task == "die":
            os._exit(9)
        return os.getpid()

    found = dict(in_processes(process, iter(["a", "die", "c"]), jobs=2))
    with here():
        local = {pid for _, pid in in_processes(process, iter("abcd"), jobs=2)}
    assert found[1] == Failure("crash")
    assert not {found[0], found[2]} & (local | {os.getpid()})


def test_evaluate(cluster, isomers):
    structures = [to_ase(data) for data in isomers[:210]]
    structures[7].positions[-1] += 5
    found = evaluate(structures, train=isomers[:5], jobs=2)
    with here():
        expected = evaluate(structures, train=isomers[:5], jobs=2)
    assert found.records == expected.records
    assert found.figures() == expected.figures()
    assert found.records[0].mol.GetNumBonds() == expected.records[0].mol.GetNumBonds()


def test_generate(cluster):
    model = small_model()
    settings = {"grid_extent": 2.0, "grid_spacing": 0.4, "batch_size": 2, "jobs": 2}
    found = generate(model, "C2H4O", 6, seed=3, **settings)
    with here():
        expected = generate(model, "C2H4O", 6, seed=3, **settings)
    for one, other in zip(found, expected, strict=True):
        assert (one.numbers == other.numbers).all()
        np.testing.assert_array_equal(one.positions, other.positions)


def test_label(cluster, tmp_path):
    pytest.importorskip("tblite")
    settings = {"jobs": 2, "num_perturbed": 1, "equilibration": 2, "interval": 1}
    structures = [water(0.95 + 0.01 * k) for k in range(5)]
    assert label_file(structures, tmp_path / "there.extxyz", **settings) == []
    with here():
        label_file(structures, tmp_path / "here.extxyz", **settings)
    assert (tmp_path / "there.extxyz").read_text() == (tmp_path / "here.extxyz").read_text()


def test_relax(cluster, tmp_path):
    pytest.importorskip("tblite")
    structures = [water(length) for length in (1.1, 0.9, 1.0)]
    found = relax(structures, top=2, valid_only=True, jobs=2, out=tmp_path / "relaxed.db")
    with here():
        expected = relax(structures, top=2, valid_only=True, jobs=2)
    assert [record["structure"] for record in found.records] == [2, 1]
    for one, other in zip(found.records, expected.records, strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}
