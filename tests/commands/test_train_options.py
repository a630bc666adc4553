"""``schnetgen train``: the representation decides which settings there are."""

import ase.io
import pytest
import torch
import yaml

from schnetgen_pyg import SchNetGen
from schnetgen_pyg.cli import main
from tests.conftest import METHANE

QUICK = [
    *("--steps=2", "--batch_size=4", "--num_validation=2", "--num_samples=0", "--accelerator=cpu"),
    *("--hidden_channels=16", "--num_bins=60", "--num_head_layers=1"),
]


@pytest.fixture
def train(tmp_path):
    """Runs the command on methane in a folder of this name; the exit status."""
    ase.io.write(tmp_path / "data.extxyz", [METHANE] * 8)

    def run(name, *arguments):
        given = ["--data", str(tmp_path / "data.extxyz"), "--out", str(tmp_path / name)]
        try:
            return main(["train", *given, *QUICK, *arguments])
        except SystemExit as stop:
            return int(stop.code or 0)

    return run


def test_settings_of_the_representation(train, tmp_path, capsys):
    """They are options; those of the preset's own are left out aloud; a file repeats the run."""
    painn = ["--representation", "painn", "--cutoff", "5", "--num_interactions", "2"]
    assert train("one", "--preset", "small", *painn) == 0
    printed = capsys.readouterr().out
    assert "preset small is one of schnet: its num_filters" in printed
    assert "left out" in printed
    config = SchNetGen.from_pretrained(tmp_path / "one" / "model.safetensors").config
    assert (config.representation, config.cutoff, config.hidden_channels) == ("painn", 5.0, 16)
    assert config.settings["num_interactions"] == 2
    assert "focus" in config.decisions  # what the preset says of the generator holds
    saved = yaml.safe_load((tmp_path / "one" / "config.yaml").read_text())
    assert saved["num_interactions"] == 2
    file = tmp_path / "again.yaml"
    file.write_text(yaml.safe_dump({n: v for n, v in saved.items() if n not in ("out", "data")}))
    assert train("two", "--config", str(file)) == 0
    assert SchNetGen.from_pretrained(tmp_path / "two" / "model.safetensors").config == config


def test_the_presets_own_representation_keeps_its_settings(train, tmp_path, capsys):
    assert train("run", "--preset", "small", "--num_filters=8") == 0
    assert "left out" not in capsys.readouterr().out
    config = SchNetGen.from_pretrained(tmp_path / "run" / "model.safetensors").config
    settings = {name: config.settings[name] for name in ("num_filters", "num_interactions")}
    assert settings == {"num_filters": 8, "num_interactions": 3}


def test_without_a_word_it_is_the_strong_preset(train, tmp_path):
    """With all that the guide says helps most: noise, averaged weights, bonded orders."""
    assert train("run", "--num_filters=8", "--num_interactions=1") == 0
    model = SchNetGen.from_pretrained(tmp_path / "run" / "model.safetensors")
    assert model.config.order == "bonded"
    assert "focus" in model.config.decisions
    training = model.provenance["training"]
    assert training["position_noise"] > 0
    assert training["ema_decay"] > 0
    assert training["schedule"] == "cosine"


def test_fine_tuning(train, tmp_path, capsys):
    """Settings are those of the checkpoint, but for what is said; a file repeats the run."""
    first = ["--preset", "small", "--num_filters=8", "--num_interactions=1", "--seed=3"]
    assert train("parent", *first) == 0
    parent = tmp_path / "parent" / "model.safetensors"
    init = [f"--init={parent}", "--learning_rate=1e-4"]
    assert train("child", *init) == 0
    child = SchNetGen.from_pretrained(tmp_path / "child" / "model.safetensors")
    assert child.config == SchNetGen.from_pretrained(parent).config
    assert child.provenance["parent"]["name"] == str(parent)
    training = child.provenance["training"]
    assert (training["learning_rate"], training["ema_decay"]) == (1e-4, 0.99)
    assert training["seed"] == 3
    saved = yaml.safe_load((tmp_path / "child" / "config.yaml").read_text())
    file = tmp_path / "again.yaml"
    file.write_text(yaml.safe_dump({n: v for n, v in saved.items() if n not in ("out", "data")}))
    assert train("again", "--config", str(file)) == 0
    again = SchNetGen.from_pretrained(tmp_path / "again" / "model.safetensors")
    for name, value in child.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    capsys.readouterr()
    for wrong, message in (
        (["--num_interactions=2"], "num_interactions is 1 there, 2 here"),
        (["--representation=painn"], "representation is 'schnet' there, 'painn' here"),
        (["--preset=focus"], "give one"),
    ):
        assert train("never", *init, *wrong) == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "never").exists()
    assert train("never", "--init=c7h10o3") == 2
    assert "neither a file nor a bundled checkpoint" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--representation=painn", "--num_gaussians=4"], "--num_gaussians=4 (did you mean"),
        (["--representation=painn", "--num_radials=4"], "did you mean 'num_radial'"),
        (["--num_filter=4"], "did you mean 'num_filters'"),  # no abbreviations
        (["--representation=shcnet"], "shcnet"),
        (["--preset=smal"], "invalid choice: 'smal'"),
    ],
)
def test_refused(train, tmp_path, capsys, arguments, message):
    assert train("run", *arguments) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
