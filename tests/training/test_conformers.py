"""Training of a generator that is told the graph."""

import pytest
from torch_geometric.data import Batch

from schnetgen_pyg import InputError, conformers, fit
from schnetgen_pyg.cli import main
from schnetgen_pyg.data.conversion import as_data
from schnetgen_pyg.data.convert import convert
from schnetgen_pyg.data.graph_features import with_graphs
from schnetgen_pyg.data.stored import StoredStructures
from schnetgen_pyg.training.config import TrainingConfig
from schnetgen_pyg.training.generator import GeneratorModule
from tests.conftest import small_model
from tests.generator.conditions.test_graph import GIVEN
from tests.molecules import embedded
from tests.training.test_generator import QUICK

#: As precise as conformers are.
FINE = {"num_bins": 481, "max_distance": 12.0, "label_width": 0.02, "num_gaussians": 60}


@pytest.mark.slow
def test_the_graph_lowers_the_loss(isomers, tmp_path):
    settings = QUICK | {"steps": 120, "batch_size": 8, "learning_rate": 3e-3}
    settings |= {"ema_decay": 0.0, "hydrogen_steps": 2}
    batch = Batch.from_data_list(with_graphs(isomers[200:230]))
    found = {}
    for conditions in ((), ("graph",)):
        changes = FINE | {"conditions": conditions, "hidden_channels": 32, "num_filters": 32}
        model = small_model(**GIVEN | changes)
        trained = fit(model, isomers[:180], tmp_path / str(len(conditions)), **settings)
        module = GeneratorModule(trained, TrainingConfig(hydrogen_steps=2))
        found[conditions] = float(module.terms(batch, 0).loss["distance"].value.detach())
    assert found["graph",] < found[()] - 0.03


def test_fit_finds_graphs_and_builds_conformers(isomers, tmp_path):
    """Also with valence states, refinement, and conformers at every validation."""
    conditions = ("remaining_formula", "valence_states", "graph")
    model = small_model(**GIVEN | {"conditions": conditions}, refinement=True)
    settings = QUICK | {"num_samples": 2, "steps": 6, "batch_size": 3}
    trained = fit(model, isomers[:12], tmp_path, **settings)
    assert "training" in trained.provenance
    log = (tmp_path / "logs" / "version_0" / "metrics.csv").read_text().splitlines()
    assert "valid" in log[0].split(",")
    (found,) = conformers(trained, "CC1OC1C=CCO", 2, prune=0)
    assert len(found) + found.failures.total() == 2


def test_stored_structures_have_no_graphs_yet(isomers, tmp_path):
    path = tmp_path / "data.safetensors"
    convert(isomers[:6], out=path)
    with pytest.raises(InputError, match="keeps no 2-D graphs"):
        fit(small_model(**GIVEN), StoredStructures(path), tmp_path / "run", **QUICK)


def test_what_is_no_molecule_is_left_out(tmp_path):
    good = [embedded(text) for text in ("CCO", "CC=O", "COC", "OCO", "CO", "CC")]
    broken = embedded("CCO")
    del broken[-1]
    with pytest.warns(UserWarning, match="1 of 7 structures are no valid molecules"):
        fit(
            small_model(**GIVEN),
            as_data([*good, broken]),
            tmp_path,
            **QUICK | {"num_validation": 2},
        )


def test_the_command_line(tmp_path, capsys):
    small = ["--num_filters=8", "--num_interactions=1", "--hidden_channels=16", "--num_samples=0"]
    quick = ["--steps=2", "--batch_size=2", "--num_validation=4", "--accelerator=cpu"]
    options = ["--preset=conformers", "--data", "c7h10o2-xtb", "--out", str(tmp_path / "run")]
    assert main(["train", *options, *small, *quick]) == 0
    checkpoint = ["--checkpoint", str(tmp_path / "run" / "model.safetensors")]
    molecules = tmp_path / "mine.smi"
    molecules.write_text("C[C@H](O)CC=O lead\nCC=CC\n")
    out = tmp_path / "out.sdf"
    call = ["conformers", str(molecules), *checkpoint, "--num=3", "--prune=0", "--out", str(out)]
    assert main(call) == 0
    told = capsys.readouterr()
    assert "conformers of 2 molecules" in told.out
    assert "line 2: 1 of its stereocentres and double bonds are left open" in told.err
    text = out.read_text()
    assert text.startswith("lead\n")
    assert text.count("C[C@H](O)CC=O") >= 1
    assert main([*call[:1], "C1CC", *call[2:], "--overwrite"]) == 2
    assert "no SMILES" in capsys.readouterr().err
