"""``schnetgen train``: the representation decides which settings there are."""

import ase.io
import pytest
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
