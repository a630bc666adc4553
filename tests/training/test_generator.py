import json
import os
import signal
import subprocess
import sys

import pytest
import torch
from torch_geometric.data import Batch, Data

from schnetgen_pyg import InputError, SchNetGen, fit
from schnetgen_pyg.report.pictures import draw_loss, training_log
from schnetgen_pyg.training.checkpoints import LAST, PREVIOUS
from schnetgen_pyg.training.config import TrainingConfig
from schnetgen_pyg.training.generator import GeneratorModule
from tests.conftest import deciding, needs_gpu, small_model

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


@pytest.fixture(scope="module")
def uninterrupted(isomers, tmp_path_factory) -> torch.Tensor:
    return weights(fit(small_model(), isomers[:30], tmp_path_factory.mktemp("whole"), **QUICK))


def test_loss_falls(isomers, tmp_path):
    before = small_model()
    module = GeneratorModule(before, TrainingConfig())
    batch = Batch.from_data_list(isomers[:30])
    first = float(module.terms(batch, 0).loss["distance"].value.detach())
    trained = fit(small_model(), isomers[:60], tmp_path, **(QUICK | {"steps": 60}))
    module = GeneratorModule(trained, TrainingConfig())
    last = float(module.terms(batch, 0).loss["distance"].value.detach())
    assert last < first - 0.3


def test_loss_is_the_papers_sum_over_all_distances(isomers):
    """Against a loop: mean of H(q, p) over every distance of every partial molecule."""
    model = small_model()
    batch = Batch.from_data_list(isomers[:2])
    from schnetgen_pyg.data.batches import seeded
    from schnetgen_pyg.generator.losses import losses
    from schnetgen_pyg.generator.orders import reorder, scaffold_first

    ordered = reorder(batch, scaffold_first(batch, seeded(5)))
    terms = []
    for molecule in range(2):
        atoms = slice(int(ordered.ptr[molecule]), int(ordered.ptr[molecule + 1]))
        z, pos = ordered.z[atoms], ordered.pos[atoms]
        for placed in range(1, len(z)):
            log_prob = model(z[:placed], pos[:placed], z[placed : placed + 1])
            distance = (pos[:placed] - pos[placed]).norm(dim=1)
            terms.append(-(model.distance.bins.labels(distance) * log_prob).sum(1))
    assert float(losses(model, batch, seeded(5))["distance"].detach()) == pytest.approx(
        float(torch.cat(terms).mean().detach()), abs=1e-4
    )


def test_seeded_runs_repeat(isomers, tmp_path, uninterrupted):
    same = fit(small_model(), isomers[:30], tmp_path / "same", **QUICK)
    other = fit(small_model(), isomers[:30], tmp_path / "other", seed=1, **QUICK)
    assert torch.equal(weights(same), uninterrupted)
    assert not torch.equal(weights(other), uninterrupted)


def test_continued_run_equals_an_uninterrupted_one(isomers, tmp_path):
    settings = QUICK | {"ema_decay": 0.9, "partial_molecules": 3}
    whole = fit(small_model(), isomers[:30], tmp_path / "whole", **settings)
    fit(small_model(), isomers[:30], tmp_path / "parts", **(settings | {"steps": 7}))
    parts = fit(small_model(), isomers[:30], tmp_path / "parts", **settings)
    assert torch.equal(weights(whole), weights(parts))
    log = training_log(tmp_path / "parts")
    assert log["validation_loss"].dropna().index.tolist() == [5, 11]
    draw_loss(tmp_path / "loss.png", tmp_path / "parts")
    assert (tmp_path / "loss.png").stat().st_size > 5000


KILLED_WHILE_SAVING = """
import os, shutil, signal, sys
from pathlib import Path
from schnetgen_pyg import fit, load
from tests.conftest import small_model
from tests.training.test_generator import QUICK

def dying(original, calls):
    def half(path, content):  # of the file is written, then the process is no more
        if path.name.endswith(".ckpt"):
            calls.pop()
        if calls:
            return original(path, content)
        content = content if moment == "write" else Path(content).read_bytes()
        with path.open("wb") as file:
            file.write(content[: len(content) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
    return half

folder, moment = sys.argv[1:]
if moment == "write":  # the third checkpoint
    Path.write_bytes = dying(Path.write_bytes, [1, 2, 3])
else:  # the copy of the second one, which the third is about to replace
    copy = dying(lambda new, old: copyfile(old, new), [1, 2])
    copyfile, shutil.copyfile = shutil.copyfile, lambda old, new: copy(new, old)
fit(small_model(), load("c7h10o2-xtb")[:30], folder, **QUICK)
"""


@pytest.mark.parametrize("moment", ["write", "copy"])
def test_kill_9_in_the_middle_of_saving(isomers, tmp_path, uninterrupted, moment):
    killed = tmp_path / "killed"
    command = [sys.executable, "-c", KILLED_WHILE_SAVING, str(killed), moment]
    assert subprocess.run(command, capture_output=True).returncode == -signal.SIGKILL
    steps = [
        torch.load(killed / name, weights_only=True)["global_step"] for name in (LAST, PREVIOUS)
    ]
    assert steps == [8, 4]
    continued = fit(small_model(), isomers[:30], killed, **QUICK)
    assert torch.equal(weights(continued), uninterrupted)


def test_damaged_checkpoint(isomers, tmp_path, uninterrupted):
    """The run continues from the one before, to the same weights; without one it says so."""
    fit(small_model(), isomers[:30], tmp_path, **QUICK)
    os.truncate(tmp_path / LAST, 1000)
    with pytest.warns(UserWarning, match="at step 8"):
        continued = fit(small_model(), isomers[:30], tmp_path, **QUICK)
    assert torch.equal(weights(continued), uninterrupted)
    for name in (LAST, PREVIOUS):
        os.truncate(tmp_path / name, 1000)
    with pytest.raises(InputError, match=r"last.ckpt: cannot be read.*train from the start"):
        fit(small_model(), isomers[:30], tmp_path, **QUICK)


@pytest.mark.parametrize(
    ("precision", "parts"),
    [("32-true", {}), ("64-true", deciding("focus")), ("bf16-mixed", {})],
)
def test_validation_by_generation(isomers, tmp_path, precision, parts):
    """In single precision, whatever the training's is."""
    changes = QUICK | {"steps": 6, "num_samples": 1, "precision": precision}
    fit(small_model(**parts), isomers[:20], tmp_path, **changes)
    assert training_log(tmp_path)["valid"].dropna().between(0, 1).sum() == 1


def test_imitated_bfloat16_is_told(isomers, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    changes = QUICK | {"steps": 1, "precision": "bf16-mixed", "accelerator": "cpu"}
    with pytest.warns(UserWarning, match="imitates"):
        fit(small_model(), isomers[:20], tmp_path, **changes)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("accelerator", "abacus"),
        ("devices", "0"),
        ("devices", "-2"),
        ("strategy", "napoleon"),
        ("strategy", "fsdp"),  # which needs a GPU
        ("precision", "16-true"),
        ("schedule", "triangle"),
    ],
)
def test_settings_that_lightning_or_we_refuse(isomers, tmp_path, name, value):
    with pytest.raises(InputError, match=rf"{name}.*{value}"):
        fit(small_model(), isomers[:20], tmp_path / "run", **(QUICK | {name: value}))
    assert not (tmp_path / "run" / "split.json").exists()


def test_unknown_elements(isomers, tmp_path):
    with pytest.raises(InputError, match=r"hold atomic numbers \[8\]"):
        fit(small_model(elements=(1, 6)), isomers[:20], tmp_path, **QUICK)


def test_single_atoms_do_not_move_the_indices(isomers, tmp_path):
    atom = Data(z=torch.tensor([6]), pos=torch.zeros(1, 3))
    mixed = [atom, *isomers[:20]]
    with pytest.warns(UserWarning, match="1 of 21 structures"):
        fit(small_model(), mixed, tmp_path, **(QUICK | {"steps": 2}))
    saved = json.loads((tmp_path / "split.json").read_text())
    assert sorted(saved["train"] + saved["validation"]) == list(range(1, 21))
    assert saved["num_structures"] == 21


@needs_gpu
def test_training_on_the_gpu(isomers, tmp_path):
    """All heads, validation by generation, averaged weights; the run continues there."""
    model = small_model(**deciding("focus", "next_type", "hydrogens"))
    settings = QUICK | {"accelerator": "gpu", "devices": "1", "num_samples": 2, "ema_decay": 0.9}
    fit(model, isomers[:20], tmp_path, **(settings | {"steps": 6}))
    trained = fit(model, isomers[:20], tmp_path, **settings)
    assert torch.isfinite(weights(trained)).all()
    log = training_log(tmp_path)
    assert log["validation_loss"].dropna().index.tolist() == [5, 11]
    assert log["valid"].dropna().between(0, 1).all()
