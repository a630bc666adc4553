import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from torch_geometric.data import Batch

from schnetgen_pyg import InputError, SchNetGen, fit
from schnetgen_pyg.report import draw_loss, training_log
from schnetgen_pyg.training import BatchSampler, GeneratorModule, Molecules, TrainingConfig, split

from .conftest import batch_of, small_model

QUICK = {
    "steps": 12,
    "batch_size": 4,
    "num_validation": 5,
    "validation_interval": 6,
    "num_samples": 0,
    "checkpoint_interval": 4,
    "accelerator": "cpu",
}


def weights(model: SchNetGen) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_loss_falls(isomers, tmp_path):
    before = small_model()
    module = GeneratorModule(before, TrainingConfig())
    batch = Batch.from_data_list(isomers[:30])
    first = float(module.losses(batch, 0)["distance"].detach())
    trained = fit(small_model(), isomers[:60], tmp_path, **(QUICK | {"steps": 60}))
    module = GeneratorModule(trained, TrainingConfig())
    last = float(module.losses(batch, 0)["distance"].detach())
    assert last < first - 0.3


def test_loss_is_the_papers_sum_over_all_distances(isomers):
    """Against a loop: mean of H(q, p) over every distance of every partial molecule."""
    model = small_model()
    batch = Batch.from_data_list(isomers[:2])
    from schnetgen_pyg.losses import losses
    from schnetgen_pyg.orders import reorder, scaffold_first
    from schnetgen_pyg.training import seeded

    ordered = reorder(batch, scaffold_first(batch, seeded(5)))
    terms = []
    for molecule in range(2):
        atoms = slice(int(ordered.ptr[molecule]), int(ordered.ptr[molecule + 1]))
        z, pos = ordered.z[atoms], ordered.pos[atoms]
        for placed in range(1, len(z)):
            log_prob = model(z[:placed], pos[:placed], z[placed : placed + 1])
            distance = (pos[:placed] - pos[placed]).norm(dim=1)
            terms.append(-(model.bins.labels(distance) * log_prob).sum(1))
    assert float(losses(model, batch, seeded(5))["distance"].detach()) == pytest.approx(
        float(torch.cat(terms).mean().detach()), abs=1e-4
    )


def test_seeded_runs_repeat(isomers, tmp_path):
    a, b = (fit(small_model(), isomers[:30], tmp_path / name, **QUICK) for name in "ab")
    c = fit(small_model(), isomers[:30], tmp_path / "c", seed=1, **QUICK)
    assert torch.equal(weights(a), weights(b))
    assert not torch.equal(weights(a), weights(c))


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_continued_run_equals_an_uninterrupted_one(isomers, tmp_path, ema_decay):
    settings = QUICK | {"ema_decay": ema_decay, "partial_molecules": 3}
    whole = fit(small_model(), isomers[:30], tmp_path / "whole", **settings)
    fit(small_model(), isomers[:30], tmp_path / "parts", **(settings | {"steps": 7}))
    parts = fit(small_model(), isomers[:30], tmp_path / "parts", **settings)
    assert torch.equal(weights(whole), weights(parts))
    log = training_log(tmp_path / "parts")
    assert log["validation_loss"].dropna().index.tolist() == [5, 11]
    draw_loss(tmp_path / "loss.png", tmp_path / "parts")
    assert (tmp_path / "loss.png").stat().st_size > 5000


def test_kill_9_in_the_middle(isomers, tmp_path):
    """A process is killed without warning; the run continues and ends as if nothing happened."""
    whole = fit(small_model(), isomers[:30], tmp_path / "whole", **(QUICK | {"steps": 40}))
    script = (
        "from tests.conftest import small_model; from tests.test_training import QUICK;"
        "from schnetgen_pyg import load, fit;"
        f"fit(small_model(), load('c7h10o2-xtb')[:30], {str(tmp_path / 'killed')!r},"
        " **(QUICK | {'steps': 100_000}))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "killed" / "last.ckpt").is_file() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    step = torch.load(tmp_path / "killed" / "last.ckpt", weights_only=True)["global_step"]
    assert step < 40, "the machine was faster than this test expects"
    continued = fit(small_model(), isomers[:30], tmp_path / "killed", **(QUICK | {"steps": 40}))
    assert torch.equal(weights(whole), weights(continued))


def test_validation_by_generation(isomers, tmp_path):
    fit(small_model(), isomers[:20], tmp_path, **(QUICK | {"steps": 6, "num_samples": 2}))
    assert training_log(tmp_path)["valid"].dropna().between(0, 1).sum() == 1


def test_batches_cover_every_molecule_once_per_pass():
    sampler = BatchSampler(10, 3, 8, seed=0)
    first, second = ([i for b in range(k, k + 4) for i in sampler.batch(b)] for k in (0, 4))
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second
    sampler.start = 5
    assert list(sampler) == [sampler.batch(k) for k in (5, 6, 7)]
    whole = sampler.batch(2)
    sampler.world_size = 2
    shares = []
    for sampler.rank in (0, 1):
        shares += sampler.batch(2)
    assert sorted(shares) == sorted(whole)


def test_molecules_are_taken_as_pyg_would_collate_them():
    structures = batch_of([3, 1, 5, 2]).to_data_list()
    taken = Molecules(structures)[[2, 0, 3]]
    expected = Batch.from_data_list([structures[k] for k in (2, 0, 3)])
    for name in ("z", "pos", "batch", "ptr"):
        assert torch.equal(taken[name], expected[name]), name


def test_split_is_kept(tmp_path):
    path = tmp_path / "split.json"
    train, validation = split(50, 10, 3, path)
    assert sorted(train + validation) == list(range(50))
    assert split(50, 10, 99, path) == (train, validation)
    assert json.loads(path.read_text())["seed"] == 3
    with pytest.raises(InputError, match=r"split.json.*50 structures, the data hold 49"):
        split(49, 10, 3, path)
    with pytest.raises(InputError, match="cannot hold out 9 of 9"):
        split(9, 9, 0)


def test_unknown_elements(isomers, tmp_path):
    with pytest.raises(InputError, match=r"hold atomic numbers \[8\]"):
        fit(small_model(elements=(1, 6)), isomers[:20], tmp_path, **QUICK)
